"""Measurements as items of a training: pairing, inputs, ranges, slices, windows, no data."""

import pickle
import random
import shutil
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TINY, refusal
from PIL import Image
from support.measured_files import (
    affine_of,
    numbers,
    write_dicom,
    write_nifti,
    write_raster,
)

from data import Loader, create_dataset, create_validation_dataset
from data.checks.data_check import check_data
from data.value_range import read_ranges
from options.train_options import TrainOptions

MEASURED = ["--dataset_mode", "measurements", *TINY, "--crop_size", "4", "--no_flip"]


def loader(root: Path, *flags: str) -> Loader:
    """Return the loader of a training."""
    runs = ["--checkpoints_dir", str(root / "runs"), "--dataroot", str(root)]
    return create_dataset(TrainOptions().read([*runs, *MEASURED, "--no_data_check", *flags]))


def items(root: Path, *flags: str) -> list[dict[str, Any]]:
    """Return all items of a training's first epoch, in order."""
    found = loader(root, "--serial_batches", "--preprocess", "none", *flags)
    return [found.item(n) for n in range(len(found))]


def volumes(root: Path, sides: str = "AB", phases: str = "train", count: int = 2) -> Path:
    """Write `count` volumes of each side: B is twice A."""
    for phase in phases.split():
        for side in sides.split() if " " in sides else sides:
            for n in range(count):
                array = (numbers() + n) * (2 if side == "B" else 1)
                write_nifti(root / f"{phase}{side}" / f"p{n}.nii", array.astype(np.int16))
    return root


def test_an_item_is_a_slice_in_the_range_of_its_side(tmp_path: Path) -> None:
    volumes(tmp_path)
    found = items(tmp_path, "--range_A", "0,210", "--range_B", "0,100")
    assert len(found) == 2 * 5 and all(item["A"].shape == (1, 1, 6, 7) for item in found)
    first = numbers()[..., 0].T[::-1]
    np.testing.assert_allclose(found[0]["A"][0, 0], first / 105 - 1, atol=1e-6)
    np.testing.assert_allclose(found[0]["B"][0, 0], (2 * first / 50 - 1).clip(-1, 1), atol=1e-6)
    assert found[0]["A_paths"] == [str(tmp_path / "trainA/p0.nii")]
    assert "valid" not in found[0]


def test_the_range_of_values_is_found_and_kept_with_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = loader(volumes(tmp_path))
    low, high = found.dataset.reader.ranges["B"]
    assert (low, high) == (0, 2 * (numbers().max() + 1))
    assert "--range_B 0,420: the values of B" in caplog.text
    again = loader(tmp_path, "--continue_train")
    assert again.dataset.reader.ranges == found.dataset.reader.ranges


def test_the_type_of_outputs_holds_the_values_of_all_targets(tmp_path: Path) -> None:
    root = volumes(tmp_path / "d")
    write_nifti(root / "trainB" / "p0.nii", numbers().astype(np.uint16))
    write_nifti(root / "trainB" / "p1.nii", (numbers() - 100).astype(np.int16))
    data = loader(root, "--range_B", "-100,200")
    stored, low, high = data.dataset.fitted_ranges()["B"]
    assert (stored.dtype, low, high) == ("int32", -100, 200)


def test_weights_keep_the_range_that_they_were_trained_for(tmp_path: Path) -> None:
    opt = loader(volumes(tmp_path), "--range_B", "0,420").opt
    for flags in (["--continue_train"], ["--continue_train", "--range_B", "0,420"]):
        assert loader(tmp_path, *flags).dataset.reader.ranges["B"] == (0, 420)
    refusal(
        lambda: loader(tmp_path, "--continue_train", "--range_B", "0,500"),
        "--range_B 0,500: the weights of the run are for 0,420",
        "another name",
    )
    assert read_ranges(opt)["B"][1:] == (0, 420)


def test_a_range_that_does_not_fit_the_values_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    volumes(tmp_path)
    loader(tmp_path, "--range_A", "0,420", "--range_B", "-1000,1000")
    assert "lie outside" not in caplog.text and "small part" not in caplog.text
    loader(tmp_path, "--range_A", "0,20", "--range_B", "0,100000")
    assert "--range_A 0,20: " in caplog.text and "lie outside and are clipped" in caplog.text
    assert "--range_B 0,100000: " in caplog.text and "are a small part of it" in caplog.text


