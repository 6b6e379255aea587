"""Networks of pix2pixHD: torch only, never the options.

Source: Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with Conditional
GANs", arXiv:1711.11585, below "pix2pixHD §…". Images are (N, C, H, W) tensors in [-1, 1].
State-dict keys and shapes are those of the published weights. All convolutions have a bias.
"""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from models.label_convolution import Beside, LabelConv2d, LabelReflectionPad2d, beside, half
from models.label_windows import LabelMap
from models.layers import InstanceNorm
from models.networks import ResnetBlock
from models.recompute import recomputed, run_in_parts

NormLayer = Callable[[int], nn.Module]


class GlobalGenerator(nn.Module):
    """Down to a small map, residual blocks, up again (pix2pixHD §3.1: G1)."""

    takes_label_maps = True

    def __init__(
        self,
        input_nc: int,
        output_nc: int = 3,
        ngf: int = 64,
        n_downs: int = 4,
        n_blocks: int = 9,
        norm_layer: NormLayer = InstanceNorm,
    ):
        super().__init__()
        self.stride, self.recompute = 2**n_downs, False
        self.min_size = 2 * self.stride  # of which the smallest features are no single pixel
        layers = first(input_nc, ngf, norm_layer)
        widths = [ngf * 2**i for i in range(n_downs + 1)]
        for nc, wider in zip(widths, widths[1:], strict=False):
            layers += down(nc, wider, norm_layer)
        layers += [ResnetBlock(widths[-1], norm_layer, bias=True) for _ in range(n_blocks)]
        for nc in reversed(widths[1:]):
            layers += up(nc, nc // 2, norm_layer)
        layers += last(ngf, output_nc)
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor | LabelMap) -> Tensor:
        """(N, input_nc, H, W) -> (N, output_nc, H, W)."""
        return run_in_parts(self.model, x) if self.recompute else self.model(x)


def first(input_nc: int, output_nc: int, norm_layer: NormLayer) -> list[nn.Module]:
    """Return the layers that turn an image into features of its size."""
    conv = LabelConv2d(input_nc, output_nc, 7)
    return [LabelReflectionPad2d(3), conv, norm_layer(output_nc), nn.ReLU(inplace=True)]


def last(input_nc: int, output_nc: int) -> list[nn.Module]:
    """Return the layers that turn features into an image in [-1, 1] of their size."""
    return [nn.ReflectionPad2d(3), nn.Conv2d(input_nc, output_nc, 7), nn.Tanh()]


def down(input_nc: int, output_nc: int, norm_layer: NormLayer) -> list[nn.Module]:
    """Return the layers that halve a feature map."""
    conv = nn.Conv2d(input_nc, output_nc, 3, stride=2, padding=1)
    return [conv, norm_layer(output_nc), nn.ReLU(inplace=True)]


def up(input_nc: int, output_nc: int, norm_layer: NormLayer) -> list[nn.Module]:
    """Return the layers that double a feature map."""
    conv = nn.ConvTranspose2d(input_nc, output_nc, 3, stride=2, padding=1, output_padding=1)
    return [conv, norm_layer(output_nc), nn.ReLU(inplace=True)]


class LocalEnhancer(nn.Module):
    """A global generator on the halved image, and enhancers around it (pix2pixHD §3.1: G2).

    Enhancer n adds the features of its image to those that come up from the next coarser one.
    """

    takes_label_maps = True

    def __init__(
        self,
        input_nc: int,
        output_nc: int = 3,
        ngf: int = 32,
        n_downs: int = 4,
        n_blocks: int = 9,
        n_enhancers: int = 1,
        n_blocks_local: int = 3,
        norm_layer: NormLayer = InstanceNorm,
    ):
        super().__init__()
        self.n_enhancers, self.stride = n_enhancers, 2 ** (n_downs + n_enhancers)
        self.min_size = 2 * self.stride
        self.recompute = False
        inner = GlobalGenerator(
            input_nc, output_nc, ngf * 2**n_enhancers, n_downs, n_blocks, norm_layer
        )
        self.model = inner.model[:-3]  # its features, in place of its image
        for n in range(1, n_enhancers + 1):
            nc = ngf * 2 ** (n_enhancers - n)
            before = [*first(input_nc, nc, norm_layer), *down(nc, nc * 2, norm_layer)]
            after = [ResnetBlock(nc * 2, norm_layer, bias=True) for _ in range(n_blocks_local)]
            after += up(nc * 2, nc, norm_layer)
            if n == n_enhancers:
                after += last(ngf, output_nc)
            self.add_module(f"model{n}_1", nn.Sequential(*before))
            self.add_module(f"model{n}_2", nn.Sequential(*after))

    def forward(self, x: Tensor | LabelMap) -> Tensor:
        """(N, input_nc, H, W) -> (N, output_nc, H, W)."""
        images = [x]  # from the full size down
        for _ in range(self.n_enhancers):
            images.append(half(images[-1]))
        run = run_in_parts if self.recompute else nn.Module.__call__
        y = run(self.model, images.pop())
        for n in range(1, self.n_enhancers + 1):
            before, after = (getattr(self, f"model{n}_{part}") for part in (1, 2))
            y = run(after, run(before, images.pop()) + y)
        return y


