"""Slices and windows of subjects as arrays for networks."""

import contextlib
from typing import Any

import numpy as np

from data.files.image_types import ImageArray
from data.image_cache import ImageCache
from data.measurements.folders import Subject
from data.measurements.grid import Box, Grid, part_of
from data.measurements.ranges import check_data
from data.measurements.raster import Raster
from data.measurements.values import Range, to_network


class Reader:
    """Reads slices of subjects, or boxes of them, as (h, w, C) in [-1, 1], NaN for no data."""

    def __init__(
        self, ranges: dict[str, Range], channels: dict[str, int], opt: Any, target_side: str
    ):
        """`ranges` and `channels` are those of each side; the sides other than `target_side` are
        inputs.
        """
        self.ranges, self.channels, self.target_side = ranges, channels, target_side
        self.around, self.masked = opt.slices_around, opt.nodata == "mask"
        self.least = opt.crop_size if opt.preprocess == "crop" else 0  # pixels a side of a slice
        self.cache: ImageCache | None = None

    def input(self, subject: Subject, number: int = 0, box: Box | None = None) -> np.ndarray:
        """Return the channels of all inputs, each with its slices from `number` - around to
        `number` + around; at the ends the last slice is repeated. An input that is missing is 0,
        and so is what lacks data in the other slices.
        """
        steps = range(-self.around, self.around + 1)
        last, planes = subject.first.count - 1, []
        for side, grid in subject.inputs.items():
            for step in steps:
                if grid is not None:
                    plane = self.slice_of(grid, side, min(max(number + step, 0), last), box)
                    planes.append(np.nan_to_num(plane, nan=0.0) if step else plane)
                    continue
                height, width = part_of(np.empty(subject.first.size[::-1], bool), box).shape
                planes.append(np.zeros((height, width, self.channels[side]), np.float32))
        return np.concatenate(planes, 2)

    def target(self, subject: Subject, number: int = 0, box: Box | None = None) -> np.ndarray:
        """Return the channels of the target."""
        return self.slice_of(subject.target, self.target_side, number, box)

    def slice_of(self, grid: Grid, side: str, number: int, box: Box | None) -> np.ndarray:
        """Return a slice of a file, from the cache if it is there; rasters are not cached."""
        if self.cache is None or isinstance(grid, Raster):
            return self._read(grid, side, number, box)
        cached = self.cache.get(cache_key(grid, number))
        if cached:
            return part_of(cached[0][0].array(), box)
        # A compressed volume has been decoded as a whole: keep all of it that can be used.
        array = self._put(grid, side, number)
        if grid.decoded and self.cache.get(cache_key(grid, number)):
            for other in range(grid.count):
                if self.cache.get(cache_key(grid, other)) is None:
                    with contextlib.suppress(ValueError):  # raised where the slice is wanted
                        self._put(grid, side, other)
        return part_of(array, box)

    def _put(self, grid: Grid, side: str, number: int) -> np.ndarray:
        array = self._read(grid, side, number, None)
        cached = [ImageArray(array, -1.0, 1.0, ranged=True)], grid.size
        self.cache.put(cache_key(grid, number), cached)
        return array

    def _read(self, grid: Grid, side: str, number: int, box: Box | None) -> np.ndarray:
        values = grid.read(number, box)
        grid.check_channels(self.channels[side], side)
        if not self.masked:
            check_data(values, grid)
        return to_network(values, self.ranges[side])


def cache_key(grid: Grid, number: int) -> str:
    """Return the name of a slice in the cache."""
    return f"{grid.path}#{number}"
