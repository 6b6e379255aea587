"""Contextual attention: a hole is filled with patches of what lies around it, in bounded memory.

Source: Yu et al., "Generative Image Inpainting with Contextual Attention", arXiv:1801.07892, §3.2.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from models.block_attention import BLOCK, SHARPNESS, attention_in_blocks, held, kept

RATE = 2  # patches are matched on features halved once, and pasted at the full size of these
LEAST_NORM = 1e-4  # of a patch that is normalised


def contextual_attention(
    x: Tensor, mask: Tensor, *, fuse: bool = True, block: int = BLOCK
) -> Tensor:
    """Rebuild features (N, C, H, W) of any size from their own patches without holes.

    `mask` (N, 1, H, W) is 1 in the hole of each image. With `fuse`, neighbours in the image take
    patches that are neighbours. `block` is the number of scores in memory at a time.
    """
    height, width = x.shape[-2:]
    h, w = halves(height), halves(width)
    small, holes = (resize_nearest(tensor, h, w) for tensor in (x, mask))
    queries = F.unfold(small, 3, padding=1).mT  # (N, L, 9C), L = h·w patches
    keys = queries / queries.norm(dim=2, keepdim=True).clamp(min=LEAST_NORM)
    valid = (F.max_pool2d(holes, 3, 1, padding=1) == 0).to(x.dtype).flatten(1)  # (N, L)
    # Patches of 4×4 pixels, one every 2; TensorFlow's "SAME" puts 1 pixel before the first.
    padded = F.pad(x, (1, 1 + width % RATE, 1, 1 + height % RATE))
    patches = F.unfold(padded, 2 * RATE, stride=RATE).mT  # (N, L, 16C)
    if fuse:  # the second fusion goes by columns, and so do the keys after it
        valid, patches = (by_columns(tensor, h, w) for tensor in (valid, patches))
        queries = F.pad(queries, (0, 0, 0, 1))  # query L, of zeros, is before the first and so on
    parts = queries, keys, valid, patches
    if torch.compiler.is_exporting():
        new_patches = attention_at_once(*parts, (h, w), fuse)
    else:
        new_patches = attention_in_blocks(*parts, (h, w), fuse, block)
    whole = F.fold(new_patches.mT, (2 * h + 2, 2 * w + 2), 2 * RATE, stride=RATE)
    return whole[..., 1 : 1 + height, 1 : 1 + width] / 4  # a pixel lies in 4 patches


def attention_at_once(
    queries: Tensor,
    keys: Tensor,
    valid: Tensor,
    patches: Tensor,
    size: tuple[int, int],
    fuse: bool,
) -> Tensor:
    """Return the same with all scores in memory, in few operations: for exported graphs."""
    h, w = size
    scores = queries[:, : h * w] @ keys.mT
    if fuse:
        scores = by_columns(by_columns(fused(scores), h, w).mT, h, w).mT
        scores = by_columns(fused(scores), w, h)
    weights = (scores * (SHARPNESS * valid[:, None])).softmax(2) * valid[:, None]
    return weights @ patches


def fused(scores: Tensor) -> Tensor:
    """Σ_d scores[q + d, k + d] for d = −1, 0, 1: a convolution with the 3×3 identity."""
    before, after = scores[:, :-1, :-1], scores[:, 1:, 1:]
    return scores + F.pad(before, (1, 0, 1, 0)) + F.pad(after, (0, 1, 0, 1))


def halves(size: int) -> int:
    """Return the number of patches along a side."""
    return -(-size // RATE)


def resize_nearest(x: Tensor, height: int, width: int) -> Tensor:
    """Resize images (N, C, H, W) to their nearest pixels, with corner pixels on corner pixels."""
    for dim, size in ((-2, height), (-1, width)):
        if x.shape[dim] != size:  # an export keeps nothing, since its tensors are no real ones
            nearest = _nearest.__wrapped__ if torch.compiler.is_exporting() else _nearest
            index = held(nearest(x.shape[dim], size, x.device), x.device)
            x = x.index_select(dim, index)
    return x


@lru_cache(maxsize=64)
def _nearest(size: int, target: int, device: torch.device) -> Tensor:
    """Return floor(linspace(0, size − 1, target) + 1/2), in whole numbers."""
    steps = max(target - 1, 1)
    return kept([(2 * i * (size - 1) + steps) // (2 * steps) for i in range(target)], device)


def by_columns(x: Tensor, h: int, w: int) -> Tensor:
    """Order what there is of each patch, (N, h·w, …), by columns instead of rows."""
    return x.unflatten(1, (h, w)).transpose(1, 2).flatten(1, 2)