class MultiscaleDiscriminator(nn.Module):
    """Copies of a PatchGAN, each on the image halved once more (pix2pixHD §3.2).

    Its state dict counts the scales from the coarsest, 0, up.
    """

    def __init__(
        self,
        input_nc: int,
        ndf: int = 64,
        n_layers: int = 3,
        num_D: int = 2,
        norm_layer: NormLayer | None = InstanceNorm,
        *,
        spectral: bool = False,
        features: bool = True,
    ):
        """`spectral` normalises the weights of the convolutions before a norm, or, with None, in
        place of it. Without `features`, only the predictions are given, and the keys are shorter.
        """
        super().__init__()
        self.num_D, self.n_layers, self.features = num_D, n_layers, features
        self.recompute = False
        self.min_size = least_size(num_D)
        for scale in range(num_D):
            layers = patch_layers(input_nc, ndf, n_layers, norm_layer, spectral)
            if features:
                for n, layer in enumerate(layers):
                    self.add_module(f"scale{scale}_layer{n}", layer)
            else:
                flat = nn.Sequential(*(part for layer in layers for part in layer))
                self.add_module(f"layer{scale}", flat)

    def forward(self, x: Tensor, semantics: Tensor | LabelMap | None = None) -> list[list[Tensor]]:
        """(N, C, H, W) -> per scale, from the full size down, the features of every layer, of
        which the last is the prediction.

        Semantic maps may be given apart from the images, as `beside` has it.
        """
        x, outputs = beside(semantics, x), []
        for scale in reversed(range(self.num_D)):
            outputs.append(self.judge(x, scale))
            x = half(x)
        return outputs

    def judge(self, x: Tensor | Beside, scale: int) -> list[Tensor]:
        """Return what one of the copies makes of an image."""
        if not self.features:
            layers = getattr(self, f"layer{scale}")
            return [run_in_parts(layers, x) if self.recompute else layers(x)]
        run, features = recomputed if self.recompute else nn.Module.__call__, []
        for n in range(self.n_layers + 2):
            x = run(getattr(self, f"scale{scale}_layer{n}"), x)
            features.append(x)
        return features


def least_size(num_D: int) -> int:
    """Return the pixels a side of an image whose coarsest scale still has two."""
    return 2**num_D


def patch_layers(
    input_nc: int, ndf: int, n_layers: int, norm_layer: NormLayer | None, spectral: bool
) -> list[nn.Sequential]:
    """Return the layers of a PatchGAN; the first has no norm, the last only a convolution."""
    widths = [input_nc, *(min(ndf * 2**n, 512) for n in range(n_layers + 1))]
    layers = []
    for n, (nc, wider) in enumerate(zip(widths, widths[1:], strict=False)):
        stride = 1 if n == n_layers else 2
        kind = nn.Conv2d if n else LabelConv2d
        conv = kind(nc, wider, 4, stride=stride, padding=2)
        conv = spectral_norm(conv) if spectral and n else conv
        norm = [norm_layer(wider)] if norm_layer and n else []
        layers.append([conv, *norm, nn.LeakyReLU(0.2)])
    layers.append([nn.Conv2d(widths[-1], 1, 4, padding=2)])
    return [nn.Sequential(*layer) for layer in layers]
