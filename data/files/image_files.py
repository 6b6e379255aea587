"""Read image files, of ordinary and of high bit depth: every read goes through `decoding`."""

import contextlib
import importlib.util
import io
import os
import random
import stat
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from data.files.array_files import NPY_MAGIC
from data.files.image_types import HighDepthImage, ImageLike, has_high_depth, read_high_depth
from data.files.metadata import PLAINABLE, orientation, upright, upright_size, without_metadata
from data.files.pixel_limit import MAX_PIXELS, TooLargeError, check_pixels, without_pil_limit
from data.files.tiff_files import MAGIC, tiff_size
from util.errors import one_line
from util.files import known_kind

HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"hevc", b"hevx")
KEPT_MODES = ("RGBA", "LA", "CMYK")  # with as many bands as the file has
DEEP = "has more than 8 bits a channel; convert it to 8 bits"
MANY = (".npy", ".tif", ".tiff", ".png", ".webp", ".avif")  # may have other bands than RGB
LOOKED_AT = 8  # most files whose channels are counted
LONGEST = 200  # letters of a decoder's message

# PIL warns of odd metadata in images that it reads; an image that it cannot read is an error.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class BadImageError(ValueError):
    """Raised for a file that cannot be read as an image."""


@contextlib.contextmanager
def decoding(path: str | Path) -> Iterator[None]:
    """Turn whatever a decoder raises within the block into a `BadImageError` with the path."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # to open a pipe would take forever
            raise ValueError("is no file")
        yield
    except BadImageError:
        raise
    except TooLargeError as error:
        raise BadImageError(f"{path}: {error}") from None
    except Exception as error:  # decoders raise nearly anything on a damaged file
        why = reason(error)
        if isinstance(error, UnidentifiedImageError):
            with open(path, "rb") as file:
                start = file.read(64)
            zipped = start.startswith(b"PK\3\4")
            why = "a zip archive; unpack it" if zipped else known_kind(start) or why
        raise BadImageError(f"{path}: cannot be read as an image ({why})") from None


def load_image_or_array(path: str | Path, max_pixels: float = MAX_PIXELS) -> ImageLike:
    """Read an image upright and without loss: of 8 bits from PIL, else a `HighDepthImage`.

    An image from PIL is RGB, or RGBA, LA or CMYK as in the file. `BadImageError` names the file
    if it cannot be read or has more than `max_pixels` pixels.
    """
    with decoding(path):
        image = load_unconverted(path, max_pixels)
        if isinstance(image, HighDepthImage) or image.mode in KEPT_MODES:
            return image
        return in_mode(image, "RGBA" if image.has_transparency_data else "RGB")


def load_unconverted(path: str | Path, max_pixels: float = MAX_PIXELS) -> ImageLike:
    """Read an image like `load_image_or_array`, but in the file's own mode: P is the indices."""
    with decoding(path), open(path, "rb") as file:
        image = read_high_depth(file, max_pixels)
        return _decode(file, max_pixels) if image is None else image


def load_image(path: str | Path, max_pixels: float = MAX_PIXELS) -> Image.Image:
    """Read an image as RGB, upright.

    ValueError names the file if it cannot be read, holds more than 8 bits per channel, or bands
    that are no colours.
    """
    image = load_image_or_array(path, max_pixels)
    if isinstance(image, HighDepthImage):
        eight_bit = image.stored_type.dtype == "uint8"
        problem = f"has {image.channels} channels; convert it to grey or RGB" if eight_bit else DEEP
        raise ValueError(f"{path}: {problem}")
    return in_mode(image, "RGB")


@contextlib.contextmanager
def open_image(path: str | Path, max_pixels: float = MAX_PIXELS) -> Iterator[Image.Image]:
    """Open an image with PIL without decoding its pixels; `BadImageError` names the file."""
    with contextlib.ExitStack() as stack:
        with decoding(path):
            image = _open(stack.enter_context(open(path, "rb")), max_pixels)
        yield image


def image_size(path: str | Path) -> tuple[int, int]:
    """Return (width, height) of an image, upright, from its header."""
    with decoding(path), open(path, "rb") as file:
        start = file.read(len(NPY_MAGIC))
        if start == NPY_MAGIC:
            return np.load(path, mmap_mode="r").shape[1::-1]
        try:
            image = _open(file, float("inf"))
        except Exception:
            if start.startswith(MAGIC):  # a variant unknown to PIL
                return tiff_size(file)
            raise
        return upright_size(image)


