"""Masks in files: white is the hole, and what is no mask is refused in one line."""

from pathlib import Path

import numpy as np
import pytest
from conftest import draw, refusal
from PIL import Image, ImageDraw

from data.files.image_types import HighDepthImage, StoredType
from data.holes.mask_files import (
    MaskFolder,
    alpha_mask,
    as_image,
    check_same_size,
    load_mask,
    mask_of,
)
from data.image_parts import partners


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
        lambda image: image.convert("LA"),
        lambda image: image.point(lambda value: value // 255),
        lambda image: Image.fromarray(np.asarray(image).astype(np.uint16) * 257),
        lambda image: Image.fromarray(np.asarray(image).astype(np.uint16)),
    ],
    ids=["L", "RGB", "1", "P", "RGBA", "LA", "0 and 1", "16 bits", "16 bits of 0 and 255"],
)
def test_white_is_the_hole_in_files_of_any_kind(tmp_path: Path, convert) -> None:
    convert(as_image(box())).save(tmp_path / "mask.png")
    assert np.array_equal(load_mask(tmp_path / "mask.png"), box())


@pytest.mark.parametrize("ending", ["gif", "GIF", "tif", "jpg", "npy", "int64.npy", "bool.npy"])
def test_white_is_the_hole_in_files_of_any_format(tmp_path: Path, ending: str) -> None:
    path, image = tmp_path / f"mask.{ending}", as_image(box())
    if ending.endswith("npy"):
        kind = {"npy": np.float32, "int64.npy": np.int64, "bool.npy": bool}[ending]
        np.save(path, np.asarray(image).astype(kind))
    elif ending in ("gif", "GIF"):  # of several frames the first counts
        image.save(path, save_all=True, append_images=[Image.new("L", image.size)])
    else:
        image.convert("CMYK").save(path)
    assert np.array_equal(load_mask(path), box())


def test_a_transparent_colour_of_a_palette_is_still_a_colour(tmp_path: Path) -> None:
    as_image(box()).convert("P").save(tmp_path / "mask.png", transparency=0)
    assert np.array_equal(load_mask(tmp_path / "mask.png"), box())


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 30, 9)])
def test_a_shape_in_the_alpha_channel_alone_is_said(tmp_path: Path, colour) -> None:
    image = Image.new("RGBA", (48, 40), colour)
    image.putalpha(as_image(box()))
    image.save(tmp_path / "mask.png")
    words = "of one colour, only its alpha channel varies", "without transparency"
    refusal(lambda: load_mask(tmp_path / "mask.png"), "mask.png: ", *words)
    strokes = Image.new("RGBA", (48, 40), (0, 0, 0, 0))
    strokes.paste((255, 255, 255, 255), mask=as_image(box()))
    assert np.array_equal(mask_of(strokes), box())


def test_alpha_of_16_bits_is_no_grey(tmp_path: Path) -> None:
    values = np.dstack([65535 * box(), np.full((40, 48), 65535)]).astype(np.float32)
    deep = HighDepthImage(values, StoredType(".png", "uint16"), 0, 65535, "LA")
    assert np.array_equal(mask_of(deep), box())


def test_arrays_that_are_no_masks_are_refused(tmp_path: Path) -> None:
    for array, words in (
        (np.zeros((40, 48, 5), np.uint8), "has 5 channels; a mask is grey or RGB"),
        (np.zeros((1, 40, 48), np.uint8), "looks like (C, H, W)"),
        (np.where(box(), np.nan, 0), "holds NaN"),
    ):
        np.save(tmp_path / "mask.npy", array)
        refusal(lambda: load_mask(tmp_path / "mask.npy"), "mask.npy: ", words)


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
        (
            np.zeros((8, 9)),
            ["is empty", "nothing to fill", "paint the hole white, from 128 of 255"],
        ),
        (np.full((8, 9), 255), ["is full", "and the rest black"]),
        (np.full((8, 9), 100), ["100% of the mask are grey", "32 to 223", "black and white"]),
        (np.tile(np.arange(0, 256, 4), (8, 1)), ["75% of the mask are grey", "128", "as PNG"]),
    ],
    ids=["empty", "full", "grey", "ramp"],
)
def test_what_is_no_mask_is_refused_with_its_file(tmp_path: Path, values, words) -> None:
    path = saved(tmp_path / "mask.png", values)
    refusal(lambda: load_mask(path), str(path), *words)


def test_sizes_are_compared() -> None:
    check_same_size(box(), (48, 40))
    refusal(lambda: check_same_size(box(), (40, 48)), "48x40", "40x48", "upright as the EXIF")
    refusal(lambda: check_same_size(box(), (40, 47)), "48x40", "40x47; both need one size")


def test_transparent_pixels_are_the_hole() -> None:
    image = draw((48, 40))
    assert alpha_mask(image) is None
    image.putalpha(255)
    assert alpha_mask(image) is None
    image.putalpha(Image.eval(as_image(box()), lambda value: 255 - value))
    assert np.array_equal(alpha_mask(image), box())
    palette = image.quantize()
    assert palette.mode == "P" and np.array_equal(alpha_mask(palette), box())
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


@pytest.mark.parametrize("folder", ["./masks", "masks/", "../here/masks", ".//masks", "masks"])
def test_a_folder_may_be_spelled_in_any_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    (tmp_path / "here" / "masks").mkdir(parents=True)
    saved(tmp_path / "here" / "masks" / "a.png", 255 * box())
    monkeypatch.chdir(tmp_path / "here")
    file = MaskFolder(folder, "--mask_dir").of("a")
    assert file and Path(file).samefile("masks/a.png")
    assert partners("mask", folder, flag="mask", files=["./p/a.png"], folder="./p") == [file]


def test_grey_of_high_depth_is_measured_in_its_own_range(tmp_path: Path) -> None:
    saved(tmp_path / "m.png", np.zeros((2, 2)))
    Image.fromarray(np.full((8, 9), 25_000, np.uint16)).save(tmp_path / "m.png")
    refusal(lambda: load_mask(tmp_path / "m.png"), "grey")
    assert mask_of(as_image(box())).sum() == box().sum()
