"""A test of measurements: whole files in the values of the target, their pages, shards, errors."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import rasterio
import torch
from conftest import TINY
from PIL import Image
from rasterio.enums import ColorInterp
from support.measured_files import affine_of, numbers, write_dicom, write_nifti, write_raster

from data.measurements.folders import open_grid
from inference.subjects import shown_values
from scripts.evaluation.heat import heat_colours
from translator import Translator
from util.util import save_image

Command = Callable[..., SimpleNamespace]
SMALL = [*TINY, "--dataset_mode", "measurements", "--crop_size", "64", "--no_html"]
LIMITS = ("--range_A", "0,420", "--range_B", "-1000,1000")


def train(command: Command, root: Path, *flags: str) -> SimpleNamespace:
    done = command("train", *SMALL, "--dataroot", root, "--name", "run", *LIMITS, *flags)
    assert done.status == 0, done.err
    return done


def test_run(command: Command, *flags: str) -> Path:
    done = command("test", "--name", "run", "--gpu_ids", "-1", "--num_threads", "0", *flags)
    assert done.status == 0, done.err
    return done.cwd / "results" / "run" / "test_latest"


test_run.__test__ = False


def volumes(root: Path, phases: str = "train test", sides: str = "A B") -> Path:
    for phase in phases.split():
        for side in sides.split():
            for n in range(2):
                array = (numbers() * 2 + n).astype(np.int16)
                write_nifti(root / f"{phase}{side}" / f"p{n}.nii.gz", array, affine_of("PIR"))
    return root


@pytest.mark.parametrize("axis", ["axial", "sagittal"])
def test_whole_volumes_have_the_place_of_the_input_and_values_of_the_target(
    command: Command, tmp_path: Path, axis: str
) -> None:
    root = volumes(tmp_path / "data")
    train(command, root, "--slice_axis", axis, "--slices_around", "1")
    results = test_run(command)
    t = Translator.load("checkpoints/run", gpu_ids=-1)
    for n in range(2):
        path = root / "testA" / f"p{n}.nii.gz"
        output, before = (
            nibabel.load(results / "values" / f"p{n}_fake_B.nii.gz"),
            nibabel.load(path),
        )
        np.testing.assert_array_equal(output.affine, before.affine)
        assert output.header.get_zooms() == before.header.get_zooms()
        assert output.get_data_dtype() == np.int16
        values = np.asanyarray(output.dataobj)
        assert values.shape == before.shape and -1000 <= values.min() < values.max() <= 1000
        np.testing.assert_array_equal(np.asanyarray(t(path).dataobj), values)
        t.save(path, tmp_path / "again.nii.gz")
        again = (tmp_path / "again.nii.gz").read_bytes()
        assert again == (results / "values" / f"p{n}_fake_B.nii.gz").read_bytes()
    with Image.open(results / "images" / "p0_fake_B.png") as image:
        grid = t.input.open(path).first
        width, height = grid.size[0] * grid.pixel_size[0], grid.size[1] * grid.pixel_size[1]
        assert image.height / image.width == pytest.approx(3 * height / width, rel=0.05)
    page = (results / "index.html").read_text()
    assert "values/p1_fake_B.nii.gz" in page and "p1_real_B.png" in page
    numbers = ", ".join(str(int(share * grid.count)) for share in (0.25, 0.5, 0.75))
    assert f"slices {numbers} of {grid.count}" in page


@pytest.mark.parametrize("place", ["p1", "p1/study/series"])
def test_a_series_becomes_a_nifti_volume(command: Command, tmp_path: Path, place: str) -> None:
    root = tmp_path / "data"
    array = numbers((5, 6, 7)).astype(np.int16)
    for phase in ("train", "test"):
        for side in "AB":
            write_dicom(root / f"{phase}{side}" / place, array, intercept=-100)
    train(command, root)
    output = nibabel.load(test_run(command) / "values" / "p1_fake_B.nii.gz")
    np.testing.assert_allclose(np.diag(output.affine), (-1, -1.5, 3, 1))
    assert output.shape == (7, 6, 5) and output.header.get_xyzt_units()[0] == "mm"


def test_a_raster_is_written_with_its_place_and_the_nodata_of_the_target(
    command: Command, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    values = np.random.default_rng(0).random((2, 200, 230)).astype(np.float32) * 400
    values[:, 20:40, 30:60] = -1
    how = {"tiled": True, "blockxsize": 32, "blockysize": 64}
    for phase in ("train", "test"):
        write_raster(root / f"{phase}A" / "s.tif", values, nodata=-1, **how)
        write_raster(root / f"{phase}B" / "s.tif", values[:1], nodata=-9999)
    train(command, root, "--windows_per_epoch", "3", "--nodata", "mask")
    results = test_run(command, "--tile", "128")
    with (
        rasterio.open(results / "values" / "s_fake_B.tif") as output,
        rasterio.open(root / "testA" / "s.tif") as before,
    ):
        assert (output.crs, output.transform) == (before.crs, before.transform)
        assert output.block_shapes == [(64, 32)] and output.nodata == -9999
        read = output.read(1, masked=True)
        np.testing.assert_array_equal(read.mask, values[0] == -1)
        assert -1000 <= read.min() < read.max() <= 1000
    t = Translator.load("checkpoints/run", gpu_ids=-1, tile=128)
    array = t(root / "testA" / "s.tif")
    np.testing.assert_array_equal(array[..., 0], read.data)


def test_four_bands_of_8_bits_have_no_alpha(command: Command, tmp_path: Path) -> None:
    root = tmp_path / "data"
    values = np.random.default_rng(0).integers(0, 256, (4, 64, 64), np.uint8)
    for phase in ("train", "test"):
        for side in "AB":
            write_raster(root / f"{phase}{side}" / "s.tif", values, photometric="minisblack")
    train(command, root)
    with rasterio.open(test_run(command) / "values" / "s_fake_B.tif") as output:
        assert output.count == 4 and ColorInterp.alpha not in output.colorinterp


def test_images_become_tiff_files_as_their_targets_are(command: Command, tmp_path: Path) -> None:
    root = tmp_path / "data"
    values = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    for phase in ("train", "test"):
        (root / f"{phase}A").mkdir(parents=True)
        Image.fromarray(values).save(root / f"{phase}A" / "s.png")
        write_raster(root / f"{phase}B" / "s.tif", values[None], crs=None)
    train(command, root)
    output = test_run(command) / "values" / "s_fake_B.tif"
    assert np.asarray(Image.open(output)).dtype == np.uint8


def test_the_page_of_a_training_shows_each_input_and_says_the_slices(
    command: Command, tmp_path: Path
) -> None:
    root = volumes(tmp_path / "data", sides="A1 A2 B")
    with_page = [flag for flag in SMALL if flag != "--no_html"]
    flags = ["--dataroot", root, "--name", "run", *LIMITS, "--slices_around", "1"]
    done = command("train", *with_page, *flags)
    assert done.status == 0, done.err
    web = Path("checkpoints/run/web")
    page = (web / "index.html").read_text()
    assert "p0, slice 1" in page and "p1, slice 4" in page
    for label in ("real_A1", "real_A2", "fake_B", "real_B"):
        with Image.open(web / "images" / f"epoch001_{label}.png") as image:
            assert image.size == (64, 64)
            channels = np.asarray(image.convert("RGB"))
            assert (channels == channels[..., :1]).all()  # grey: a single slice
    assert not (web / "images" / "epoch001_real_A.png").exists()


def test_a_test_needs_no_targets(command: Command, tmp_path: Path) -> None:
    root = volumes(tmp_path / "data", "train")
    volumes(root, "test", "A")
    train(command, root)
    results = test_run(command)
    assert sorted(path.name for path in (results / "values").iterdir()) == [
        "p0_fake_B.nii.gz",
        "p1_fake_B.nii.gz",
    ]
    assert not list((results / "images").glob("*real_B*"))


def test_the_other_direction_needs_no_targets_either(command: Command, tmp_path: Path) -> None:
    root = volumes(tmp_path / "data", "train")
    volumes(root, "test", "B")
    train(command, root, "--direction", "BtoA")
    results = test_run(command)
    assert len(list((results / "values").iterdir())) == 2


def test_several_inputs_are_given_as_a_tuple(command: Command, tmp_path: Path) -> None:
    root = volumes(tmp_path / "data", sides="A1 A2 B")
    train(command, root, "--missing", "zero")
    results = test_run(command)
    files = tuple(root / f"test{side}" / "p1.nii.gz" for side in ("A1", "A2"))
    t = Translator.load("checkpoints/run", gpu_ids=-1)
    whole = np.asanyarray(nibabel.load(results / "values" / "p1_fake_B.nii.gz").dataobj)
    np.testing.assert_array_equal(np.asanyarray(t(files).dataobj), whole)
    one, other = t([files, (files[0], None)])
    np.testing.assert_array_equal(np.asanyarray(one.dataobj), whole)
    assert (np.asanyarray(other.dataobj) != whole).any()
    for wrong, said in (
        (files[0], "the run takes a tuple of 2 files (A1, A2), or a folder with A1/, A2/, not 1"),
        ((None, None), "A1, A2: no such input"),
        ((files[0], None, None), "the run takes a tuple of 2 files"),
        (np.zeros((4, 4)), "the run takes a tuple of 2 files"),
        ("none.nii", "none.nii: no such file or folder"),
        ((files[0], tmp_path / "none.nii"), "none.nii: no such file"),
    ):
        with pytest.raises(ValueError) as error:
            t(wrong)
        assert said in str(error.value)
    assert (results / "images" / "p1_real_A2.png").is_file()
    done = command("scripts.translate", "--name", "run", "--gpu_ids", "-1", root, "out")
    assert done.status == 0, done.err
    made = (results / "values" / "p1_fake_B.nii.gz").read_bytes()
    assert (Path("out") / "p1.nii.gz").read_bytes() == made
    done = command("scripts.evaluate", "--name", "run", "--gpu_ids", "-1")
    page = (results.parent / "test_latest_evaluation" / "index.html").read_text()
    assert "p1_real_A1.png" in page and "p1_real_A2.png" in page and "input 2" in page
    assert "p1, slices 1, 3, 4 of 6" in page
    shutil.rmtree(root / "testA2")  # none of the test has it
    alone = np.asanyarray(nibabel.load(test_run(command) / "values/p1_fake_B.nii.gz").dataobj)
    np.testing.assert_array_equal(alone, np.asanyarray(other.dataobj))
    done = command(
        *("test", "--name", "run", "--missing", "error", "--gpu_ids", "-1", "--num_threads", "0")
    )
    assert done.status == 2 and "holds testA1/, but the run was trained on A1, A2" in done.err
    (root / "testA1").rename(root / "testA")
    done = command("test", "--name", "run", "--gpu_ids", "-1", "--num_threads", "0")
    assert done.status == 2 and "holds testA/, but the run was trained on A1, A2" in done.err


def test_python_takes_images_of_nibabel_and_folders(command: Command, tmp_path: Path) -> None:
    root = volumes(tmp_path / "data")
    train(command, root)
    t, path = Translator.load("checkpoints/run", gpu_ids=-1), root / "testA" / "p1.nii.gz"
    whole = np.asanyarray(t(path).dataobj)
    image = nibabel.load(path)
    np.testing.assert_array_equal(np.asanyarray(t(image).dataobj), whole)
    copy = nibabel.Nifti1Image(np.asanyarray(image.dataobj), image.affine)  # has no file
    assert t(copy).shape == whole.shape and t([path])[0].shape == whole.shape
    found = t(root / "testA")
    assert [*found] == ["p0", "p1"]
    np.testing.assert_array_equal(np.asanyarray(found["p1"].dataobj), whole)
    for wrong, said in (
        (np.zeros((8, 8)), "expected a file, a folder of DICOM files or an image of nibabel"),
        (None, "A: no such input"),
        ((path, path), "the run takes one file for each subject"),
        (5, "got int"),
    ):
        assert said in str(pytest.raises(ValueError, t, wrong).value)


def test_another_axis_than_in_the_training_is_said(
    command: Command, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = volumes(tmp_path / "data")
    train(command, root)
    test_run(command)
    assert "the run was trained" not in caplog.text and "another unit" not in caplog.text
    for n in range(2):
        array = (numbers() / 420).astype(np.float32)
        write_nifti(root / "testA" / f"p{n}.nii.gz", array, affine_of("PIR"))
    test_run(command, "--slice_axis", "coronal", "--missing", "zero")
    assert "--slice_axis coronal: the run was trained on slices that are axial" in caplog.text
    assert "--missing zero: the run was trained with all inputs" in caplog.text
    assert caplog.text.count("--range_A 0,420: ") == 1  # of the first file alone
    assert "testA/p0.nii.gz: its values, 0" in caplog.text


def test_an_earlier_test_leaves_no_files_of_values(command: Command, tmp_path: Path) -> None:
    root = volumes(tmp_path / "data")
    train(command, root)
    values = test_run(command) / "values"
    (values / "mine_fake_B.nii.gz").write_bytes(b"")  # of somebody else
    (root / "testA" / "p0.nii.gz").rename(root / "testA" / "q0.nii.gz")
    (root / "testB" / "p0.nii.gz").rename(root / "testB" / "q0.nii.gz")
    test_run(command)
    assert sorted(path.name for path in values.iterdir()) == [
        *("mine_fake_B.nii.gz", "p1_fake_B.nii.gz", "q0_fake_B.nii.gz")
    ]


def test_shards_are_whole_files(command: Command, tmp_path: Path) -> None:
    root = volumes(tmp_path / "data")
    train(command, root)
    whole = {p.name: p.read_bytes() for p in (test_run(command) / "values").iterdir()}
    for shard in ("0", "1"):
        place = ["--results_dir", "shards"]
        folder = ["--name", "run", "--gpu_ids", "-1", "--num_threads", "0", *place]
        done = command("test", *folder, "--num_shards", "2", "--shard_id", shard)
        assert done.status == 0, done.err
    found = done.cwd / "shards" / "run" / "test_latest" / "values"
    assert {p.name: p.read_bytes() for p in found.iterdir()} == whole


def test_what_cannot_be_translated_is_one_line(
    command: Command, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = volumes(tmp_path / "data")
    train(command, root)
    np.save(root / "testA" / "p0.npy", np.zeros(4))
    refused = ("test", "--name", "run", "--gpu_ids", "-1", "--num_threads", "0")
    done = command(*refused)
    assert done.status == 2 and "have the same name" in done.err and "Traceback" not in done.err
    (root / "testA" / "p0.npy").unlink()
    array = numbers().astype(np.float32)
    array[0, 0, 0] = np.nan
    write_nifti(root / "testA" / "p0.nii.gz", array, affine_of("PIR"))
    done = command(*refused)
    assert done.status == 2 and "testA/p0.nii.gz: has pixels without data" in done.err
    done = command(*refused, "--on_bad_image", "skip")
    assert done.status == 0 and "1 image translated" in caplog.text
    (Path("checkpoints/run") / "pixel_ranges.json").unlink()
    done = command(*refused)
    assert done.status == 2 and "pixel_ranges.json: is missing" in done.err
    done = command(*refused, "--num_variants", "2")
    assert done.status == 2


def test_other_commands_refuse_a_run_on_measurements_in_one_line(
    command: Command, tmp_path: Path
) -> None:
    train(command, volumes(tmp_path / "data"))
    for name, flags, said in (
        ("scripts.draw", ["--port", "0"], "which have no page"),
        ("scripts.export", ["--site", "site"], "--site: needs 8 bits"),
        ("test", ["--num_variants", "2", "--num_threads", "0"], "--num_variants 2: is for images"),
    ):
        done = command(
            name,
            "--name",
            "run",
            *([] if name == "scripts.export" else ["--gpu_ids", "-1"]),
            *flags,
        )
        assert done.status == 2 and said in done.err, (name, done.err)
        assert "Traceback" not in done.err
    t = Translator.load("checkpoints/run", gpu_ids=-1)
    for wrong in (
        lambda: t(tmp_path / "data/testA/p0.nii.gz", variants=2),
        lambda: t.prepare(np.zeros((8, 8))),
    ):
        with pytest.raises(ValueError, match="a run on measurements"):
            wrong()


def test_translate_writes_files_of_the_same_kind(
    command: Command, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = volumes(tmp_path / "data")
    train(command, root)
    whole = {p.name: p.read_bytes() for p in (test_run(command) / "values").iterdir()}
    run = ("--name", "run", "--gpu_ids", "-1")
    assert command("scripts.translate", *run, root / "testA", "out").status == 0
    for n in range(2):
        made = (Path("out") / f"p{n}.nii.gz").read_bytes()
        assert made == whole[f"p{n}_fake_B.nii.gz"]
    one = root / "testA" / "p0.nii.gz"
    assert command("scripts.translate", *run, one, "one/x.nii").status == 0
    plain, packed = (nibabel.load(p) for p in ("one/x.nii", "out/p0.nii.gz"))
    np.testing.assert_array_equal(np.asanyarray(plain.dataobj), np.asanyarray(packed.dataobj))
    for words, said in (
        ([one, "one/x.nii"], "OUT one/x.nii: exists"),
        ([one, "one/x.png"], "OUT one/x.png: use the ending .nii.gz"),
        ([one, "-"], "-: a run on measurements translates files to files"),
        ([root / "testA", root / "testA", "--overwrite"], "is an input; choose another place"),
        ([root / "testA", "all.nii.gz"], "OUT all.nii.gz: is the name of a file"),
        ([root / "testA", root / "testA/ct"], "lies in IN, whose files are all translated"),
        ([one, "one/x.nii/y.nii"], "OUT: one/x.nii cannot be written"),
    ):
        done = command("scripts.translate", *run, *words)
        assert done.status == 2 and said in done.err, done.err


def test_translate_skips_files_that_cannot_be_read(
    command: Command, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = volumes(tmp_path / "data")
    train(command, root)
    (root / "testA/a.nii").write_text("milk")  # not a volume at all
    whole = nibabel.load(root / "testA/p0.nii.gz")
    nibabel.save(whole, root / "testA/cut.nii")
    cut = root / "testA/cut.nii"
    cut.write_bytes(cut.read_bytes()[:-9])  # found when its pixels are read
    run = ("--name", "run", "--gpu_ids", "-1")
    done = command("scripts.translate", *run, root / "testA", "out")
    assert done.status == 2 and "a.nii" in done.err
    done = command("scripts.translate", *run, "--on_bad_image", "skip", root / "testA", "out")
    assert done.status == 0, done.err
    assert sorted(p.name for p in Path("out").iterdir()) == ["p0.nii.gz", "p1.nii.gz"]
    skipped = [line for line in caplog.messages if line.startswith("skipped: ")]
    assert len(skipped) == 2 and "a.nii" in skipped[0] and "cut.nii" in skipped[1]


def test_evaluate_reports_errors_in_the_values_of_the_files(
    command: Command, tmp_path: Path
) -> None:
    root = volumes(tmp_path / "data")
    train(command, root)
    results = test_run(command)
    done = command("scripts.evaluate", "--name", "run", "--gpu_ids", "-1", "--num_threads", "1")
    assert done.status == 0, done.err
    folder = done.cwd / "results" / "run" / "test_latest_evaluation"
    found = json.loads((folder / "metrics.json").read_text())["runs"][0]["metrics"]
    by_hand = []
    for n in range(2):
        output, target = (
            np.asanyarray(nibabel.load(path).dataobj).astype(np.float64)
            for path in (
                results / "values" / f"p{n}_fake_B.nii.gz",
                root / "testB" / f"p{n}.nii.gz",
            )
        )
        by_hand.append([np.abs(output - target).mean(), ((output - target) ** 2).mean()])
    by_hand = np.array(by_hand)
    assert found["MAE"]["mean"] == pytest.approx(by_hand[:, 0].mean())
    assert found["RMSE"]["mean"] == pytest.approx(np.sqrt(by_hand[:, 1]).mean())
    psnr = 10 * np.log10(2000**2 / by_hand[:, 1])
    assert found["PSNR"]["mean"] == pytest.approx(psnr.mean())
    assert "500 or more" in (folder / "index.html").read_text()
    wrong = command("scripts.evaluate", "--name", "run", "--gpu_ids", "-1", "--metrics", "SSIM")
    assert wrong.status == 2 and "--metrics SSIM: is for images" in wrong.err


def test_runs_with_other_ranges_are_compared_in_the_values_of_the_files(
    command: Command, tmp_path: Path
) -> None:
    root = volumes(tmp_path / "data")
    for name, limits in (("narrow", "-1000,1000"), ("wide", "-1000,3000")):
        train(command, root, "--name", name, "--range_B", limits)
    runs = ["--name", "narrow", "wide", "--gpu_ids", "-1", "--num_threads", "1"]
    done = command("scripts.evaluate", *runs, "--out", "out")
    assert done.status == 0, done.err
    notes = json.loads(Path("out/metrics.json").read_text())["protocol"]
    assert "-1000 to 1000 (narrow), -1000 to 3000 (wide), so PSNR" in notes[0]
    assert not any("other images" in note for note in notes)
    page = Path("out/index.html").read_text()
    assert "1000 or more" in page and page.count("<div><small>") == 2  # MAE and RMSE
    target = shown_values(open_grid(root / "testB/p0.nii.gz", "axial"))
    for n, name in enumerate(("narrow", "wide")):
        output = open_grid(Path(f"results/{name}/test_latest/values/p0_fake_B.nii.gz"), "axial")
        errors = np.abs(shown_values(output) - target).mean(2)
        save_image(heat_colours((errors / 1000).clip(0, 1)), "wanted.png", output.stretch)
        wanted, error_map = map(Image.open, ("wanted.png", f"out/heat/{n}/00000.png"))
        assert np.array_equal(wanted, error_map)


def test_points_without_data_do_not_count_in_an_evaluation(
    command: Command, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    values = np.full((1, 70, 70), 100, np.float32)
    values[0, :, :35] = np.arange(35)
    lacking = values.copy()
    lacking[0, :30] = -9999
    for phase in ("train", "test"):
        write_raster(root / f"{phase}A" / "s.tif", values)
        write_raster(root / f"{phase}B" / "s.tif", lacking, nodata=-9999)
    train(command, root, "--nodata", "mask", "--windows_per_epoch", "2")
    results = test_run(command)
    done = command("scripts.evaluate", "--name", "run", "--gpu_ids", "-1", "--num_threads", "1")
    assert done.status == 0, done.err
    with rasterio.open(results / "values" / "s_fake_B.tif") as file:
        error = np.abs(file.read(1)[30:] - values[0, 30:]).mean()
    folder = done.cwd / "results" / "run" / "test_latest_evaluation"
    found = json.loads((folder / "metrics.json").read_text())["runs"][0]["metrics"]
    assert found["MAE"]["mean"] == pytest.approx(error, rel=1e-6)


def test_outputs_without_data_in_common_with_their_targets_are_left_out_and_named(
    command: Command, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    values = np.full((1, 64, 64), 100, np.float32)
    values[0, :, :35] = np.arange(35)
    for name, target in (("clear", values), ("cloudy", np.full_like(values, -9999))):
        write_raster(root / "testA" / f"{name}.tif", values)
        write_raster(root / "testB" / f"{name}.tif", target, nodata=-9999)
    for side in "AB":
        write_raster(root / f"train{side}" / "s.tif", values, nodata=-9999)
    train(command, root, "--nodata", "mask", "--windows_per_epoch", "2")
    results = test_run(command)
    words = ["--name", "run", "--gpu_ids", "-1", "--num_threads", "1"]
    done = command("scripts.evaluate", *words)
    assert done.status == 0, done.err
    folder = done.cwd / "results" / "run" / "test_latest_evaluation"
    numbers = json.loads((folder / "metrics.json").read_text())
    assert any("no data in common: cloudy;" in note for note in numbers["protocol"])
    found = numbers["runs"][0]["metrics"]
    with rasterio.open(results / "values" / "clear_fake_B.tif") as file:
        error = np.abs(file.read(1) - values[0]).mean()
    assert found["MAE"]["mean"] == pytest.approx(error, rel=1e-6)
    rows = (folder / "metrics.csv").read_text().splitlines()
    assert rows[2] == "run,cloudy,,,"
    assert (folder / "index.html").read_text().count('data-values="[{}]"') == 1

    write_raster(root / "testB" / "clear.tif", np.full_like(values, -9999), nodata=-9999)
    done = command("scripts.evaluate", *words)
    assert done.status == 2 and "have no data in common, and so it is with all" in done.err


def test_slices_are_padded_as_in_the_training(command: Command, tmp_path: Path) -> None:
    root = volumes(tmp_path / "data")  # slices of 7x6 pixels, --crop_size 64
    train(command, root, "--slices_around", "1")
    t = Translator.load("checkpoints/run", gpu_ids=-1)
    path = root / "testA" / "p0.nii.gz"
    subject = t.input.open(path)
    real = torch.zeros(1, 3, 64, 64)
    height, width = subject.first.size[::-1]
    top, left = (64 - height) // 2, (64 - width) // 2
    middle = real[0, :, top : top + height, left : left + width]
    for n in range(3):  # its own values and those of its neighbours
        values = subject.first.read(n)[..., 0].copy()
        middle[n] = torch.from_numpy(values) / 210 - 1
    fake = t.translate(real, [str(path)])[0, 0].numpy()
    expected = np.rint((fake.astype(np.float64).clip(-1, 1) + 1) * 1000 - 1000)
    with t.input.output(subject) as found:
        t.files.translate(subject, found)
    apart = found.slices[1] - expected[top : top + height, left : left + width]
    assert np.abs(apart).max() <= 1  # other batches round otherwise


def test_masked_points_of_whole_numbers_do_not_count_either(
    command: Command, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    array = (numbers() * 2).astype(np.float32)
    array[:3] = np.nan
    for phase in ("train", "test"):
        write_nifti(root / f"{phase}A" / "p.nii.gz", array)
        write_nifti(root / f"{phase}B" / "p.nii.gz", (numbers() * 2).astype(np.int16))
    train(command, root, "--nodata", "mask")
    results = test_run(command)
    done = command("scripts.evaluate", "--name", "run", "--gpu_ids", "-1", "--num_threads", "1")
    assert done.status == 0, done.err
    output = np.asanyarray(nibabel.load(results / "values" / "p_fake_B.nii.gz").dataobj)
    assert (output[:3] == -1000).all()
    folder = done.cwd / "results" / "run" / "test_latest_evaluation"
    found = json.loads((folder / "metrics.json").read_text())["runs"][0]["metrics"]
    assert found["MAE"]["mean"] == pytest.approx(np.abs(output - numbers() * 2.0)[3:].mean())
    with Image.open(folder / "heat" / "0" / "00000.png") as heat:
        greys = (np.asarray(heat) == 127).all(2).mean(0)
    assert (greys[:3] == 1).all() and (greys[3:] == 0).all()  # pixels without data


def test_a_missing_file_of_values_is_not_finished(
    command: Command, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(command, volumes(tmp_path / "data"))
    values = test_run(command) / "values"
    whole = {path.name: path.read_bytes() for path in values.iterdir()}
    (values / "p1_fake_B.nii.gz").unlink()
    test_run(command, "--skip_finished")
    assert "1 image translated, 1 already finished" in caplog.text
    assert {path.name: path.read_bytes() for path in values.iterdir()} == whole
    (values / "p0_fake_B.nii.gz").unlink()
    done = command("scripts.evaluate", "--name", "run", "--gpu_ids", "-1", "--num_threads", "1")
    assert done.status == 0, done.err


def test_rasters_and_arrays_are_saved_as_files(command: Command, tmp_path: Path) -> None:
    root = tmp_path / "data"
    values = np.random.default_rng(0).random((70, 80)).astype(np.float32)
    for phase in ("train", "test"):
        for side in "AB":
            write_raster(root / f"{phase}{side}" / "s.tif", values[None])
    train(command, root, "--windows_per_epoch", "2")
    t = Translator.load("checkpoints/run", gpu_ids=-1)
    source = root / "testA" / "s.tif"
    t.save(source, tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as file:
        np.testing.assert_array_equal(file.read(1), t(source)[..., 0])
    for wrong, said in ((source, "is an input"), (tmp_path / "x.gz", "use the ending .tif")):
        with pytest.raises(ValueError, match=said):
            t.save(source, wrong)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_the_noise_is_that_of_the_stem(command: Command, tmp_path: Path, ending: str) -> None:
    train(command, volumes(tmp_path / "data"))
    t = Translator.load("checkpoints/run", gpu_ids=-1)
    array = (numbers() * 2).astype(np.int16)
    one = write_nifti(tmp_path / f"a{ending}", array)
    other = write_nifti(tmp_path / "b" / "a.nii", array)
    np.testing.assert_array_equal(*(np.asanyarray(t(path).dataobj) for path in (one, other)))


def test_another_range_than_that_of_the_weights_is_refused(
    command: Command, tmp_path: Path
) -> None:
    root = volumes(tmp_path / "data")
    train(command, root)
    file = Path("checkpoints/run/pixel_ranges.json")
    before = file.read_bytes()
    again = [*SMALL, "--dataroot", root, "--name", "run", "--continue_train", "--n_epochs", "3"]
    run = ("--name", "run", "--gpu_ids", "-1", "--range_B", "0,5000")
    for words in (
        ("train", *again, *LIMITS, "--range_B", "0,5000"),
        ("test", *run, "--num_threads", "0"),
        ("scripts.translate", *run, root / "testA", "out"),
        ("scripts.evaluate", *run),
    ):
        done = command(*words)
        said = "--range_B 0,5000: the weights of the run are for -1000,1000"
        assert done.status == 2 and said in done.err, done.err
    assert file.read_bytes() == before


def test_runs_are_tested_and_validated_with_running_statistics(
    command: Command, tmp_path: Path
) -> None:
    root = volumes(tmp_path / "data", "train val test")
    train(command, root, "--val_freq", "1")
    options = json.loads(Path("checkpoints/run/train_opt.json").read_text())
    assert options["eval"] is True
    runs = {}
    for flags in ((), ("--eval",), ("--no_eval",)):
        files = sorted((test_run(command, *flags) / "values").iterdir())
        runs[flags] = [np.asanyarray(nibabel.load(file).dataobj) for file in files]
    assert (runs[()][0] == runs[("--eval",)][0]).all()
    assert (runs[()][0] != runs[("--no_eval",)][0]).any()
    t = Translator.load("checkpoints/run", gpu_ids=-1)
    assert not any(module.training for module in t.model.nets["G"].modules())


def test_a_training_without_running_statistics_is_tested_without(
    command: Command, tmp_path: Path
) -> None:
    train(command, volumes(tmp_path / "data", "train"), "--no_eval")
    t = Translator.load("checkpoints/run", gpu_ids=-1)
    assert not t.opt.eval and Translator.load("checkpoints/run", gpu_ids=-1, eval=True).opt.eval


def test_a_table_of_options_alone_is_enough(command: Command, tmp_path: Path) -> None:
    train(command, volumes(tmp_path / "data"), "--slices_around", "1")
    Path("checkpoints/run/train_opt.json").unlink()
    assert len(list((test_run(command) / "values").iterdir())) == 2


def test_an_image_is_no_volume(command: Command, tmp_path: Path) -> None:
    train(command, volumes(tmp_path / "data"))
    path = tmp_path / "png" / "testA" / "a.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(np.eye(64, dtype=np.uint8)).save(path)
    said = "a.png: is no volume, but the run was trained on volumes"
    done = command("scripts.translate", "--name", "run", "--gpu_ids", "-1", path, "out")
    assert done.status == 2 and said in done.err
    flags = ["--dataroot", tmp_path / "png", "--gpu_ids", "-1", "--num_threads", "0"]
    done = command("test", "--name", "run", *flags)
    assert done.status == 2 and said in done.err


def test_whole_numbers_without_a_value_for_no_data_have_a_mask(
    command: Command, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    for phase in ("train", "test"):
        bands = np.random.default_rng(0).integers(0, 400, (1, 64, 64)).astype(np.int16)
        lacking = bands.copy()
        lacking[:, :9, :7] = -1
        write_raster(root / f"{phase}A" / "s.tif", lacking, nodata=-1)
        write_raster(root / f"{phase}B" / "s.tif", bands)
    train(command, root, "--nodata", "mask")
    path = test_run(command) / "values" / "s_fake_B.tif"
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name]
    with rasterio.open(path) as file:
        values, mask = file.read(1), file.read_masks(1)
    assert file.nodata is None and ((mask == 0) == (lacking[0] == -1)).all()
    array = Translator.load("checkpoints/run", gpu_ids=-1)(root / "testA" / "s.tif")
    np.testing.assert_array_equal(array.mask[..., 0], mask == 0)
    np.testing.assert_array_equal(array.data[..., 0], values)
    assert array.mean() == pytest.approx(values[mask > 0].mean())


def test_a_flag_of_the_training_is_named_as_such(command: Command, tmp_path: Path) -> None:
    train(command, volumes(tmp_path / "data"))
    for flags, said in (
        (["--slice_range", "2,-2"], "is a flag of train.py with --dataset_mode measurements"),
        (["--slices_around", "1"], "--slices_around 1: the run was trained with 0"),
    ):
        done = command("test", "--name", "run", "--gpu_ids", "-1", *flags)
        assert done.status == 2 and said in done.err, done.err


def test_folders_of_volumes_and_rasters_are_compared_in_their_values(
    command: Command, tmp_path: Path
) -> None:
    target = numbers().astype(np.int16)
    write_nifti(tmp_path / "fake" / "p0_fake_B.nii.gz", target + 3)
    write_nifti(tmp_path / "real" / "p0.nii.gz", target)
    folders = ["--fake", tmp_path / "fake", "--real", tmp_path / "real"]
    done = command("scripts.evaluate", *folders)
    assert done.status == 0, done.err
    scores = json.loads((tmp_path / "fake_evaluation" / "metrics.json").read_text())
    (found,) = scores["runs"]
    assert found["metrics"]["MAE"]["mean"] == found["metrics"]["RMSE"]["mean"] == 3
    psnr = 20 * np.log10(np.ptp(target) / 3)
    assert found["metrics"]["PSNR"]["mean"] == pytest.approx(psnr)
    write_nifti(tmp_path / "real" / "p1.nii.gz", target)
    done = command("scripts.evaluate", *folders)
    assert done.status == 2 and "p1.nii.gz has no partner of that name" in done.err
    write_nifti(tmp_path / "fake" / "p1.nii.gz", numbers((7, 6, 4)).astype(np.int16))
    done = command("scripts.evaluate", *folders)
    assert done.status == 2 and "lie on different grids: 4 and 5 slices" in done.err
    for side, more in (("fake", 2.5), ("real", 0)):
        bands = np.arange(64, dtype=np.float32).reshape(1, 8, 8) + more
        write_raster(tmp_path / "r" / side / "s.tif", bands)
    folders = ["--fake", tmp_path / "r" / "fake", "--real", tmp_path / "r" / "real"]
    done = command("scripts.evaluate", *folders)
    assert done.status == 2 and "--values" in done.err
    done = command("scripts.evaluate", *folders, "--values", "--metrics", "MAE")
    assert done.status == 0, done.err
    done = command("scripts.evaluate", "--name", "run", "--values")
    assert done.status == 2 and "--values: is for --fake DIR" in done.err