def channels_of_some(paths: Sequence[str | Path], max_pixels: float = MAX_PIXELS) -> Iterator[int]:
    """Yield the numbers of channels of some files that may hold other than grey or RGB images."""
    candidates = [path for path in paths if str(path).lower().endswith(MANY)]
    for path in candidates[:: max(1, -(-len(candidates) // LOOKED_AT))]:
        with contextlib.suppress(BadImageError):
            image = load_image_or_array(path, max_pixels)
            if not isinstance(image, HighDepthImage):
                yield len(image.getbands())
            else:  # `with_channels` says what is wrong with channels that come first
                yield image.array().shape[0] if image.looks_channels_first else image.channels


def upright_rgb(file: Image.Image) -> Image.Image:
    """Return an open image as RGB, with its EXIF orientation applied."""
    file.load()
    return in_mode(upright(file, orientation(file)), "RGB")


def _open(file: BinaryIO, max_pixels: float) -> Image.Image:
    """Open an image with PIL, if need be without metadata that PIL cannot read."""
    file.seek(0)
    if file.read(12)[4:] in [b"ftyp" + brand for brand in HEIF_BRANDS]:
        _add_heif()
    with without_pil_limit():
        try:
            file.seek(0)
            image = Image.open(file)
        except Exception as error:
            image = _open_plain(file, error)
    check_pixels(image.size, max_pixels, os.fstat(file.fileno()).st_size)
    return image


def _add_heif() -> None:
    """Let PIL read HEIC, if the package for it is installed."""
    if "HEIF" not in Image.OPEN and importlib.util.find_spec("pillow_heif"):
        import pillow_heif

        pillow_heif.register_heif_opener()


def _open_plain(file: BinaryIO, error: Exception) -> Image.Image:
    """Open an image without its metadata; raise `error` if that fails too."""
    file.seek(0)
    if not file.read(4).startswith(PLAINABLE):
        raise error
    file.seek(0)
    plain = without_metadata(file.read())
    try:
        image = Image.open(io.BytesIO(plain.content))
    except Exception:
        raise error from None
    if plain.exif:
        image.info["exif"] = plain.exif
    return image


def _decode(file: BinaryIO, max_pixels: float) -> Image.Image:
    """Decode an image of 8 bits with PIL and turn it upright."""
    image = _open(file, max_pixels)
    if has_high_depth(image):
        raise ValueError(DEEP)
    with without_pil_limit():
        try:
            image.load()
        except Exception as error:  # perhaps of metadata behind the pixels
            image = _open_plain(file, error)
            try:
                image.load()
            except Exception:
                raise error from None
    return upright(image, orientation(image))


def split_pair(path: str | Path, max_pixels: float = MAX_PIXELS) -> tuple[ImageLike, ImageLike]:
    """Return the left and the right half of an image; ValueError if its width is odd."""
    return halves(load_image_or_array(path, max_pixels), path)


def halves(pair: ImageLike, path: str | Path) -> tuple[ImageLike, ImageLike]:
    """Return the left and the right half of the image of a file; ValueError if its width is odd."""
    if pair.width % 2:
        raise ValueError(
            f"{path}: {pair.width} pixels wide; an A|B image has two halves of equal width; "
            f"put separate images into two folders, such as trainA/ and trainB/"
        )
    half = pair.width // 2
    with without_pil_limit():  # it counts in crop as well
        left = pair.crop((0, 0, half, pair.height))
        return left, pair.crop((half, 0, pair.width, pair.height))


def read_pair(
    A_path: str | Path, B_path: str | Path, max_pixels: float = MAX_PIXELS
) -> tuple[ImageLike, ImageLike]:
    """Return A and B from two files, or the two halves if both paths are equal."""
    if A_path == B_path:
        return split_pair(A_path, max_pixels)
    return load_image_or_array(A_path, max_pixels), load_image_or_array(B_path, max_pixels)


def reason(error: Exception) -> str:
    """Return a short reason why an image cannot be read."""
    if isinstance(error, UnidentifiedImageError):
        return "unknown format"
    text = getattr(error, "strerror", None) or one_line(error)
    return text[:LONGEST] or type(error).__name__


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    """Return an open image in one of PIL's modes."""
    image.load()
    return image if image.mode == mode else image.convert(mode)  # convert would copy it


def sizes_of(files: Sequence[str], seconds: float = 1.0) -> dict[str, tuple[int, int]]:
    """Return the (width, height), upright, of a random subset of files, within `seconds`."""
    deadline, sizes = time.monotonic() + seconds, {}
    for path in random.Random(0).sample(files, len(files)):
        with contextlib.suppress(ValueError, OSError):  # what cannot be read is reported elsewhere
            sizes[path] = image_size(path)
        if time.monotonic() > deadline:
            break
    return {path: sizes[path] for path in files if path in sizes}
