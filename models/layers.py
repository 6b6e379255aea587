"""Instance norm, frozen weights, and the sizes of images: torch only."""

import contextlib
from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer


class InstanceNorm(nn.GroupNorm):
    """Instance norm without weights or running statistics, as group norm with one group a channel.

    The same function as `nn.InstanceNorm2d`, whose CPU input gradient is wrong at batch 1 when
    the incoming gradient is channels_last (PyTorch 2.13 to 2.15); group norm is right and faster.
    """

    def __init__(self, num_features: int):
        super().__init__(num_features, num_features, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        return norm_each_channel(x, None, None, self.eps)


def norm_each_channel(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Normalise each channel of each image, then apply weight and bias, (C,) each."""
    if x.device.type != "cpu" or x.is_contiguous():
        return F.group_norm(x, x.shape[1], weight, bias, eps)
    if x.shape[-2] * x.shape[-1] >= 1024:
        # Of channels_last maps, the CPU's group norm takes the variance as E[x²] − E[x]² (PyTorch
        # 2.15), of which little is left where they are nearly flat and far from 0: shift them by
        # about their mean.
        x = x - x[..., ::8, ::8].mean((-2, -1), keepdim=True)
        return F.group_norm(x, x.shape[1], weight, bias, eps)
    # Of small channels_last maps, it takes 2 to 13 times as long as this way.
    y = F.group_norm(x.contiguous(), x.shape[1], weight, bias, eps)
    return y.contiguous(memory_format=torch.channels_last)


@contextlib.contextmanager
def frozen_but(optimizer: Optimizer, nets: Iterable[nn.Module]) -> Iterator[None]:
    """Within it, of all networks only those that an optimizer trains collect gradients."""
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    others = [p for net in nets for p in net.parameters() if id(p) not in trained]
    frozen = [p for p in others if p.requires_grad]
    for p in frozen:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in frozen:
            p.requires_grad_(True)


def halved(x: Tensor) -> Tensor:
    """Halve images (N, C, H, W), as the coarser scales of pix2pixHD see them (arXiv:1711.11585)."""
    return F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)


def reflect_index(size: int, target: int, device: torch.device) -> Tensor:
    """Indices that extend `size` pixels to `target` by reflection, repeated where needed."""
    before = (target - size) // 2
    i = torch.arange(-before, target - before, device=device)
    period = max(2 * (size - 1), 1)
    i = i.remainder(period)
    return torch.minimum(i, period - i) if size > 1 else torch.zeros_like(i)
