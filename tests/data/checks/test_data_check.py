"""The data check: what a network cannot learn from is said before a training, with the flag."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import draw, draw_pairs, draw_sets
from PIL import Image

from data import create_dataset
from data.builtin_facades import draw_pair
from data.channels import on_background
from data.checks.data_check import check_data
from data.checks.side_statistics import fitting_range, no_data_value, seam_contrast
from data.files.image_files import load_image_or_array
from data.files.image_types import HighDepthImage
from options.test_options import TestOptions
from options.train_options import TrainOptions

SMALL = ["--load_size", "24", "--crop_size", "16", "--gpu_ids", "-1", "--num_threads", "0"]
COUNT = 6


def noise(index: int, low: float, high: float, dtype: Any, channels: int = 1) -> np.ndarray:
    """Return values between low and high, with both of them."""
    values = np.random.default_rng(index).uniform(low, high, (24, 30, channels))
    values[0, 0], values[0, 1] = low, high
    return values.astype(dtype)


def with_value(array: np.ndarray, value: float, share: float) -> np.ndarray:
    """Return a copy in which a share of the pixels has a value."""
    chosen = np.random.default_rng(0).random(array.shape[:2]) < share
    array[chosen] = value
    return array


def folder(root: Path, make: Callable[[int], Any], ending: str = "npy") -> Path:
    """Write images of `make` as A, and drawn ones as B, into trainA and trainB."""
    for side in "AB":
        (root / f"train{side}").mkdir(parents=True)
    for i in range(COUNT):
        image, path = make(i), root / "trainA" / f"{i}.{ending}"
        np.save(path, image) if isinstance(image, np.ndarray) else image.save(path)
        draw((30, 24), seed=i).save(root / "trainB" / f"{i}.png")
    return root


def dataset(root: Path, *flags: Any) -> tuple[Any, Any]:
    run = ["--dataroot", str(root), "--checkpoints_dir", str(root / "runs"), *SMALL]
    opt = TrainOptions().read([*run, *map(str, flags)])
    return create_dataset(opt), opt


def remarks(root: Path, *flags: Any) -> list[str]:
    return dataset(root, *flags)[0].remarks


def shade(level: int) -> Image.Image:
    return Image.new("RGB", (30, 24), (level, level, level))


def cut_out(i: int) -> Image.Image:
    """Draw black lines whose shape is in the alpha channel alone."""
    image = Image.new("RGBA", (30, 24))
    image.putalpha(draw((30, 24), seed=i).convert("L"))
    return image


FATAL = {
    "NaN in a float image": (
        lambda i: with_value(noise(i, 0, 1, np.float32), np.nan, 0.1 * (i == 2)),
        "npy",
        ["trainA/2.npy holds NaN", "--on_bad_image skip"],
    ),
    "infinity": (
        lambda i: with_value(noise(i, 0, 1, np.float32), np.inf, 0.1),
        "npy",
        ["trainA/0.npy holds NaN or infinite values (so do 5 others)"],
    ),
    "metres as floats": (
        lambda i: noise(i, 200, 2750, np.float32),
        "npy",
        ["A: all 6 images", "lie outside 0 to 1 (float32)", "--range_A 200,2750 covers them"],
    ),
    "negative floats": (
        lambda i: noise(i, -300, -20, np.float32),
        "npy",
        ["--range_A -300,-20 covers them"],
    ),
    "black images": (lambda i: shade(0), "png", ["A: all 6 images", "nothing to learn"]),
    "white images": (lambda i: shade(255), "png", ["A: all 6 images", "nothing to learn"]),
    "several shades": (lambda i: shade(40 * i), "png", ["A: all 6 images", "are one colour"]),
}


@pytest.mark.parametrize("kind", FATAL)
def test_a_training_on_such_images_is_refused_with_the_fix(kind, tmp_path):
    make, ending, words = FATAL[kind]
    root = folder(tmp_path, make, ending)
    channels = ["--input_nc", 1] if ending == "npy" else []
    with pytest.raises(ValueError) as error:
        dataset(root, *channels)
    message = str(error.value)
    assert message.startswith(f"--dataroot {root}: ") and "\n" not in message
    assert [word for word in words if word not in message] == [], message
    dataset(root, *channels, "--no_data_check")


WARNED = {
    "Hounsfield units in int16": (
        lambda i: noise(i, -1024, 3071, np.int16),
        ["use 6.2% of the range -32768 to 32767 (int16)", "--range_A -1024,3071"],
    ),
    "12 bits in uint16": (
        lambda i: noise(i, 0, 4095, np.uint16),
        ["use 6.2% of the range 0 to 65535 (uint16)", "--range_A 0,4095"],
    ),
    "one-hot classes": (
        lambda i: (noise(i, 0, 1, np.float32) > 0.5).astype(np.uint8),
        ["values from 0 to 1 use 0.4% of the range 0 to 255", "--range_A 0,1"],
    ),
    "class numbers": (
        lambda i: noise(i, 0, 19.9, np.uint8),
        ["only 20 values, from 0 to 19 (class numbers?)", "--range_A 0,19", "--filter_A nearest"],
    ),
    "a no-data value": (
        lambda i: with_value(noise(i, 0.2, 0.7, np.float32), -9999, 0.05),
        ["-9999 fills", "no data?", "--range_A 0.2,0.7"],
    ),
    "floats beyond their range": (
        lambda i: noise(i, -0.2, 1.5, np.float32),
        ["of the values lie outside 0 to 1 (float32) and are clipped", "--range_A -0.2,1.5"],
    ),
    "some images of one value": (
        lambda i: np.full((24, 30, 1), 0.5, np.float32) if i < 2 else noise(i, 0, 1, np.float32),
        ["2 of 6 images are one colour, such as", "trainA/0.npy"],
    ),
    "two types in one folder": (
        lambda i: noise(i, 0, 255 if i % 2 else 65535, np.uint8 if i % 2 else np.uint16),
        ["mixes files of uint16 and uint8", "--range_A LOW,HIGH"],
    ),
}


@pytest.mark.parametrize("kind", WARNED)
def test_such_images_are_remarked_on_with_the_flag(kind, tmp_path):
    make, words = WARNED[kind]
    (remark,) = remarks(folder(tmp_path, make), "--input_nc", 1)
    assert remark.startswith("A: ")
    assert [word for word in words if word not in remark] == [], remark


@pytest.mark.parametrize(
    ("make", "value_range"),
    [
        (WARNED["Hounsfield units in int16"][0], "-1024,3071"),
        (WARNED["12 bits in uint16"][0], "0,4095"),
        (WARNED["one-hot classes"][0], "0,1"),
        (WARNED["class numbers"][0], "0,19"),
        (WARNED["floats beyond their range"][0], "-0.2,1.5"),
        (FATAL["metres as floats"][0], "200,2750"),
        (FATAL["metres as floats"][0], "percentile"),
    ],
)
def test_the_range_that_is_proposed_ends_the_remark(make, value_range, tmp_path):
    assert remarks(folder(tmp_path, make), "--input_nc", 1, "--range_A", value_range) == []


def test_no_remark_on_ordinary_images(tmp_path):
    assert remarks(draw_pairs(tmp_path / "pairs", count=6)) == []
    assert remarks(draw_sets(tmp_path / "sets"), "--dataset_mode", "unaligned") == []
    assert remarks(folder(tmp_path / "16", lambda i: noise(i, 0, 60000, np.uint16))) == []


def test_equal_sides_are_remarked_on(tmp_path):
    root = folder(tmp_path, lambda i: draw((30, 24), seed=i), "png")
    assert remarks(root) == ["A and B are equal in all 6 items that were looked at"]


def test_single_images_that_would_be_cut_in_two_are_remarked_on(tmp_path):
    (tmp_path / "train").mkdir()
    for i in range(6):
        draw((64, 48), seed=i).save(tmp_path / "train" / f"{i}.png")
    (remark,) = remarks(tmp_path)
    assert "single images were cut in two" in remark and "trainA/ and trainB/" in remark


def test_built_in_pairs_are_not_taken_for_single_images():
    pairs = [draw_pair(np.random.default_rng(i)) for i in range(6)]
    contrasts = [seam_contrast(*map(np.asarray, pair)) for pair in pairs]
    assert np.median([c for c in contrasts if c is not None]) > 2.5


def test_grey_photos_have_no_colour_to_learn(tmp_path):
    (tmp_path / "train").mkdir()
    for i in range(6):
        draw((30, 24), seed=i).convert("L").save(tmp_path / "train" / f"{i}.png")
    with pytest.raises(ValueError, match="B: all 6 images that were looked at are one colour"):
        dataset(tmp_path, "--model", "colorization")


def test_the_content_of_the_alpha_channel_is_named(tmp_path):
    with pytest.raises(ValueError, match="content is in the alpha channel; --alpha white"):
        dataset(folder(tmp_path, cut_out, "png"))
    loader, opt = dataset(tmp_path, "--alpha", "white", "--preprocess", "none", "--no_flip")
    assert loader.remarks == []
    path = tmp_path / "trainA" / "0.png"
    shown = 1 - np.asarray(Image.open(path).getchannel("A")) / 255  # black lines on white
    wanted = torch.from_numpy(shown).float() * 2 - 1
    assert torch.allclose(loader.dataset[0]["A"][0], wanted, atol=0.01)
    one = loader.dataset.single_preprocessor(opt, {})(load_image_or_array(path))
    assert torch.equal(one, loader.dataset[0]["A"])


@pytest.mark.parametrize("level", [0, 1])
def test_deep_images_with_alpha_are_put_on_a_background_as_those_of_8_bits(level):
    eight = cut_out(0)
    wide = np.asarray(eight).astype(np.uint16) * 257
    deep = on_background(HighDepthImage.of(wide, ".png"), level)
    plain = np.asarray(on_background(eight, level))
    assert np.abs(deep.array() / 257 - plain).max() <= 1 and deep.channels == 3


def test_the_check_draws_no_random_numbers_and_changes_no_item(tmp_path):
    root = draw_sets(tmp_path / "sets")
    torch.manual_seed(3)
    state = torch.get_rng_state()
    checked, _ = dataset(root, "--dataset_mode", "unaligned")
    assert torch.equal(torch.get_rng_state(), state)
    plain, _ = dataset(root, "--dataset_mode", "unaligned", "--no_data_check")
    for one, other in zip(checked, plain, strict=True):
        assert torch.equal(one["A"], other["A"]) and torch.equal(one["B"], other["B"])


def test_an_unreadable_image_is_left_to_the_loader(tmp_path):
    root = draw_pairs(tmp_path / "pairs", count=4)
    loader, opt = dataset(root)
    (root / "train" / "1.png").write_bytes(b"no image")
    assert check_data(loader.dataset, opt)[0] == []


def test_a_no_data_value_is_far_from_all_others():
    values = np.random.default_rng(0).uniform(5, 9, 10_000)
    assert no_data_value(values) is None
    for value in (-9999, 1e6):
        assert no_data_value(np.append(values, [value] * 50)) == value
        assert no_data_value(np.append(values, [value])) is None  # a hot pixel
    assert fitting_range(np.append(values, [-9999] * 50)) == (values.min(), values.max())
    assert fitting_range(np.append(values, 1e6))[1] < 9.1


def test_remarks_stand_on_the_page_of_the_training(command, tmp_path):
    root = folder(tmp_path / "data", WARNED["class numbers"][0])
    flags = ["--dataroot", root, "--input_nc", "1", "--netG", "unet_64", "--ngf", "4", "--ndf", "4"]
    flags += ["--gpu_ids", "-1", "--num_threads", "0", "--n_epochs", "1", "--n_epochs_decay", "0"]
    sizes = ["--load_size", "64", "--crop_size", "64", "--max_dataset_size", "1"]
    assert command("train", *flags, *sizes, "--name", "r").status == 0
    page = Path("checkpoints/r/web/index.html").read_text()
    assert "A: only 20 values, from 0 to 19 (class numbers?)" in page


def test_values_beyond_the_range_are_clipped_for_a_dataset_and_for_one_image_alike(tmp_path):
    root = folder(tmp_path, lambda i: with_value(noise(i, 200, 900, np.uint16), 65535, 0.002))
    flags = ["--input_nc", 1, "--range_A", "percentile", "--preprocess", "none"]
    loader, opt = dataset(root, *flags)
    item, path = loader.dataset[0], root / "trainA" / "0.npy"
    one = loader.dataset.single_preprocessor(opt, loader.dataset.ranges)(load_image_or_array(path))
    assert torch.equal(item["A"], one) or torch.equal(item["A"].flip(-1), one)
    assert one.min() == -1 and one.max() == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_item_with_such_a_value_is_an_error_that_names_its_file(value, tmp_path):
    make = lambda i: with_value(noise(i, 0, 1, np.float32), value, 0.1)  # noqa: E731
    loader, _ = dataset(folder(tmp_path, make), "--input_nc", 1, "--no_data_check")
    with pytest.raises(ValueError, match=r"trainA/0.npy: holds NaN or infinite values"):
        loader.dataset[0]


def test_hard_labels_stay_hard_with_the_nearest_filter(tmp_path):
    make = WARNED["class numbers"][0]
    flags = ["--input_nc", 1, "--range_A", "0,19", "--filter_A", "nearest"]
    loader, _ = dataset(folder(tmp_path, make), *flags)
    classes = (loader.dataset[0]["A"] + 1) / 2 * 19
    assert torch.allclose(classes, classes.round(), atol=1e-5)
    loader, _ = dataset(tmp_path, *flags[:4])
    classes = (loader.dataset[0]["A"] + 1) / 2 * 19
    assert not torch.allclose(classes, classes.round(), atol=1e-2)


@pytest.mark.parametrize("text", ["-1024,3071", "-1,1", "-0.5,-0.1", "-1e3,1e3"])
def test_a_negative_range_parses_as_it_stands(text, tmp_path):
    opt = TrainOptions().read(["--range_A", text, "--checkpoints_dir", str(tmp_path)])
    assert opt.range_A == [float(part) for part in text.split(",")]


@pytest.mark.parametrize(("size", "said"), [((30, 24), 0), ((31, 24), 0), ((48, 24), 1)])
def test_pairs_of_other_shapes_are_remarked_on(tmp_path, size, said) -> None:
    found = remarks(folder(tmp_path, lambda i: draw(size, seed=9 + i), "png"))
    assert len(found) == said
    if said:
        A, B = (f"{tmp_path}/train{side}/0.png" for side in "AB")
        assert f"in 6 of 6 pairs, such as {A} (48x24) and {B} (30x24)" in found[0]


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_pairs_that_are_translated_as_single_images_are_remarked_on(tmp_path, direction) -> None:
    for i in range(3):
        sides = [np.asarray(image) for image in draw_pair(np.random.default_rng(i))]
        Image.fromarray(np.hstack(sides)).save(tmp_path / f"{i}.png")
    flags = ["--dataroot", str(tmp_path), "--model", "test", "--gpu_ids", "-1"]
    flags += ["--direction", direction, "--checkpoints_dir", str(tmp_path / "runs")]
    (said,) = create_dataset(TestOptions().read(flags)).remarks
    assert "look like A|B pairs" in said and "leave out --model test" in said


def test_wide_photos_are_not_taken_for_pairs(tmp_path) -> None:
    for i in range(3):
        draw((80, 40), seed=i).save(tmp_path / f"{i}.png")
    flags = ["--dataroot", str(tmp_path), "--model", "test", "--gpu_ids", "-1"]
    flags += ["--checkpoints_dir", str(tmp_path / "runs")]
    assert create_dataset(TestOptions().read(flags)).remarks == []
