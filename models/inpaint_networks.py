"""Networks of DeepFillv2, which fill holes in images: torch only, never the options.

Source: Yu et al., "Free-Form Image Inpainting with Gated Convolution", arXiv:1806.03589, below
"§…". Images are (N, 3, H, W) in [-1, 1]; a mask (N, 1, H, W) is 1 in the hole. State-dict keys and
shapes are those of the published weights.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.contextual_attention import contextual_attention, resize_nearest
from models.image_noise import image_noise
from models.resize_conv import conv_of_doubled

SLOPE = 0.2  # of D's leaky ReLUs
STRIDE = 8  # an image's sides are multiples of it: features are halved twice, patches once more
ATTENTIONS = ("contextual", "none")


def pad_same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Pad images as TensorFlow's "SAME", so that a convolution leaves ceil(size / stride) pixels;
    of an odd number of pixels, one more comes after the image.
    """
    height, width = (
        max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in x.shape[-2:]
    )
    return F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))


class GatedConv2d(nn.Module):
    """σ(b) · φ(a), with a and b the halves of a convolution's channels (§3.1, eq. 3)."""

    def __init__(
        self,
        input_nc: int,
        output_nc: int,
        kernel: int = 3,
        stride: int = 1,
        dilation: int = 1,
        activation: Callable[[Tensor], Tensor] = F.elu,
    ):
        super().__init__()
        self.activation = activation
        padding = dilation * (kernel // 2) if stride == 1 else 0
        self.conv = nn.Conv2d(
            input_nc, 2 * output_nc, kernel, stride, padding=padding, dilation=dilation
        )

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W) -> (N, output_nc, H/stride, W/stride)
        stride = self.conv.stride[0]
        x = x if stride == 1 else pad_same(x, self.conv.kernel_size[0], stride)
        return self.gated(self.conv(x))

    def gated(self, y: Tensor) -> Tensor:
        """σ of half the channels times φ of the others."""
        features, gate = y.chunk(2, 1)
        return self.activation(features) * torch.sigmoid(gate)


class GatedUpConv2d(nn.Module):
    """Nearest ×2 and a gated convolution."""

    def __init__(self, input_nc: int, output_nc: int):
        super().__init__()
        self.conv = GatedConv2d(input_nc, output_nc)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W) -> (N, output_nc, 2H, 2W)
        conv = self.conv.conv
        return self.conv.gated(conv_of_doubled(x, conv.weight, conv.bias))


class LastConv2d(nn.Module):
    """tanh of a convolution: the image."""

    def __init__(self, input_nc: int, output_nc: int):
        super().__init__()
        self.conv = nn.Conv2d(input_nc, output_nc, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.conv(x))


class Layer(NamedTuple):
    """A gated convolution of a branch."""

    name: str
    quarters: int  # channels, in quarters of cnum
    kernel: int = 3
    stride: int = 1
    dilation: int = 1
    activation: Callable[[Tensor], Tensor] = F.elu


def _atrous(prefix: str) -> tuple[Layer, ...]:
    return tuple(Layer(f"{prefix}{7 + i}_atrous", 8, dilation=2 ** (i + 1)) for i in range(4))


def _up(prefix: str) -> tuple[Layer, ...]:
    return (
        Layer(f"{prefix}11", 8),
        Layer(f"{prefix}12", 8),
        Layer(f"{prefix}13_upsample", 4),
        Layer(f"{prefix}14", 4),
        Layer(f"{prefix}15_upsample", 2),
        Layer(f"{prefix}16", 1),
    )


