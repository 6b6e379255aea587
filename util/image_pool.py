"""A history of generated pictures for D (Shrivastava et al., arXiv:1612.07828)."""

import random

import torch
from torch import Tensor


class ImagePool:
    """Returns pictures as they come until it holds `pool_size`; then, with p = 0.5, swaps a
    picture with a random stored one. `pool_size` 0 hands all through.
    """

    def __init__(self, pool_size: int, seed: int = 0):
        self.pool_size = pool_size
        self.images: list[Tensor] = []
        self.random = random.Random(seed)

    def query(self, images: Tensor) -> Tensor:
        """Return a batch (N, C, H, W) of new and stored pictures, without gradients."""
        images = images.detach()
        if self.pool_size == 0:
            return images
        return torch.stack([self._query(image) for image in images])

    def _query(self, image: Tensor) -> Tensor:
        if len(self.images) < self.pool_size:
            self.images.append(image.clone())
            return image
        if self.random.random() < 0.5:
            return image
        i = self.random.randrange(self.pool_size)
        stored, self.images[i] = self.images[i], image.clone()
        return stored
