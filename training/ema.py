"""Generators whose weights are a moving average over the steps of a training."""

import contextlib
import copy
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn

from data import Loader
from models.base_model import BaseModel
from models.data_parallel import average_buffers
from models.semantic import SemanticModel
from models.test_time import preserved_statistics
from util.checkpoint import save_weights
from util.distributed import is_main_process
from util.seeding import seeded

STATISTICS = 16  # batches of the training over which statistics are estimated


class EMA:
    """Averages each generator's weights: e ← e + (1 − d)(w − e) after every step, `d` = `--ema`.

    While few steps are done, d is (1 + steps) / (10 + steps), so that the first weights, drawn at
    random, are soon forgotten. Source: Yazıcı et al., "The Unusual Effectiveness of Averaging in
    GAN Training", ICLR 2019.
    """

    def __init__(self, nets: dict[str, nn.Module], decay: float):
        self.followed = generators(nets)
        self.nets = {name: copy.deepcopy(net) for name, net in self.followed.items()}
        self.decay, self.steps = decay, 0
        # Estimates batch norm's running statistics for the averaged weights, while these are in the
        # networks; None keeps the copied statistics.
        self.estimate: Callable[[], None] | None = None
        self.estimated_at = -1  # the step of the last estimate

    @torch.no_grad()
    def update(self) -> None:
        """Update the averages after a step; buffers, such as running statistics, are copied."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, net in self.followed.items():
            mean = self.nets[name]
            torch._foreach_lerp_(list(mean.parameters()), list(net.parameters()), 1 - decay)
            for ours, theirs in zip(mean.buffers(), net.buffers(), strict=True):
                ours.copy_(theirs)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Temporarily give the networks their averaged weights, whoever refers to them."""
        self.refresh()
        self.swap()
        try:
            yield
        finally:
            self.swap()

    def swap(self) -> None:
        """Exchange the weights and statistics of the networks with their averages."""
        for name, net in self.followed.items():
            ours, theirs = (chain(n.parameters(), n.buffers()) for n in (self.nets[name], net))
            for mean, value in zip(ours, theirs, strict=True):
                mean.data, value.data = value.data, mean.data

    def refresh(self) -> None:
        """Estimate the statistics of the averages, once a step."""
        if self.estimate and self.estimated_at != self.steps:
            self.swap()
            try:
                self.estimate()
            finally:
                self.swap()
            self.estimated_at = self.steps

    def save_networks(self, tag: str | int, folder: Path) -> None:
        """Write `TAG_net_NAME_ema.pth` of every network; all ranks call it, and rank 0 writes."""
        self.refresh()
        average_buffers(self.nets.values())
        for name, net in self.nets.items() if is_main_process() else ():
            save_weights(net.state_dict(), folder / f"{tag}_net_{name}_ema.pth")

    def state_dict(self) -> dict[str, Any]:
        """Return all that `load_state_dict` needs."""
        nets = {name: net.state_dict() for name, net in self.nets.items()}
        return {"networks": nets, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` has returned."""
        for name, net in self.nets.items():
            net.load_state_dict(state["networks"][name])
        self.steps = int(state["steps"])


def generators(nets: dict[str, nn.Module]) -> dict[str, nn.Module]:
    """Return the networks whose name begins with G, which an EMA averages."""
    return {name: net for name, net in nets.items() if name.startswith("G")}


def estimate_statistics(model: BaseModel, dataset: Loader) -> None:
    """Replace the running statistics of a model's generators by means over batches of the training,
    and let their spectral norms follow their weights.

    The model is otherwise as before.
    """
    norms = [
        module
        for net in generators(model.nets).values()
        for module in net.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
    ]
    others = [net for name, net in model.nets.items() if not name.startswith("G")]
    before, momenta = dict(vars(model)), [norm.momentum for norm in norms]
    statistics = [copy.deepcopy(dict(norm.named_buffers())) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a mean over all passes
    try:
        unchanged = preserved_statistics(others)
        with seeded(model.opt.seed), torch.no_grad(), unchanged, model.autocast():
            for batch in dataset.some_batches(STATISTICS):
                model.set_input(batch)
                translate = model.synthesize if isinstance(model, SemanticModel) else model.forward
                translate()
                statistics = []  # there are new ones
    finally:
        for norm, buffers in zip(norms, statistics, strict=False):  # no image can be read
            for name, buffer in buffers.items():
                getattr(norm, name).copy_(buffer)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        vars(model).update(before)
