"""Reading image files: orientation, colour modes, refusals by name."""

import importlib.machinery
import struct
import sys
import types
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL.ImageFile
import pytest
import tifffile
from conftest import draw
from PIL import Image
from support.image_bytes import png16

import data.transforms
from data.checks.image_check import inspect
from data.files.image_files import (
    BadImageError,
    load_image,
    load_image_or_array,
    read_pair,
    split_pair,
)
from data.image_folder import make_dataset, read_extensions


def same(one: Image.Image, other: Image.Image) -> bool:
    return (one.mode, one.size, one.tobytes()) == (other.mode, other.size, other.tobytes())


# EXIF orientation: from the stored array to the upright one.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_comes_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    draw((20, 12)).save(tmp_path / "phone.jpg", exif=exif)
    stored = np.asarray(Image.open(tmp_path / "phone.jpg"))
    assert stored.shape == (12, 20, 3)
    got = np.asarray(load_image(tmp_path / "phone.jpg"))
    np.testing.assert_array_equal(got, UPRIGHT[orientation](stored))


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK"])
def test_any_colour_mode_becomes_rgb(tmp_path, mode):
    image = draw((20, 12)).convert(mode)
    image.save(tmp_path / "image.tif")
    assert Image.open(tmp_path / "image.tif").mode == mode
    assert same(load_image(tmp_path / "image.tif"), image.convert("RGB"))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_dropped_and_colours_stay(tmp_path, mode):
    image = draw((20, 12)).convert(mode)
    image.putalpha(draw((20, 12), seed=1).convert("L"))
    image.save(tmp_path / "image.png")
    assert same(load_image(tmp_path / "image.png"), image.convert(mode[:-1]).convert("RGB"))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("extension", ["png", "jpg", "webp", "bmp", "tif", "ppm"])
@pytest.mark.parametrize("kept", [0.5, 11])
def test_truncated_file_is_refused_by_name(tmp_path, extension, kept):
    path = tmp_path / f"part.{extension}"
    draw((40, 40)).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: kept if kept > 1 else int(kept * len(whole))])
    assert_refused(path)


def test_what_is_no_image_is_refused_by_name(tmp_path):
    (tmp_path / "text.png").write_text("not an image\nat all\n")
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.png").mkdir()
    for name in ("text.png", "empty.png", "folder.png", "absent.png"):
        assert_refused(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "dtype"), [("16.png", np.uint16), ("16.tif", ">u2"), ("32.tif", np.float32)]
)
def test_more_than_8_bits_are_refused_rather_than_saturated(tmp_path, name, dtype):
    grey = np.linspace(0, 65535, 12 * 20).reshape(12, 20)
    Image.fromarray(grey.astype(dtype)).save(tmp_path / name)
    assert_refused(tmp_path / name, "8 bits")


def assert_refused(path, *words):
    with pytest.raises(ValueError) as error:
        load_image(path)
    message = str(error.value)
    assert str(path) in message and "\n" not in message
    assert all(word in message for word in words)


# Whatever a decoder raises ------------------------------------------------------------------


