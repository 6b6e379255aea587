"""The contract of a file of measurements: slices of numbers, NaN where there is no data."""

import importlib.util
import os
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from threading import Lock

import numpy as np

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels
ROWS = 512  # of a slice that are read at a time, where a whole file is looked through
MOST_BYTES = 2**30  # of decoded files that a process keeps


class Grid(ABC):
    """Numbers on a grid: `count` slices of one size, with `channels` numbers at each point.

    A volume has many slices, a raster or an image has one.
    """

    path: str  # the file, or the folder of a DICOM series
    count: int  # slices
    size: tuple[int, int]  # (width, height) of a slice in pixels
    pixel_size = 1.0, 1.0  # (width, height) of a pixel, of which their ratio counts
    channels: int
    dtype: str  # of the values: an integer type if they are whole numbers, else a float type
    nodata: float | None = None  # the value that says in the file that there is no data
    ending: str  # of the file of an output
    decoded = False  # whether to read a slice decodes the whole file

    @abstractmethod
    def read(self, number: int = 0, box: Box | None = None) -> np.ndarray:
        """Return a slice, or the part of it in `box`: (h, w, channels) floats, NaN for no data.

        ValueError names the file if it cannot be read.
        """

    def check_channels(self, expected: int, side: str) -> None:
        """Raise a ValueError unless this file of a side has as many channels as the others."""
        if self.channels != expected:
            has = f"{self.channels} channel{'s' * (self.channels != 1)}"
            raise ValueError(f"{self.path}: has {has}, but those of {side} have {expected}")

    def parts(self) -> Iterator[tuple[int, Box]]:
        """Yield the number of each slice and a box of at most `ROWS` rows, until all is read."""
        width, height = self.size
        for number in range(self.count):
            for row in range(0, height, ROWS):
                yield number, (0, row, width, min(row + ROWS, height))

    @property
    def stretch(self) -> float:
        """How wide a pixel is, relative to its height."""
        return self.pixel_size[0] / self.pixel_size[1]

    def describe(self) -> str:
        """Return the grid in words: its size, and that of a pixel."""
        return f"{by(self.size)} pixels"

    def difference(self, other: "Grid") -> str:
        """Return how the points of another grid lie elsewhere; "" if they are the same points."""
        if self.count != other.count:
            return f"{self.count} and {other.count} slices"
        if self.size != other.size:
            return f"{by(self.size)} and {by(other.size)} pixels"
        return ""


class DecodedFiles:
    """The arrays of the files that were used last, within `most` bytes."""

    def __init__(self, most: int = MOST_BYTES):
        self.most, self.lock = most, Lock()
        self.arrays: OrderedDict[tuple[str, int, int], np.ndarray] = OrderedDict()

    def get(self, path: str, decode: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the array of a file, from memory if it is there and the file has not changed."""
        state = os.stat(path)
        key = os.path.abspath(path), state.st_mtime_ns, state.st_size
        with self.lock:
            if key in self.arrays:
                self.arrays.move_to_end(key)
                return self.arrays[key]
        array = decode()
        with self.lock:
            self.arrays[key] = array
            while len(self.arrays) > 1 and sum(a.nbytes for a in self.arrays.values()) > self.most:
                self.arrays.popitem(last=False)
        return array


decoded = DecodedFiles()


def slice_ends(count: int, slice_range: Sequence[int] | None) -> tuple[int, int]:
    """Return the first and the last of `count` slices that --slice_range allows, by default all."""
    first, last = (n + count if n < 0 else n for n in slice_range or (0, -1))
    return first, last


def require(package: str, extra: str, path: str) -> None:
    """Raise a ValueError that says what to install if a package that reads a file is missing."""
    if importlib.util.find_spec(package) is None:
        raise ValueError(
            f"{path}: needs {package}: `pip install {package}`, or `uv sync --extra {extra}`"
        )


def by(size: tuple[int, ...]) -> str:
    """Return a size in words, such as 256x256."""
    return "x".join(map(str, size))


def part_of(array: np.ndarray, box: Box | None) -> np.ndarray:
    """Return the pixels of an array (H, W, …) in a box; all of them without one."""
    if box is None:
        return array
    left, top, right, bottom = box
    return array[top:bottom, left:right]
