"""Images of more bits or channels are read, trained on and written back without loss."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import torch
from conftest import TINY, draw, refusal
from PIL import Image

from data.channels import to_channels
from data.checks.image_check import inspect
from data.files.high_depth_output import png_of, write_high_depth
from data.files.image_files import load_image, load_image_or_array
from data.files.image_types import HighDepthImage, read_high_depth
from data.transforms import to_tensor
from options.train_options import TrainOptions
from translator import Translator

Command = Callable[..., SimpleNamespace]


def values(dtype: str, channels: int = 1, size: tuple[int, int] = (30, 40), seed: int = 0):
    rng = np.random.default_rng(seed)
    shape = (*size, channels) if channels > 1 else size
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def store(array: np.ndarray, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".png":
        path.write_bytes(png_of(array if array.ndim == 3 else array[..., None]))
    else:
        write_deep_tiff(path, array)
    return path


def write_deep_tiff(path: Path, array: np.ndarray) -> None:
    if array.ndim == 3:
        tifffile.imwrite(path, array, photometric="minisblack", planarconfig="contig")
    else:
        tifffile.imwrite(path, array)


CASES = [
    ("a.png", "uint16", 1),
    ("a.png", "uint16", 3),
    ("a.tif", "uint16", 1),
    ("a.tiff", "uint16", 3),
    ("a.tif", "float32", 1),
    ("a.tif", "float32", 4),
    ("a.tif", "uint8", 5),
    ("a.tif", "int16", 1),
    ("a.npy", "uint8", 3),
    ("a.npy", "uint16", 2),
    ("a.npy", "float32", 7),
    ("a.npy", "float64", 1),
]


# Files ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "dtype", "channels"), CASES)
def test_every_value_is_read(tmp_path, name, dtype, channels):
    array = values(dtype, channels)
    image = load_image_or_array(store(array, tmp_path / name))
    assert isinstance(image, HighDepthImage) and image.size == (40, 30)
    assert image.stored_type[:2] == (name[1:].replace("tiff", "tif"), dtype)
    read = image.array()
    exact = np.float64 if dtype == "float64" else np.float32
    assert np.array_equal(read, array.astype(exact).reshape(30, 40, channels))


@pytest.mark.parametrize(("name", "dtype", "channels"), CASES)
def test_what_is_written_back_is_what_was_read(tmp_path, name, dtype, channels):
    if np.dtype(dtype).kind == "f":
        array = np.random.default_rng(0).random((30, 40, channels)).astype(dtype)
    else:
        array = values(dtype, channels).reshape(30, 40, channels)
    image = read_high_depth(store(array if channels > 1 else array[..., 0], tmp_path / name))
    tensor = to_tensor(image)
    assert tensor.dtype == torch.float32 and tensor.shape == (channels, 30, 40)
    assert tensor.min() >= -1 and tensor.max() <= 1
    back = tmp_path / f"back{image.stored_type.ending}"
    write_high_depth(tensor.numpy(), image.stored_type, image.low, image.high, back)
    again = read_high_depth(back)
    assert again.stored_type == image.stored_type
    error = np.abs(again.array() - image.array()).max()
    assert error == 0 if np.dtype(dtype).kind in "ui" else error < 1e-6


def test_pages_of_a_tiff_are_channels(tmp_path):
    pages = values("uint16", 1, (4, 30)).reshape(4, 30)
    stack = np.stack([pages, pages + 1, pages // 2])  # (3 pages, H, W)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    image = load_image_or_array(tmp_path / "a.tif")
    assert np.array_equal(image.array(), stack.transpose(1, 2, 0).astype(np.float32))


@pytest.mark.parametrize("packing", ["lzw", "zlib", "zstd", "jpeg2000"])
def test_a_packed_tiff_is_read(tmp_path, packing):
    array = values("uint16", 4)
    how = {"photometric": "minisblack", "planarconfig": "contig", "compression": packing}
    tifffile.imwrite(tmp_path / "a.tif", array, **how)
    assert np.array_equal(load_image_or_array(tmp_path / "a.tif").array(), array.astype(np.float32))


@pytest.mark.parametrize("ending", ["png", "tif", "jpg"])
def test_ordinary_images_stay_ordinary(tmp_path, ending):
    draw((40, 30)).save(tmp_path / f"a.{ending}")
    assert isinstance(load_image_or_array(tmp_path / f"a.{ending}"), Image.Image)


def test_16_bit_rgb_is_not_cut_to_8_and_grey_not_saturated(tmp_path):
    """What PIL does in silence: 257 becomes 1 · 257, and 40000 in grey becomes 255."""
    array = np.full((4, 4, 3), 257 * 3 + 1, np.uint16)
    assert (load_image_or_array(store(array, tmp_path / "rgb.png")).array() == 772).all()
    grey = np.full((4, 4), 40000, np.uint16)
    assert (load_image_or_array(store(grey, tmp_path / "grey.png")).array() == 40000).all()
    assert to_tensor(load_image_or_array(tmp_path / "grey.png"))[0, 0, 0] == pytest.approx(
        0.2207, abs=1e-4
    )


def test_an_array_of_objects_is_never_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"x": 1}], dtype=object), allow_pickle=True)
    refusal(lambda: load_image_or_array(tmp_path / "a.npy"), "a.npy", "cannot be read")


@pytest.mark.parametrize("array", [np.zeros(5), np.zeros((2, 2, 2, 2)), np.zeros((2, 0))])
def test_arrays_that_are_no_images_are_refused(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    refusal(lambda: load_image_or_array(tmp_path / "a.npy"), "a.npy", "expected (H, W)")


def test_tools_for_ordinary_images_refuse_deep_ones(tmp_path):
    store(values("uint16"), tmp_path / "a.png")
    refusal(lambda: load_image(tmp_path / "a.png"), "a.png", "more than 8 bits")


def test_the_doctor_says_how_it_is_read(tmp_path):
    (remark,) = inspect(str(store(values("uint16", 3), tmp_path / "a.png")))
    assert remark.what == "holds uint16, 3 channels" and not remark.fatal


# Preparing --------------------------------------------------------------------------------


def test_geometry_is_that_of_each_plane():
    array = values("float32", 3)
    image = HighDepthImage.of(array, ".npy")
    resized = image.resize((20, 16), Image.Resampling.BICUBIC).array()
    for c in range(3):
        plane = Image.fromarray(array[..., c]).resize((20, 16), Image.Resampling.BICUBIC)
        assert np.array_equal(resized[..., c], np.asarray(plane))
    assert np.array_equal(image.crop((3, 2, 10, 9)).array(), array[2:9, 3:10])
    flipped = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).array()
    assert np.array_equal(flipped, array[:, ::-1])


def test_channels_fit_or_are_refused():
    image = HighDepthImage.of(values("uint16", 4), ".tif")
    assert to_channels(image, 4).array().shape[-1] == 4
    assert np.array_equal(to_channels(image, 3).array(), image.array()[..., :3])  # no alpha
    assert to_channels(HighDepthImage.of(values("uint16"), ".png"), 3).array().shape[-1] == 3
    refusal(lambda: to_channels(image, 2), "has 4 channels, not the 2")


@pytest.mark.parametrize("text", ["1", "1,2,3", "2,1", "1,1", "a,b", "nan,1", ""])
def test_a_range_that_is_none_is_refused(text):
    refusal(lambda: TrainOptions().read([f"--range_A={text}"]), "--range_A")


# The commands -----------------------------------------------------------------------------


def lay_out(root: Path, A: tuple, B: tuple, count: int = 3) -> Path:
    for n, phase in enumerate(("train", "test")):
        for side, (ending, dtype, channels) in (("A", A), ("B", B)):
            for i in range(count):
                array = values(dtype, channels, (72, 80), seed=10 * n + i)
                store(array, root / f"{phase}{side}" / f"{i}.{ending}")
    return root


DEEP = {
    "16-bit grey PNG": (("png", "uint16", 1), ("png", "uint16", 1)),
    "5 channels to a float": (("tif", "uint8", 5), ("tif", "float32", 1)),
    "arrays": (("npy", "float32", 2), ("npy", "uint16", 3)),
}


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
@pytest.mark.parametrize("case", DEEP)
def test_a_run_on_deep_images_writes_results_of_their_kind(
    command: Command, tmp_path: Path, case: str, direction: str
) -> None:
    A, B = DEEP[case]
    root = lay_out(tmp_path / "data", A, B)
    source, target = (A, B) if direction == "AtoB" else (B, A)
    flags = ["--direction", direction, "--input_nc", source[2], "--output_nc", target[2]]
    rules = ["--range_A", "percentile", "--range_B", "percentile"]
    result = command("train", *TINY, "--dataroot", root, "--name", "r", *flags, *rules)
    assert result.status == 0, result.err
    kept = json.loads(Path("checkpoints/r/pixel_ranges.json").read_text())
    assert {side: kept[side]["dtype"] for side in "AB"} == {"A": A[1], "B": B[1]}
    result = command("test", "--name", "r", "--gpu_ids", "-1", "--num_threads", "0")
    assert result.status == 0, result.err
    folder = Path("results/r/test_latest/deep")
    assert {p.name for p in folder.iterdir()} == {f"{i}_fake_B.{target[0]}" for i in range(3)}
    written = read_high_depth(folder / f"0_fake_B.{target[0]}")
    assert written.stored_type.dtype == target[1] and written.channels == target[2]
    side = kept["B" if direction == "AtoB" else "A"]
    array = written.array()
    assert side["low"] - 1 <= array.min() < array.max() <= side["high"] + 1
    shown = Image.open("results/r/test_latest/images/0_fake_B.png")
    assert shown.mode == ("RGB" if target[2] >= 3 else "L")


def test_percentiles_are_of_the_training_and_kept_for_test_and_resume(
    command: Command, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    for phase, top in (("train", 4000), ("test", 60000)):
        for side in "AB":
            array = np.linspace(1000, top, 72 * 80).reshape(72, 80).astype(np.uint16)
            store(array, root / f"{phase}{side}" / "0.png")
    flags = ["--dataroot", root, "--name", "r", "--input_nc", 1, "--output_nc", 1]
    rule = ["--range_A", "percentile", "--range_B", "500,4500"]
    assert command("train", *TINY, *flags, *rule).status == 0
    path = Path("checkpoints/r/pixel_ranges.json")
    kept = json.loads(path.read_text())
    assert 1000 <= kept["A"]["low"] < 1050 and 3950 < kept["A"]["high"] <= 4000
    assert (kept["B"]["low"], kept["B"]["high"]) == (500, 4500)
    again = command("train", *TINY, *flags, *rule, "--continue_train", "--n_epochs", 2)
    assert again.status == 0 and json.loads(path.read_text()) == kept
    assert command("test", "--name", "r", "--gpu_ids", "-1", "--num_threads", "0").status == 0
    result = read_high_depth("results/r/test_latest/deep/0_fake_B.png").array()
    assert 500 <= result.min() and result.max() <= 4500


def test_targets_of_8_bits_with_a_range_give_images_of_8_bits(
    command: Command, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    for folder in ("trainA", "trainB", "testA", "testB"):
        array = np.linspace(0, 20, 72 * 80).reshape(72, 80).astype(np.uint8)
        store(array, root / folder / "0.png")
    flags = ["--dataroot", root, "--name", "r", "--input_nc", 1, "--output_nc", 1]
    assert command("train", *TINY, *flags, "--range_B", "0,20").status == 0
    assert command("test", "--name", "r", "--gpu_ids", "-1", "--num_threads", "0").status == 0
    source = root / "testA" / "0.png"
    words = ["--name", "r", "--gpu_ids", "-1", source, "out.png"]
    assert command("scripts.translate", *words).status == 0
    output = Translator.load("checkpoints/r", gpu_ids=-1)(source)
    for image in (
        Image.open("results/r/test_latest/deep/0_fake_B.png"),
        Image.open("out.png"),
        output,
    ):
        assert image.mode == "L" and np.asarray(image).max() <= 20


def test_arrays_of_8_bits_are_translated_to_arrays(command: Command, tmp_path: Path) -> None:
    root = lay_out(tmp_path / "data", ("png", "uint8", 3), ("npy", "uint8", 1), count=1)
    flags = ["--dataroot", root, "--name", "r", "--output_nc", 1]
    assert command("train", *TINY, *flags).status == 0
    words = ["--name", "r", "--gpu_ids", "-1", root / "testA" / "0.png", "out.npy"]
    done = command("scripts.translate", *words)
    assert done.status == 0, done.err
    written = np.load("out.npy")
    assert written.dtype == np.uint8 and written.shape == (64, 64, 1) and written.std() > 0


@pytest.mark.parametrize("channels", [2, 4])
def test_targets_of_8_bits_keep_all_their_channels(
    command: Command, tmp_path: Path, channels: int
) -> None:
    root = lay_out(tmp_path / "data", ("png", "uint8", 3), ("png", "uint8", channels), count=1)
    flags = ["--dataroot", root, "--name", "r", "--output_nc", channels]
    assert command("train", *TINY, *flags).status == 0
    assert command("test", "--name", "r", "--gpu_ids", "-1", "--num_threads", "0").status == 0
    source = root / "testA" / "0.png"
    words = ["--name", "r", "--gpu_ids", "-1", source, "out.png"]
    assert command("scripts.translate", *words).status == 0
    kept = np.asarray(Image.open("results/r/test_latest/deep/0_fake_B.png"))
    assert kept.shape[2] == channels and kept.dtype == np.uint8 and kept.std((0, 1)).min() > 0
    assert np.array_equal(Image.open("out.png"), kept)
    assert np.array_equal(Translator.load("checkpoints/r", gpu_ids=-1)(source), kept)


def test_another_range_counts_once_it_has_been_trained_with(
    command: Command, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = lay_out(tmp_path / "data", *DEEP["16-bit grey PNG"], count=1)
    flags = [*TINY, "--dataroot", root, "--name", "r", "--input_nc", 1, "--output_nc", 1]
    assert command("train", *flags, "--range_B", "0,4000").status == 0
    path = Path("checkpoints/r/pixel_ranges.json")
    before = path.read_bytes()
    again = [*flags, "--continue_train", "--range_B", "0,5000"]
    assert command("train", *again).status == 0 and path.read_bytes() == before
    assert "nothing to train" in caplog.text
    assert command("train", *again, "--n_epochs", 3).status == 0
    assert json.loads(path.read_text())["B"]["high"] == 5000
    assert "--range_B 0,5000: the run was trained with 0,4000" in caplog.text


def test_validation_leaves_the_ranges_of_the_training(command: Command, tmp_path: Path) -> None:
    root = lay_out(tmp_path / "data", *DEEP["16-bit grey PNG"], count=1)
    for side in "AB":
        store(np.arange(72 * 80, dtype=np.uint16).reshape(72, 80), root / f"val{side}" / "0.png")
    flags = ["--dataroot", root, "--name", "r", "--input_nc", 1, "--output_nc", 1]
    rules = ["--range_A", "percentile", "--range_B", "percentile"]
    assert command("train", *TINY, *flags, *rules, "--lr_policy", "plateau").status == 0
    kept = json.loads(Path("checkpoints/r/pixel_ranges.json").read_text())
    assert kept["A"]["high"] > 60000 and kept["B"]["high"] > 60000


def test_an_animated_png_of_8_bits_is_an_ordinary_image(tmp_path: Path) -> None:
    photo = draw((40, 30))
    photo.save(tmp_path / "a.png", save_all=True, append_images=[photo.rotate(90)])
    assert isinstance(load_image_or_array(tmp_path / "a.png"), Image.Image)


def test_single_images_and_cycle_gan_have_the_ranges_of_their_side(
    command: Command, tmp_path: Path
) -> None:
    root = lay_out(tmp_path / "data", ("png", "uint16", 1), ("tif", "float32", 1), count=1)
    flags = ["--model", "cycle_gan", "--netG", "resnet_6blocks", "--input_nc", 1, "--output_nc", 1]
    result = command("train", *TINY, "--dataroot", root, "--name", "c", *flags)
    assert result.status == 0, result.err
    on_cpu = ["--name", "c", "--gpu_ids", "-1", "--num_threads", "0"]
    assert command("test", *on_cpu).status == 0
    names = {p.name for p in Path("results/c/test_latest/deep").iterdir()}
    assert names == {"0_fake_B.tif", "0_fake_A.png", "0_rec_A.png", "0_rec_B.tif"}
    one_way = [*on_cpu, "--model", "test", "--results_dir", "one"]
    back = ["--dataroot", root / "testB", "--direction", "BtoA"]
    assert command("test", *one_way, *back).status == 0
    assert [p.name for p in Path("one/c/test_latest/deep").iterdir()] == ["0_fake.png"]


def test_ordinary_images_leave_nothing_of_this(command: Command, pairs: Path) -> None:
    assert command("train", *TINY, "--dataroot", pairs, "--name", "r").status == 0
    assert command("test", "--name", "r", "--gpu_ids", "-1", "--num_threads", "0").status == 0
    assert not Path("checkpoints/r/pixel_ranges.json").exists()
    assert not Path("results/r/test_latest/deep").exists()


def test_a_damaged_note_of_ranges_is_named(command: Command, tmp_path: Path) -> None:
    root = lay_out(tmp_path / "data", *DEEP["16-bit grey PNG"], count=1)
    flags = ["--dataroot", root, "--name", "r", "--input_nc", 1, "--output_nc", 1]
    assert command("train", *TINY, *flags).status == 0
    Path("checkpoints/r/pixel_ranges.json").write_text('{"A": 3}')
    result = command("test", "--name", "r", "--gpu_ids", "-1", "--num_threads", "0")
    assert result.status == 2 and "pixel_ranges.json: damaged" in result.err


def test_a_percentile_of_the_training_must_be_there(command: Command, tmp_path: Path) -> None:
    root = lay_out(tmp_path / "data", *DEEP["16-bit grey PNG"], count=1)
    flags = ["--dataroot", root, "--name", "r", "--input_nc", 1, "--output_nc", 1]
    assert command("train", *TINY, *flags, "--range_A", "percentile").status == 0
    Path("checkpoints/r/pixel_ranges.json").unlink()
    done = command("test", "--name", "r", "--gpu_ids", "-1", "--num_threads", "0")
    assert done.status == 2 and "pixel_ranges.json: is missing" in done.err
