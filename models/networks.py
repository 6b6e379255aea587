"""Networks: torch only, never the options.

Images are (N, C, H, W) tensors in [-1, 1]. State-dict keys and shapes are those of the
published pix2pix and CycleGAN weights, so those files load as they are.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from models.image_noise import Dropout
from models.layers import InstanceNorm, reflect_index
from models.losses import GAN_MODES, GANLoss, gradient_penalty  # noqa: F401, found here too
from models.resize_conv import ResizeConv2d
from models.schedules import LR_POLICIES, get_scheduler  # noqa: F401, found here too
from models.small_maps import DownConv2d, UpConv2d

# ---------------------------------------------------------------------------------------
# Norms
# ---------------------------------------------------------------------------------------


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "instance": InstanceNorm,
    "batch": nn.BatchNorm2d,
    "sync_batch": nn.BatchNorm2d,  # over all ranks once several train: `data_parallel`
    "sync_instance": InstanceNorm,  # an instance's statistics never leave its process
    "none": lambda num_features: nn.Identity(),
}


UPSAMPLES = ("transpose", "resize")


def _lookup(table: dict[str, Any], name: str, flag: str) -> Any:
    if name not in table:
        raise ValueError(f"{flag} {name}: unknown; known are {', '.join(table)}")
    return table[name]


def get_norm_layer(norm_type: str = "instance") -> Callable[[int], nn.Module]:
    """Return the constructor (channels -> layer) of a `NORMS` entry; ValueError if unknown."""
    return _lookup(NORMS, norm_type, "--norm")


def _is_instance(norm_layer: Callable[[int], nn.Module]) -> bool:
    # Only beside instance norm a convolution has a bias (§6.1); beside `none` it has none either.
    try:
        return isinstance(norm_layer(1), InstanceNorm | nn.InstanceNorm2d)
    except ValueError:  # as of group norm, whose groups do not divide one channel
        return False


# ---------------------------------------------------------------------------------------
# Generators
# ---------------------------------------------------------------------------------------


class Generator(nn.Module):
    """A generator that takes any image size.

    The input is reflect-padded to a multiple of `stride` (at least `min_size`) and the output
    cropped back, so (N, input_nc, H, W) becomes (N, output_nc, H, W) for every H and W. Under
    autocast too, what comes out has the type of what goes in.
    """

    model: nn.Module
    stride: int
    min_size: int

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        h, w = self.padded_size((height, width))
        if (h, w) == (height, width):
            return self.model(x).to(x.dtype)
        rows = reflect_index(height, h, x.device)
        columns = reflect_index(width, w, x.device)
        y = self.model(x.index_select(-2, rows).index_select(-1, columns)).to(x.dtype)
        top, left = (h - height) // 2, (w - width) // 2
        return y[..., top : top + height, left : left + width]

    def padded_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) to which an image is padded."""
        h, w = (max(math.ceil(n / self.stride) * self.stride, self.min_size) for n in size)
        return h, w


class UnetGenerator(Generator):
    """U-Net (§3.2.1, appendix 6.1.1): `num_downs` halvings, a skip at every size.

    `num_downs=8` takes a 256×256 image down to 1×1. Built from the inside out. `skip=False`
    severs the skips, which leaves the encoder-decoder that §4.3 compares it with.
    """

    def __init__(
        self,
        input_nc: int,
        output_nc: int,
        num_downs: int,
        ngf: int = 64,
        norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d,
        use_dropout: bool = False,
        *,
        upsample: str = "transpose",
        skip: bool = True,
    ):
        super().__init__()
        if num_downs < 5:
            raise ValueError(f"num_downs {num_downs}: a U-Net here has at least 5")
        self.stride = self.min_size = 2**num_downs
        choices = {"norm_layer": norm_layer, "upsample": upsample, "skip": skip}
        block = partial(UnetSkipConnectionBlock, **choices)
        net = block(ngf * 8, ngf * 8, innermost=True)
        for _ in range(num_downs - 5):
            net = block(ngf * 8, ngf * 8, submodule=net, use_dropout=use_dropout)
        for outer, inner in ((ngf * 4, ngf * 8), (ngf * 2, ngf * 4), (ngf, ngf * 2)):
            net = block(outer, inner, submodule=net)
        self.model = block(output_nc, ngf, input_nc=input_nc, submodule=net, outermost=True)