def test_rasters_of_other_channels_are_refused_before_the_training(tmp_path: Path) -> None:
    for side in "AB":
        for n in range(2):
            bands = np.ones((1 + (n == 1 and side == "A"), 8, 8), np.float32)
            write_raster(tmp_path / f"train{side}" / f"s{n}.tif", bands)
    said = "trainA/s1.tif: has 2 channels, but those of A have 1"
    refusal(lambda: loader(tmp_path), said)


def test_a_range_of_an_input_that_is_not_there_is_refused(tmp_path: Path) -> None:
    said = "--range_A2: there is no folder trainA2/"
    refusal(lambda: loader(volumes(tmp_path), "--range_A2", "0,1"), said)


def test_statistics_are_in_the_values_of_the_files(tmp_path: Path) -> None:
    volumes(tmp_path)
    flags = ["--range_A", "0,420", "--range_B", "-7,430.1", "--preprocess", "none"]
    found = loader(tmp_path, *flags)
    remarks, sides = check_data(found.dataset, found.dataset.opt)
    assert sides["B"].range == (-7, 430.1)
    last = 2 * (numbers().max() + 1)
    assert sides["B"].values.max() == pytest.approx(last) and not sides["B"].outside()
    assert not [remark for remark in remarks if "outside" in remark.what]


def test_without_a_folder_of_files_nothing_is_drawn() -> None:
    flags = ["--dataset_mode", "measurements", *TINY]
    refusal(lambda: TrainOptions().read(flags), "--dataset_mode measurements: needs --dataroot")


def test_channels_are_those_of_the_files(tmp_path: Path) -> None:
    volumes(tmp_path)
    opt = loader(tmp_path, "--slices_around", "1").opt
    assert (opt.input_nc, opt.output_nc) == (3, 1)
    refusal(
        lambda: loader(tmp_path, "--input_nc", "2"), "--input_nc 2: the files of", "have 1 (1 of A)"
    )


def test_neighbouring_slices_are_channels_and_the_last_ones_are_repeated(tmp_path: Path) -> None:
    volumes(tmp_path, count=1)
    alone = items(tmp_path)
    around = items(tmp_path, "--slices_around", "2")
    for n in range(5):
        expected = [min(max(n + k, 0), 4) for k in range(-2, 3)]
        assert torch.equal(around[n]["A"][0], torch.cat([alone[k]["A"][0] for k in expected]))
        assert torch.equal(around[n]["B"], alone[n]["B"])
        assert around[n]["slice"].item() == n
    shown = loader(tmp_path, "--slices_around", "2").dataset.shown_channels()
    assert shown == {"A": slice(2, 3)}


def test_slices_of_another_axis_and_of_a_range(tmp_path: Path) -> None:
    volumes(tmp_path, count=1)
    assert len(items(tmp_path, "--slice_axis", "sagittal")) == 7
    limits = ("--range_A", "0,210")  # else each training finds that of its slices
    some, whole = items(tmp_path, "--slice_range", "1,-2", *limits), items(tmp_path, *limits)
    assert len(some) == 3 and torch.equal(some[0]["A"], whole[1]["A"])
    refusal(lambda: items(tmp_path, "--slice_range", "3,9"), "--slice_range 3,9", "5 slices")


