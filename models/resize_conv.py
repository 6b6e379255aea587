"""An up-convolution without checkerboards (--upsample resize): torch only."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.small_maps import conv2d


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