class UnetSkipConnectionBlock(nn.Module):
    """One level of the U-Net: down, the levels inside it, up; with `skip` its input is joined
    to its output.
    """

    def __init__(
        self,
        outer_nc: int,
        inner_nc: int,
        input_nc: int | None = None,
        submodule: nn.Module | None = None,
        outermost: bool = False,
        innermost: bool = False,
        norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d,
        use_dropout: bool = False,
        *,
        upsample: str = "transpose",
        skip: bool = True,
    ):
        super().__init__()
        self.joins = skip and not outermost
        bias = _is_instance(norm_layer)
        input_nc = outer_nc if input_nc is None else input_nc
        up_nc = inner_nc * 2 if skip and not innermost else inner_nc

        def up(bias: bool) -> nn.Module:
            if upsample == "resize":
                return ResizeConv2d(up_nc, outer_nc, bias=bias)
            return UpConv2d(up_nc, outer_nc, bias=bias)

        down = DownConv2d(input_nc, inner_nc, bias=bias)
        if outermost:
            layers = [down, submodule, nn.ReLU(inplace=True), up(bias=True), nn.Tanh()]
        elif innermost:
            layers = [
                nn.LeakyReLU(0.2, inplace=True),
                down,
                nn.ReLU(inplace=True),
                up(bias),
                norm_layer(outer_nc),
            ]
        else:
            layers = [nn.LeakyReLU(0.2, inplace=True), down, norm_layer(inner_nc), submodule]
            layers += [nn.ReLU(inplace=True), up(bias), norm_layer(outer_nc)]
            layers += [Dropout(0.5)] if use_dropout else []
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W) -> joined: (N, 2C, H, W)
        return torch.cat([x, self.model(x)], 1) if self.joins else self.model(x)


