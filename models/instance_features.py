"""Features of instances, by which pix2pixHD lets each have a look of its own: torch only.

Source: Wang et al., arXiv:1711.11585, below "pix2pixHD §…".
"""

import torch
from torch import Tensor, nn

from models.image_noise import image_noise
from models.layers import InstanceNorm
from models.pix2pixHD_networks import GlobalGenerator, NormLayer

NOISE = 256  # instances of an image that draw features of their own


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
        height, width = image.shape[-2:]
        features = self.model(image)[..., :height, :width]  # larger, if the sides do not halve
        return torch.stack(
            [averaged(feature, ids[0]) for feature, ids in zip(features, instances, strict=True)]
        )


def averaged(features: Tensor, ids: Tensor) -> Tensor:
    """Return (C, H, W) features, each pixel's replaced by the mean over the pixels of its id.

    In float32 at least: in bf16 a sum over many pixels stops growing.
    """
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    _, place, counts = ids.flatten().unique(return_inverse=True, return_counts=True)
    sums = features.new_zeros(len(features), len(counts)).index_add(1, place, features.flatten(1))
    return (sums / counts)[:, place].view_as(features)


class FeatureBank(nn.Module):
    """Features of instances of the training, of which test images draw (pix2pixHD §3.4).

    The last `size` features of each class are kept.
    """

    def __init__(self, classes: int, feat_num: int, size: int = 10):
        super().__init__()
        # No buffer, of which several processes would take the mean: those of rank 0 are saved.
        self.features = nn.Parameter(torch.zeros(classes, size, feat_num), requires_grad=False)
        self.register_buffer("count", torch.zeros(classes, dtype=torch.long))  # ever kept

    def keep(self, features: Tensor, labels: Tensor, instances: Tensor) -> None:
        """Keep the features (N, feat_num, H, W) of all instances; each is of its pixel's class."""
        size = self.features.shape[1]
        for feature, kinds, ids in zip(features, labels[:, 0].long(), instances[:, 0], strict=True):
            for pixel in first_pixels(ids).tolist():
                kind = kinds.flatten()[pixel]
                self.features[kind, self.count[kind] % size] = feature.flatten(1)[:, pixel].float()
                self.count[kind] += 1

    def draw(self, labels: Tensor, instances: Tensor) -> Tensor:
        """Return features (N, feat_num, H, W): each instance has one that was kept of its class,
        or zeros if there is none.
        """
        size, maps = self.features.shape[1], []
        noise = image_noise(len(labels), NOISE, labels.device)
        for kinds, ids, z in zip(labels[:, 0].long(), instances[:, 0], noise, strict=True):
            _, place = ids.flatten().unique(return_inverse=True)
            kind = kinds.flatten()[first_pixels(ids)]
            uniform = torch.special.ndtr(z)[torch.arange(len(kind), device=z.device) % NOISE]
            number = (uniform * self.count[kind].clamp(1, size)).long()
            maps.append(self.features[kind, number][place].T.view(-1, *ids.shape))
        return torch.stack(maps)


def first_pixels(ids: Tensor) -> Tensor:
    """Return where each id of (H, W) occurs first, as numbers of pixels, in the order of ids."""
    _, place = ids.flatten().unique(return_inverse=True)
    pixels = torch.arange(len(place), device=ids.device)
    first = torch.full((int(place.max()) + 1,), len(place), device=ids.device)
    return first.scatter_reduce(0, place, pixels, "amin")
