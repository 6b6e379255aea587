"""Metrics of images against their targets; docs/metrics.md says when each is misleading."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW, SIGMA = 11, 1.5  # SSIM's Gaussian window, in pixels
C1, C2 = 0.01**2, 0.03**2  # SSIM's constants for values in [0, 1]
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # MS-SSIM's weights, from the full size to 1/16
MOST_PSNR = 100.0  # dB
FEW_IMAGES = 10  # of fewer, scores and their intervals tell little about other images


def l1(fake: Tensor, real: Tensor) -> Tensor:
    """Return the mean absolute difference, (N,), of (N, C, H, W) in [0, 1]."""
    return (fake - real).abs().flatten(1).mean(1)


def psnr(fake: Tensor, real: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio in dB, (N,), of (N, C, H, W) in [0, 1]."""
    error = (fake - real).square().flatten(1).mean(1)
    return (-10 * error.log10()).clamp(max=MOST_PSNR)


def ssim(fake: Tensor, real: Tensor) -> Tensor:
    """Return the structural similarity, (N,), of (N, C, H, W) in [0, 1].

    Source: Wang et al., "Image Quality Assessment", IEEE TIP 2004, eq. 13.
    """
    likeness, contrast = _likeness_and_contrast(fake, real)
    return (likeness * contrast).flatten(1).mean(1)


def ms_ssim(fake: Tensor, real: Tensor) -> Tensor:
    """Return the structural similarity over five sizes, (N,), of (N, C, H, W) in [0, 1].

    Source: Wang et al., "Multi-scale structural similarity", Asilomar 2003, eq. 7.
    """
    product = torch.ones(len(fake), dtype=fake.dtype, device=fake.device)
    for scale, weight in enumerate(SCALES):
        likeness, contrast = _likeness_and_contrast(fake, real)
        factor = likeness * contrast if scale == len(SCALES) - 1 else contrast
        # A fractional power of a negative mean is not real.
        product *= factor.flatten(1).mean(1).clamp(min=0) ** weight
        fake, real = (F.avg_pool2d(image, 2, ceil_mode=True) for image in (fake, real))
    return product


