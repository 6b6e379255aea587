"""TIFF files whose pixels PIL would cut: more than 8 bits, further bands, several pages."""

import contextlib
import logging
import math
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from data.files.metadata import ORIENTATION, upright_array
from data.files.pixel_limit import check_pixels, without_pil_limit

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two: files above 4 GB
SAMPLES, BITS, FORMAT = 277, 258, 339  # tags of the samples of a pixel
COMPRESSION = 259
UNPACKED, WEBP = 1, 50001  # values of `compression`; PIL's libtiff mostly lacks the latter
MIN_IS_WHITE, MIN_IS_BLACK, RGB, SEPARATED = 0, 1, 2, 5  # values of `photometric`
ALPHA = {1: "a", 2: "A"}  # values of `extrasamples`: alpha that has scaled the colours, or not


class TiffPixels(NamedTuple):
    """The pixels of a TIFF file: (H, W) or (H, W, C), and what is known of them."""

    array: np.ndarray
    kind: str  # which channels they are, such as RGBA; "" for other bands
    bits: int  # bits of a value


def read_tiff(file: BinaryIO, max_pixels: float) -> TiffPixels | None:
    """Read the first image of a TIFF file; None if PIL reads all of its bands without loss.

    Grey pages of one size are bands. ValueError says what is wrong, or which package is missing.
    """
    pages = _pages_if_ordinary(file)
    if pages == 1:
        return None
    with open_tiff(file) as tiff:
        series = tiff.series[0]
        page = series.keyframe
        thumbnails = len(series) == 1 and page.index == 0
        if pages and (thumbnails or page.samplesperpixel > 1):  # of images in colour, the first
            return None
        _check_pages(tiff)
        check_pixels((page.imagewidth, page.imagelength), max_pixels, tiff.filehandle.size)
        for frame in filter(None, series.pages):
            check_segments(frame, tiff.filehandle.size)
        array = _bands_last(series.asarray(), series.axes)
        if page.photometric == MIN_IS_WHITE and array.dtype.kind == "u":
            array = (2**page.bitspersample - 1) - array
        tag = page.tags.get(ORIENTATION)
        array = upright_array(array, tag.value if tag else 1)
        kind = channel_kind(page) if len(series) == 1 else ""
        return TiffPixels(array, kind, page.bitspersample)


def open_tiff(file: BinaryIO) -> Any:
    """Open a file with tifffile; ValueError if that is not installed."""
    try:
        import tifffile
    except ImportError:
        raise ValueError("is a TIFF file that needs tifffile; run `pip install tifffile`") from None
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what is wrong comes as an error
    file.seek(0)
    return tifffile.TiffFile(file)


def tiff_size(file: BinaryIO) -> tuple[int, int]:
    """Return (width, height) of the first image of a TIFF file, upright."""
    with open_tiff(file) as tiff:
        page = tiff.series[0].keyframe
        tag = page.tags.get(ORIENTATION)
        size = page.imagewidth, page.imagelength
        return size[::-1] if tag and tag.value in (5, 6, 7, 8) else size


def _pages_if_ordinary(file: BinaryIO) -> int:
    """Return the number of pages, or 0 if PIL would cut the first one's bits or bands."""
    file.seek(0)
    with contextlib.suppress(Exception), without_pil_limit():  # a variant unknown to PIL
        image = Image.open(file)
        tags: Any = image.tag_v2
        bits, formats = tags.get(BITS, (1,)), tags.get(FORMAT, (1,))
        plain = max(bits) <= 8 and set(formats) == {1}
        if (
            plain
            and tags.get(COMPRESSION) != WEBP
            and tags.get(SAMPLES, 1) == len(image.getbands())
        ):
            return image.n_frames
    return 0


def _check_pages(tiff: Any) -> None:
    """Raise ValueError if a page lies beyond the file's end, instead of leaving it out."""
    form, handle = tiff.tiff, tiff.filehandle

    def number(offset: int, size: int) -> int:
        handle.seek(offset)
        return int.from_bytes(handle.read(size), "little" if form.byteorder == "<" else "big")

    link, seen = form.offsetsize, set()  # at 4, or at 8 in a large file
    while (page := number(link, form.offsetsize)) and page not in seen:
        seen.add(page)
        link = page + form.tagnosize + number(page, form.tagnosize) * form.tagsize
        if link + form.offsetsize > handle.size:
            raise ValueError("damaged: it ends early")


def check_segments(page: Any, size: int) -> None:
    """Raise ValueError for values of an unknown type, and for strips or tiles that are missing, too
    short, or beyond the file's end.
    """
    counts, keyframe = page.databytecounts, page.keyframe
    if keyframe.dtype is None or not isinstance(keyframe.bitspersample, int):
        raise ValueError(f"holds values of {keyframe.bitspersample} bits, which are not read")
    if len(counts) < math.prod(keyframe.chunked):
        raise ValueError("damaged: it lacks strips or tiles")
    needed = math.prod(keyframe.shaped) * keyframe.bitspersample // 8
    if keyframe.compression == UNPACKED and all(counts) and sum(counts) < needed:
        raise ValueError("damaged: its strips or tiles are too short")
    ends = (start + count for start, count in zip(page.dataoffsets, counts, strict=True))
    if max(ends, default=0) > size:
        raise ValueError("damaged: it ends early")


def _bands_last(array: np.ndarray, axes: str) -> np.ndarray:
    """Turn (C, H, W), of pages or planes, to (H, W, C)."""
    band_axes = [number for number, axis in enumerate(axes) if axis not in "YX"]
    return np.moveaxis(array, band_axes[0], 2) if array.ndim == 3 and len(band_axes) == 1 else array


def channel_kind(page: Any) -> str:
    """Return which channels the samples of a pixel are, "" for other bands."""
    colours = {MIN_IS_WHITE: "L", MIN_IS_BLACK: "L", RGB: "RGB", SEPARATED: "CMYK"}
    kind = colours.get(int(page.photometric), "")
    extra = page.samplesperpixel - len(kind)
    if not kind or extra not in (0, 1) or (kind == "CMYK" and extra):
        return ""
    if not extra:
        return kind
    default = 2 if kind == "RGB" else 0  # a fourth band without a word on it is alpha, as in PIL
    alpha = ALPHA.get(int(page.extrasamples[0]) if page.extrasamples else default)
    return kind + alpha if alpha else ""
