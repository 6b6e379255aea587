"""Networks of pix2pixHD: torch only, never the options.

Source: Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with Conditional
GANs", arXiv:1711.11585, below "pix2pixHD §…". Images are (N, C, H, W) tensors in [-1, 1].
State-dict keys and shapes are those of the published weights. All convolutions have a bias.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from models.layers import InstanceNorm, halved, image_noise
from models.networks import ResnetBlock

NormLayer = Callable[[int], nn.Module]


class GlobalGenerator(nn.Module):
    """Down to a small map, residual blocks, up again (pix2pixHD §3.1: G1)."""

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
        self.stride = 2**n_downs
        layers = first(input_nc, ngf, norm_layer)
        widths = [ngf * 2**i for i in range(n_downs + 1)]
        for nc, wider in zip(widths, widths[1:], strict=False):
            layers += down(nc, wider, norm_layer)
        layers += [ResnetBlock(widths[-1], norm_layer, bias=True) for _ in range(n_blocks)]
        for nc in reversed(widths[1:]):
            layers += up(nc, nc // 2, norm_layer)
        layers += last(ngf, output_nc)
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:  # (N, input_nc, H, W) -> (N, output_nc, H, W)
        return self.model(x)


def first(input_nc: int, output_nc: int, norm_layer: NormLayer) -> list[nn.Module]:
    """Return the layers that turn an image into features of its size."""
    conv = nn.Conv2d(input_nc, output_nc, 7)
    return [nn.ReflectionPad2d(3), conv, norm_layer(output_nc), nn.ReLU(inplace=True)]


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

    def forward(self, x: Tensor) -> Tensor:  # (N, input_nc, H, W) -> (N, output_nc, H, W)
        images = [x]  # from the full size down
        for _ in range(self.n_enhancers):
            images.append(halved(images[-1]))
        y = self.model(images.pop())
        for n in range(1, self.n_enhancers + 1):
            before, after = (getattr(self, f"model{n}_{part}") for part in (1, 2))
            y = after(before(images.pop()) + y)
        return y


class InstanceEncoder(nn.Module):
    """Features of an image, averaged over each instance (pix2pixHD §3.4: E)."""

    def __init__(
        self,
        input_nc: int = 3,
        feat_num: int = 3,
        nef: int = 16,
        n_downs: int = 4,
        norm_layer: NormLayer = InstanceNorm,
    ):
        super().__init__()
        self.model = GlobalGenerator(input_nc, feat_num, nef, n_downs, 0, norm_layer).model

    def forward(self, image: Tensor, instances: Tensor) -> Tensor:
        """(N, 3, H, W) and the instance's number at each pixel (N, 1, H, W) -> (N, feat_num, H, W).

        Every pixel of an instance has the mean of its features.
        """
        return torch.stack(
            [averaged(of, ids[0]) for of, ids in zip(self.model(image), instances, strict=True)]
        )


def averaged(features: Tensor, ids: Tensor) -> Tensor:
    """Return (C, H, W) features, each pixel's replaced by the mean over the pixels of its id."""
    _, place, counts = ids.flatten().unique(return_inverse=True, return_counts=True)
    sums = features.new_zeros(len(features), len(counts)).index_add(1, place, features.flatten(1))
    return (sums / counts)[:, place].view_as(features)


class FeatureBank(nn.Module):
    """Features of instances of the training, of which test images draw (pix2pixHD §3.4).

    The last `size` features of each class are kept.
    """

    def __init__(self, classes: int, feat_num: int, size: int = 10):
        super().__init__()
        self.register_buffer("features", torch.zeros(classes, size, feat_num))
        self.register_buffer("count", torch.zeros(classes, dtype=torch.long))  # ever kept

    def keep(self, features: Tensor, labels: Tensor, instances: Tensor) -> None:
        """Keep the features (N, feat_num, H, W) of all instances; each is of its pixel's class."""
        size = self.features.shape[1]
        for of, kinds, ids in zip(features, labels[:, 0].long(), instances[:, 0], strict=True):
            for pixel in first_pixels(ids).tolist():
                kind = kinds.flatten()[pixel]
                self.features[kind, self.count[kind] % size] = of.flatten(1)[:, pixel].float()
                self.count[kind] += 1

    def draw(self, labels: Tensor, instances: Tensor) -> Tensor:
        """Return features (N, feat_num, H, W): each instance has one that was kept of its class,
        or zeros if there is none.
        """
        size, found = self.features.shape[1], []
        noise = image_noise(len(labels), NOISE, labels.device)
        for kinds, ids, z in zip(labels[:, 0].long(), instances[:, 0], noise, strict=True):
            _, place = ids.flatten().unique(return_inverse=True)
            kind = kinds.flatten()[first_pixels(ids)]
            uniform = torch.special.ndtr(z)[torch.arange(len(kind), device=z.device) % NOISE]
            number = (uniform * self.count[kind].clamp(1, size)).long()
            found.append(self.features[kind, number][place].T.view(-1, *ids.shape))
        return torch.stack(found)


NOISE = 256  # instances of an image that draw features of their own


def first_pixels(ids: Tensor) -> Tensor:
    """Return where each id of (H, W) occurs first, as numbers of pixels, in the order of ids."""
    _, place = ids.flatten().unique(return_inverse=True)
    pixels = torch.arange(len(place), device=ids.device)
    first = torch.full((int(place.max()) + 1,), len(place), device=ids.device)
    return first.scatter_reduce(0, place, pixels, "amin")


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
        self.min_size = least_size(num_D)
        for scale in range(num_D):
            layers = patch_layers(input_nc, ndf, n_layers, norm_layer, spectral)
            if features:
                for n, layer in enumerate(layers):
                    self.add_module(f"scale{scale}_layer{n}", layer)
            else:
                flat = nn.Sequential(*(part for layer in layers for part in layer))
                self.add_module(f"layer{scale}", flat)

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """(N, C, H, W) -> per scale, from the full size down, the features of every layer, of
        which the last is the prediction.
        """
        found = []
        for scale in reversed(range(self.num_D)):
            found.append(self.judge(x, scale))
            x = halved(x)
        return found

    def judge(self, x: Tensor, scale: int) -> list[Tensor]:
        """Return what one of the copies makes of an image."""
        if not self.features:
            return [getattr(self, f"layer{scale}")(x)]
        features = []
        for n in range(self.n_layers + 2):
            x = getattr(self, f"scale{scale}_layer{n}")(x)
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
        conv = nn.Conv2d(nc, wider, 4, stride=stride, padding=2)
        conv = spectral_norm(conv) if spectral and n else conv
        norm = [norm_layer(wider)] if norm_layer and n else []
        layers.append([conv, *norm, nn.LeakyReLU(0.2)])
    layers.append([nn.Conv2d(widths[-1], 1, 4, padding=2)])
    return [nn.Sequential(*layer) for layer in layers]