def _likeness_and_contrast(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return SSIM's luminance factor, and its contrast and structure factor, as maps.

    The maps, (N, C, H - 10, W - 10), hold the places where the window fits.
    """
    channels = x.shape[1]
    offsets = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    gauss = torch.exp(-((offsets / SIGMA) ** 2) / 2)
    gauss = (gauss / gauss.sum()).expand(channels, 1, 1, WINDOW)

    def mean(values: Tensor) -> Tensor:
        rows = F.conv2d(values, gauss, groups=channels)
        return F.conv2d(rows, gauss.mT, groups=channels)

    mx, my = mean(x), mean(y)
    variances = mean(x * x) - mx * mx + mean(y * y) - my * my
    covariance = mean(x * y) - mx * my
    likeness = (2 * mx * my + C1) / (mx * mx + my * my + C1)
    return likeness, (2 * covariance + C2) / (variances + C2)


def hole_l1(fake: Tensor, real: Tensor, hole: Tensor) -> Tensor:
    """Return the mean absolute difference in the holes, (N,); holes (N, 1, H, W) are 0 or 1."""
    return _mean_in((fake - real).abs(), hole)


def hole_l2(fake: Tensor, real: Tensor, hole: Tensor) -> Tensor:
    """Return the mean squared difference in the holes, (N,)."""
    return _mean_in((fake - real).square(), hole)


def hole_psnr(fake: Tensor, real: Tensor, hole: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio in the holes in dB, (N,)."""
    return (-10 * hole_l2(fake, real, hole).log10()).clamp(max=MOST_PSNR)


def hole_ssim(fake: Tensor, real: Tensor, hole: Tensor) -> Tensor:
    """Return the structural similarity of the windows with their middle in the holes, (N,); of a
    hole too near the edge for that, of all windows that touch it.
    """
    likeness, contrast = _likeness_and_contrast(fake, real)
    half = WINDOW // 2
    middles = hole[..., half:-half, half:-half]
    touching = F.max_pool2d(hole, WINDOW, stride=1)
    windows = torch.where(middles.amax((1, 2, 3), keepdim=True) > 0, middles, touching)
    scores = _mean_in(likeness * contrast, windows)
    return torch.where(hole.amax((1, 2, 3)) > 0, scores, torch.ones_like(scores))


def _mean_in(values: Tensor, hole: Tensor) -> Tensor:
    """Return the mean over all channels of the pixels in a hole, (N,); 0 without a hole."""
    return (values.mean(1, keepdim=True) * hole).sum((1, 2, 3)) / hole.sum((1, 2, 3)).clamp(min=1)


class Metric(NamedTuple):
    """A metric of generated images against their targets; those in holes also take the holes."""

    function: Callable[..., Tensor]
    lower_is_better: bool
    least: int  # the least pixels of the shorter side
    protocol: str


METRICS = {
    "L1": Metric(l1, True, 1, "mean absolute difference of pixels in [0, 1]"),
    "PSNR": Metric(
        psnr, False, 1, f"10·log10(1 / MSE) in dB; equal images count as {MOST_PSNR:.0f} dB"
    ),
    "SSIM": Metric(
        ssim,
        False,
        WINDOW,
        f"Gaussian window {WINDOW}×{WINDOW}, σ {SIGMA}, K1 0.01, K2 0.03, mean of the channels, "
        f"only where the window fits",
    ),
    "MS-SSIM": Metric(
        ms_ssim,
        False,
        (WINDOW - 1) * 2 ** (len(SCALES) - 1) + 1,
        "SSIM's window at 5 sizes, halved by averaging, weights of the paper, negative means as 0",
    ),
}
# Of images with filled holes (--model inpaint).
HOLE_METRICS = {
    "hole_L1": Metric(hole_l1, True, 1, "L1 over the pixels of the hole"),
    "hole_L2": Metric(hole_l2, True, 1, "mean squared difference over the pixels of the hole"),
    "hole_PSNR": Metric(hole_psnr, False, 1, "PSNR over the pixels of the hole"),
    "hole_SSIM": Metric(
        hole_ssim, False, WINDOW, "SSIM over the windows with their middle in the hole"
    ),
}
# Of the classes that a segmenter reads in images (training/label_scores.py):
PIXEL_ACCURACY, MIOU = LABEL_METRICS = ("pixel_accuracy", "mIoU")


def lower_is_better(name: str) -> bool:
    """Return whether lower values of a metric or a loss are better."""
    metrics = METRICS | HOLE_METRICS
    return metrics[name].lower_is_better if name in metrics else name not in LABEL_METRICS


def eight_bit(images: Tensor) -> Tensor:
    """Return (N, C, H, W) in [-1, 1] as uint8, truncated as in PNG files (`util.tensor2im`); bytes
    stay as they are.
    """
    if images.dtype == torch.uint8:
        return images
    return ((images.float() + 1) / 2 * 255).clamp(0, 255).byte()


def compare(fake: Tensor, real: Tensor, hole: Tensor | None = None) -> dict[str, Tensor]:
    """Return each metric, (N,) float64 on the CPU, of uint8 (N, C, H, W) images; with holes
    (N, 1, H, W), 0 or 1, also the metrics in these.

    Metrics that need larger images are absent. ValueError if the shapes differ.
    """
    if fake.shape != real.shape or fake.dtype != torch.uint8 or real.dtype != torch.uint8:
        kinds = [f"{tuple(p.shape)} {p.dtype}" for p in (fake, real)]
        raise ValueError(f"cannot compare {kinds[0]} with {kinds[1]}; give equal shapes of uint8")
    # float64, because SSIM's variances are differences of nearly equal numbers; MPS lacks it.
    device = fake.device if fake.is_cuda else "cpu"
    pair = [image.to(device).double() / 255 for image in (fake, real)]
    metrics = {name: (metric, pair) for name, metric in METRICS.items()}
    if hole is not None:
        with_hole = [*pair, hole.to(device).double()]
        metrics |= {name: (metric, with_hole) for name, metric in HOLE_METRICS.items()}
    size = min(fake.shape[-2:])
    return {
        name: metric.function(*images).cpu()
        for name, (metric, images) in metrics.items()
        if size >= metric.least
    }


class Interval(NamedTuple):
    """A mean and its bootstrap 95% interval."""

    mean: float
    low: float
    high: float


def bootstrap(values: Sequence[float], draws: int = 2000, seed: int = 0) -> Interval:
    """Return the mean of `values`, one per image, and its 95% percentile bootstrap interval.

    The interval holds the middle 95% of the means of `draws` samples with replacement.
    """
    values = np.asarray(values, dtype=float)
    generator = np.random.default_rng(seed)
    count = len(values)
    means = [values[generator.integers(0, count, count)].mean() for _ in range(draws)]
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(values.mean()), float(low), float(high))
