"""Random changes of what a discriminator sees, so that it does not learn few images by heart.

Source: Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training",
arXiv:2006.10738, §3 and appendix.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

SHIFT = 1 / 8  # of the side, the largest translation
HOLE = 1 / 2  # of the side, the side of what is cut out


class DiffAugment:
    """Changes real and fake images alike, with a gradient: `real, fake = augment(real, fake)`.

    Colours change in the image channels alone; translations and holes are the same in all channels,
    so that an input and its image stay together. Without a policy, images stay as they are.
    """

    def __init__(self, policy: Sequence[str] = (), image: slice = slice(None)):
        """`policy` are names of `PARTS`; `image` are the channels of the image in what D sees."""
        self.policy, self.image = tuple(policy), image

    def __call__(self, *seen: Tensor) -> tuple[Tensor, ...]:
        """Return batches (N, C, H, W) in [-1, 1], all changed by the same draws for image i."""
        for name in self.policy:
            count, device = len(seen[0]), seen[0].device
            draws = torch.rand(3, count, 1, 1, 1, device=device)
            seen = tuple(PARTS[name](batch, draws, self.image) for batch in seen)
        return seen


def color(seen: Tensor, draws: Tensor, image: slice) -> Tensor:
    """Change brightness by up to 0.5, saturation by a factor in [0, 2], contrast in [0.5, 1.5]."""
    brightness, saturation, contrast = draws.to(seen.dtype)
    x = seen[:, image] + (brightness - 0.5)
    grey = x.mean(1, keepdim=True)
    x = (x - grey) * (2 * saturation) + grey
    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * (contrast + 0.5) + mean
    start, stop, _ = image.indices(seen.shape[1])
    return torch.cat([seen[:, :start], x, seen[:, stop:]], 1)


def translation(seen: Tensor, draws: Tensor, image: slice) -> Tensor:
    """Shift by up to an eighth of each side; what comes in from outside is 0."""
    for dim, draw in ((2, draws[0]), (3, draws[1])):
        size = seen.shape[dim]
        max_shift = round(size * SHIFT)
        shift = (draw * (2 * max_shift + 1)).floor().clamp(max=2 * max_shift) - max_shift
        shape = [1, 1, 1, 1]
        shape[dim] = size
        source = torch.arange(size, device=seen.device).view(shape) - shift.long()
        inside = (source >= 0) & (source < size)
        # Modulo: each pixel is taken once, so that the gradient has no sums in a random order.
        moved = seen.gather(dim, source.remainder(size).expand_as(seen))
        seen = moved * inside.to(seen.dtype)
    return seen


def cutout(seen: Tensor, draws: Tensor, image: slice) -> Tensor:
    """Set a box of half of each side to 0, whose middle lies anywhere in the image."""
    inside = []
    for dim, draw in ((2, draws[0]), (3, draws[1])):
        size = seen.shape[dim]
        side = round(size * HOLE)
        first = (draw * size).floor() - side // 2
        shape = [1, 1, 1, 1]
        shape[dim] = size
        position = torch.arange(size, device=seen.device).view(shape)
        inside.append((position >= first) & (position < first + side))
    return seen * (~(inside[0] & inside[1])).to(seen.dtype)


PARTS = {"color": color, "translation": translation, "cutout": cutout}
