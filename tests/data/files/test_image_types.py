"""Images of high bit depth convert to other numbers of channels as those of 8 bits do."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import draw, refusal
from PIL import Image
from support.image_bytes import png16

from data.channels import to_channels
from data.files.high_depth_output import write_array, write_high_depth
from data.files.image_files import load_image_or_array
from data.files.image_types import HighDepthImage, read_high_depth
from data.transforms import to_tensor


def coloured(mode: str) -> np.ndarray:
    """Return an image of 8 bits, (H, W, C), of one of PIL's modes."""
    image = draw((20, 12)).convert("L" if mode == "LA" else "RGB").convert(mode)
    if mode.endswith("A"):
        image.putalpha(draw((20, 12), seed=1).convert("L"))
    return np.asarray(image).reshape(12, 20, -1)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_16_bits_convert_as_8_bits_do(tmp_path, mode: str, count: int) -> None:
    eight = coloured(mode)
    (tmp_path / "deep.png").write_bytes(png16(eight.astype(np.uint16) * 257))
    Image.fromarray(eight.squeeze()).save(tmp_path / "flat.png")
    deep, flat = (
        to_tensor(to_channels(load_image_or_array(tmp_path / name), count))
        for name in ("deep.png", "flat.png")
    )
    assert deep.shape == flat.shape == (count, 12, 20)
    assert (deep - flat).abs().max() <= 1 / 255  # 8 bits round


def test_luma_is_that_of_itu_r_601_and_grey_stays_grey() -> None:
    pure = np.zeros((1, 4, 3), np.uint16)
    pure[0, :3] = np.eye(3) * 65535
    pure[0, 3] = 12345
    grey = HighDepthImage.of(pure, ".png").with_channels(1).array()[0, :, 0]
    assert grey.tolist() == [round(0.299 * 65535), round(0.587 * 65535), 7471, 12345]


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_colours_that_alpha_has_scaled_are_scaled_back(tmp_path, dtype: str) -> None:
    scaled = np.uint8([[[50, 100, 25, 128], [7, 7, 7, 0], [200, 100, 0, 255]]])
    array = scaled.astype(dtype) * np.array(257 if dtype == "uint16" else 1, dtype)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", extrasamples=["assocalpha"])
    rgb = to_tensor(to_channels(load_image_or_array(tmp_path / "a.tif"), 3)).add(1).mul(127.5)
    wanted = np.float32([[100, 199, 50], [200, 100, 0]])
    assert np.abs(rgb.permute(1, 2, 0).numpy()[0, [0, 2]] - wanted).max() < 1.01


def test_printing_colours_convert_to_rgb(tmp_path) -> None:
    eight = coloured("CMYK")
    how = {"photometric": "separated", "planarconfig": "contig"}
    for name, array in (("8", eight), ("16", eight.astype(np.uint16) * 257)):
        tifffile.imwrite(tmp_path / f"{name}.tif", array, **how)
    for count in (1, 3, 4):
        deep, flat = (
            to_tensor(to_channels(load_image_or_array(tmp_path / f"{name}.tif"), count))
            for name in ("16", "8")
        )
        assert (deep - flat).abs().max() <= 2.1 / 255


@pytest.mark.parametrize(
    ("have", "count"), [(1, 2), (1, 4), (2, 4), (3, 2), (3, 4), (4, 2), (5, 4)]
)
def test_other_numbers_are_told_how_many_there_are(have: int, count: int) -> None:
    image = HighDepthImage.of(np.zeros((4, 4, have), np.uint16), ".npy")
    refusal(lambda: to_channels(image, count), f"has {have} channels, not the {count}")


def test_ordinary_images_give_all_their_bands_or_say_how_many(tmp_path) -> None:
    for mode, count in (("RGBA", 4), ("LA", 2)):
        array = coloured(mode)
        Image.fromarray(array).save(tmp_path / "a.png")
        image = load_image_or_array(tmp_path / "a.png")
        assert np.array_equal(to_channels(image, count).array(), array)
        refusal(lambda image=image: to_channels(image, 5), f"has {count} channels, not the 5")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("white", [1023, 4095, 65535])
def test_16_bit_ppm_and_pgm_keep_their_bits(tmp_path, channels: int, white: int) -> None:
    """PIL reads 16-bit PPM as 8 bits."""
    array = np.random.default_rng(0).integers(0, white + 1, (5, 7, channels), dtype=np.uint16)
    head = f"P{5 if channels == 1 else 6}\n# of a scanner\n7 5\n{white}\n".encode()
    path = tmp_path / ("a.pgm" if channels == 1 else "a.ppm")
    path.write_bytes(head + array.astype(">u2").tobytes())
    image = load_image_or_array(path)
    assert np.array_equal(image.array(), array) and image.range == (0, white)
    path.write_bytes(path.read_bytes()[:-3])
    refusal(lambda: load_image_or_array(path), path.name, "cannot be read")


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_tiff_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels: int
) -> None:
    array = np.random.default_rng(0).random((5, 7, channels), np.float32)
    write_array(array, tmp_path / "a.tif")
    assert np.array_equal(tifffile.imread(tmp_path / "a.tif").reshape(array.shape), array)

    def imwrite(file: object, *args: object, **how: object) -> None:
        file.write(b"II*")
        raise OSError(28, "the disk is full")

    monkeypatch.setattr(tifffile, "imwrite", imwrite)
    with pytest.raises(OSError, match="full"):
        write_array(array, tmp_path / "b.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_of_8_bits_is_written_as_such(tmp_path: Path, channels: int) -> None:
    array = np.random.default_rng(0).integers(0, 256, (5, 7, channels), np.uint8)
    write_array(array, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]
        assert np.array_equal(np.asarray(image).reshape(array.shape), array)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_of_every_number_of_channels_is_written(tmp_path: Path, channels: int) -> None:
    array = np.random.default_rng(0).integers(0, 65536, (5, 7, channels), np.uint16)
    (tmp_path / "a.png").write_bytes(png16(array))
    image = read_high_depth(tmp_path / "a.png")
    back = tmp_path / "back.png"
    write_high_depth(to_tensor(image).numpy(), image.stored_type, *image.range, back)
    assert np.array_equal(read_high_depth(back).array(), array)


def test_the_content_decides_about_the_format(tmp_path) -> None:
    array = np.random.default_rng(0).integers(0, 65536, (5, 7, 3), np.uint16)
    (tmp_path / "a.jpg").write_bytes(png16(array))
    tifffile.imwrite(tmp_path / "b.png", array, photometric="rgb")
    with open(tmp_path / "c.tif", "wb") as file:
        np.save(file, array)
    for name in ("a.jpg", "b.png", "c.tif"):
        assert np.array_equal(load_image_or_array(tmp_path / name).array(), array)
