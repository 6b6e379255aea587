"""TIFF files: all bands of any photometric and type; PIL reads what it does not cut."""

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from conftest import draw, refusal
from PIL import Image

from data.channels import to_channels
from data.files.image_files import load_image, load_image_or_array
from data.files.image_types import HighDepthImage
from data.transforms import to_tensor

SHAPE = (23, 31)


def values(dtype: str, channels: int) -> np.ndarray:
    rng = np.random.default_rng(channels)
    if dtype.startswith("float"):
        return rng.normal(size=(*SHAPE, channels)).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, (*SHAPE, channels), dtype, endpoint=True)


def written(path: Path, array: np.ndarray, **how: Any) -> Path:
    """Write (H, W, C) with tifffile; a single channel as (H, W)."""
    array = array[..., 0] if array.shape[2] == 1 else array
    if how.get("planarconfig") == "separate":
        array = np.ascontiguousarray(array.transpose(2, 0, 1))
    tifffile.imwrite(path, array, **how)
    return path


def bands(path: Path) -> np.ndarray:
    """Return all bands of a file as --input_nc N gives them."""
    image = load_image_or_array(path)
    have = image.channels if isinstance(image, HighDepthImage) else len(image.getbands())
    image = to_channels(image, have)
    return image.array() if isinstance(image, HighDepthImage) else np.asarray(image)


@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("channels", [2, 4, 5, 6, 12])
@pytest.mark.parametrize("photometric", ["minisblack", "rgb", "separated"])
def test_all_bands_are_read(tmp_path, photometric, channels, dtype, planes) -> None:
    if channels < {"minisblack": 1, "rgb": 3, "separated": 4}[photometric]:
        return
    array = values(dtype, channels)
    how = {"photometric": photometric, "planarconfig": planes}
    if photometric == "rgb" and channels == 4:
        how["extrasamples"] = ["unspecified"]
    path = written(tmp_path / "a.tif", array, **how)
    assert np.array_equal(bands(path), array.astype(np.float32))
    refusal(lambda: to_channels(load_image_or_array(path), channels + 1), f"has {channels} ch")


@pytest.mark.parametrize("packing", ["lzw", "zlib", "zstd", "packbits"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_packed_strips_and_tiles_are_read(tmp_path, packing, tile) -> None:
    array = values("uint16", 6)
    how = {"photometric": "minisblack", "planarconfig": "contig", "tile": tile}
    path = written(tmp_path / "a.tif", array, compression=packing, **how)
    assert np.array_equal(bands(path), array.astype(np.float32))


def test_a_fourth_band_is_dropped_only_if_the_file_calls_it_alpha(tmp_path) -> None:
    array = values("uint8", 4)
    for name, kind in (("alpha", "unassalpha"), ("infrared", "unspecified")):
        written(tmp_path / f"{name}.tif", array, photometric="rgb", extrasamples=[kind])
    alpha = load_image_or_array(tmp_path / "alpha.tif")
    assert np.array_equal(np.asarray(to_channels(alpha, 3)), array[..., :3])
    assert np.array_equal(to_channels(alpha, 4).array(), array)
    infrared = load_image_or_array(tmp_path / "infrared.tif")
    refusal(lambda: to_channels(infrared, 3), "has 4 channels, not the 3")
    refusal(lambda: load_image(tmp_path / "infrared.tif"), "infrared.tif", "has 4 channels")


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "CMYK", "P", "1"])
def test_pil_reads_what_it_does_not_cut(tmp_path, mode) -> None:
    draw((31, 23)).convert("L" if mode == "LA" else "RGB").convert(mode).save(tmp_path / "a.tif")
    assert isinstance(load_image_or_array(tmp_path / "a.tif"), Image.Image)


