"""PNG files of 16 bits a channel: every bit is read, and damage is named instead of decoded."""

import importlib.util
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import refusal
from support.image_bytes import exif, png16, turned

from data.files import png_files
from data.files.image_files import BadImageError, load_image_or_array
from data.files.pixel_limit import TooLargeError

ROOT = Path(__file__).resolve().parents[3]


def values(channels: int, size: tuple[int, int] = (13, 21)) -> np.ndarray:
    return np.random.default_rng(channels).integers(0, 65536, (*size, channels), np.uint16)


@pytest.fixture(params=["imagecodecs", "PIL alone"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read with imagecodecs, and as if it were not installed."""
    if request.param == "PIL alone":
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_all_bits_of_all_channels_are_read(decoder, channels: int, interlaced: bool) -> None:
    array = values(channels)
    found, kind = png_files.read_png16(png16(array, interlaced=interlaced), 1000)
    assert kind == ["L", "LA", "RGB", "RGBA"][channels - 1] and found.dtype == np.uint16
    assert np.array_equal(found, array)


def test_a_transparent_colour_leaves_three_channels(decoder) -> None:
    content = png16(values(3), more=((b"tRNS", b"\0\1" * 3),))
    assert np.array_equal(png_files.read_png16(content, 1000)[0], values(3))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_wrong_bit_anywhere_is_named(tmp_path, channels: int) -> None:
    whole, path, rng = png16(values(channels)), tmp_path / "deep.png", random.Random(0)
    for _ in range(300):
        content = bytearray(whole)
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        with pytest.raises(BadImageError, match="deep.png"):
            load_image_or_array(path)


def test_a_stream_that_ends_early_under_right_checksums_is_named(tmp_path, decoder) -> None:
    """What kills torchvision's decoder: the chunks are whole, the pixels are not."""
    content = png16(values(3))
    chunks = {chunk.name: chunk for chunk in png_files.chunks(content)}
    short = png_files.chunk(b"IDAT", chunks[b"IDAT"].data[:-700])
    (tmp_path / "deep.png").write_bytes(content.replace(chunks[b"IDAT"].whole, short))
    refusal(lambda: load_image_or_array(tmp_path / "deep.png"), "deep.png", "cannot be read")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_named(tmp_path, kept: float) -> None:
    content = png16(values(3))
    (tmp_path / "deep.png").write_bytes(content[: int(kept * len(content))])
    refusal(lambda: load_image_or_array(tmp_path / "deep.png"), "deep.png", "ends early")


def test_metadata_never_decides(tmp_path) -> None:
    """Megabytes of text, a broken profile, a wrong checksum of a text: the pixels are read."""
    more = ((b"tEXt", b"Comment\0" + b"x" * 3_000_000), (b"iCCP", b"broken"))
    content = png16(values(3), more=more).replace(b"xxxx" * 9, b"xxxy" * 9, 1)
    assert [chunk.right for chunk in png_files.chunks(content)].count(False) == 1
    (tmp_path / "deep.png").write_bytes(content)
    assert np.array_equal(load_image_or_array(tmp_path / "deep.png").array(), values(3))


@pytest.mark.parametrize("value", [1, 6])
def test_the_orientation_is_applied(tmp_path, value: int) -> None:
    block = exif(turned(value)).removeprefix(b"Exif\0\0")
    (tmp_path / "deep.png").write_bytes(png16(values(3), more=((b"eXIf", block),)))
    wanted = values(3) if value == 1 else np.rot90(values(3), -1)
    assert np.array_equal(load_image_or_array(tmp_path / "deep.png").array(), wanted)


def test_more_pixels_than_the_limit_are_not_decoded() -> None:
    with pytest.raises(TooLargeError, match="--max_pixels 100"):
        png_files.read_png16(png16(values(3)), 100)


@pytest.mark.slow
def test_a_wrong_bit_does_not_end_the_process(tmp_path) -> None:
    path, content = tmp_path / "deep.png", bytearray(png16(values(3, (64, 64))))
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    code = f"from data.checks.image_check import inspect; print(inspect({str(path)!r})[0].fatal)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "True\n")
