"""Find the palette of label maps from their pixels."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F

NEAR = 32.0  # distance in pixel values below which two colours count as one
FLAT, WINDOW = 24, 5  # flat: values in a window of WINDOW pixels differ by less than FLAT
LEAST_FLAT = 0.1  # least fraction of flat pixels in label maps
RARE = 0.0005  # least fraction of the flat pixels that makes a colour a label
LEAST_NEAR = 0.9  # least fraction of the flat pixels within NEAR / 4 of a label's colour
MOST = 64  # most colours of a palette


def find_palette(images: Iterable[np.ndarray]) -> np.ndarray | None:
    """Return the colours of label maps (H, W, 3) uint8, as (K, 3) uint8, most frequent first; None
    for photos.

    Only flat areas count: resizing and lossy compression add mixed colours at their borders.
    """
    counts, sums, pixels = np.zeros(32**3, np.int64), np.zeros((32**3, 3)), 0
    for image in images:
        rgb = flat_pixels(image)
        cells = (rgb.astype(np.int64) >> 3) @ (1024, 32, 1)
        counts += np.bincount(cells, minlength=len(counts))
        for channel in range(3):
            sums[:, channel] += np.bincount(cells, rgb[:, channel], len(counts))
        pixels += image.shape[0] * image.shape[1]
    if counts.sum() < LEAST_FLAT * pixels:
        return None
    there = np.flatnonzero(counts)
    colours, shares = sums[there] / counts[there, None], counts[there] / counts.sum()
    palette: list[np.ndarray] = []
    left = np.ones(len(there), bool)
    while left.any() and len(palette) <= MOST:
        at = np.argmax(np.where(left, shares, -1))
        near = left & (np.linalg.norm(colours - colours[at], axis=1) < NEAR)
        if shares[near].sum() >= RARE:
            palette.append(np.average(colours[near], axis=0, weights=shares[near]))
        left &= ~near
    if not 2 <= len(palette) <= MOST:
        return None
    distances = np.linalg.norm(colours[:, None] - np.array(palette), axis=2).min(1)
    if shares[distances < NEAR / 4].sum() < LEAST_NEAR:
        return None
    return np.rint(palette).astype(np.uint8)


def exact_palette(images: Iterable[np.ndarray]) -> np.ndarray | None:
    """Return all colours of lossless label maps (H, W, 3) uint8, as (K, 3) uint8, most frequent
    first; None for fewer than 2 or more than `MOST` colours.
    """
    counts: Counter[int] = Counter()
    for image in images:
        codes = image.reshape(-1, 3).astype(np.int64) @ (1 << 16, 1 << 8, 1)
        counts.update(
            dict(zip(*(a.tolist() for a in np.unique(codes, return_counts=True)), strict=True))
        )
        if len(counts) > MOST:
            return None
    if len(counts) < 2:
        return None
    codes = np.array([code for code, _ in counts.most_common()])
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], 1).astype(np.uint8)


def flat_pixels(image: np.ndarray) -> np.ndarray:
    """Return the pixels (N, 3) of (H, W, 3) in windows of nearly one colour."""
    if min(image.shape[:2]) < WINDOW:
        return image[:0].reshape(-1, 3)
    planes = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)
    spread = F.max_pool2d(planes, WINDOW, 1) + F.max_pool2d(-planes, WINDOW, 1)
    edge = WINDOW // 2
    return image[edge:-edge, edge:-edge][(spread < FLAT).all(0).numpy()]


def nearest_colour(image: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Return the index (H, W) int64 of the nearest palette colour of each pixel of (H, W, 3)."""
    best = np.zeros(image.shape[:2], np.int64)
    least = np.full(image.shape[:2], np.inf, np.float32)
    for number, colour in enumerate(palette):
        distance = ((image.astype(np.float32) - colour) ** 2).sum(2)
        best = np.where(distance < least, number, best)
        least = np.minimum(distance, least)
    return best