def test_white_is_zero_in_16_bits_as_in_8(tmp_path) -> None:
    for dtype, white in (("uint8", 255), ("uint16", 65535)):
        array = np.full((*SHAPE, 1), white // 5, dtype)
        written(tmp_path / f"{dtype}.tif", array, photometric="miniswhite")
        grey = to_tensor(to_channels(load_image_or_array(tmp_path / f"{dtype}.tif"), 1))
        assert grey.unique().tolist() == pytest.approx([0.6])


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_packed_bits_have_the_range_of_their_number(tmp_path, bits) -> None:
    array = values("uint16", 1) >> (16 - bits)
    path = written(tmp_path / "a.tif", array, bitspersample=bits)
    image = load_image_or_array(path)
    assert np.array_equal(image.array(), array) and image.range == (0, 2**bits - 1)


@pytest.mark.parametrize("value", range(1, 9))
def test_the_orientation_turns_all_types_alike(tmp_path, value) -> None:
    found = []
    for dtype in ("uint8", "uint16"):
        path = written(tmp_path / "a.tif", (values("uint8", 1) * np.ones(1, dtype)))
        content = bytearray(path.read_bytes())
        with tifffile.TiffFile(path) as file:
            entry = file.pages[0].tags["ResolutionUnit"].offset
        content[entry : entry + 2], content[entry + 8] = (0x0112).to_bytes(2, "little"), value
        path.write_bytes(content)
        image = load_image_or_array(path)
        array = image.array()[..., 0] if dtype == "uint16" else np.asarray(image)[..., 0]
        found.append(array.astype(int))
    assert np.array_equal(*found) and found[0].shape == (SHAPE if value < 5 else SHAPE[::-1])


def test_thumbnails_behind_an_image_are_no_bands(tmp_path) -> None:
    photo = values("uint8", 3)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(photo, photometric="rgb")
        file.write(photo[::2, ::2], photometric="rgb", subfiletype=1)
    assert np.array_equal(np.asarray(load_image_or_array(tmp_path / "a.tif")), photo)


def test_of_pages_of_colours_the_first_is_read_and_pages_of_grey_are_bands(tmp_path) -> None:
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((2, *SHAPE, 3), np.uint8), photometric="rgb")
    assert load_image_or_array(tmp_path / "rgb.tif").mode == "RGB"
    grey = values("uint8", 2)
    tifffile.imwrite(tmp_path / "grey.tif", grey.transpose(2, 0, 1), photometric="minisblack")
    assert np.array_equal(bands(tmp_path / "grey.tif"), grey)
    refusal(lambda: to_channels(load_image_or_array(tmp_path / "grey.tif"), 1), "has 2 channels")


HOW = {
    "one page": {"photometric": "minisblack", "planarconfig": "contig"},
    "a page for each band": {"photometric": "minisblack", "metadata": None},
    "large": {"photometric": "minisblack", "planarconfig": "contig", "bigtiff": True},
}


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("kept", [0.3, 0.9])
@pytest.mark.parametrize("packing", [None, "zlib"])
@pytest.mark.parametrize("how", HOW)
def test_a_file_that_ends_early_is_named(tmp_path, how, packing, kept, dtype) -> None:
    array = values(dtype, 5)
    array = array.transpose(2, 0, 1) if how == "a page for each band" else array
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array, compression=packing, **HOW[how])
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    refusal(lambda: load_image_or_array(path), "a.tif", "cannot be read")


def test_strips_that_are_too_short_are_named(tmp_path) -> None:
    """Instead of filled with zeros."""
    path = written(tmp_path / "a.tif", values("uint16", 2), photometric="minisblack")
    with tifffile.TiffFile(path) as file:
        tag = file.pages[0].tags["ImageLength"]
    content = bytearray(path.read_bytes())
    content[tag.valueoffset : tag.valueoffset + 4] = (9000).to_bytes(4, "little")
    path.write_bytes(content)
    refusal(lambda: load_image_or_array(path), "a.tif", "damaged")


def test_a_missing_package_is_named(tmp_path, monkeypatch) -> None:
    path, real = written(tmp_path / "a.tif", values("uint16", 5)), builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name == "tifffile":
            raise ImportError
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    refusal(lambda: load_image_or_array(path), "a.tif", "pip install tifffile")


def test_of_several_pages_in_colour_the_first_is_read(tmp_path) -> None:
    pages = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), np.uint8)
    tifffile.imwrite(tmp_path / "scan.tif", pages, photometric="rgb")
    image = load_image_or_array(tmp_path / "scan.tif")
    assert isinstance(image, Image.Image) and np.array_equal(image, pages[0])
