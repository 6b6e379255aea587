"""Statistics of one side's images, A or B, over a sample: values, types, constant images, NaN."""

from collections import Counter
from typing import NamedTuple

import numpy as np

VALUES = 2**15  # most values of an image that are kept
DISTINCT = 64  # most distinct values that are counted
CONSTANT = 1e-4  # an image whose values, in [-1, 1], lie within less than this is constant
PERCENTILES = (0.1, 99.9)  # leave out hot pixels
CONTINUOUS = 2.5  # seam contrast: 1.0 (median) in single photos, 10 in pairs of photo and labels
LEAST_NO_DATA = 0.001  # least share of the pixels that makes a far value a no-data value


class SampleImage(NamedTuple):
    """An image of one side as its dataset reads it, before resizing."""

    path: str
    array: np.ndarray  # (H, W, C)
    low: float  # the value that becomes -1
    high: float  # the value that becomes 1
    stored_type: str  # of the values in the file, such as uint16
    alpha: bool = False  # whether its file has an alpha channel that varies


class SideStatistics:
    """Collects the statistics of a side, image by image."""

    def __init__(self) -> None:
        self.count = 0
        self.not_finite: list[str] = []  # files with NaN or infinite values
        self.constant: list[str] = []  # files that are one colour for the networks
        self.alpha: list[str] = []  # files whose alpha channel varies
        self.sizes: dict[str, tuple[int, int]] = {}  # (width, height) of files, before resizing
        self.types: Counter[str] = Counter()
        self.range: tuple[float, float] = (0.0, 0.0)  # that becomes [-1, 1], of the first image
        self.grey = self.whole = True  # equal channels; no fractions
        self.distinct: set[float] | None = set()  # None: more than DISTINCT
        self.sampled: list[np.ndarray] = []  # some values of each image

    def add(self, image: SampleImage) -> None:
        """Add an image."""
        self.count += 1
        self.range = self.range if self.sampled else (image.low, image.high)
        self.types[image.stored_type] += 1
        if image.stored_type:
            self.sizes[image.path] = image.array.shape[1::-1]
        if image.alpha:
            self.alpha.append(image.path)
        pixels = image.array.reshape(-1, image.array.shape[2])
        finite = np.isfinite(pixels).all(1) if pixels.dtype.kind == "f" else slice(None)
        values = pixels[finite]
        if len(values) < len(pixels):
            self.not_finite.append(image.path)
        if not len(values):
            return
        scaled = (np.float64([values.min(0), values.max(0)]) - image.low) / (image.high - image.low)
        if np.ptp(scaled.clip(0, 1), 0).max() * 2 < CONSTANT:
            self.constant.append(image.path)
        values = values[:: max(1, values.size // VALUES)]
        self.sampled.append(values.ravel().astype(np.float64))
        self.grey &= bool((values == values[:, :1]).all())
        self._count_distinct(values)

    def _count_distinct(self, values: np.ndarray) -> None:
        self.whole = self.whole and bool((values == np.rint(values)).all())
        if self.distinct is not None and self.whole:
            self.distinct |= set(np.unique(values).tolist())
            if len(self.distinct) > DISTINCT:
                self.distinct = None

    @property
    def values(self) -> np.ndarray:
        """Return the finite values of all images that were kept."""
        return np.concatenate(self.sampled) if self.sampled else np.zeros(0)

    def outside(self) -> float:
        """Return the share of values outside the range that becomes [-1, 1]."""
        values, (low, high) = self.values, self.range
        return float(((values < low) | (values > high)).mean()) if len(values) else 0.0

    def used(self) -> float:
        """Return the share of that range between the 0.1 and 99.9 percentiles."""
        low, high = self.range
        ends = np.clip(np.percentile(self.values, PERCENTILES), low, high)
        return float(np.ptp(ends) / (high - low))


def no_data_value(values: np.ndarray) -> float | None:
    """Return a value that fills many pixels and lies far from all others, such as -9999."""
    for end in (values.min(), values.max()):
        others = values[values != end]
        share = 1 - len(others) / len(values)
        if share < LEAST_NO_DATA or not len(others):
            continue
        low, high = others.min(), others.max()
        if high > low and min(abs(end - low), abs(end - high)) > high - low:
            return float(end)
    return None


def fitting_range(values: np.ndarray) -> tuple[float, float]:
    """Return the range (low, high) of values, without a no-data value and without hot pixels."""
    if (no_data := no_data_value(values)) is not None:
        values = values[values != no_data]
    extremes = float(values.min()), float(values.max())
    likely = tuple(np.percentile(values, PERCENTILES).tolist())
    return extremes if extremes[1] - extremes[0] <= 2 * (likely[1] - likely[0]) else likely


def seam_contrast(left: np.ndarray, right: np.ndarray) -> float | None:
    """Return the contrast at the seam of two halves, relative to that between inner columns.

    It is near 1 if the halves are those of a single image. None if the seam is flat.
    """
    left, right = left.astype(np.float32), right.astype(np.float32)
    inner = np.mean([np.abs(np.diff(half, axis=1)).mean() for half in (left, right)])
    spread = min(half.std(0).max() for half in (left[:, -1], right[:, 0]))
    if not inner or spread < inner:
        return None
    return float(np.abs(left[:, -1] - right[:, 0]).mean() / inner)