@pytest.mark.parametrize("cache", ["ram", "none"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_slices_outside_the_range_need_no_data_and_are_not_looked_at(
    tmp_path: Path, cache: str, ending: str
) -> None:
    array = numbers().astype(np.float32)
    array[..., 0], array[..., -1] = np.nan, 1e6  # axial slices
    for side in "AB":
        write_nifti(tmp_path / f"train{side}" / f"p0{ending}", array)
    refusal(lambda: items(tmp_path, "--cache", cache), "has pixels without data")
    training = loader(tmp_path, "--slice_range", "1,-2", "--cache", cache)
    found = [batch["A"] for epoch in (1, 2) for batch in training]
    assert len(found) == 2 * (array.shape[2] - 2) and all(t.isfinite().all() for t in found)
    _, low, high = training.dataset.kept["A"]
    assert low >= array[:, :, 1:-1].min() and high <= array[:, :, 1:-1].max()


def test_a_validation_has_slices_of_all_volumes(tmp_path: Path) -> None:
    volumes(tmp_path, phases="train val")
    training = loader(tmp_path)
    found = create_validation_dataset(training.opt, most=4)
    files = [batch["A_paths"][0] for batch in found]
    assert files == [str(tmp_path / f"valA/p{n}.nii") for n in (0, 0, 1, 1)]


@pytest.mark.parametrize("cache", ["ram", "none"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_cache_changes_nothing(tmp_path: Path, cache: str, ending: str) -> None:
    for side in "AB":
        write_nifti(tmp_path / f"train{side}" / f"p{ending}", numbers().astype(np.int16))
    found = loader(tmp_path, "--cache", cache, "--preprocess", "none")
    for _ in range(2):
        for n in (2, 0, 4):
            expected = numbers()[..., n].T[::-1] / (209 / 2) - 1
            np.testing.assert_allclose(found.item(n)["A"][0, 0], expected, atol=1e-6)
    assert (found.dataset.cache is None) == (cache == "none")


def test_series_and_volumes_are_paired_by_name(tmp_path: Path) -> None:
    array = numbers((5, 6, 7)).astype(np.int16)
    write_dicom(tmp_path / "trainA" / "p1", array)
    values = array.transpose(2, 1, 0)
    affine = np.diag([-1.0, -1.5, 3.0, 1.0])
    affine[:3, 3] = (10, -20, 5)
    write_nifti(tmp_path / "trainB" / "p1.nii.gz", values, affine)
    for item in items(tmp_path):
        assert torch.equal(item["A"], item["B"])


def test_several_inputs_are_the_channels_of_A_in_their_order(tmp_path: Path) -> None:
    for n in range(2):
        for side, bands in (("A1", 2), ("A2", 1), ("B", 1)):
            values = np.full((bands, 8, 8), {"A1": 10, "A2": 30, "B": 50}[side] + n, np.float32)
            values[:, 0, 0], values[:, 0, 1] = 0, 100
            write_raster(tmp_path / f"train{side}" / f"s{n}.tif", values)
    ranges = ["--range_A", "0,100", "--range_A2", "0,60", "--range_B", "0,100"]
    found = items(tmp_path, *ranges, "--windows_per_epoch", "2")
    assert loader(tmp_path, *ranges).opt.input_nc == 3
    shown = loader(tmp_path, *ranges).dataset.shown_channels()
    assert shown == {"A1": slice(0, 2), "A2": slice(2, 3)}
    for item in found:
        n = int(item["A_paths"][0].endswith("s1.tif"))
        values = item["A"][0, :, 4, 4].tolist()
        np.testing.assert_allclose(values, [(10 + n) / 50 - 1] * 2 + [(30 + n) / 30 - 1], atol=1e-6)
        assert item["A2_paths"][0] == item["A1_paths"][0].replace("trainA1", "trainA2")


def test_inputs_of_plain_images_and_arrays(tmp_path: Path) -> None:
    for side in ("A1", "A2", "B"):
        (tmp_path / f"train{side}").mkdir()
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    Image.fromarray(grey).save(tmp_path / "trainA1" / "x.png")
    np.save(tmp_path / "trainA2" / "x.npy", np.dstack([grey, grey]).astype(np.float32) / 64)
    np.save(tmp_path / "trainB" / "x.npy", grey.astype(np.float32))
    (item,) = items(tmp_path, "--range_A2", "0,1", "--range_B", "0,63")
    np.testing.assert_allclose(item["A"][0, 0], grey / 127.5 - 1, atol=1e-6)
    np.testing.assert_allclose(item["A"][0, 2], grey / 32 - 1, atol=1e-6)
    np.testing.assert_allclose(item["B"][0, 0], grey / 31.5 - 1, atol=1e-6)


def test_a_missing_input_is_an_error_or_zeros(tmp_path: Path) -> None:
    for side in ("A1", "A2", "B"):
        for n in range(2):
            write_nifti(tmp_path / f"train{side}" / f"p{n}.nii", numbers().astype(np.int16))
    (tmp_path / "trainA1" / "p0.nii").unlink()
    refusal(lambda: items(tmp_path), "trainA2/p0.nii has no partner p0.*", "--missing zero")
    found = items(tmp_path, "--missing", "zero")
    assert len(found) == 10 and not found[0]["A"][0, 0].any() and found[0]["A"][0, 1].any()
    assert found[5]["A"][0, 0].any() and found[0]["A_paths"] == [str(tmp_path / "trainA2/p0.nii")]
    (tmp_path / "trainA2" / "p0.nii").unlink()
    refusal(lambda: items(tmp_path, "--missing", "zero"), "trainB/p0.nii has no partner")


def test_folders_that_do_not_fit_are_refused_in_one_line(tmp_path: Path) -> None:
    root = volumes(tmp_path / "lacking", sides="A")
    refusal(lambda: items(root), "--dataroot", "trainB")
    root = volumes(tmp_path / "both")
    volumes(root, sides="A1 ")
    refusal(lambda: items(root), "holds trainA/ and trainA1/")
    root = volumes(tmp_path / "gap", sides="A1 A3 B")
    refusal(lambda: items(root), "lacks trainA2/")
    root = volumes(tmp_path / "other")
    write_nifti(root / "trainB" / "p1.nii", numbers((7, 6, 4)).astype(np.int16))
    refusal(lambda: items(root), "trainA/p1.nii", "trainB/p1.nii", "5 and 4 slices")
    root = volumes(tmp_path / "kinds")
    for side in "AB":
        write_raster(root / f"train{side}" / "s.tif", np.zeros((1, 8, 8), np.float32))
    refusal(lambda: items(root), "is a volume and", "is none")
    root = volumes(tmp_path / "twice")
    write_nifti(root / "trainA" / "p1.nii.gz", numbers().astype(np.int16))
    refusal(lambda: items(root), "p1.nii", "p1.nii.gz", "have the same name")
    root = volumes(tmp_path / "several", sides="A1 A2 B")
    refusal(lambda: items(root, "--direction", "BtoA"), "--direction BtoA")
    shutil.rmtree(root / "trainA2")
    refusal(lambda: items(root, "--direction", "BtoA"), "--direction BtoA: trainA1/ with a number")


def test_flags_of_another_kind_of_file_are_refused(tmp_path: Path) -> None:
    volumes(tmp_path)
    refusal(lambda: items(tmp_path, "--windows_per_epoch", "9"), "--windows_per_epoch 9", "rasters")
    refusal(lambda: loader(tmp_path, "--preprocess", "resize_and_crop"), "are not resized")
    validated = ("--val_freq", "1", "--val_metrics", "FD-EffLite0")
    refusal(lambda: loader(tmp_path, *validated), "--val_metrics", "is for images")
    root = tmp_path / "rasters"
    for side in "AB":
        write_raster(root / f"train{side}" / "s.tif", np.eye(8, dtype=np.float32)[None])
    refusal(lambda: items(root, "--slices_around", "1"), "--slices_around", "is for volumes")


def test_the_other_direction_swaps_input_and_target(tmp_path: Path) -> None:
    for side, bands in (("A", 1), ("B", 2)):
        values = np.random.default_rng(0).random((bands, 8, 8)).astype(np.float32)
        write_raster(tmp_path / f"train{side}" / "s.tif", values)
    found = loader(tmp_path, "--direction", "BtoA", "--preprocess", "none")
    assert (found.opt.input_nc, found.opt.output_nc) == (2, 1)
    item = found.item(0)
    assert item["A"].shape == (1, 1, 8, 8) and item["B"].shape == (1, 2, 8, 8)


def rasters(root: Path, size: int = 40) -> Path:
    """Write two rasters of A and B whose values are their places; B has no data at the left."""
    places = np.arange(size * size, dtype=np.float32).reshape(1, size, size)
    lacking = places.copy()
    lacking[..., : size // 4] = -9999
    for n in range(2):
        write_raster(root / "trainA" / f"s{n}.tif", places)
        write_raster(root / "trainB" / f"s{n}.tif", lacking, nodata=-9999)
    return root


def test_windows_are_drawn_from_seed_epoch_and_index(tmp_path: Path) -> None:
    rasters(tmp_path)
    flags = ["--nodata", "mask", "--range_A", "0,1600", "--range_B", "0,1600"]
    found, again = loader(tmp_path, *flags), loader(tmp_path, *flags)
    assert len(found) == 2 * 40 * 40 // 16  # their area / --crop_size²
    assert len(loader(tmp_path, *flags, "--windows_per_epoch", "7")) == 7
    corners = set()
    for n in range(20):
        item, same = found.item(n), again.item(n)
        assert torch.equal(item["A"], same["A"]) and item["A"].shape == (1, 1, 4, 4)
        valid = item["valid"].bool()
        assert torch.allclose(item["A"][valid], item["B"][valid])
        assert not item["B"][~valid].any() and valid.any()
        corners.add(item["A"][0, 0, 0, 0].item())
    assert len(corners) > 10
    found.set_epoch(2)
    changed = [not torch.equal(batch["A"], found.item(n)["A"]) for n, batch in enumerate(found)]
    assert any(changed)


def test_pixels_without_data_are_refused_or_masked(tmp_path: Path) -> None:
    rasters(tmp_path)
    refusal(lambda: loader(tmp_path), "trainB/s0.tif", "-9999", "--nodata mask")
    opt = ["--nodata", "mask"]
    refusal(lambda: loader(tmp_path, *opt, "--model", "cycle_gan"), "--nodata mask", "pix2pix")
    refusal(lambda: loader(tmp_path, *opt, "--pool_size", "5"), "--nodata mask", "--pool_size 0")
    item = loader(tmp_path, *opt, "--preprocess", "none").item(0)
    assert item["valid"].shape == (1, 1, 40, 40)
    assert not item["valid"][..., :10].any() and item["valid"][..., 10:].all()
    assert item["A"][..., :10].any()  # what the input has stays


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_in_an_input_is_zero_and_not_valid(tmp_path: Path, value: float) -> None:
    volumes(tmp_path, count=1)
    array = numbers().astype(np.float32)
    array[0, 0, 0] = value
    write_nifti(tmp_path / "trainA" / "p0.nii", array)
    refusal(lambda: items(tmp_path), "trainA/p0.nii: has pixels without data")
    item = items(tmp_path, "--nodata", "mask")[0]
    assert item["A"][0, 0, -1, 0] == 0 and item["valid"].sum() == 41
    whole = items(tmp_path, "--nodata", "mask", "--range_B", "-9,420")[0]["B"][0, 0]
    assert whole[-1, 0] == 0 and whole.count_nonzero() == 41  # nor does the target tell it


def test_slices_smaller_than_the_crop_are_padded_with_what_has_no_data(tmp_path: Path) -> None:
    volumes(tmp_path)
    item = loader(tmp_path, "--crop_size", "9").item(0)
    assert item["A"].shape == (1, 1, 9, 9) and item["valid"].sum() == 6 * 7
    assert not item["A"][0, 0][item["valid"][0, 0] == 0].any()


def test_a_crop_is_drawn_and_flipped_alike_for_all(tmp_path: Path) -> None:
    volumes(tmp_path, sides="A1 A2 B", count=1)
    ranges = ["--range_A", "0,210", "--range_B", "0,420"]
    runs = ["--checkpoints_dir", str(tmp_path / "r"), "--dataroot", str(tmp_path)]
    flags = [flag for flag in MEASURED if flag != "--no_flip"]
    found = create_dataset(TrainOptions().read([*runs, *flags, *ranges, "--no_data_check"]))
    rising = set()
    for n in range(5):
        item = found.item(n)
        assert torch.allclose(item["A"][:, :1], item["B"]) and item["A"].shape == (1, 2, 4, 4)
        assert torch.equal(item["A"][:, 0], item["A"][:, 1])
        rising.add(bool(item["A"][0, 0, 0, 1] > item["A"][0, 0, 0, 0]))
    assert rising == {True, False}


def test_places_of_volumes_in_other_orders_of_voxels_agree(tmp_path: Path) -> None:
    body = numbers().astype(np.int16)
    write_nifti(tmp_path / "trainA" / "p.nii", body, affine_of("RAS"))
    affine = affine_of("LAS")
    affine[0, 3] = affine_of("RAS")[0, 3] + 6
    write_nifti(tmp_path / "trainB" / "p.nii", body[::-1], affine)
    for item in items(tmp_path):
        assert torch.equal(item["A"], item["B"])


def test_the_state_of_random_numbers_stays(tmp_path: Path) -> None:
    found = loader(rasters(tmp_path), "--nodata", "mask")
    random.seed(1)
    before = random.getstate()
    found.item(3)
    assert random.getstate() == before


def test_compressed_volumes_without_a_cache_are_remarked_upon(tmp_path: Path) -> None:
    for side in "AB":
        write_nifti(tmp_path / f"train{side}" / "p.nii.gz", numbers().astype(np.int16))
    assert loader(tmp_path).dataset.remarks() == []
    (remark,) = loader(tmp_path, "--cache", "none").dataset.remarks()
    assert "p.nii.gz: is decoded as a whole for a slice; --cache disk" in remark


@pytest.mark.parametrize("make", [volumes, lambda root: rasters(root)])
def test_a_dataset_can_go_to_another_process(tmp_path: Path, make: Any) -> None:
    dataset = loader(make(tmp_path), "--nodata", "mask").dataset
    dataset.opt = Namespace(**vars(dataset.opt))  # the tests' options refuse to be filled
    copy = pickle.loads(pickle.dumps(dataset))
    for one in (dataset, copy):
        random.seed(1)
        item = one[0]
        assert torch.equal(item["A"], item["A"]) and item["A"].shape == (1, 4, 4)
    random.seed(1)
    assert torch.equal(dataset[0]["A"], item["A"])


def test_a_validation_of_rasters_has_other_windows_that_stay(tmp_path: Path) -> None:
    rasters(tmp_path)
    for side in "AB":
        (tmp_path / f"train{side}").rename(tmp_path / f"val{side}")
    rasters(tmp_path)
    training = loader(tmp_path, "--nodata", "mask")
    found = create_validation_dataset(training.opt, most=6)
    first, second = ([batch["A"][0] for batch in found] for _ in range(2))
    assert len(first) == 6 and all(map(torch.equal, first, second))
    assert len({one[0, 0, 0].item() for one in first}) > 3


def test_dots_in_the_names_of_series_are_parts_of_their_names(tmp_path: Path) -> None:
    array = numbers((5, 6, 7)).astype(np.int16)
    for side in "AB":
        for name in ("1.2.840.1", "1.2.840.2"):
            write_dicom(tmp_path / f"train{side}" / name, array)
    found = loader(tmp_path).dataset.subjects
    assert [subject.name for subject in found] == ["1.2.840.1", "1.2.840.2"]
    (tmp_path / "trainB" / "1.2.840.2").rename(tmp_path / "trainB" / "1.2.840.3")
    refusal(lambda: loader(tmp_path), "has no partner 1.2.840.3")


def test_padding_is_remarked_upon(tmp_path: Path) -> None:
    volumes(tmp_path)
    assert loader(tmp_path).dataset.remarks() == []
    assert loader(tmp_path, "--crop_size", "8").dataset.remarks() == []
    (remark,) = loader(tmp_path, "--crop_size", "16").dataset.remarks()
    assert "p0.nii: its 7x6 pixels are padded to --crop_size 16" in remark


def test_what_neighbouring_slices_lack_is_no_hole(tmp_path: Path) -> None:
    array = numbers().astype(np.float32)
    array[2, 3, 2] = np.nan
    write_nifti(tmp_path / "trainA" / "p.nii", array)
    write_nifti(tmp_path / "trainB" / "p.nii", numbers().astype(np.int16))
    flags = ["--nodata", "mask", "--slices_around", "1", "--range_A", "0,210"]
    holes = [int((item["valid"] == 0).sum()) for item in items(tmp_path, *flags)]
    assert holes == [0, 0, 1, 0, 0]


def test_a_series_alone_below_a_folder_has_its_name(tmp_path: Path) -> None:
    array = numbers((5, 6, 7)).astype(np.int16)
    write_dicom(tmp_path / "trainA" / "p0" / "study" / "series", array)
    write_dicom(tmp_path / "trainB" / "p0", array)
    (subject,) = loader(tmp_path).dataset.subjects
    assert subject.name == "p0"
    write_dicom(tmp_path / "trainA" / "p0" / "study" / "other", array)
    refusal(lambda: loader(tmp_path), "has no partner", "trainA/p0 holds 2 of them; keep one")


def test_flags_that_do_not_fit_the_files_are_refused(tmp_path: Path) -> None:
    root = volumes(tmp_path / "v")
    for side in "AB":
        write_raster(tmp_path / "r" / f"train{side}" / "s.tif", np.ones((1, 8, 8), np.float32))
    for folder, flags, said in (
        (root, ["--slices_around", "3"], "--slices_around 3: "),
        (tmp_path / "r", ["--slice_axis", "coronal"], "--slice_axis: is for volumes"),
        (root, ["--model", "spade", "--no_vgg_loss"], "--model spade: is for images"),
    ):
        refusal(lambda folder=folder, flags=flags: loader(folder, *flags), said)


def test_subjects_that_lack_an_input_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    volumes(tmp_path, "A1 A2 B")
    (tmp_path / "trainA2" / "p1.nii").unlink()
    loader(tmp_path, "--missing", "zero")
    assert "--missing zero: 1 of 2 lack A2" in caplog.text
    loader(volumes(tmp_path / "one"), "--missing", "zero")
    assert "--missing zero: does nothing for one input" in caplog.text
    assert "--range_A1 0," in caplog.text and "the values of A1" in caplog.text
