"""A watch over losses and weights: what is not finite is found, and never saved."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from util.distributed.launch import gather
from util.signals import Stopped

FIX = "try a smaller --lr, or --precision fp32; --continue_train goes on from the last save"


class FiniteWatch:
    """Remembers, on the device, the step at which each loss was first not finite.

    Nothing waits for the device before `check`.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.first: Tensor | None = None  # (number of losses,), 0 where all is well
        self.files: list[tuple[int, list[str]]] = []

    def see(self, losses: Mapping[str, Tensor], step: int, files: list[str]) -> None:
        """Take in the losses of a step and the files it was trained on."""
        if not losses:
            return
        values = torch.stack([torch.as_tensor(loss).detach().float() for loss in losses.values()])
        bad = ~torch.isfinite(values)
        if self.first is None or self.names != list(losses):
            self.names, self.first = list(losses), torch.zeros_like(bad, dtype=torch.int64)
        self.first = torch.where(bad & (self.first == 0), step, self.first)
        self.files.append((step, files))

    def check(self) -> None:
        """Raise `Stopped` if a loss was not finite since the last check."""
        steps = [] if self.first is None else self.first.tolist()
        bad = {name: step for name, step in zip(self.names, steps, strict=True) if step}
        found = None
        if bad:
            step = min(bad.values())
            names = ", ".join(name for name in bad if bad[name] == step)
            found = step, names, next(files for seen, files in self.files if seen == step)
        if any(everyones := gather(found)):  # of several processes, one alone may have seen it
            step, names, files = min(filter(None, everyones))
            raise Stopped(
                f"{names}: not a finite number after picture {step} of the run "
                f"({', '.join(files)}); nothing was saved since; {FIX}"
            )
        self.files.clear()


def check_weights(nets: Mapping[str, nn.Module]) -> None:
    """Raise `Stopped` if a weight is not finite."""
    for name, net in nets.items():
        for key, tensor in net.state_dict().items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise Stopped(f"network {name}: {key} is not finite, so nothing is saved; {FIX}")