class ResnetGenerator(Generator):
    """Two stride-2 convolutions, `n_blocks` residual blocks, two up-convolutions.

    Source: Johnson et al., arXiv:1603.08155; CycleGAN, arXiv:1703.10593, appendix 7.2.
    """

    def __init__(
        self,
        input_nc: int,
        output_nc: int,
        ngf: int = 64,
        norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d,
        use_dropout: bool = False,
        n_blocks: int = 6,
        *,
        upsample: str = "transpose",
    ):
        super().__init__()
        self.stride, self.min_size = 4, 8  # below 8 the blocks' reflection has nothing to reflect
        bias = _is_instance(norm_layer)

        def up(nc: int) -> nn.Module:
            if upsample == "resize":
                return ResizeConv2d(nc, nc // 2, bias=bias)
            return nn.ConvTranspose2d(
                nc, nc // 2, 3, stride=2, padding=1, output_padding=1, bias=bias
            )

        layers = [nn.ReflectionPad2d(3), nn.Conv2d(input_nc, ngf, 7, bias=bias)]
        layers += [norm_layer(ngf), nn.ReLU(inplace=True)]
        for nc in (ngf, ngf * 2):
            layers += [nn.Conv2d(nc, nc * 2, 3, stride=2, padding=1, bias=bias)]
            layers += [norm_layer(nc * 2), nn.ReLU(inplace=True)]
        layers += [ResnetBlock(ngf * 4, norm_layer, use_dropout) for _ in range(n_blocks)]
        for nc in (ngf * 4, ngf * 2):
            layers += [up(nc), norm_layer(nc // 2), nn.ReLU(inplace=True)]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(ngf, output_nc, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)


class ResnetBlock(nn.Module):
    """x + conv_block(x): two reflect-padded 3×3 convolutions, dropout between them if asked."""

    def __init__(
        self,
        nc: int,
        norm_layer: Callable[[int], nn.Module],
        use_dropout: bool = False,
        *,
        bias: bool | None = None,
    ):
        """`bias` is whether the convolutions have one; by default only with instance norm."""
        super().__init__()
        bias = _is_instance(norm_layer) if bias is None else bias
        layers = [
            nn.ReflectionPad2d(1),
            nn.Conv2d(nc, nc, 3, bias=bias),
            norm_layer(nc),
            nn.ReLU(inplace=True),
        ]
        layers += [Dropout(0.5)] if use_dropout else []
        layers += [nn.ReflectionPad2d(1), nn.Conv2d(nc, nc, 3, bias=bias), norm_layer(nc)]
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


GENERATORS: dict[str, Callable[..., Generator]] = {
    "resnet_9blocks": partial(ResnetGenerator, n_blocks=9),
    "resnet_6blocks": partial(ResnetGenerator, n_blocks=6),
    "unet_64": partial(UnetGenerator, num_downs=6),
    "unet_128": partial(UnetGenerator, num_downs=7),
    "unet_256": partial(UnetGenerator, num_downs=8),
    "unet_512": partial(UnetGenerator, num_downs=9),
    "unet_1024": partial(UnetGenerator, num_downs=10),
    "encdec_64": partial(UnetGenerator, num_downs=6, skip=False),
    "encdec_128": partial(UnetGenerator, num_downs=7, skip=False),
    "encdec_256": partial(UnetGenerator, num_downs=8, skip=False),
}
# Values of --netG that are networks of one model alone.
MODEL_OF = {"global": "pix2pixHD", "local": "pix2pixHD", "spade": "spade", "inpaint": "inpaint"}


def define_G(
    input_nc: int,
    output_nc: int,
    ngf: int,
    netG: str,
    norm: str = "batch",
    use_dropout: bool = False,
    init_type: str = "normal",
    init_gain: float = 0.02,
    gpu_ids: Sequence[int] = (),
    *,
    upsample: str = "transpose",
) -> Generator:
    """Build and initialise a generator; ValueError for a name not in `GENERATORS`.

    Built on the CPU. `gpu_ids` is accepted for compatibility and ignored, here and below.
    """
    if netG in MODEL_OF:
        raise ValueError(f"--netG {netG}: is a network of --model {MODEL_OF[netG]} alone")
    build = _lookup(GENERATORS, netG, "--netG")
    _lookup(dict.fromkeys(UPSAMPLES), upsample, "--upsample")
    net = build(
        input_nc,
        output_nc,
        ngf=ngf,
        norm_layer=get_norm_layer(norm),
        use_dropout=use_dropout,
        upsample=upsample,
    )
    return init_net(net, init_type, init_gain)


# ---------------------------------------------------------------------------------------
# Discriminators
# ---------------------------------------------------------------------------------------


class Discriminator(nn.Module):
    """A patch discriminator: (N, C, H, W) -> (N, 1, h, w) logits, one for each patch (§3.2.2).

    `min_size` is the smallest H and W it can judge; a smaller image is a ValueError. Under
    autocast too, what comes out has the type of what goes in.
    """

    net: nn.Sequential
    min_size: int

    def forward(self, x: Tensor) -> Tensor:
        if min(x.shape[-2:]) < self.min_size:
            raise ValueError(too_deep(self, min(x.shape[-2:])))
        return self.net(x).to(x.dtype)


def too_deep(netD: Discriminator, size: int) -> str:
    """The error line for a discriminator too deep for images of `size` pixels."""
    return (
        f"--n_layers_D: this discriminator needs images of at least {netD.min_size} pixels, "
        f"these have {size}; use a smaller --n_layers_D or --crop_size {netD.min_size} or more"
    )


class NLayerDiscriminator(Discriminator):
    """PatchGAN (appendix 6.1.2); `n_layers` 1, 3, 5 judge patches of 16, 70, 286 pixels."""

    def __init__(
        self,
        input_nc: int,
        ndf: int = 64,
        n_layers: int = 3,
        norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ):
        super().__init__()
        bias = _is_instance(norm_layer)
        conv = partial(nn.Conv2d, kernel_size=4, padding=1)
        layers = [conv(input_nc, ndf, stride=2), nn.LeakyReLU(0.2, inplace=True)]
        nc = ndf
        for n in range(1, n_layers + 1):
            previous, nc = nc, ndf * min(2**n, 8)
            stride = 2 if n < n_layers else 1
            layers += [conv(previous, nc, stride=stride, bias=bias), norm_layer(nc)]
            layers += [nn.LeakyReLU(0.2, inplace=True)]
        self.model = nn.Sequential(*layers, conv(nc, 1, stride=1))
        # From the output back: the last norm needs two pixels a side, and k4 p1 s1 turns 3 into 2.
        self.min_size = 3 * 2**n_layers

    @property
    def net(self) -> nn.Sequential:
        return self.model


class PixelDiscriminator(Discriminator):
    """The 1×1 PatchGAN, or PixelGAN (§4.4): it judges every pixel on its own."""

    min_size = 2

    def __init__(
        self,
        input_nc: int,
        ndf: int = 64,
        norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ):
        super().__init__()
        bias = _is_instance(norm_layer)
        self.net = nn.Sequential(
            nn.Conv2d(input_nc, ndf, 1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf, ndf * 2, 1, bias=bias),
            norm_layer(ndf * 2),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf * 2, 1, 1, bias=bias),
        )


DISCRIMINATORS: dict[str, Callable[..., Discriminator]] = {
    "basic": lambda input_nc, ndf, n_layers, norm_layer: NLayerDiscriminator(
        input_nc, ndf, n_layers=3, norm_layer=norm_layer
    ),
    "n_layers": NLayerDiscriminator,
    "pixel": lambda input_nc, ndf, n_layers, norm_layer: PixelDiscriminator(
        input_nc, ndf, norm_layer
    ),
}


def define_D(
    input_nc: int,
    ndf: int,
    netD: str,
    n_layers_D: int = 3,
    norm: str = "batch",
    init_type: str = "normal",
    init_gain: float = 0.02,
    gpu_ids: Sequence[int] = (),
) -> Discriminator:
    """Build and initialise a discriminator on the CPU; `n_layers_D` counts for "n_layers" only."""
    build = _lookup(DISCRIMINATORS, netD, "--netD")
    net = build(input_nc, ndf, n_layers=n_layers_D, norm_layer=get_norm_layer(norm))
    return init_net(net, init_type, init_gain)


# ---------------------------------------------------------------------------------------
# Initialisation
# ---------------------------------------------------------------------------------------

INITS: dict[str, Callable[[Tensor, float], Any]] = {
    "normal": lambda weight, gain: nn.init.normal_(weight, 0.0, gain),
    "xavier": lambda weight, gain: nn.init.xavier_normal_(weight, gain),
    "kaiming": lambda weight, gain: nn.init.kaiming_normal_(weight, a=0, mode="fan_in"),
    "orthogonal": lambda weight, gain: nn.init.orthogonal_(weight, gain),
}


def init_net(
    net: nn.Module,
    init_type: str = "normal",
    init_gain: float = 0.02,
    gpu_ids: Sequence[int] = (),
) -> nn.Module:
    """Initialise weights in place: convolutions by `INITS`, batch norm N(1, gain), biases 0."""
    init = _lookup(INITS, init_type, "--init_type")
    for module in net.modules():
        if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
            init(module.weight, init_gain)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
            nn.init.normal_(module.weight, 1.0, init_gain)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return net
