"""Metrics computed by a pretrained network: LPIPS per image; FID, KID and IS over all images.

They need the packages torchmetrics and torch-fidelity, and published weights.
"""

import contextlib
import importlib.util
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scripts.evaluation.compare import ImageSet, distinct, pixels, pixels_of_pair
from util.checkpoint import load_weights
from util.downloads import download_weights
from util.seeding import seeded

INCEPTION = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth"
)
SMALLEST = 31  # pixels a side; AlexNet reduces smaller images to nothing
SPLITS = 10  # of the Inception score
TOGETHER = ("FID", "KID", "IS")
PROTOCOLS = {
    "LPIPS": "AlexNet with the linear weights of LPIPS 0.1, images in [-1, 1] at their own size",
    "FID": "Fréchet distance of the 2048 pool features of the TensorFlow Inception-v3, images "
    "resized to 299×299 bilinearly without antialiasing; biased below some 10,000 images, so "
    "compare it at an equal N only",
    "KID": "the same features, squared MMD with a cubic kernel, mean of 100 random subsets of "
    "{subset} images",
    "IS": "exp of the mean KL divergence of Inception-v3's classes of the outputs, {splits} "
    "splits; targets are ignored",
    "FCN": "labels predicted on the outputs by a U-Net (§4.1), trained for {epochs} epochs on the "
    "photos and labels of train; for comparison on the real photos and on their mean colour; "
    "FCN-FD: Fréchet distance in that network's features",
}


def missing_packages() -> list[str]:
    """Return the pip names of the packages that these metrics need and that are missing."""
    packages = {"torchmetrics": "torchmetrics", "torch_fidelity": "torch-fidelity"}
    return [name for module, name in packages.items() if importlib.util.find_spec(module) is None]


def require(metric: str) -> None:
    """Raise a ValueError that says which packages to install, if some are missing."""
    if missing := missing_packages():
        raise ValueError(
            f"--metrics {metric}: needs {' and '.join(missing)}; pip install {' '.join(missing)}"
        )


def check_count(metric: str, count: int, subset: int) -> None:
    """Raise a ValueError if there are too few images for a metric."""
    least = {"FID": 2, "IS": SPLITS, "KID": subset}[metric]
    if count < least:
        fix = f"; choose a smaller --kid_subset than {subset}" if metric == "KID" else ""
        raise ValueError(f"--metrics {metric}: needs at least {least} images, not {count}{fix}")


def lpips(images: ImageSet, device: torch.device) -> dict[str, float]:
    """Return the LPIPS distance of every output to its target.

    Source: Zhang et al., arXiv:1801.03924. The backbone's weights are torchvision's AlexNet.
    """
    require("LPIPS")
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
    from torchvision.models import AlexNet_Weights

    load_weights(download_weights(AlexNet_Weights.DEFAULT.url, None, "--metrics LPIPS", ""))
    with quiet():
        net = LearnedPerceptualImagePatchSimilarity(net_type="alex").net.to(device)
    distances = {}
    for name in images.names:
        pair = [p.to(device) for p in pixels_of_pair(images.fake[name], images.real[name])]
        if min(pair[0].shape[-2:]) < SMALLEST:
            raise ValueError(
                f"--metrics LPIPS: needs images of at least {SMALLEST} pixels a side; "
                f"{images.fake[name]} is smaller"
            )
        with torch.inference_mode():
            distances[name] = net(*(p.float() / 127.5 - 1 for p in pair)).item()
    return distances


def inception_metrics(
    images: ImageSet,
    metrics: Sequence[str],
    *,
    weights: Path | None,
    subset: int,
    device: torch.device,
) -> dict[str, float]:
    """Return the chosen metrics of `TOGETHER` from one pass of Inception over all images.

    ValueError if there are too few images, or if the weights cannot be loaded.
    """
    fake_files = distinct(images, images.fake, images.source)
    real_files = distinct(images, images.real)
    for metric in metrics:
        require(metric)
        for files in (fake_files, real_files):
            check_count(metric, len(files), subset)
    if len(fake_files) < len(images.fake):
        counts = f"N = {len(fake_files)} outputs and {len(real_files)} targets"
        images.notes.append(f"{images.name}: {', '.join(metrics)}: {counts} that do not repeat")
    net = inception(weights).to(device)
    fake, classes = features(net, fake_files, device)
    scores = {}
    if {"FID", "KID"} & set(metrics):
        real, _ = features(net, real_files, device)
    for metric in metrics:
        if metric == "FID":
            scores[metric] = frechet_distance(fake, real)
        elif metric == "KID":
            scores[metric] = kernel_distance(fake, real, subset)
        else:
            scores[metric] = inception_score(classes)
    return scores


def inception(weights: Path | None) -> nn.Module:
    """Return Inception-v3 as FID uses it: uint8 images to features and classes."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    path = download_weights(INCEPTION, weights, "--metrics FID, KID, IS", "--inception_weights")
    load_weights(path)  # refuses pickled code, which the next line would run
    kinds = ["2048", "logits_unbiased"]
    with quiet():
        return FeatureExtractorInceptionV3("fid", kinds, feature_extractor_weights_path=str(path))


def features(net: nn.Module, files: Iterable[Path], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the features and the class logits of images, one row per image."""
    with torch.inference_mode():
        rows = [net(pixels(path).to(device)) for path in files]
    return tuple(torch.cat(column).cpu() for column in zip(*rows, strict=True))


class _Given(nn.Module):
    """Identity network for metrics, which receive precomputed features."""

    def __init__(self, count: int):
        super().__init__()
        self.num_features = count

    def forward(self, x: Tensor) -> Tensor:
        return x


def frechet_distance(fake: Tensor, real: Tensor) -> float:
    """Return the Fréchet distance of Gaussians fitted to two sets of features, (N, F) each.

    |μ₁ − μ₂|² + Tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½). Source: Heusel et al., arXiv:1706.08500, eq. 6.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    with quiet():
        metric = FrechetInceptionDistance(feature=_Given(fake.shape[1]))
        metric.update(real.double(), real=True)
        metric.update(fake.double(), real=False)
        return metric.compute().item()


def kernel_distance(fake: Tensor, real: Tensor, subset: int) -> float:
    """Return the kernel Inception distance. Source: Bińkowski et al., arXiv:1801.01401, §4."""
    from torchmetrics.image.kid import KernelInceptionDistance

    with quiet():
        metric = KernelInceptionDistance(feature=_Given(fake.shape[1]), subset_size=subset)
        metric.update(real, real=True)
        metric.update(fake, real=False)
        return metric.compute()[0].item()


def inception_score(classes: Tensor) -> float:
    """Return the Inception score of logits. Source: Salimans et al., arXiv:1606.03498, §4."""
    from torchmetrics.image.inception import InceptionScore

    with quiet():
        metric = InceptionScore(feature=_Given(classes.shape[1]), splits=SPLITS)
        metric.update(classes)
        return metric.compute()[0].item()


@contextlib.contextmanager
def quiet() -> Iterator[Any]:
    """Silence warnings of the libraries, and fix the seed of their random subsets."""
    with warnings.catch_warnings(), seeded(0):
        warnings.simplefilter("ignore")
        yield