STAGE_1 = (
    Layer("conv1", 2, kernel=5),
    Layer("conv2_downsample", 4, stride=2),
    Layer("conv3", 4),
    Layer("conv4_downsample", 8, stride=2),
    Layer("conv5", 8),
    Layer("conv6", 8),
    *_atrous("conv"),
    *_up("conv"),
)
CONVOLUTIONS = (
    Layer("xconv1", 2, kernel=5),
    Layer("xconv2_downsample", 2, stride=2),
    Layer("xconv3", 4),
    Layer("xconv4_downsample", 4, stride=2),
    Layer("xconv5", 8),
    Layer("xconv6", 8),
    *_atrous("xconv"),
)
BEFORE_ATTENTION = (
    Layer("pmconv1", 2, kernel=5),
    Layer("pmconv2_downsample", 2, stride=2),
    Layer("pmconv3", 4),
    Layer("pmconv4_downsample", 8, stride=2),
    Layer("pmconv5", 8),
    Layer("pmconv6", 8, activation=F.relu),
)
AFTER_ATTENTION = (Layer("pmconv9", 8), Layer("pmconv10", 8))
JOINED = _up("allconv")


class InpaintGenerator(nn.Module):
    """A coarse and a fine network, one after the other (§3.4, fig. 3).

    The fine one has two branches, of which one looks for patches in the rest of the image; without
    `attention` it has the other alone. `guided`: lines of a sketch steer what is filled in (§3.5).
    `hole_noise` is the standard deviation of noise in the hole of the input, 0 as published.
    """

    def __init__(
        self,
        cnum: int = 48,
        attention: str = "contextual",
        guided: bool = False,
        hole_noise: float = 0.0,
        *,
        fuse: bool = True,
    ):
        """ValueError for a cnum that is no multiple of 4, or an unknown attention."""
        super().__init__()
        if cnum < 4 or cnum % 4:
            raise ValueError(f"--cnum {cnum}: must be a multiple of 4")
        if attention not in ATTENTIONS:
            raise ValueError(f"--attention {attention}: known are {', '.join(ATTENTIONS)}")
        self.attention, self.guided, self.fuse = attention == "contextual", guided, fuse
        self.hole_noise = hole_noise
        quarter = cnum // 4
        last = self._add(STAGE_1, 5 + guided, quarter)
        self.conv17 = LastConv2d(last, 3)
        joined = self._add(CONVOLUTIONS, 3, quarter)
        if self.attention:
            features = self._add(BEFORE_ATTENTION, 3, quarter)
            joined += self._add(AFTER_ATTENTION, features, quarter)
        self.allconv17 = LastConv2d(self._add(JOINED, joined, quarter), 3)

    def _add(self, layers: Iterable[Layer], input_nc: int, quarter: int) -> int:
        """Add layers one after the other, and return the channels of the last."""
        for layer in layers:
            output_nc = layer.quarters * quarter
            if layer.name.endswith("upsample"):
                self.add_module(layer.name, GatedUpConv2d(input_nc, output_nc))
            else:
                self.add_module(layer.name, GatedConv2d(input_nc, output_nc, *layer[2:]))
            input_nc = output_nc
        return input_nc

    def _run(self, layers: Iterable[Layer], x: Tensor) -> Tensor:
        for layer in layers:
            x = getattr(self, layer.name)(x)
        return x

    def forward(
        self, image: Tensor, mask: Tensor, sketch: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """An image, its hole, and if `guided` a sketch (N, 1, H, W), 1 on lines -> what both stages
        make of the whole image, (N, 3, H, W) in [-1, 1].

        Sides that are no multiples of `STRIDE` are padded by the nearest pixels and cropped back.
        """
        height, width = image.shape[-2:]
        inputs = [image * (1 - mask), mask] + ([sketch] if self.guided else [])
        if self.hole_noise:
            z = image_noise(len(image), image[0].numel(), image.device).view_as(image)
            inputs[0] = inputs[0] + (self.hole_noise * mask * z).to(image.dtype)
        image, mask, *sketches = (_padded(tensor) for tensor in inputs)
        ones = torch.ones_like(mask)
        x = torch.cat([image, ones, mask, *(sketch * mask for sketch in sketches)], 1)
        coarse = self.conv17(self._run(STAGE_1, x)).to(image.dtype)
        x = coarse * mask + image * (1 - mask)
        branches = [self._run(CONVOLUTIONS, x)]
        if self.attention:
            features = self._run(BEFORE_ATTENTION, x)
            attended = self._attend(features, mask).to(features.dtype)
            branches.append(self._run(AFTER_ATTENTION, attended))
        fine = self.allconv17(self._run(JOINED, torch.cat(branches, 1))).to(image.dtype)
        return coarse[..., :height, :width], fine[..., :height, :width]

    def _attend(self, features: Tensor, mask: Tensor) -> Tensor:
        """Return the features, filled from their own patches; in float32, of which a softmax of
        sharp scores needs the digits.
        """
        mask = resize_nearest(mask, *features.shape[-2:])
        with torch.autocast(features.device.type, enabled=False):
            dtype = torch.promote_types(features.dtype, torch.float32)
            return contextual_attention(features.to(dtype), mask.to(dtype), fuse=self.fuse)


def _padded(x: Tensor) -> Tensor:
    below, right = (-size % STRIDE for size in x.shape[-2:])
    return F.pad(x, (0, right, 0, below), mode="replicate") if below or right else x


class HoleFiller(nn.Module):
    """A generator on one tensor of image, mask and sketch, which gives the filled image."""

    def __init__(self, net: InpaintGenerator):
        super().__init__()
        self.net = net

    def forward(self, real: Tensor) -> Tensor:
        """(N, 4, H, W), or (N, 5, H, W) if guided: the image in [-1, 1], its mask and its sketch,
        both 0 or 1 -> (N, 3, H, W) in [-1, 1].
        """
        image, mask = real[:, :3], real[:, 3:4]
        _, fine = self.net(image, mask, real[:, 4:] if self.net.guided else None)
        return pasted(fine, image, mask)


def pasted(filling: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """Return an image with a filling in its hole."""
    return filling * mask + image * (1 - mask)


class SpectralConv2d(nn.Conv2d):
    """A convolution whose weights are divided by their largest singular value (arXiv:1802.05957).

    The vector of its power iteration has the name and the shape of the published weights.
    """

    def __init__(self, *args: int, **kwargs: int):
        super().__init__(*args, **kwargs)
        self.register_buffer("weight_u", F.normalize(torch.randn(self.out_channels, 1), dim=0))

    def forward(self, x: Tensor) -> Tensor:
        matrix = self.weight.flatten(1)
        with torch.no_grad():
            right = F.normalize(matrix.T @ self.weight_u, dim=0)
            left = F.normalize(matrix @ right, dim=0)
            if self.training:
                self.weight_u.copy_(left)
        weight = self.weight / (left.T @ matrix @ right)
        return self._conv_forward(
            pad_same(x, self.kernel_size[0], self.stride[0]), weight, self.bias
        )


class SpectralNormConv(nn.Module):
    """A layer of D: a convolution with spectral norm, and leaky ReLU."""

    def __init__(self, input_nc: int, output_nc: int):
        super().__init__()
        self.conv_sn = SpectralConv2d(input_nc, output_nc, 5, stride=2)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W) -> (N, output_nc, ⌈H/2⌉, ⌈W/2⌉)
        return F.leaky_relu(self.conv_sn(x), SLOPE)


class SNPatchDiscriminator(nn.Module):
    """SN-PatchGAN: every number of its last features is a judgement (§3.3)."""

    min_size = 1

    def __init__(self, input_nc: int = 4, ndf: int = 64):
        """`input_nc` counts the image's channels, the mask and, if there is one, the sketch."""
        super().__init__()
        widths = [input_nc, ndf, 2 * ndf, *[4 * ndf] * 4]
        self.count = len(widths) - 1
        for i in range(self.count):
            self.add_module(f"conv{i + 1}", SpectralNormConv(widths[i], widths[i + 1]))

    def forward(self, x: Tensor) -> Tensor:  # (N, input_nc, H, W) -> (N, judgements)
        for i in range(self.count):
            x = getattr(self, f"conv{i + 1}")(x)
        return x.flatten(1)
