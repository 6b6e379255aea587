"""Check image files before training."""

import os
import random
import time
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from data.channels import eight_bits
from data.files.image_files import DEEP, load_image, open_image, reason
from data.files.image_types import has_high_depth, read_high_depth
from data.files.metadata import orientation
from data.files.pixel_limit import MAX_PIXELS


class Finding(NamedTuple):
    """A remark about a file; `fatal` if training cannot use the file."""

    path: str
    what: str
    fatal: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"

    @classmethod
    def of(cls, path: str, error: ValueError) -> "Finding":
        """Return why training cannot use a file."""
        return cls(path, str(error).removeprefix(path).lstrip(": "), fatal=True)


def inspect(
    path: str, *, whole: bool = True, max_pixels: float = MAX_PIXELS, only_8_bits: bool = False
) -> list[Finding]:
    """Return findings about an image file; `whole` also decodes all pixels, and with
    `only_8_bits` more bits are fatal.
    """
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # to open a pipe would take forever
            return [Finding(path, "is no file", fatal=True)]
        if os.path.getsize(path) == 0:
            return [Finding(path, "is empty", fatal=True)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            if image := read_high_depth(path, max_pixels):
                if only_8_bits:
                    eight_bits(image)
                return [
                    Finding(path, f"holds {image.stored_type.dtype}, {image.channels} channels")
                ]
            with open_image(path, max_pixels) as file:
                if has_high_depth(file):
                    return [Finding(path, DEEP, fatal=True)]
                findings = [Finding(path, what) for what in _oddities(path, file)]
            if whole:
                load_image(path, max_pixels)
        return findings
    except ValueError as error:
        return [Finding.of(path, error)]
    except Exception as error:  # PIL's plugins raise nearly anything on a damaged file
        return [Finding(path, f"cannot be read as an image ({reason(error)})", fatal=True)]


def check_headers(
    files: list[str],
    *,
    seconds: float = 2.0,
    max_pixels: float = MAX_PIXELS,
    only_8_bits: Collection[str] = (),
) -> list[Finding]:
    """Return the fatal findings in the headers of a random subset of files, within `seconds`.

    In the files `only_8_bits` more bits are fatal.
    """
    deadline, suffixes = time.monotonic() + seconds, set()
    fatal_findings: list[Finding] = []
    for path in random.Random(0).sample(files, len(files)):
        started = time.monotonic()
        findings = inspect(
            path, whole=False, max_pixels=max_pixels, only_8_bits=path in only_8_bits
        )
        fatal_findings += [finding for finding in findings if finding.fatal]
        if (suffix := Path(path).suffix.lower()) not in suffixes:  # the first imports a decoder
            suffixes.add(suffix)
            deadline += time.monotonic() - started
        if time.monotonic() > deadline:
            break
    return sorted(fatal_findings)


def _oddities(path: str, file: Image.Image) -> Iterator[str]:
    expected_format = Image.registered_extensions().get(Path(path).suffix.lower())
    if file.format != expected_format and {file.format, expected_format} != {"JPEG", "MPO"}:
        yield f"is a {file.format} file despite its extension, and is read as one"
    if file.mode in ("P", "PA"):
        yield "has a palette; it becomes RGB"
    if file.mode in ("LA", "RGBA", "PA") or "transparency" in file.info:
        yield "has an alpha channel; it is ignored, unless --alpha puts it on a background"
    if file.mode in ("CMYK", "YCbCr", "LAB", "HSV", "1"):
        yield f"is in {file.mode}; it becomes RGB"
    if getattr(file, "n_frames", 1) > 1:
        yield f"has {file.n_frames} frames; only the first is used"
    if (turn := orientation(file)) is None:
        yield "has an EXIF orientation that cannot be read; it stays as it is"
    elif turn > 1:
        yield "has an EXIF orientation; it is turned upright"
    if file.width * file.height > (Image.MAX_IMAGE_PIXELS or float("inf")):
        yield f"is very large ({file.width}x{file.height}); each epoch decodes all of it"
