"""Contextual attention step by step, one kernel for each patch, and all scores at once."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def plain_attention(x: Tensor, mask: Tensor, fuse: bool = True) -> Tensor:
    """Rebuild features (N, C, H, W) from their patches without holes: arXiv:1801.07892, §3.2."""
    return torch.cat([_of_one(x[i : i + 1], mask[i : i + 1], fuse) for i in range(len(x))])


def _of_one(x: Tensor, mask: Tensor, fuse: bool) -> Tensor:
    height, width = x.shape[2:]
    h, w = math.ceil(height / 2), math.ceil(width / 2)
    small = _halved(x, h, w)
    kernels = _patches(small, 3, 1, (1, 1, 1, 1))  # (L, C, 3, 3)
    holes = _patches(_halved(mask, h, w), 3, 1, (1, 1, 1, 1)).mean((1, 2, 3))
    valid = (holes == 0).to(x.dtype).view(1, -1, 1, 1)
    norms = kernels.pow(2).sum((1, 2, 3), keepdim=True).sqrt().clamp(min=1e-4)
    scores = F.conv2d(small, kernels / norms, padding=1)  # (1, L, h, w): of patch k at (i, j)
    if fuse:
        eye = torch.eye(3, dtype=x.dtype)[None, None]
        table = scores.flatten(2).mT[:, None]  # (1, 1, queries, keys)
        table = F.conv2d(table, eye, padding=1).view(h, w, h, w)
        table = table.permute(1, 0, 3, 2).reshape(1, 1, h * w, h * w)  # columns first
        table = F.conv2d(table, eye, padding=1).view(w, h, w, h)
        scores = table.permute(3, 2, 1, 0).reshape(1, h * w, h, w)
    weights = (scores * valid * 10).softmax(1) * valid
    raw = _patches(x, 4, 2, (1, 1 + width % 2, 1, 1 + height % 2))
    pasted = F.conv_transpose2d(weights, raw, stride=2) / 4
    return pasted[..., 1 : 1 + height, 1 : 1 + width]


def _halved(x: Tensor, h: int, w: int) -> Tensor:
    rows, columns = (
        torch.linspace(0, n - 1, m, dtype=torch.float64).add(0.5).floor().long()
        for n, m in zip(x.shape[2:], (h, w), strict=True)
    )
    return x[:, :, rows][..., columns]


def _patches(x: Tensor, size: int, step: int, pad: tuple[int, int, int, int]) -> Tensor:
    windows = F.pad(x, pad).unfold(2, size, step).unfold(3, size, step)  # (1, C, h, w, k, k)
    return windows[0].permute(1, 2, 0, 3, 4).flatten(0, 1)
