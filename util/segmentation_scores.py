"""Scores of predicted classes of pixels against the true ones, from a confusion matrix."""

import torch
from torch import Tensor

UNKNOWN = -100  # class of pixels that do not count, as in F.cross_entropy
SCORES = ("per-pixel accuracy", "per-class accuracy", "class IoU")

MOST_NAMED = 24  # classes whose IoU is told


def confusion(truth: Tensor, found: Tensor, classes: int) -> Tensor:
    """Return the confusion matrix in pixels: true classes in rows, predicted ones in columns.

    Pixels whose true class is UNKNOWN do not count.
    """
    counted = truth != UNKNOWN
    pairs = truth[counted] * classes + found[counted]
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def scores(matrix: Tensor) -> dict[str, float]:
    """Return the three scores of pix2pix §4.1; classes missing from the truth are ignored.

    Source: Long et al., arXiv:1411.4038, §5 (pixel accuracy, mean accuracy, mean IU).
    """
    right, truth, predicted = matrix.diag().double(), matrix.sum(1).double(), matrix.sum(0).double()
    present = truth > 0
    values = (
        right.sum() / truth.sum(),
        (right / truth)[present].mean(),
        (right / (truth + predicted - right))[present].mean(),
    )
    return {score: value.item() for score, value in zip(SCORES, values, strict=True)}


def iou_by_class(matrix: Tensor) -> Tensor:
    """Return the IoU of each class, (K,) float64; NaN for one that the truth lacks."""
    right, truth, predicted = matrix.diag().double(), matrix.sum(1).double(), matrix.sum(0).double()
    return torch.where(truth > 0, right / (truth + predicted - right), torch.nan)


def largest_classes(matrix: Tensor, most: int = MOST_NAMED) -> tuple[list[int], str]:
    """Return the classes with most pixels in the truth, at most so many, and words that say so if
    there are more.
    """
    sizes = matrix.sum(1)
    present = [i for i in sizes.argsort(descending=True).tolist() if sizes[i]]
    has_more = len(present) > most
    return present[:most], f" (the {most} largest of {len(present)})" if has_more else ""
