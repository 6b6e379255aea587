"""Reading image files: orientation, colour modes, refusals by name."""

import numpy as np
import pytest
from conftest import draw
from PIL import Image

from data.image_files import load_image


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
