"""Batch norm over all ranks, and of each image alone: torch only."""

import torch
from torch import Tensor, nn

from models.layers import norm_each_channel


class SyncBatchNorm(nn.SyncBatchNorm):
    """Batch norm over all ranks; under inference mode over this rank alone, since in a validation
    each rank has other images.
    """

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_inference_mode_enabled():
            return nn.BatchNorm2d.forward(self, x)
        return super().forward(x)


def use_sync_batch_norm(net: nn.Module) -> None:
    """Replace the batch norms of a network by `SyncBatchNorm`."""
    replace_batch_norm(net, SyncBatchNorm)


def use_per_image_batch_norm(net: nn.Module) -> None:
    """Replace the batch norms of a network by `PerImageBatchNorm`."""
    replace_batch_norm(net, PerImageBatchNorm)


def replace_batch_norm(net: nn.Module, kind: type[nn.Module]) -> None:
    """Replace each batch norm below `net` by one of another kind with the same weights and
    statistics, as `nn.SyncBatchNorm.convert_sync_batchnorm` does.
    """
    for name, child in net.named_children():
        if not isinstance(child, nn.BatchNorm2d | nn.SyncBatchNorm):
            replace_batch_norm(child, kind)
            continue
        new = kind(child.num_features, child.eps, child.momentum, child.affine)
        new.weight, new.bias, new.training = child.weight, child.bias, child.training
        new.track_running_stats = child.track_running_stats
        for statistic in ("running_mean", "running_var", "num_batches_tracked"):
            setattr(new, statistic, getattr(child, statistic))
        setattr(net, name, new)


class PerImageBatchNorm(nn.BatchNorm2d):
    """Batch norm that uses each image's statistics in training mode, not the batch's.

    At batch size 1 it is batch norm, and a larger batch gives the same images (§3.3: "the
    statistics of the test batch", which is one image there).
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        return norm_each_channel(x, self.weight, self.bias, self.eps)
