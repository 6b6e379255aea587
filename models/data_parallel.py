"""What is different where several processes train a model, each on its part of every batch.

With one process nothing here changes anything.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from models.layers import unsync
from util import distributed
from util.device import train_together
from util.seeding import seed_everything

log = logging.getLogger(__name__)


def begin_together(model: Any) -> None:
    """Let all processes train a model's networks as one, each with noise of its own: of dropout
    and of gradient penalties. What is random in the data follows from --seed alone.
    """
    if distributed.world_size() == 1:
        return
    opt, number = model.opt, distributed.rank()
    log.info(
        "%d processes, %d of the %d pictures of a batch each",
        *(distributed.world_size(), opt.batch_size // distributed.world_size(), opt.batch_size),
    )
    if opt.norm == "sync_batch" and model.device.type != "cuda":
        log.warning("--norm sync_batch: on the CPU it is --norm batch, with statistics by process")
    for net in model.nets.values():
        if model.device.type != "cuda":
            unsync(net)
        train_together(net, model.device)
    if number:
        state = np.random.SeedSequence([opt.seed, number]).generate_state(2, np.uint32)
        seed_everything(int(state[0]) << 31 | int(state[1]))


def share_of(batch: dict[str, Any]) -> float:
    """Return by what a batch's mean losses are multiplied, so that their mean over the processes
    is that over all pictures of the batch: 1, but for the last batch of an epoch if it is uneven.
    """
    mine, of_all = batch.get("part", (1, distributed.world_size()))
    return distributed.world_size() * mine / of_all


def pictures_of(batch: dict[str, Any]) -> int:
    """Return how many pictures a batch has, those of the other processes included."""
    return batch["part"][1] if "part" in batch else len(batch["A"]) * distributed.world_size()


def mean_over_processes(losses: Sequence[float], share: float) -> list[float]:
    """Return the losses of a batch of which each process has computed its share."""
    found = distributed.all_gather([loss * share for loss in losses] if share != 1 else losses)
    return np.mean(found, axis=0).tolist()


def share_statistics(nets: Iterable[nn.Module]) -> None:
    """Average the running statistics of networks over all ranks, in place."""
    if distributed.world_size() == 1:
        return
    own = [b for net in nets for b in net.buffers() if b.is_floating_point()]
    if not own:
        return
    everyones = distributed.all_gather([buffer.detach().cpu() for buffer in own])
    with torch.no_grad():
        for buffer, values in zip(own, zip(*everyones, strict=True), strict=True):
            buffer.copy_(torch.stack(values).mean(0))
