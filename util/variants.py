"""Several outputs of one input, which differ by their noise alone (--num_variants)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor


def note_on_variants(seed: int) -> str:
    """Return a note on the page of a test, whose first variants are those of `seed`."""
    return (
        f"The variants of an output (--num_variants) differ by their noise alone: the first has "
        f"that of --seed {seed}, the second that of --seed {seed + 1}, and so on. Beside the name "
        f"is the mean difference of two, of 255 grey levels. Dropout, the noise of pix2pix, "
        f"changes little (§3.1 of the paper)."
    )


def variant_label(label: str, number: int) -> str:
    """Return the label of the variant `number`, from 1: fake_B, fake_B_v2, fake_B_v3, …"""
    return label if number == 1 else f"{label}_v{number}"


def plain_label(label: str) -> tuple[str, int]:
    """Return the label of the first variant, and the number of this one."""
    match = re.fullmatch(r"(.+)_v([2-9]|[1-9]\d+)", label)
    return (match[1], int(match[2])) if match else (label, 1)


def variant_count(labels: Iterable[str]) -> int:
    """Return how many variants the images of these labels have."""
    return max(plain_label(label)[1] for label in labels)


def variants_of(images: Mapping[str, Tensor]) -> dict[str, list[Tensor]]:
    """Return all variants by the label of the first, of those images by label that have some."""
    by_label: dict[str, list[Tensor]] = {}
    for label, image in images.items():
        by_label.setdefault(plain_label(label)[0], []).append(image)
    return {label: variants for label, variants in by_label.items() if len(variants) > 1}


def check_variants(variants: Sequence[Any], flag: str = "") -> None:
    """Raise a ValueError if variants, as images, arrays or tensors, are all equal.

    It names `flag`, by default --num_variants with their number.
    """
    first, *others = (np.asarray(v.cpu() if isinstance(v, Tensor) else v) for v in variants)
    if all(np.array_equal(first, other) for other in others):
        flag = flag or f"--num_variants {len(variants)}"
        raise ValueError(
            f"{flag}: all variants are equal, since this run has no noise at test time "
            f"(--no_dropout, --eval, --dropout_at_test off, or a network without dropout); leave "
            f"it out"
        )


def grey_levels_apart(variants: Sequence[Tensor]) -> float:
    """Return the mean absolute difference of two variants over all pairs, in grey levels 0..255.

    They are images of one shape in [-1, 1], or of uint8.
    """
    scale = 1.0 if variants[0].dtype == torch.uint8 else 127.5
    pairs = [*combinations([image.float() for image in variants], 2)]
    return sum(float((a - b).abs().mean()) for a, b in pairs) * scale / len(pairs)
