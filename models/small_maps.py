"""Convolutions of small maps with many channels as matrix products, for training in bf16 on a CPU.

In the inner levels of a U-Net a convolution has millions of weights for a few pixels. oneDNN
reorders the weights first, and their gradient afterwards, which takes longer than the product
itself (docs/performance.md). In float32, and without gradients, products save nothing.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS_A_PIXEL = 4  # products are faster with at least this many channels for each pixel


class DownConv2d(nn.Conv2d):
    """A 4×4 convolution that halves a map."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True):
        super().__init__(in_channels, out_channels, 4, stride=2, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W) -> (N, out_channels, H/2, W/2)
        return conv2d(x, self.weight, self.bias, stride=2, padding=1)


class UpConv2d(nn.ConvTranspose2d):
    """A transposed 4×4 convolution that doubles a map."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True):
        super().__init__(in_channels, out_channels, 4, stride=2, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W) -> (N, out_channels, 2H, 2W)
        return conv_transpose2d(x, self.weight, self.bias, stride=2, padding=1)


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    """Return F.conv2d of x, (N, C, H, W), and a square kernel, (D, C, k, k)."""
    outputs, _, size, _ = weight.shape
    height, width = ((n + 2 * padding - size) // stride + 1 for n in x.shape[-2:])
    if not use_product(x, weight, x.shape[0] * height * width):
        return F.conv2d(x, weight, bias, stride, padding)
    windows = F.unfold(x, size, padding=padding, stride=stride).transpose(1, 2).flatten(0, 1)
    y = F.linear(windows, weight.flatten(1), bias)  # (N·H'·W', C·k·k) -> (N·H'·W', D)
    return y.view(len(x), height, width, outputs).permute(0, 3, 1, 2).contiguous()


def conv_transpose2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int
) -> Tensor:
    """Return F.conv_transpose2d of x, (N, C, H, W), and a square kernel, (C, D, k, k)."""
    size = weight.shape[-1]
    if not use_product(x, weight, x.shape[0] * x.shape[-2] * x.shape[-1]):
        return F.conv_transpose2d(x, weight, bias, stride, padding)
    pixels = x.permute(0, 2, 3, 1).flatten(0, 2)
    windows = (pixels @ weight.flatten(1)).view(len(x), -1, weight[0].numel())  # (N, H·W, D·k·k)
    height, width = ((n - 1) * stride - 2 * padding + size for n in x.shape[-2:])
    y = F.fold(windows.transpose(1, 2), (height, width), size, padding=padding, stride=stride)
    return y if bias is None else y + bias.to(y.dtype)[:, None, None]


def use_product(x: Tensor, weight: Tensor, pixels: int) -> bool:
    """Return whether a product is faster: in a bf16 training on a CPU, if the `pixels` of the whole
    batch are few compared with the channels of `weight`.
    """
    in_bf16 = x.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    if not in_bf16 or not torch.is_grad_enabled() or torch.compiler.is_exporting():
        return False  # before any look at sizes, which an exported graph leaves open
    return pixels * CHANNELS_A_PIXEL <= min(weight.shape[:2])
