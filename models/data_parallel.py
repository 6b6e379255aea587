"""Data parallelism: several processes train a model, each on its part of every batch.

With one process nothing here changes anything.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from models.batch_norm import use_sync_batch_norm
from util.distributed import all_gather, rank, world_size
from util.seeding import seed_everything

log = logging.getLogger(__name__)


def train_together(
    nets: dict[str, nn.Module], optimizers: dict[str, Optimizer], opt: Any, device: torch.device
) -> None:
    """Let all ranks train networks as one: on the mean of their gradients, from the weights of
    rank 0.

    Each rank has its own noise, of dropout and of gradient penalties. What is random in the data
    follows from --seed alone.
    """
    if world_size() == 1:
        return
    log.info(
        "%d processes, %d of the %d images of a batch each",
        *(world_size(), opt.batch_size // world_size(), opt.batch_size),
    )
    flag, synchronised = with_sync_batch(nets, opt)
    if synchronised and device.type != "cuda":
        log.warning("%s: on the CPU it is that of batch, with statistics by process", flag)
    if device.type == "cuda":
        check_second_derivatives(flag, synchronised, opt)
    for name, net in nets.items():
        if name in synchronised and device.type == "cuda":
            use_sync_batch_norm(net)
        for tensor in net.state_dict().values():
            dist.broadcast(tensor, src=0)
    for optimizer in optimizers.values():
        optimizer.register_step_pre_hook(average_gradients)
    if rank():
        state = np.random.SeedSequence([opt.seed, rank()]).generate_state(2, np.uint32)
        seed_everything(int(state[0]) << 31 | int(state[1]))


def check_second_derivatives(flag: str, synchronised: Iterable[str], opt: Any) -> None:
    """Raise a ValueError for a gradient penalty of a D with batch norm over all ranks."""
    penalties = {"--gan_mode wgangp": opt.gan_mode == "wgangp", "--lambda_r1": opt.lambda_r1}
    asked = [penalty for penalty, is_asked in penalties.items() if is_asked]
    if asked and any(name.startswith("D") for name in synchronised):
        raise ValueError(
            f"{flag}: has no second derivative, which {asked[0]} takes of D; use --norm batch or "
            f"instance"
        )


def with_sync_batch(nets: Iterable[str], opt: Any) -> tuple[str, list[str]]:
    """Return the flag that asks for batch norm over all ranks, and the networks that it is for."""
    if hasattr(opt, "norm_G"):  # of SPADE
        generators = [name for name in nets if name.startswith("G") and "syncbatch" in opt.norm_G]
        return f"--norm_G {opt.norm_G}", generators
    if opt.norm != "sync_batch":
        return "--norm sync_batch", []
    own_norm = getattr(opt, "norm_D", "")  # of D, in place of --norm
    return "--norm sync_batch", [n for n in nets if not (n.startswith("D") and own_norm)]


@torch.no_grad()
def average_gradients(optimizer: Optimizer, *_: Any) -> None:
    """Replace each gradient by its mean over all ranks: what an optimizer does before a step.

    All gradients of a type are exchanged as one vector.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    by_type: dict[torch.dtype, list[Tensor]] = {}
    for gradient in (p.grad for p in parameters if p.grad is not None):
        by_type.setdefault(gradient.dtype, []).append(gradient)
    for gradients in by_type.values():
        vector = torch.cat([gradient.reshape(-1) for gradient in gradients]).mul_(1 / world_size())
        dist.all_reduce(vector)
        parts = vector.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))


def loss_weight(batch: dict[str, Any]) -> float:
    """Return this rank's loss weight, world_size · local / global number of images.

    With it, the mean over the ranks is the mean over all images. It is 1 except in an uneven last
    batch.
    """
    local, total = batch.get("part", (1, world_size()))
    return world_size() * local / total


def global_batch_size(batch: dict[str, Any]) -> int:
    """Return how many images a batch has over all ranks."""
    if "part" in batch:
        return batch["part"][1]
    return next(len(value) for value in batch.values() if isinstance(value, Tensor)) * world_size()


def loss_weights(batches: Sequence[dict[str, Any]]) -> list[float]:
    """Return the loss weights of this rank for several batches whose gradients are added: with
    them, the mean over the ranks is the mean over all images.
    """
    sizes = [global_batch_size(batch) for batch in batches]
    pairs = zip(batches, sizes, strict=True)
    return [loss_weight(batch) * size / sum(sizes) for batch, size in pairs]


def reduce_losses(losses: Sequence[float], weight: float) -> list[float]:
    """Return the mean over all ranks of the losses of a batch, each weighted by `loss_weight`."""
    by_rank = all_gather([loss * weight for loss in losses] if weight != 1 else losses)
    return np.mean(by_rank, axis=0).tolist()


def average_buffers(nets: Iterable[nn.Module]) -> None:
    """Average the running statistics of networks over all ranks, in place."""
    if world_size() == 1:
        return
    buffers = [b for net in nets for b in net.buffers() if b.is_floating_point()]
    if not buffers:
        return
    by_rank = all_gather([buffer.detach().cpu() for buffer in buffers])
    with torch.no_grad():
        for buffer, values in zip(buffers, zip(*by_rank, strict=True), strict=True):
            buffer.copy_(torch.stack(values).mean(0))
