"""A history of generated images for D (Shrivastava et al., arXiv:1612.07828)."""

import math
import random
from typing import Any

import torch
from torch import Tensor

from util.distributed import rank, world_size


class ImagePool:
    """Returns new images until it stores `pool_size` of them; then, with p = 0.5, swaps a new
    image with a random stored one. `pool_size` 0 returns every new image.

    If that stored image has another size, the new one takes its place and is returned too: images
    that share a batch are equally large, and the pool soon holds the sizes that are in use.

    With several ranks, each has its own pool of pool_size / world_size images.
    """

    def __init__(self, pool_size: int, seed: int = 0):
        self.pool_size = math.ceil(pool_size / world_size())
        self.images: list[Tensor] = []
        self.random = random.Random(f"{seed}/{rank()}" if rank() else seed)

    def query(self, images: Tensor) -> Tensor:
        """Return a batch (N, C, H, W) of new and stored images, without gradients."""
        images = images.detach()
        if self.pool_size == 0:
            return images
        return torch.stack([self._query(image) for image in images])

    def state_dict(self) -> dict[str, Any]:
        """Return the stored images and the random state."""
        return {"images": self.images, "random": self.random.getstate()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a saved pool, cut to `pool_size`; without "random", keep the random state."""
        self.images = [image.clone() for image in state["images"][: self.pool_size]]
        if "random" in state:
            self.random.setstate(state["random"])

    def _query(self, image: Tensor) -> Tensor:
        if len(self.images) < self.pool_size:
            self.images.append(image.clone())
            return image
        if self.random.random() < 0.5:
            return image
        i = self.random.randrange(self.pool_size)
        stored, self.images[i] = self.images[i], image.clone()
        if stored.shape != image.shape:
            return image
        return stored.to(image.device)  # from the CPU, after a resume