ERRORS = [
    *(KeyError("x"), IndexError(), struct.error("a\nb"), TypeError("abs"), MemoryError()),
    *(RecursionError("deep"), ZeroDivisionError("by 0"), RuntimeError("native"), EOFError()),
    *(UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"), AssertionError(), OverflowError("int")),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "deep.png", "a.tif", "a.npy"])
def test_anything_that_a_decoder_raises_becomes_a_bad_image(tmp_path, monkeypatch, name, error):
    def fail(*args, **how):
        raise error

    if name in ("a.png", "a.jpg"):
        draw((8, 8)).save(tmp_path / name)
        monkeypatch.setattr(PIL.ImageFile.ImageFile, "load", fail)
    elif name == "a.npy":
        np.save(tmp_path / name, np.zeros((8, 8), np.uint16))
        monkeypatch.setattr(np, "load", fail)
    elif name == "a.tif":
        tifffile.imwrite(tmp_path / name, np.zeros((8, 8, 5), np.uint16))
        monkeypatch.setattr(tifffile.TiffFile, "__init__", fail)
    else:
        (tmp_path / name).write_bytes(png16(np.zeros((8, 8, 1), np.uint16)))
        monkeypatch.setattr(PIL.ImageFile.ImageFile, "load", fail)
    for read in (load_image, load_image_or_array, split_pair, lambda path: read_pair(path, path)):
        with pytest.raises(BadImageError) as caught:
            read(tmp_path / name)
        message = str(caught.value)
        assert message.startswith(f"{tmp_path / name}: ") and "\n" not in message
        assert message.rstrip(")").rpartition("(")[2]  # says something
    assert inspect(str(tmp_path / name))[0].fatal


def test_users_functions_of_old_are_the_same():
    assert data.transforms.load_image is data.transforms.load_picture is load_image


# The largest image --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "deep.png", "deep.tif", "a.npy"])
def test_more_pixels_than_the_limit_are_named_before_they_are_decoded(tmp_path, name):
    path, deep = tmp_path / name, np.zeros((30, 40), np.uint16)
    if name == "a.npy":
        np.save(path, deep)
    else:
        Image.fromarray(deep if name.startswith("deep") else deep.astype(np.uint8)).save(path)
    assert load_image_or_array(path, 1200).size == (40, 30)
    with pytest.raises(BadImageError) as error:
        load_image_or_array(path, 1199)
    assert "40x30 are 1200 pixels" in str(error.value) and "--max_pixels 1199" in str(error.value)


def test_pils_limit_does_not_hold_for_the_users_own_files_and_stays_for_others(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
    photo = draw((40, 30))
    for name in ("a.png", "a.tif", "a.jpg", "a.gif"):
        photo.save(tmp_path / name)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert load_image(tmp_path / name).size == (40, 30)
            left, right = split_pair(tmp_path / name)
        assert left.size == right.size == (20, 30) and Image.MAX_IMAGE_PIXELS == 300
        with pytest.raises(Image.DecompressionBombError):
            Image.open(tmp_path / name)


def test_pils_limit_comes_back_after_several_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
    draw((40, 30)).save(tmp_path / "a.png")
    with ThreadPoolExecutor(4) as pool:
        sizes = list(pool.map(lambda _: load_image(tmp_path / "a.png").size, range(60)))
    assert sizes == [(40, 30)] * 60 and Image.MAX_IMAGE_PIXELS == 300


def test_a_header_of_many_pixels_in_few_bytes_is_damage(tmp_path):
    path = tmp_path / "a.bmp"
    draw((40, 30)).save(path)
    content = bytearray(path.read_bytes())
    content[18:26] = struct.pack("<ii", 30000, 30000)
    path.write_bytes(content)
    assert_refused(path, "damaged: 30000x30000 pixels in")


# Formats ------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["jfif", "jpe", "gif", "pgm", "pnm", "webp", "avif", "pbm"])
def test_further_formats_are_read(tmp_path, ending):
    photo = draw((20, 12)).convert({"pgm": "L", "pbm": "1"}.get(ending, "RGB"))
    kind = {"jfif": "JPEG", "jpe": "JPEG", "avif": "AVIF", "gif": "GIF", "webp": "WEBP"}
    photo.save(tmp_path / f"a.{ending}", kind.get(ending, "PPM"), quality=95)
    assert make_dataset(tmp_path) == [str(tmp_path / f"a.{ending}")]
    found = np.asarray(load_image(tmp_path / f"a.{ending}"), int)
    assert np.abs(found - np.asarray(photo.convert("RGB"))).mean() < 30


@pytest.mark.parametrize("ending", ["gif", "png", "webp", "tif"])
def test_of_several_frames_the_first_is_read(tmp_path, ending):
    first, second = draw((20, 12)), draw((20, 12), seed=1)
    how = {"lossless": True} if ending == "webp" else {}
    if ending == "tif":  # a thumbnail; pages of one size are bands
        second = second.resize((10, 6))
    first.save(tmp_path / f"a.{ending}", save_all=True, append_images=[second], **how)
    found = np.asarray(load_image(tmp_path / f"a.{ending}"), int)
    assert np.abs(found - np.asarray(first)).mean() < (12 if ending == "gif" else 0.01)


def test_heic_is_read_where_its_package_is_installed(tmp_path, monkeypatch):
    """The package registers a reader with PIL, as this one does."""

    def register():
        def read(file, name):
            return Image.new("RGB", (4, 2), "red")

        Image.register_open("HEIF", read, lambda start: start[4:12] == b"ftypheic")

    package = types.SimpleNamespace(
        register_heif_opener=register, __spec__=importlib.machinery.ModuleSpec("pillow_heif", None)
    )
    (tmp_path / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    read_extensions.cache_clear()
    with pytest.raises(ValueError, match="1 .heic.*pip install pillow-heif"):
        make_dataset(tmp_path)
    assert_refused(tmp_path / "IMG_1.HEIC", "unknown format")
    monkeypatch.setitem(sys.modules, "pillow_heif", package)
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    monkeypatch.setattr(Image, "ID", [*Image.ID])
    read_extensions.cache_clear()
    try:
        (path,) = make_dataset(tmp_path)
        assert load_image(path).getpixel((0, 0)) == (255, 0, 0)
    finally:
        read_extensions.cache_clear()
