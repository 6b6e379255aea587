"""What a file says beside its pixels never decides whether they are read."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from conftest import draw
from PIL import Image
from support.image_bytes import exif, jpeg_with, png_with, turned

from data.checks.image_check import inspect
from data.files.image_files import image_size, load_image
from data.files.metadata import orientation_in

PHOTO = draw((20, 12))
ODD = {
    "a resolution in letters": (0x011A, 2, 4, b"abc\0"),
    "a negative unsigned number": (0x0100, 9, 1, struct.pack("<i", -5)),
    "an unknown type": (0x9999, 99, 1, b"\1\0\0\0"),
    "an EXIF folder in letters": (0x8769, 2, 4, b"abc\0"),
    "a GPS folder far outside": (0x8825, 4, 1, b"\xff\xff\xff\x7f"),
    "a rational far outside": (0x829A, 5, 1, b"\xff\xff\xff\x7f"),
    "XMP as numbers": (0x02BC, 3, 2, b"\1\0\2\0"),
}
pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF data", "ignore:Truncated")


def encoded(format: str, image: Image.Image = PHOTO) -> bytes:
    file = io.BytesIO()
    image.save(file, format, quality=95)
    return file.getvalue()


def same(path: Path, content: bytes) -> bool:
    """Write a file and return whether its image, upright, is the photo turned by a quarter."""
    path.write_bytes(content)
    wanted = Image.open(io.BytesIO(encoded(path.suffix[1:].replace("jpg", "jpeg"))))
    found = np.asarray(load_image(path))
    return np.array_equal(found, np.rot90(np.asarray(wanted.convert("RGB")), -1))


@pytest.mark.parametrize("tag", ODD)
@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
def test_odd_tags_leave_the_orientation(tmp_path, ending, tag) -> None:
    block, path = exif(*sorted((turned(), ODD[tag]))), tmp_path / f"a.{ending}"
    if ending == "webp":
        PHOTO.save(path, lossless=True, exif=block)
        found = np.asarray(load_image(path))
        assert np.array_equal(found, np.rot90(np.asarray(PHOTO), -1))
    elif ending == "png":
        assert same(path, png_with(encoded("png"), (b"eXIf", block[6:])))
    else:
        assert same(path, jpeg_with(encoded("jpeg"), (0xE1, block)))
    assert image_size(path) == (12, 20)
    (remark,) = inspect(str(path))
    assert not remark.fatal and "it is turned upright" in remark.what


@pytest.mark.parametrize(
    "tag",
    [(0x0112, 2, 2, b"6\0\0\0"), (0x0112, 7, 1, b"\6\0\0\0"), turned(9)],
)
def test_an_orientation_that_cannot_be_read_leaves_the_image(tmp_path, tag) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_with(encoded("png"), (b"eXIf", exif(tag)[6:])))
    assert np.array_equal(np.asarray(load_image(path)), np.asarray(PHOTO))
    (remark,) = inspect(str(path))
    assert "cannot be read; it stays as it is" in remark.what


@pytest.mark.parametrize(
    "chunk",
    [
        (b"tEXt", b"Comment\0" + b"x" * 3_000_000),
        (b"zTXt", b"Comment\0\0" + b"no zlib"),
        (b"iTXt", b"x"),
        (b"iCCP", b"icc\0\0broken"),
        (b"gAMA", b"\0"),
        (b"pHYs", b"\0\0"),
        (b"cHRM", b"\1"),
        (b"acTL", b"\0"),
    ],
    ids=lambda chunk: chunk[0].decode(),
)
def test_broken_chunks_of_png_beside_the_pixels(tmp_path, chunk) -> None:
    upright = (b"eXIf", exif(turned())[6:])
    assert same(tmp_path / "a.png", png_with(encoded("png"), upright, chunk))


def test_text_with_a_wrong_checksum_and_text_behind_the_pixels(tmp_path) -> None:
    content = png_with(encoded("png"), (b"eXIf", exif(turned())[6:]), (b"tEXt", b"Comment\0abcdef"))
    assert same(tmp_path / "a.png", content.replace(b"abcdef", b"abcdeg"))
    behind = png_with(b"\x89PNG\r\n\x1a\n" + bytes(25), (b"zTXt", b"k\0\0" + b"damaged"))[33:]
    content = png_with(encoded("png"), (b"eXIf", exif(turned())[6:]))
    assert same(tmp_path / "a.png", content[:-12] + behind + content[-12:])


@pytest.mark.parametrize(
    "segment",
    [
        (0xE1, b"Exif\0\0garbage"),
        (0xE2, b"MPF\0II*\0\xff\xff\xff\xff"),
        (0xE2, b"ICC_PROFILE\0\x05"),
        (0xED, b"Photoshop 3.0\0" + b"8BIM\x03\xed\x00\x00\x00\x00\xff\xff"),
        (0xFE, b"\xff" * 60000),
        (0xE0, b"JFIF\0"),
    ],
    ids=["exif", "mpf", "icc", "photoshop", "comment", "jfif"],
)
def test_broken_segments_of_jpeg_beside_the_pixels(tmp_path, segment) -> None:
    upright = (0xE1, exif(turned()))
    assert same(tmp_path / "a.jpg", jpeg_with(encoded("jpeg"), upright, segment))


@pytest.mark.parametrize("packing", [None, "tiff_lzw"])
def test_a_broken_exif_folder_of_tiff(tmp_path, packing) -> None:
    """PIL reads it when it reads the pixels."""
    PHOTO.save(tmp_path / "a.tif", compression=packing, tiffinfo={34665: 2**31 - 1, 274: 6})
    found = np.asarray(load_image(tmp_path / "a.tif"))
    assert np.array_equal(found, np.rot90(np.asarray(PHOTO), -1))


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("value", range(1, 9))
def test_the_size_in_a_header_is_that_of_the_image_turned_upright(tmp_path, ending, value) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    path = tmp_path / f"a.{ending}"
    Image.new("RGB", (20, 12)).save(path, exif=exif)
    wanted = (12, 20) if value > 4 else (20, 12)
    assert image_size(path) == load_image(path).size == wanted


def test_orientation_in_any_bytes() -> None:
    block = exif(turned(8), ODD["an unknown type"])
    assert orientation_in(block) == orientation_in(block[6:]) == 8
    assert {orientation_in(block[:n]) for n in range(20)} == {None}
    assert orientation_in(None) is None and orientation_in(b"Exif\0\0MM\0*\0") is None
