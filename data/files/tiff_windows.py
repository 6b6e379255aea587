"""Windows of a TIFF file: only the strips or tiles below a window are read and decoded."""

import math
from collections import OrderedDict
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from data.files.image_types import HighDepthImage, ImageLike
from data.files.metadata import ORIENTATION
from data.files.pixel_limit import check_pixels
from data.files.tiff_files import (
    MAGIC,
    MIN_IS_BLACK,
    RGB,
    SEPARATED,
    UNPACKED,
    channel_kind,
    check_segments,
    open_tiff,
)

MOST_BYTES = 2**27  # of decoded strips or tiles that are kept, and of a single one
STRIP_BYTES = 2**20  # of the strips that contiguous pixels are read in
JPEG = (6, 7, 33007, 34892)  # values of `compression`, which PIL decodes to colours of its own
PLAIN = ("L", "LA", "RGB", "RGBA")  # channels that become an image of PIL if they have 8 bits


class TiffWindows:
    """The image in a TIFF file, cropped without reading all of it."""

    def __init__(self, file: BinaryIO, max_pixels: float):
        """The file stays open as long as the windows are used.

        ValueError if it must be read as a whole, or cannot be read; tifffile may raise anything.
        """
        file.seek(0)
        if not file.read(4).startswith(MAGIC):
            raise ValueError("is no TIFF file")
        self.tiff = open_tiff(file)
        series = self.tiff.series[0]
        self.page = page = series.keyframe
        self.kind = channel_kind(page)
        check_pixels((page.imagewidth, page.imagelength), max_pixels)
        check_segments(page, self.tiff.filehandle.size)
        if len(series) != 1 or page.index or not _is_plain(page, self.kind):
            raise ValueError("must be read as a whole")
        self.planes, self.samples = page.shaped[0], page.shaped[4]
        self.contiguous = page.is_contiguous
        row_bytes = page.imagewidth * self.samples * page.dtype.itemsize
        if self.contiguous:
            self.rows, self.columns = max(1, STRIP_BYTES // row_bytes), page.imagewidth
        elif page.is_tiled:
            self.rows, self.columns = page.tilelength, page.tilewidth
        else:
            self.rows, self.columns = min(page.rowsperstrip, page.imagelength), page.imagewidth
        if self.rows * self.columns * self.samples * page.dtype.itemsize > MOST_BYTES:
            raise ValueError("has strips too large to be read one by one")
        self.kept: OrderedDict[tuple[int, int, int], np.ndarray] = OrderedDict()
        self._segment(0, 0, 0)  # a decoder that is missing shows here

    def crop(self, box: tuple[int, int, int, int]) -> ImageLike:
        """Return the part of the image in (left, top, right, bottom)."""
        left, top, right, bottom = box
        count = self.samples
        part = np.empty((bottom - top, right - left, self.planes * count), self.page.dtype)
        for plane in range(self.planes):
            target = part[..., plane * count : (plane + 1) * count]
            for row in range(top // self.rows, -(-bottom // self.rows)):
                ys = _shared(row * self.rows, self.rows, top, bottom)
                for column in range(left // self.columns, -(-right // self.columns)):
                    xs = _shared(column * self.columns, self.columns, left, right)
                    segment = self._segment(plane, row, column)
                    target[ys[1], xs[1]] = segment[ys[0], xs[0]]
        if part.dtype == np.uint8 and self.kind in PLAIN:
            return Image.fromarray(part if part.shape[2] > 1 else part[..., 0])
        white = 2**self.page.bitspersample - 1 if part.dtype.kind == "u" else None
        return HighDepthImage.of(part, ".tif", self.kind, white)

    def _segment(self, plane: int, row: int, column: int) -> np.ndarray:
        """Return a strip or tile, (h, w, samples), from memory if it was read lately."""
        place = plane, row, column
        if place in self.kept:
            self.kept.move_to_end(place)
            return self.kept[place]
        segment = self._contiguous_rows(plane, row) if self.contiguous else self._decoded(*place)
        self.kept[place] = segment
        while sum(array.nbytes for array in self.kept.values()) > MOST_BYTES and len(self.kept) > 1:
            self.kept.popitem(last=False)
        return segment

    def _contiguous_rows(self, plane: int, row: int) -> np.ndarray:
        page, first_row = self.page, row * self.rows
        count = min(self.rows, page.imagelength - first_row)
        dtype = page.dtype.newbyteorder(page.parent.byteorder)
        row_bytes = page.imagewidth * self.samples * dtype.itemsize
        file = self.tiff.filehandle
        file.seek(page.dataoffsets[0] + (plane * page.imagelength + first_row) * row_bytes)
        pixels = np.frombuffer(file.read(count * row_bytes), dtype)
        return pixels.reshape(count, page.imagewidth, self.samples)

    def _decoded(self, plane: int, row: int, column: int) -> np.ndarray:
        page, file = self.page, self.tiff.filehandle
        across = math.ceil(page.imagewidth / self.columns)
        down = math.ceil(page.imagelength / self.rows)
        number = (plane * down + row) * across + column
        file.seek(page.dataoffsets[number])
        content = file.read(page.databytecounts[number])
        segment = page.decode(content or None, number)[0]
        if segment is None:  # the writer has left it out
            return np.full((self.rows, self.columns, self.samples), page.nodata, page.dtype)
        return segment[0]


def _is_plain(page: Any, kind: str) -> bool:
    """Return whether the pixels of windows are those of the whole image."""
    tag = page.tags.get(ORIENTATION)
    return (
        (tag is None or tag.value in (0, 1))
        and page.imagedepth == 1
        and page.bitspersample in (8, 16, 32, 64)
        and page.dtype.kind in "uif"
        and (page.dtype != np.uint8 or kind in (*PLAIN, ""))
        and page.photometric in (MIN_IS_BLACK, RGB, SEPARATED)
        and page.compression not in JPEG
        and (page.compression != UNPACKED or (page.predictor, page.fillorder) == (1, 1))
    )


def _shared(start: int, length: int, low: int, high: int) -> tuple[slice, slice]:
    """Return where the pixels that a segment from `start` shares with a window from `low` to `high`
    lie in the segment, and in the window.
    """
    first, last = max(start, low), min(start + length, high)
    return slice(first - start, last - start), slice(first - low, last - low)
