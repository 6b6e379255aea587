"""CIE Lab and sRGB, with the D65 white of the 2° observer.

The constants are those of IEC 61966-2-1 and CIE 15, rounded as in scikit-image: published
colorization models were trained with these values.
"""

import torch
from torch import Tensor

# Linear RGB -> XYZ, and the XYZ of white.
XYZ_FROM_RGB = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
# The inverse in float64; written out, because ONNX export needs a constant.
RGB_FROM_XYZ = (
    (3.2404813432005266, -1.5371515162713185, -0.4985363261688878),
    (-0.9692549499965682, 1.8759900014898907, 0.04155592655829284),
    (0.05564663913517715, -0.20404133836651123, 1.0573110696453443),
)
WHITE = (0.95047, 1.0, 1.08883)


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """Convert (…, 3, H, W) sRGB in [0, 1] to L in [0, 100] and a, b within about ±110."""
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055).pow(2.4), rgb / 12.92)
    xyz = _mix(linear, torch.tensor(XYZ_FROM_RGB, dtype=torch.float64)) / _column(WHITE, rgb)
    x, y, z = torch.where(xyz > 0.008856, xyz.pow(1 / 3), 7.787 * xyz + 16 / 116).unbind(-3)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -3)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Convert (…, 3, H, W) Lab to sRGB, clipped to [0, 1] where the colour lies outside it."""
    L, a, b = lab.unbind(-3)
    y = (L + 16) / 116
    fs = torch.stack([y + a / 500, y, (y - b / 200).clamp(min=0)], -3)
    xyz = torch.where(fs > 0.2068966, fs.pow(3), (fs - 16 / 116) / 7.787) * _column(WHITE, lab)
    linear = _mix(xyz, torch.tensor(RGB_FROM_XYZ, dtype=torch.float64))
    curved = 1.055 * linear.clamp(min=0).pow(1 / 2.4) - 0.055
    return torch.where(linear > 0.0031308, curved, 12.92 * linear).clamp(0, 1)


def _mix(channels: Tensor, matrix: Tensor) -> Tensor:
    return torch.einsum("ij,...jhw->...ihw", matrix.to(channels), channels)


def _column(values: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None, None]
