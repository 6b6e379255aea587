"""What data and models do with label maps and instance maps as tensors."""

from typing import NamedTuple

import torch
from torch import Tensor


class LabelChannels(NamedTuple):
    """What the channels of one-hot label maps are, as the flags of these names say."""

    label_nc: int
    contain_dontcare_label: bool = False
    no_instance: bool = False

    def describe(self) -> str:
        """Say what the channels are."""
        parts = [f"{self.label_nc} classes"]
        parts += ["unknown pixels"] if self.contain_dontcare_label else []
        parts += [] if self.no_instance else ["the edges of instances"]
        return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


# The data sets of published weights, by their number of channels (pix2pixHD §4, SPADE §4).
KNOWN_CHANNELS = {
    184: ("COCO-Stuff", LabelChannels(182, contain_dontcare_label=True)),
    151: ("ADE20K", LabelChannels(150, contain_dontcare_label=True, no_instance=True)),
    36: ("Cityscapes", LabelChannels(35)),
}


def split_channels(
    count: int,
    label_nc: int | None = None,
    dontcare: bool = False,
    no_instance: bool = False,
    instances: bool = True,
) -> LabelChannels | None:
    """Return what `count` channels are, which weights do not tell; None if the flags do not fit.

    Known data sets come first; otherwise, where the flags leave a choice, edges are taken if
    there are `instances`, and then unknown pixels only if label_nc leaves them over.
    """
    published = [KNOWN_CHANNELS[count][1]] if count in KNOWN_CHANNELS else []
    edges = (False, True) if instances else (True, False)  # values of no_instance
    guesses = [LabelChannels(count - d - (not e), d, e) for d in (dontcare, True) for e in edges]
    for channels in (*published, *guesses):
        fits = channels.contain_dontcare_label >= dontcare and channels.no_instance >= no_instance
        if fits and label_nc in (None, channels.label_nc) and channels.label_nc > 0:
            return channels
    return None


def instance_edges(instance: Tensor) -> Tensor:
    """Return the edges of instances, (…, H, W) float32: 1 where a pixel's number differs from that
    of its left, right, upper or lower neighbour, else 0 (pix2pixHD §3.3).

    Padding comes afterwards: a border of other numbers would be an edge.
    """
    edges = torch.zeros(instance.shape, dtype=torch.bool, device=instance.device)
    across = instance[..., 1:] != instance[..., :-1]
    down = instance[..., 1:, :] != instance[..., :-1, :]
    edges[..., 1:] |= across
    edges[..., :-1] |= across
    edges[..., 1:, :] |= down
    edges[..., :-1, :] |= down
    return edges.float()
