"""What data and models do with label maps and instance maps as tensors."""

import torch
from torch import Tensor


def instance_edges(instance: Tensor) -> Tensor:
    """Return the edges of instances, (…, H, W) float32: 1 where a pixel's number differs from that
    of its left, right, upper or lower neighbour, else 0 (pix2pixHD §3.3).

    Padding comes afterwards: a border of other numbers would be an edge.
    """
    edges = torch.zeros(instance.shape, dtype=torch.bool, device=instance.device)
    across = instance[..., 1:] != instance[..., :-1]
    down = instance[..., 1:, :] != instance[..., :-1, :]
    edges[..., 1:] |= across
    edges[..., :-1] |= across
    edges[..., 1:, :] |= down
    edges[..., :-1, :] |= down
    return edges.float()
