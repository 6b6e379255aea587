"""Find the palette of label maps from their pixels."""

import functools
from collections.abc import Iterable

import numpy as np

from util.palette import packed, unpacked

NEAR = 32.0  # distance in pixel values below which two colours count as one
FLAT, WINDOW = 24, 5  # flat: values in a window of WINDOW pixels differ by less than FLAT
LEAST_FLAT = 0.1  # least fraction of flat pixels in label maps
RARE = 0.0005  # least fraction of the flat pixels that makes a colour a label
LEAST_NEAR = 0.9  # least fraction of the flat pixels within NEAR / 4 of a label's colour
FEW = 64  # most colours by which an image of any kind is taken for a label map


class ColourCounts:
    """Counts the colours of the flat areas of images, in cells of 8 values a channel.

    Resizing and lossy compression add mixed colours at the borders of areas, which do not count.
    """

    def __init__(self) -> None:
        self.counts, self.sums = np.zeros(32**3, np.int64), np.zeros((32**3, 3))
        self.pixels = 0  # of the images, flat or not

    def add(self, image: np.ndarray) -> None:
        """Count an image (H, W, 3) uint8."""
        rgb = flat_pixels(image)
        cells = (rgb.astype(np.int64) >> 3) @ (1024, 32, 1)
        self.counts += np.bincount(cells, minlength=len(self.counts))
        for channel in range(3):
            self.sums[:, channel] += np.bincount(cells, rgb[:, channel], len(self.counts))
        self.pixels += image.shape[0] * image.shape[1]

    def __add__(self, other: "ColourCounts") -> "ColourCounts":
        total = ColourCounts()
        total.counts, total.sums = self.counts + other.counts, self.sums + other.sums
        total.pixels = self.pixels + other.pixels
        return total

    def colours(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean colours of the cells that are not empty, and their shares."""
        cells = np.flatnonzero(self.counts)
        return self.sums[cells] / self.counts[cells, None], self.counts[cells] / self.counts.sum()

    def palette(self, most: int = FEW) -> np.ndarray | None:
        """Return the colours of labels, (K, 3) uint8, most frequent first; None for photos."""
        if not self.pixels or self.counts.sum() < LEAST_FLAT * self.pixels:
            return None
        colours, shares = self.colours()
        palette: list[np.ndarray] = []
        remaining = np.ones(len(colours), bool)
        while remaining.any() and len(palette) <= most:
            peak = np.argmax(np.where(remaining, shares, -1))
            near = remaining & (np.linalg.norm(colours - colours[peak], axis=1) < NEAR)
            if shares[near].sum() >= RARE:
                palette.append(np.average(colours[near], axis=0, weights=shares[near]))
            remaining &= ~near
        if not 2 <= len(palette) <= most:
            return None
        distances = np.linalg.norm(colours[:, None] - np.array(palette), axis=2).min(1)
        if shares[distances < NEAR / 4].sum() < LEAST_NEAR:
            return None
        return np.rint(palette).astype(np.uint8)

    def shares_of(self, palette: np.ndarray) -> np.ndarray:
        """Return the share (K,) of the flat pixels within NEAR of each colour of a palette."""
        if not self.counts.any():
            return np.zeros(len(palette))
        colours, shares = self.colours()
        distances = np.linalg.norm(colours[:, None] - palette, axis=2)
        near, nearest = distances.min(1) < NEAR, distances.argmin(1)
        return np.bincount(nearest[near], shares[near], len(palette))


class ExactColours:
    """Counts the pixels of each colour of lossless label maps."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}

    def add(self, image: np.ndarray) -> None:
        """Count an image (H, W, 3) uint8."""
        for code, count in zip(*np.unique(packed(image), return_counts=True), strict=True):
            self.counts[int(code)] = self.counts.get(int(code), 0) + int(count)

    def palette(self) -> np.ndarray:
        """Return the colours, (K, 3) uint8, most frequent first."""
        return unpacked(np.int32(sorted(self.counts, key=lambda code: -self.counts[code])))


def find_palette(images: Iterable[np.ndarray], most: int = FEW) -> np.ndarray | None:
    """Return the colours of label maps (H, W, 3) uint8, as (K, 3) uint8, most frequent first; None
    for photos, and for more than `most` colours.
    """
    counts = ColourCounts()
    for image in images:
        counts.add(image)
    return counts.palette(most)


def exact_palette(images: Iterable[np.ndarray], most: int = FEW) -> np.ndarray | None:
    """Return all colours of lossless label maps (H, W, 3) uint8, as (K, 3) uint8, most frequent
    first; None for fewer than 2 or more than `most` colours.
    """
    counts = ExactColours()
    for image in images:
        counts.add(image)
        if len(counts.counts) > most:
            return None
    return counts.palette() if len(counts.counts) > 1 else None


def flat_pixels(image: np.ndarray) -> np.ndarray:
    """Return the pixels (N, 3) of (H, W, 3) in windows of nearly one colour."""
    if min(image.shape[:2]) < WINDOW:
        return image[:0].reshape(-1, 3)
    spread = _in_windows(np.maximum, image) - _in_windows(np.minimum, image)  # never below 0
    edge = WINDOW // 2
    return image[edge:-edge, edge:-edge][(spread < FLAT).all(2)]


def _in_windows(extreme: np.ufunc, image: np.ndarray) -> np.ndarray:
    """Return the extreme value of each window, down and then across."""
    for _ in range(2):
        rows = [image[i : len(image) - WINDOW + 1 + i] for i in range(WINDOW)]
        image = functools.reduce(extreme, rows).swapaxes(0, 1)
    return image
