"""Fréchet and kernel distance between two sets of features, and what chance makes of them.

A set of N images has N features of F numbers, (N, F) float64.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from util.metrics import Interval

FRECHET, KERNEL = FEATURE_METRICS = ("FD-EffLite0", "KD-EffLite0")
NETWORK = "efficientnet_lite0"  # as --perceptual names the network of these metrics
LEAST = 4  # images, so that each half has two
SPLITS = 25  # of the images into halves
BLOCK = 1024  # rows of a kernel matrix in memory
KERNEL_SCALE = 1000.0  # customary for such small numbers


class Gaussian(NamedTuple):
    """A Gaussian fitted to features; `root` (R, F), R <= F, with rootᵀ · root its covariance C."""

    mean: Tensor
    root: Tensor
    trace: Tensor  # of C


def fitted(x: Tensor) -> Gaussian:
    """Return the Gaussian of a set; its covariance is that over N − 1."""
    mean = x.mean(0)
    root = (x - mean) / (len(x) - 1) ** 0.5
    if len(root) > root.shape[1]:
        root = torch.linalg.qr(root, mode="r").R
    return Gaussian(mean, root, root.square().sum())


def between(one: Gaussian, other: Gaussian) -> float:
    """Return |μ₁ − μ₂|² + tr(C₁ + C₂ − 2 (C₁C₂)^½), the Fréchet distance.

    Source: Dowson and Landau, "The Fréchet distance between multivariate normal distributions",
    J. Multivariate Analysis 1982.
    """
    # tr (C₁C₂)^½ is the sum of the singular values of root₁ · root₂ᵀ, which is small if N is.
    product = torch.linalg.svdvals(one.root @ other.root.T).sum()
    away = (one.mean - other.mean).square().sum()
    return (away + one.trace + other.trace - 2 * product).item()


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """Return the Fréchet distance of Gaussians fitted to two sets."""
    return between(fitted(x), fitted(y))


def kernel_distances(x: Tensor, y: Tensor, parts: Tensor) -> Tensor:
    """Return the squared MMD, times 1000, between y and each part of x, unbiased, (K,).

    `parts` (N, K) holds 1 for the images of each part. The kernel is (x·y / F + 1)³.
    Source: Bińkowski et al., arXiv:1801.01401, eq. 4 and §4.
    """
    all_y = torch.ones(len(y), 1, dtype=y.dtype)
    n, m = parts.sum(0), len(y)
    within_x = _pairs(x, parts) / (n * (n - 1))
    within_y = _pairs(y, all_y) / (m * (m - 1))
    across = torch.cat([_kernel(rows, y).sum(1) for rows in x.split(BLOCK)]) @ parts / (n * m)
    return KERNEL_SCALE * (within_x + within_y - 2 * across)


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _pairs(x: Tensor, parts: Tensor) -> Tensor:
    """Return the sum of the kernel over the pairs of different images in each part, (K,)."""
    total = torch.zeros(parts.shape[1], dtype=x.dtype)
    for rows, chosen in zip(x.split(BLOCK), parts.split(BLOCK), strict=True):
        total += (chosen * (_kernel(rows, x) @ parts)).sum(0)
    same = (x.square().sum(1) / x.shape[1] + 1) ** 3
    return total - same @ parts


@dataclass(frozen=True)
class Distance:
    """The distance of `count` images to a reference, and that of `halves` of them."""

    value: float
    halves: np.ndarray
    count: int

    @property
    def half(self) -> float:
        """The mean distance of half the images: what a bias by their number adds."""
        return float(self.halves.mean())

    def interval(self) -> Interval:
        """Return the value with its 95% interval over images, the reference being fixed.

        A half drawn without replacement varies about the whole as much as the whole does about
        the truth (McCarthy, "Pseudo-replication: half samples", Rev. Int. Stat. Inst. 1969); the
        duplicates of a bootstrap would add to a Fréchet distance.
        """
        return _interval(self.value, self.halves)

    def minus(self, other: "Distance") -> Interval | None:
        """Return self − other with its interval; None if their numbers of images differ.

        Images in the same place, such as outputs of the same inputs, are in the same halves.
        """
        if self.count != other.count:
            return None
        return _interval(self.value - other.value, self.halves - other.halves)


def _interval(value: float, halves: np.ndarray) -> Interval:
    spread = 1.96 * float(halves.std(ddof=1))
    return Interval(value, value - spread, value + spread)


def halves_of(count: int) -> Tensor:
    """Return 2 · SPLITS random halves of `count` images, (N, K) of 0 and 1, always the same."""
    generator, half = np.random.default_rng(0), count // 2
    halves = torch.zeros(count, 2 * SPLITS, dtype=torch.float64)
    for i in range(SPLITS):
        order = torch.from_numpy(generator.permutation(count))
        halves[order[:half], 2 * i] = 1
        halves[order[half : 2 * half], 2 * i + 1] = 1
    return halves


def frechet(x: Tensor, y: Tensor) -> Distance:
    """Return the Fréchet distance of two sets."""
    reference = fitted(y)
    halves = [between(fitted(x[part > 0]), reference) for part in halves_of(len(x)).T]
    return Distance(between(fitted(x), reference), np.array(halves), len(x))


def kernel(x: Tensor, y: Tensor) -> Distance:
    """Return the kernel distance of two sets, times 1000."""
    parts = torch.cat([torch.ones(len(x), 1, dtype=x.dtype), halves_of(len(x))], 1)
    value, *halves = kernel_distances(x, y, parts).tolist()
    return Distance(value, np.array(halves), len(x))


DISTANCES: dict[str, Callable[[Tensor, Tensor], Distance]] = {FRECHET: frechet, KERNEL: kernel}


@dataclass(frozen=True)
class Reference:
    """The real images that others are measured against."""

    features: Tensor  # (M, F)
    digest: str  # of the images' pixels
    what: str  # in words


@dataclass(frozen=True)
class MeasuredDistance:
    """A distance of outputs to a reference beside that of real images, the floor."""

    outputs: Distance
    floor: Distance | None  # of the same number of real images; None if there are fewer
    reference: str = ""  # the digest of the reference
    own: bool = False  # whether the outputs' network was trained with these features

    def above_floor(self) -> Interval | None:
        """Return how far the outputs are above the floor."""
        return self.outputs.minus(self.floor) if self.floor else None

    def minus(self, other: "MeasuredDistance") -> Interval | None:
        """Return self − other; None if they cannot be compared."""
        if self.reference != other.reference:
            return None
        return self.outputs.minus(other.outputs)


def trained_with_these(options: Mapping[str, Any]) -> bool:
    """Return whether a training with these options had the network of these metrics in its loss,
    so that they cannot judge it.
    """
    return options.get("perceptual") == NETWORK
