"""Batches of label maps, as data/labels_dataset.py gives them."""

from typing import Any

import torch

from util.label_maps import instance_edges


def label_batch(seed: int = 0, *, size: int = 1, side: int = 64) -> dict[str, Any]:
    """Make a batch of squares of four classes and five instances, and an image of noise."""
    torch.manual_seed(100 + seed)
    small = torch.randint(0, 4, (size, 1, 8, 8)).repeat_interleave(side // 8, 2)
    label = small.repeat_interleave(side // 8, 3)
    instance = label * 1000
    instance[..., : side // 2] += 7
    image = torch.rand(size, 3, side, side) * 2 - 1
    found = {"label": label, "instance": instance, "edges": instance_edges(instance)}
    return {**found, "image": image, "label_paths": [f"{seed}_{i}.png" for i in range(size)]}
