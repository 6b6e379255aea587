"""The values of each side that become -1 and 1, found in a sample of the files."""

import logging
import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from data.checks.side_statistics import fitting_range
from data.files.image_types import StoredType, range_of_type
from data.measurements.grid import Grid, slice_ends
from data.measurements.raster import Raster
from data.measurements.values import Range
from data.value_range import PERCENTILES, StoredRange, ranges_file, rule_of
from util.sampling import evenly_spaced

log = logging.getLogger(__name__)

FILES = 32  # files of a side that are looked at, at most
SLICES = 8  # slices of each volume, or windows of each raster
LOOKED_AT = 8  # files of a side that a given range is compared with, at most
MOST_OUTSIDE = 0.5  # share of a file's values outside the range; air or bone may be
LEAST_SHARE = 0.02  # of the range that a file's values cover
EDGE = 512  # pixels of a side of a raster's window


def fitted_ranges(sides: dict[str, list[Grid]], opt: Any) -> dict[str, StoredRange]:
    """Return the stored type and the range of each side, as its flag says.

    auto is the range of 8-bit files' type, else that of the values without a few outliers. A range
    that was found is logged.
    ValueError names a file with points without data, unless --nodata mask.
    """
    ranges = {}
    for side, grids in sides.items():
        flag, rule = rule_of(side, opt)
        first = grids[0]
        dtype = np.result_type(*(grid.dtype for grid in grids[:FILES])).name  # holds all values
        slices = getattr(opt, "slice_range", None)
        looks = rule in ("auto", "percentile")
        values = sample(grids, opt.nodata == "mask", slices) if looks else None
        if isinstance(rule, list):
            low, high = rule
        elif rule == "auto" and dtype == "uint8":
            low, high = range_of_type("uint8")
        elif not len(values):
            others = " and others" if grids[1:] else ""
            raise ValueError(
                f"--dataroot: {first.path}{others} of {side}: no point has data; take them away"
            )
        elif rule == "auto":
            low, high = fitting_range(values)
        else:
            low, high = np.percentile(values, PERCENTILES).tolist()
        if low < high and not isinstance(rule, list):
            say, own = (log.info if opt.phase == "train" else log.debug), f"range_{side}"
            say("--%s %.6g,%.6g: the values of %s (LOW,HIGH sets others)", own, low, high, side)
        if not low < high:
            raise ValueError(f"--{flag}: all values of {side} are {low:g}; give --{flag} LOW,HIGH")
        if opt.phase == "train":
            warn_of_unfitting(grids, flag, (low, high), slices)
        bands = (first.units, first.band_names) if isinstance(first, Raster) else ()
        stored = StoredType(first.ending, dtype, first.nodata, first.channels, *bands)
        ranges[side] = stored, float(low), float(high)
    return ranges


def sample(
    grids: Sequence[Grid], masked: bool, slice_range: Sequence[int] | None = None
) -> np.ndarray:
    """Return some values of some files, without points that have no data."""
    rng, samples = random.Random(0), [np.zeros(0)]
    for index in evenly_spaced(len(grids), FILES):
        grid = grids[index]
        first, last = slice_ends(grid.count, slice_range)
        count = SLICES if min(grid.size) > EDGE else min(SLICES, last - first + 1)
        for number in np.linspace(first, last, count).round().astype(int).tolist():
            width, height = grid.size
            x, y = (rng.randint(0, max(0, n - EDGE)) for n in grid.size)
            box = x, y, min(x + EDGE, width), min(y + EDGE, height)
            values = grid.read(number, box)
            if not masked:
                check_data(values, grid)
            values = values[np.isfinite(values)].ravel()
            samples.append(values[:: max(1, len(values) // 2**14)].astype(np.float64))
    return np.concatenate(samples)


def warn_of_unfitting(
    grids: Sequence[Grid], flag: str, value_range: Range, slice_range: Sequence[int] | None = None
) -> bool:
    """Warn of the first file, of a few, whose values do not fit the range; return whether there is
    one.
    """
    low, high = value_range
    given = f"--{flag} {low:g},{high:g}"
    for index in evenly_spaced(len(grids), LOOKED_AT):
        values = sample(grids[index : index + 1], True, slice_range)
        outside = np.mean((values < low) | (values > high)) if len(values) else 0
        first, last = np.percentile(values, PERCENTILES) if len(values) else (low, high)
        if outside > MOST_OUTSIDE:
            problem = f"{outside:.0%} of its values lie outside and are clipped"
        elif first < last < first + LEAST_SHARE * (high - low):
            problem = f"its values, {first:.6g} to {last:.6g}, are a small part of it"
        else:
            continue
        log.warning("%s: %s: %s; is it in another unit?", given, grids[index].path, problem)
        return True
    return False


def check_data(values: np.ndarray, grid: Grid) -> None:
    """Raise a ValueError if some points have no data."""
    if np.isfinite(values).all():
        return
    note = "" if grid.nodata is None else f" (its value for no data is {grid.nodata:g})"
    raise ValueError(f"{grid.path}: has pixels without data{note}; --nodata mask leaves them out")


def ranges_of(sides: Sequence[str], opt: Any, kept: dict[str, StoredRange]) -> dict[str, Range]:
    """Return the range of each side: the one that was `kept`, else of its flag as LOW,HIGH.

    ValueError if the two differ, or if neither is there.
    """
    ranges = {}
    for side in sides:
        flag, rule = rule_of(side, opt)
        if side in kept:
            ranges[side] = kept[side][1:]
            if isinstance(rule, list) and tuple(rule) != ranges[side]:
                given, trained = ("{:g},{:g}".format(*ends) for ends in (rule, ranges[side]))
                raise ValueError(
                    f"--{flag} {given}: the weights of the run are for {trained}; leave it out, or "
                    f"train a run of another name with it"
                )
        elif isinstance(rule, list):
            ranges[side] = tuple(rule)
        else:
            raise ValueError(
                f"--{flag}: {ranges_file(opt)} does not say the range of {side}; give "
                f"--{flag} LOW,HIGH as in the training"
            )
    return ranges
