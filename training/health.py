"""Signs of an unhealthy training: losses or weights that are not finite, a collapsed GAN, too
little memory, a slow data loader.
"""

import contextlib
import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.losses import stack_losses
from util.distributed import all_gather
from util.errors import RunStopped

log = logging.getLogger(__name__)

FIX = "try a smaller --lr, or --precision fp32; --continue_train resumes from the last save"


class NanCheck:
    """Records on the device the step at which each loss was first not finite.

    Only `check` waits for the device.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.first: Tensor | None = None  # (number of losses,), 0: always finite
        self.files: list[tuple[int, list[str]]] = []

    def observe(self, losses: Mapping[str, Tensor], step: int, files: list[str]) -> None:
        """Record the losses of a step and its files."""
        if not losses:
            return
        values = stack_losses(losses.values())
        bad = ~torch.isfinite(values)
        if self.first is None or self.names != list(losses):
            self.names, self.first = list(losses), torch.zeros_like(bad, dtype=torch.int64)
        self.first = torch.where(bad & (self.first == 0), step, self.first)
        self.files.append((step, files))

    def check(self) -> None:
        """Raise `RunStopped` if a loss was not finite since the last check."""
        steps = [] if self.first is None else self.first.tolist()
        bad = {name: step for name, step in zip(self.names, steps, strict=True) if step}
        failure = None
        if bad:
            step = min(bad.values())
            names = ", ".join(name for name in bad if bad[name] == step)
            failure = step, names, next(files for seen, files in self.files if seen == step)
        if any(failures := all_gather(failure)):  # one rank alone may have found it
            step, names, files = min(filter(None, failures))
            raise RunStopped(
                f"{names}: not a finite number after image {step} of the run "
                f"({', '.join(files)}); nothing was saved since; {FIX}"
            )
        self.files.clear()


def check_weights(nets: Mapping[str, nn.Module]) -> None:
    """Raise `RunStopped` if a weight is not finite."""
    for name, net in nets.items():
        for key, tensor in net.state_dict().items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise RunStopped(f"network {name}: {key} is not finite, so nothing is saved; {FIX}")


# D's loss below which it tells nearly all fakes from real images; wgangp has no such value.
D_WINS_BELOW = {"vanilla": 0.05, "lsgan": 0.01, "hinge": 0.05}
LINES = 20  # lines in a row before a warning
GREY_LEVEL = 2 / 255


class CollapseMonitor:
    """Warns once if D wins or G collapses, judged by the printed losses and their images."""

    def __init__(self, gan_mode: str):
        self.limit = D_WINS_BELOW.get(gan_mode)
        self.lines: Counter[str] = Counter()
        self.warned: set[str] = set()
        self.last: dict[str, Tensor] = {}

    def observe(self, losses: Mapping[str, float], visuals: Mapping[str, Tensor]) -> None:
        """Record a line of losses and its step's images, (N, C, H, W) in [-1, 1]."""
        D_losses = {k: v for k, v in losses.items() if k.startswith("D_") and k != "D_R1"}
        if D_losses and self.limit:
            names = " and ".join(D_losses)
            text = f"D has won: {names} below {self.limit:g}; G learns little from it (docs/qa.md)"
            self._note(max(D_losses.values()) < self.limit, text)
        for label in (name for name in visuals if name.startswith("fake")):
            image = visuals[label][0].detach().float()
            before = self.last.get(label, image.new_zeros(0))
            flat = bool(image.amax() - image.amin() < GREY_LEVEL)
            self._note(flat, f"{label} is one flat colour: G has collapsed (docs/qa.md)")
            same = before.shape == image.shape and (image - before).abs().mean() < GREY_LEVEL
            text = f"{label} is the same image whatever the input: G has collapsed (docs/qa.md)"
            self._note(bool(same) and not flat, text)
            self.last[label] = image.clone()

    def _note(self, so: bool, what: str) -> None:
        self.lines[what] = self.lines[what] + 1 if so else 0
        if self.lines[what] == LINES and what not in self.warned:
            self.warned.add(what)
            log.warning("for %d lines in a row, %s", LINES, what)


class WaitingAdvice:
    """Advises once how to load data faster if an epoch waits for more than 10 % of its time."""

    def __init__(self) -> None:
        self.epochs, self.said = 0, False

    def after_epoch(self, waiting: float, num_threads: int, cache: str) -> None:
        """Record an epoch's share of waiting; the first one, which fills caches, does not count."""
        self.epochs += 1
        if self.epochs == 1 or waiting <= 0.1 or self.said:
            return
        self.said, cores = True, os.cpu_count() or 1
        flags = [f"--num_threads {cores}"] if num_threads < cores else []
        flags += [f"--cache {kind}" for kind in ("ram", "disk") if cache in ("auto", "none")]
        log.info(
            "%.0f%% of the time was spent waiting for images; try %s",
            *(100 * waiting, ", ".join([*flags, "smaller files, a faster disk"])),
        )


@contextlib.contextmanager
def explain_out_of_memory(opt: Any) -> Iterator[None]:
    """Turn an out-of-memory error into `RunStopped` with a line that says what to change."""
    try:
        yield
    except (torch.OutOfMemoryError, RuntimeError) as error:
        is_oom = isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
        if not is_oom:
            raise
        raise RunStopped(
            f"out of memory with --batch_size {opt.batch_size}, --preprocess {opt.preprocess}, "
            f"--load_size {opt.load_size}, --crop_size {opt.crop_size}, --precision "
            f"{opt.precision}: make these smaller, or use --precision bf16, --ngf 32"
        ) from None
