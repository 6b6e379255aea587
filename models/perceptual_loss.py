"""The perceptual loss: the distance of two images in the features of a network for ImageNet."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.efficientnet_lite import efficientnet_lite0
from models.recompute import recomputed
from util.checkpoint import load_weights
from util.downloads import download_weights

# relu1_1, relu2_1, relu3_1, relu4_1, relu5_1 by their place in VGG19's `features`, and the weight
# of each, as in pix2pixHD (arXiv:1711.11585, §3.3 and its code).
LAYERS = {1: 1 / 32, 6: 1 / 16, 11: 1 / 8, 20: 1 / 4, 29: 1.0}
FLAGS = (None, "--lambda_vgg", "--vgg_weights")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, on which it was trained
# The last blocks of EfficientNet-Lite0 with features of 1/2, 1/4, 1/8, 1/16, 1/32 of the size. With
# these weights each layer gives about 1/5, and the loss is about 1, of two unrelated photos.
BLOCKS = {1: 1 / 33, 3: 1 / 45, 5: 1 / 42, 11: 1 / 35, 16: 1 / 14}


class FeatureLoss(nn.Module):
    """Σ_i w_i · E‖φ_i(real) − φ_i(fake)‖₁ over five layers φ_i (after arXiv:1603.08155, eq. 2)."""

    def __init__(self, features: nn.Sequential, layers: dict[int, float]):
        """`layers` has the weights w_i, by the place of the layer in `features`."""
        super().__init__()
        self.features, self.layers, self.recompute = features, layers, False
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "FeatureLoss":
        return super().train(False)  # its statistics are those of ImageNet

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """Compare two batches (N, 1 or 3, H, W) in [-1, 1], in float32; grey is taken as three
        channels.
        """
        with torch.autocast(fake.device.type, enabled=False):
            return self._distance(fake, real)

    def _distance(self, fake: Tensor, real: Tensor) -> Tensor:
        loss = fake.new_zeros(())
        x = self.prepared(fake.expand(-1, 3, -1, -1))
        with torch.no_grad():
            y = self.prepared(real.expand(-1, 3, -1, -1))
        run, start = recomputed if self.recompute else nn.Module.__call__, 0
        for place, weight in self.layers.items():
            part, start = self.features[start : place + 1], place + 1
            x = run(part, x)
            with torch.no_grad():
                y = part(y)
            loss = loss + weight * F.l1_loss(x, y)
        return loss

    def prepared(self, image: Tensor) -> Tensor:
        """Return an image (N, 3, H, W) in [-1, 1] as the network takes it."""
        return image


class PerceptualLoss(FeatureLoss):
    """The loss in the features of a VGG19."""

    def __init__(self, weights: str | Path | None = None, *, imagenet: bool = True):
        """`weights` is torchvision's vgg19-*.pth or its `features.*` part; None downloads it.

        `imagenet` gives the network the mean and deviation that it was trained with; pix2pixHD and
        SPADE leave images as they are. ValueError if the file does not fit or the download fails.
        """
        from torchvision.models import VGG19_Weights, vgg19

        path = Path(weights or download_weights(VGG19_Weights.IMAGENET1K_V1.url, *FLAGS))
        if not path.is_file():
            raise ValueError(f"--vgg_weights {path}: no such file; torchvision's is vgg19-*.pth")
        try:
            state = load_weights(path)
        except ValueError as error:
            raise ValueError(f"--vgg_weights {error}") from None
        with torch.device("meta"):
            features = vgg19().features[: max(LAYERS) + 1]
        for module in features:
            if isinstance(module, nn.ReLU):
                module.inplace = False  # it would write over the features that are compared
        loaded = {k.removeprefix("features."): v for k, v in state.items() if "classifier" not in k}
        expected = features.state_dict()
        if any(k not in loaded or loaded[k].shape != expected[k].shape for k in expected):
            raise ValueError(f"--vgg_weights {path}: not the weights of torchvision's vgg19")
        features.load_state_dict({k: loaded[k].float() for k in expected}, assign=True)
        super().__init__(features, LAYERS)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(STD)[:, None, None])
        self.imagenet = imagenet

    def prepared(self, image: Tensor) -> Tensor:
        return ((image + 1) / 2 - self.mean) / self.std if self.imagenet else image


class EfficientNetLoss(FeatureLoss):
    """The loss in the features of EfficientNet-Lite0, whose weights come in a package."""

    def __init__(self) -> None:
        """ValueError if a package is missing."""
        net = efficientnet_lite0("--perceptual efficientnet_lite0")
        stem = nn.Sequential(net._conv_stem, net._bn0, net._swish)
        super().__init__(nn.Sequential(stem, *net._blocks), BLOCKS)


def build_perceptual(
    backbone: str, vgg_weights: str | None = None, *, imagenet: bool = True
) -> FeatureLoss:
    """Build the loss of --perceptual; the other arguments are those of `PerceptualLoss`."""
    if backbone == "efficientnet_lite0":
        return EfficientNetLoss()
    try:
        return PerceptualLoss(vgg_weights, imagenet=imagenet)
    except ValueError as error:
        raise ValueError(f"{error}; --perceptual efficientnet_lite0 needs no download") from None


def add_perceptual_flags(add: Callable[..., Any]) -> None:
    """Add the flags of the network that compares the images."""
    add(
        "--perceptual",
        choices=["vgg19", "efficientnet_lite0"],
        default="vgg19",
        help="network of the perceptual loss; efficientnet_lite0 comes in two packages",
    )
    add("--vgg_weights", help="vgg19-*.pth of the perceptual loss; downloaded by default")
