"""The noise of each image from a generator of its own: dropout, and normal numbers; torch only."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar

import torch
from torch import Tensor, nn

# The dropout generators of the images that this thread translates; None: the global one.
_NOISE: ContextVar[Sequence[torch.Generator] | None] = ContextVar("per_image_dropout", default=None)


@contextlib.contextmanager
def per_image_dropout(seeds: Iterable[int] | None) -> Iterator[None]:
    """Within it, image i of a batch draws its dropout masks from a generator seeded `seeds[i]`.

    So an image's noise (the z of §3.1, kept at test time) depends on its seed alone, not on the
    batch, the order, the device or other threads. `None`: the global generator, as in training.
    """
    generators = None if seeds is None else [torch.Generator().manual_seed(s) for s in seeds]
    token = _NOISE.set(generators)
    try:
        yield
    finally:
        _NOISE.reset(token)


def image_noise(count: int, size: int, device: torch.device) -> Tensor:
    """Return standard normal numbers (count, size), of each image from its own generator if
    `per_image_dropout` gives one.
    """
    generators = _NOISE.get()
    if generators is None:
        return torch.randn(count, size, device=device)
    return torch.stack([torch.randn(size, generator=g) for g in generators]).to(device)


class Dropout(nn.Dropout):
    """Dropout with one noise generator per image if asked (see `per_image_dropout`)."""

    def forward(self, x: Tensor) -> Tensor:
        generators = _NOISE.get()
        if generators is None or not self.training:
            return super().forward(x)
        if len(generators) != len(x):
            raise ValueError(f"{len(generators)} noise generators for {len(x)} images")
        keep = torch.stack([torch.rand(x.shape[1:], generator=g) >= self.p for g in generators])
        return x * keep.to(x.device, x.dtype) / (1 - self.p)
