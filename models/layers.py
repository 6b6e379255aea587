"""Layers that torch lacks, and context managers around a forward pass: torch only."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from models.small_maps import conv2d


class InstanceNorm(nn.GroupNorm):
    """Instance norm without weights or running statistics, as group norm with one group a channel.

    The same function as `nn.InstanceNorm2d`, whose CPU input gradient is wrong at batch 1 when
    the incoming gradient is channels_last (PyTorch 2.13 to 2.15); group norm is right and faster.
    """

    def __init__(self, num_features: int):
        super().__init__(num_features, num_features, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        return _norm_each_channel(x, None, None, self.eps)


class SyncBatchNorm(nn.SyncBatchNorm):
    """Batch norm over all ranks; under inference mode over this rank alone, since in a validation
    each rank has other images.
    """

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_inference_mode_enabled():
            return nn.BatchNorm2d.forward(self, x)
        return super().forward(x)


def use_sync_batch_norm(net: nn.Module) -> None:
    """Replace the batch norms of a network by `SyncBatchNorm`."""
    replace_batch_norm(net, SyncBatchNorm)


def use_per_image_batch_norm(net: nn.Module) -> None:
    """Replace the batch norms of a network by `PerImageBatchNorm`."""
    replace_batch_norm(net, PerImageBatchNorm)


def replace_batch_norm(net: nn.Module, kind: type[nn.Module]) -> None:
    """Replace each batch norm below `net` by one of another kind with the same weights and
    statistics, as `nn.SyncBatchNorm.convert_sync_batchnorm` does.
    """
    for name, child in net.named_children():
        if not isinstance(child, nn.BatchNorm2d | nn.SyncBatchNorm):
            replace_batch_norm(child, kind)
            continue
        new = kind(child.num_features, child.eps, child.momentum, child.affine)
        new.weight, new.bias, new.training = child.weight, child.bias, child.training
        new.track_running_stats = child.track_running_stats
        for statistic in ("running_mean", "running_var", "num_batches_tracked"):
            setattr(new, statistic, getattr(child, statistic))
        setattr(net, name, new)


class PerImageBatchNorm(nn.BatchNorm2d):
    """Batch norm that uses each image's statistics in training mode, not the batch's.

    At batch size 1 it is batch norm, and a larger batch gives the same images (§3.3: "the
    statistics of the test batch", which is one image there).
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        return _norm_each_channel(x, self.weight, self.bias, self.eps)


def _norm_each_channel(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
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


class ResizeConv2d(nn.Conv2d):
    """Nearest ×2 and a 3×3 convolution: an up-convolution free of checkerboards.

    Source: Odena et al., "Deconvolution and Checkerboard Artifacts", Distill 2016.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True):
        super().__init__(in_channels, out_channels, kernel_size=3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W) -> (N, out_channels, 2H, 2W)
        return conv_of_doubled(x, self.weight, self.bias)


LEAST_PIXELS = 256  # of fewer, summing the weights takes longer than it saves


def conv_of_doubled(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the 3×3 convolution, padded by 1, of the nearest ×2 of x, (N, C, H, W).

    A 3×3 window of the doubled map shows 2×2 pixels of x. So a transposed convolution of x, by sums
    of the weights, is the same function with 4 products in place of 9.
    """
    if torch.compiler.is_exporting() or x.shape[-2] * x.shape[-1] < LEAST_PIXELS:
        doubled = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return conv2d(doubled, weight, bias, stride=1, padding=1)
    kernels = _summed(_summed(weight, -1), -2)  # 4×4
    return F.conv_transpose2d(x, kernels.transpose(0, 1), bias, stride=2, padding=1)


def _summed(weight: Tensor, dim: int) -> Tensor:
    a, b, c = weight.unbind(dim)
    return torch.stack([c, b + c, a + b, a], dim)


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
