"""Networks of SPADE (GauGAN): torch only, never the options.

Source: Park et al., "Semantic Image Synthesis with Spatially-Adaptive Normalization",
arXiv:1903.07291, below "SPADE §…". Images are (N, 3, H, W) in [-1, 1]; a semantic map is
(N, S, H, W), one-hot over its classes, its last channel the edges between instances if it has
them. State-dict keys and shapes are those of the published weights.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from models.image_noise import image_noise
from models.label_convolution import Beside, LabelConv2d, apply, beside, half
from models.label_windows import LabelMap
from models.layers import InstanceNorm
from models.pix2pixHD_networks import NormLayer, least_size
from models.recompute import recomputed

HIDDEN = 128  # channels between the semantic map and the γ and β of a SPADE layer
LATENT = 256  # numbers in the z of the image encoder
ENCODED = 4  # pixels a side of the encoder's last feature map
SLOPE = 0.2  # of the leaky ReLUs

# The norms in a SPADE layer, without weights of their own; channels -> layer.
SPADE_NORMS: dict[str, NormLayer] = {
    "sync_batch": lambda nc: nn.BatchNorm2d(nc, affine=False),  # over all ranks: `data_parallel`
    "batch": lambda nc: nn.BatchNorm2d(nc, affine=False),
    "instance": InstanceNorm,
}
# Halvings of the crop down to the first feature map, by --num_upsampling_layers.
HALVINGS = {"normal": 5, "more": 6, "most": 7}


class SPADE(nn.Module):
    """Spatially-adaptive normalization (SPADE §3, eq. 1): norm(x)·(1 + γ) + β.

    γ and β are read at each position off the semantic map, resized to the features.
    """

    def __init__(self, nc: int, semantic_nc: int, norm: str = "sync_batch", kernel: int = 3):
        super().__init__()
        self.param_free_norm = SPADE_NORMS[norm](nc)
        conv = {"kernel_size": kernel, "padding": kernel // 2}
        shared = LabelConv2d(semantic_nc, HIDDEN, **conv, repeats=True)
        self.mlp_shared = nn.Sequential(shared, nn.ReLU())
        self.mlp_gamma = LabelConv2d(HIDDEN, nc, **conv)
        self.mlp_beta = LabelConv2d(HIDDEN, nc, **conv)

    def forward(self, x: Tensor, semantics: Tensor | LabelMap) -> Tensor:  # (N, nc, h, w), the same
        conv, relu = self.mlp_shared
        hidden = apply(relu, conv(resized(semantics, x.shape[2:])))
        return self.param_free_norm(x) * (1 + self.mlp_gamma(hidden)) + self.mlp_beta(hidden)


def resized(semantics: Tensor | LabelMap, size: tuple[int, int]) -> Tensor | LabelMap:
    """Return a semantic map in the size (height, width) of features."""
    if isinstance(semantics, LabelMap):
        return semantics.resized(tuple(size))
    return F.interpolate(semantics, size=size, mode="nearest")


class SPADEResnetBlock(nn.Module):
    """x + two convolutions, each after SPADE and a leaky ReLU (SPADE §3, fig. 4).

    The shortcut gets a SPADE and a 1×1 convolution of its own if the channels change.
    """

    def __init__(
        self,
        input_nc: int,
        output_nc: int,
        semantic_nc: int,
        norm: str = "sync_batch",
        kernel: int = 3,
        spectral: bool = True,
    ):
        super().__init__()
        wrap = spectral_norm if spectral else nn.Identity()
        inner_nc = min(input_nc, output_nc)
        self.conv_0 = wrap(nn.Conv2d(input_nc, inner_nc, 3, padding=1))
        self.conv_1 = wrap(nn.Conv2d(inner_nc, output_nc, 3, padding=1))
        self.norm_0 = SPADE(input_nc, semantic_nc, norm, kernel)
        self.norm_1 = SPADE(inner_nc, semantic_nc, norm, kernel)
        self.learned_shortcut = input_nc != output_nc
        if self.learned_shortcut:
            self.conv_s = wrap(nn.Conv2d(input_nc, output_nc, 1, bias=False))
            self.norm_s = SPADE(input_nc, semantic_nc, norm, kernel)

    def forward(self, x: Tensor, semantics: Tensor | LabelMap) -> Tensor:
        shortcut = self.conv_s(self.norm_s(x, semantics)) if self.learned_shortcut else x
        y = self.conv_0(F.leaky_relu(self.norm_0(x, semantics), SLOPE))
        return shortcut + self.conv_1(F.leaky_relu(self.norm_1(y, semantics), SLOPE))


class SPADEGenerator(nn.Module):
    """From a small map of features up to an image, the semantic map at every size (SPADE §3.1).

    The first map is a convolution of the shrunken semantic map, or with `use_vae` a linear layer
    of z (SPADE appendix A: image encoder).
    """

    takes_label_maps = True

    def __init__(
        self,
        semantic_nc: int,
        output_nc: int = 3,
        ngf: int = 64,
        upsampling: str = "normal",
        norm: str = "sync_batch",
        kernel: int = 3,
        spectral: bool = True,
        *,
        use_vae: bool = False,
        z_dim: int = LATENT,
        first_size: tuple[int, int] = (8, 8),
    ):
        """`first_size` is the (height, width) of the first feature map of z, under `use_vae`."""
        super().__init__()
        self.upsampling, self.use_vae, self.first_size = upsampling, use_vae, first_size
        self.z_dim, self.recompute = z_dim, False
        self.stride = 2 ** HALVINGS[upsampling]
        # An instance norm needs more than one pixel.
        self.min_size = self.stride * (2 if norm == "instance" else 1)

        def block(input_nc: int, output_nc: int) -> SPADEResnetBlock:
            return SPADEResnetBlock(input_nc, output_nc, semantic_nc, norm, kernel, spectral)

        max_nc = 16 * ngf
        if use_vae:
            self.fc = nn.Linear(z_dim, max_nc * first_size[0] * first_size[1])
        else:
            self.fc = LabelConv2d(semantic_nc, max_nc, 3, padding=1)
        self.head_0 = block(max_nc, max_nc)
        self.G_middle_0 = block(max_nc, max_nc)
        self.G_middle_1 = block(max_nc, max_nc)
        self.up_0 = block(max_nc, max_nc // 2)
        self.up_1 = block(max_nc // 2, max_nc // 4)
        self.up_2 = block(max_nc // 4, max_nc // 8)
        self.up_3 = block(max_nc // 8, max_nc // 16)
        if upsampling == "most":
            self.up_4 = block(max_nc // 16, max_nc // 32)
        self.conv_img = nn.Conv2d(
            max_nc // (32 if upsampling == "most" else 16), output_nc, 3, padding=1
        )

    def forward(self, semantics: Tensor | LabelMap, z: Tensor | None = None) -> Tensor:
        """(N, S, H, W), and z (N, z_dim) under `use_vae` -> (N, output_nc, H, W) in [-1, 1].

        H and W are multiples of `stride`.
        """
        run = recomputed if self.recompute else nn.Module.__call__
        x = run(self.head_0, self.first_features(semantics, z), semantics)
        x = run(self.G_middle_0, _double(x), semantics)
        x = run(self.G_middle_1, x if self.upsampling == "normal" else _double(x), semantics)
        ups = [self.up_0, self.up_1, self.up_2, self.up_3]
        for up in [*ups, *([self.up_4] if self.upsampling == "most" else [])]:
            x = run(up, _double(x), semantics)
        return torch.tanh(self.conv_img(F.leaky_relu(x, SLOPE)))

    def first_features(self, semantics: Tensor | LabelMap, z: Tensor | None) -> Tensor:
        """Return the first feature map (N, 16·ngf, h, w)."""
        size = tuple(side // self.stride for side in semantics.shape[2:])
        if self.use_vae:
            if z is None:
                z = image_noise(semantics.shape[0], self.z_dim, self.fc.weight.device)
            x = self.fc(z).unflatten(1, (-1, *self.first_size))
            return x if size == self.first_size else F.interpolate(x, size=size, mode="nearest")
        return self.fc(resized(semantics, size))


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class ImageEncoder(nn.Module):
    """The encoder of a VAE: an image -> mean and log variance of z (SPADE appendix A)."""

    def __init__(self, ngf: int = 64, crop_size: int = 256, z_dim: int = LATENT, image_nc: int = 3):
        super().__init__()
        widths = [image_nc, ngf, 2 * ngf, 4 * ngf, 8 * ngf, 8 * ngf]
        widths += [8 * ngf] if crop_size >= 256 else []
        self.count = len(widths) - 1
        for i, (input_nc, output_nc) in enumerate(zip(widths, widths[1:], strict=False), 1):
            conv = nn.Conv2d(input_nc, output_nc, 3, stride=2, padding=1, bias=False)
            self.add_module(
                f"layer{i}", nn.Sequential(spectral_norm(conv), InstanceNorm(output_nc))
            )
        self.size = ENCODED * 2**self.count  # pixels a side: 256, or 128 for a small crop
        self.fc_mu = nn.Linear(widths[-1] * ENCODED**2, z_dim)
        self.fc_var = nn.Linear(widths[-1] * ENCODED**2, z_dim)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:  # (N, 3, H, W) -> two of (N, z_dim)
        if image.shape[2:] != (self.size, self.size):
            image = F.interpolate(image, size=(self.size, self.size), mode="bilinear")
        x = image
        for i in range(1, self.count + 1):
            x = getattr(self, f"layer{i}")(x if i == 1 else F.leaky_relu(x, SLOPE))
        x = F.leaky_relu(x, SLOPE).flatten(1)
        return self.fc_mu(x), self.fc_var(x)


class NLayerDiscriminator(nn.Module):
    """A PatchGAN that gives the features of every layer; the last are its predictions."""

    def __init__(
        self,
        input_nc: int,
        ndf: int = 64,
        n_layers: int = 4,
        norm_layer: NormLayer | None = InstanceNorm,
        spectral: bool = True,
    ):
        super().__init__()
        widths = [input_nc, *(min(ndf * 2**n, 512) for n in range(n_layers))]
        self.count = n_layers + 1
        for i in range(n_layers):
            stride = 1 if i == n_layers - 1 else 2
            bias = i == 0 or norm_layer is None
            kind = nn.Conv2d if i else LabelConv2d
            conv = kind(widths[i], widths[i + 1], 4, stride=stride, padding=2, bias=bias)
            conv = spectral_norm(conv) if spectral and i else conv
            norm = norm_layer(widths[i + 1]) if norm_layer and i else None
            normed = nn.Sequential(conv, norm) if norm else conv
            self.add_module(f"model{i}", nn.Sequential(normed, nn.LeakyReLU(SLOPE)))
        self.add_module(f"model{n_layers}", nn.Sequential(nn.Conv2d(widths[-1], 1, 4, padding=2)))

    def forward(self, x: Tensor | Beside, recompute: bool = False) -> list[Tensor]:
        run, features = recomputed if recompute else nn.Module.__call__, []
        for i in range(self.count):
            x = run(getattr(self, f"model{i}"), x)
            features.append(x)
        return features


class MultiscaleDiscriminator(nn.Module):
    """Copies of a PatchGAN, each on the image halved once more (pix2pixHD §3.2)."""

    def __init__(
        self,
        input_nc: int,
        ndf: int = 64,
        n_layers: int = 4,
        num_D: int = 2,
        norm_layer: NormLayer | None = InstanceNorm,
        *,
        spectral: bool = True,
    ):
        """`spectral` normalises the weights of all convolutions but the first and last."""
        super().__init__()
        self.num_D, self.min_size, self.recompute = num_D, least_size(num_D), False
        for i in range(num_D):
            net = NLayerDiscriminator(input_nc, ndf, n_layers, norm_layer, spectral)
            self.add_module(f"discriminator_{i}", net)

    def forward(self, x: Tensor, semantics: Tensor | LabelMap | None = None) -> list[list[Tensor]]:
        """(N, C, H, W) -> per scale, from the full size down, the features of every layer.

        Semantic maps may be given apart from the images, as `beside` has it.
        """
        x, outputs = beside(semantics, x), []
        for i in range(self.num_D):
            outputs.append(getattr(self, f"discriminator_{i}")(x, self.recompute))
            x = half(x)
        return outputs
