"""Masks in files: white is the hole, and what is no mask is refused in one line."""

from pathlib import Path

import numpy as np
import pytest
from conftest import draw, refusal
from PIL import Image, ImageDraw

from data.mask_files import (
    MaskFolder,
    alpha_mask,
    as_image,
    check_same_size,
    load_mask,
    mask_of,
)


def saved(path: Path, values: np.ndarray, **how: int) -> Path:
    Image.fromarray(values.astype(np.uint8)).save(path, **how)
    return path


def box() -> np.ndarray:
    mask = np.zeros((40, 48), bool)
    mask[6:30, 8:20] = True
    return mask


@pytest.mark.parametrize(
    "convert",
    [
        lambda image: image,
        lambda image: image.convert("RGB"),
        lambda image: image.convert("1"),
        lambda image: image.convert("P"),
        lambda image: image.convert("RGBA"),
        lambda image: Image.fromarray(np.asarray(image).astype(np.uint16) * 257),
    ],
    ids=["L", "RGB", "1", "P", "RGBA", "16 bits"],
)
def test_white_is_the_hole_in_files_of_any_kind(tmp_path: Path, convert) -> None:
    convert(as_image(box())).save(tmp_path / "mask.png")
    assert np.array_equal(load_mask(tmp_path / "mask.png"), box())


def test_smooth_edges_and_jpeg_are_cut_at_the_threshold(tmp_path: Path) -> None:
    large = Image.new("L", (480, 400))
    ImageDraw.Draw(large).ellipse((80, 60, 200, 180), fill=255)
    smooth = large.resize((48, 40), Image.Resampling.BOX)
    smooth.save(tmp_path / "a.png")
    smooth.save(tmp_path / "a.jpg", quality=95)
    wanted = np.asarray(smooth) >= 128
    assert set(np.unique(smooth)) - {0, 255}
    assert np.array_equal(load_mask(tmp_path / "a.png"), wanted)
    assert (load_mask(tmp_path / "a.jpg") != wanted).mean() < 0.01


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((8, 9)), ["is empty", "nothing to fill", "from 128 of 255"]),
        (np.full((8, 9), 255), ["is full", "from 128 of 255"]),
        (np.full((8, 9), 100), ["100% of the mask are grey", "32 to 223", "from 128 of 255"]),
        (np.tile(np.arange(0, 256, 4), (8, 1)), ["75% of the mask are grey", "128"]),
    ],
    ids=["empty", "full", "grey", "ramp"],
)
def test_what_is_no_mask_is_refused_with_its_file(tmp_path: Path, values, words) -> None:
    path = saved(tmp_path / "mask.png", values)
    refusal(lambda: load_mask(path), str(path), *words)


def test_sizes_are_compared() -> None:
    check_same_size(box(), (48, 40))
    refusal(lambda: check_same_size(box(), (40, 48)), "48x40", "40x48", "one size")


def test_transparent_pixels_are_the_hole() -> None:
    image = draw((48, 40))
    assert alpha_mask(image) is None
    image.putalpha(255)
    assert alpha_mask(image) is None
    image.putalpha(Image.eval(as_image(box()), lambda value: 255 - value))
    assert np.array_equal(alpha_mask(image), box())
    image.putalpha(0)
    refusal(lambda: alpha_mask(image), "transparent everywhere")


def test_a_folder_gives_the_mask_of_a_stem_or_any(tmp_path: Path) -> None:
    for name in ("b", "a", "sub/c"):
        (tmp_path / "sub").mkdir(exist_ok=True)
        saved(tmp_path / f"{name}.png", 255 * box())
    masks = MaskFolder(tmp_path, "--mask_dir")
    assert masks.of("sub/c") == str(tmp_path / "sub" / "c.png")
    assert masks.of("other") is None
    assert {masks.any(number) for number in range(9)} == set(masks.paths)
    refusal(lambda: MaskFolder(tmp_path / "no", "--mask_dir"), "--mask_dir", "does not exist")


def test_grey_of_high_depth_is_measured_in_its_own_range(tmp_path: Path) -> None:
    saved(tmp_path / "m.png", np.zeros((2, 2)))
    Image.fromarray(np.full((8, 9), 25_000, np.uint16)).save(tmp_path / "m.png")
    refusal(lambda: load_mask(tmp_path / "m.png"), "grey")
    assert mask_of(as_image(box())).sum() == box().sum()
