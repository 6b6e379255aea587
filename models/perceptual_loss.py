"""The perceptual loss: the distance of two images in the features of a VGG19."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.recompute import recomputed
from util.checkpoint import load_weights
from util.downloads import download_weights

# relu1_1, relu2_1, relu3_1, relu4_1, relu5_1 by their place in VGG19's `features`, and the weight
# of each, as in pix2pixHD (arXiv:1711.11585, §3.3 and its code).
LAYERS = {1: 1 / 32, 6: 1 / 16, 11: 1 / 8, 20: 1 / 4, 29: 1.0}
FLAGS = (None, "--lambda_vgg", "--vgg_weights")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, on which it was trained


class PerceptualLoss(nn.Module):
    """Σ_i w_i · E‖VGG_i(real) − VGG_i(fake)‖₁ over five layers (after arXiv:1603.08155, eq. 2)."""

    def __init__(self, weights: str | Path | None = None, *, imagenet: bool = True):
        """`weights` is torchvision's vgg19-*.pth or its `features.*` part; None downloads it.

        `imagenet` gives the network the mean and deviation that it was trained with; pix2pixHD and
        SPADE leave images as they are. ValueError if the file does not fit or the download fails.
        """
        super().__init__()
        from torchvision.models import VGG19_Weights, vgg19

        path = Path(weights or download_weights(VGG19_Weights.IMAGENET1K_V1.url, *FLAGS))
        if not path.is_file():
            raise ValueError(f"--vgg_weights {path}: no such file; torchvision's is vgg19-*.pth")
        try:
            state = load_weights(path)
        except ValueError as error:
            raise ValueError(f"--vgg_weights {error}") from None
        with torch.device("meta"):
            self.features = vgg19().features[: max(LAYERS) + 1]
        for module in self.features:
            if isinstance(module, nn.ReLU):
                module.inplace = False  # it would write over the features that are compared
        kept = {k.removeprefix("features."): v for k, v in state.items() if "classifier" not in k}
        wanted = self.features.state_dict()
        if any(k not in kept or kept[k].shape != wanted[k].shape for k in wanted):
            raise ValueError(f"--vgg_weights {path}: not the weights of torchvision's vgg19")
        self.features.load_state_dict({k: kept[k].float() for k in wanted}, assign=True)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(STD)[:, None, None])
        self.imagenet, self.recompute = imagenet, False
        self.requires_grad_(False)

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """Compare two batches (N, 1 or 3, H, W) in [-1, 1], in float32; grey is taken as three
        channels.
        """
        with torch.autocast(fake.device.type, enabled=False):
            return self._distance(fake, real)

    def _distance(self, fake: Tensor, real: Tensor) -> Tensor:
        loss = fake.new_zeros(())
        x = self._normalised(fake)
        with torch.no_grad():
            y = self._normalised(real)
        run, start = recomputed if self.recompute else nn.Module.__call__, 0
        for place, weight in LAYERS.items():
            part, start = self.features[start : place + 1], place + 1
            x = run(part, x)
            with torch.no_grad():
                y = part(y)
            loss = loss + weight * F.l1_loss(x, y)
        return loss

    def _normalised(self, image: Tensor) -> Tensor:
        image = image.expand(-1, 3, -1, -1)
        return ((image + 1) / 2 - self.mean) / self.std if self.imagenet else image
