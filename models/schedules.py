"""Learning-rate schedules."""

import math
from collections.abc import Callable, Iterable
from typing import Any

from torch.optim import Optimizer, lr_scheduler

# The factor of the initial rate in epoch e, counted from 1.
LR_POLICIES: dict[str, Callable[..., float]] = {
    # Never 0 in an epoch that trains: the last one has 1 / (n_epochs_decay + 1).
    "linear": lambda e, opt: 1 - max(0, e - opt.n_epochs) / (opt.n_epochs_decay + 1),
    "step": lambda e, opt: 0.1 ** ((e - 1) // opt.lr_decay_iters),
    "cosine": lambda e, opt: (
        0.5 * (1 + math.cos(math.pi * (e - 1) / (opt.n_epochs + opt.n_epochs_decay)))
    ),
}


Schedule = lr_scheduler.LambdaLR | lr_scheduler.ReduceLROnPlateau


def get_scheduler(
    optimizer: Optimizer, opt: Any, first: int | None = None, mode: str = "min"
) -> Schedule:
    """Build the schedule, to be stepped after each epoch; `plateau` is stepped with a metric.

    `opt` has lr_policy, n_epochs, n_epochs_decay, lr_decay_iters; `first` is the epoch to begin
    with, by default its epoch_count; with `mode` "max" a higher metric is better.
    """
    if opt.lr_policy == "plateau":
        return lr_scheduler.ReduceLROnPlateau(
            optimizer, mode=mode, factor=0.2, threshold=0.01, patience=5
        )
    if opt.lr_policy not in LR_POLICIES:
        policies = ", ".join([*LR_POLICIES, "plateau"])
        raise ValueError(f"--lr_policy {opt.lr_policy}: unknown; known are {policies}")
    factor = LR_POLICIES[opt.lr_policy]
    first = first or getattr(opt, "epoch_count", 1)
    return lr_scheduler.LambdaLR(optimizer, lambda k: factor(first + k, opt))


def step(schedules: Iterable[Schedule], metric: float | None) -> None:
    """Step schedules after an epoch; `plateau` follows `metric`, and waits for one."""
    for schedule in schedules:
        # Silences a warning after a resume at the end of an epoch, before the first step.
        schedule.optimizer._opt_called = True
        if not isinstance(schedule, lr_scheduler.ReduceLROnPlateau):
            schedule.step()
        elif metric is not None:
            schedule.step(metric)


def load(schedule: Schedule, saved: dict[str, Any]) -> None:
    """Restore the counters of `plateau`; other schedules follow from the options and the epoch."""
    if isinstance(schedule, lr_scheduler.ReduceLROnPlateau) and "lr_lambdas" not in saved:
        counts = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")
        schedule.load_state_dict({name: saved[name] for name in counts})


def forget_scores(schedules: Iterable[Schedule]) -> None:
    """Let `plateau` start to count again, since another score decides from now on."""
    for schedule in schedules:
        if isinstance(schedule, lr_scheduler.ReduceLROnPlateau):
            worst = -math.inf if schedule.mode == "max" else math.inf
            schedule.load_state_dict({"best": worst, "num_bad_epochs": 0, "cooldown_counter": 0})
