"""How a training starts, or goes on where it was saved."""

import logging
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from models.averaging import Averages
from models.networks import get_scheduler
from models.saving import Progress, changes, pools_of, progress_of, state_path, told
from util import processes
from util.device import set_random_states
from util.files import make_folder, one_line, run_folder
from util.image_pool import ImagePool
from util.metrics import lower_is_better

if TYPE_CHECKING:
    from models.base_model import BaseModel

log = logging.getLogger(__name__)


def stopped_unsaved(opt: Any) -> bool:
    """Return whether this run was begun, but stopped before it saved what it could go on from: the
    best weights are written without a state, and taken only if `--epoch best` asks for them.
    """
    folder = run_folder(opt)
    kept = {path.name.partition("_net_")[0] for path in folder.glob("*_net_*.pth")}
    return (folder / "loss_log.txt").exists() and kept <= {"best"} - {opt.epoch}


def start(model: "BaseModel", state: dict[str, Any] | None) -> None:
    """Start the schedules, from a saved state or afresh, and say what is fresh."""
    opt, folder = model.opt, model.save_dir
    if processes.is_main():
        make_folder(folder, "--checkpoints_dir")
    model.progress = progress_of(state) if state else Progress(opt.epoch_count)
    mode = "min" if lower_is_better(opt.best_metric) else "max"
    model.schedulers = [
        get_scheduler(optimizer, opt, model.progress.epoch, mode)
        for optimizer in model.optimizers.values()
    ]
    if opt.ema:
        model.averages = Averages(model.nets, opt.ema)
    if state:
        restore(model, state)
    elif opt.continue_train and stopped_unsaved(opt):
        log.info(
            "%s: nothing to go on from was saved before it stopped; starting from the beginning",
            folder,
        )
    elif opt.continue_train:
        log.info(
            "going on from these weights in epoch %d (--epoch_count) of the schedule; "
            "the optimizers start fresh",
            opt.epoch_count,
        )
    elif any(folder.glob("*_net_*.pth")):
        log.warning(
            "%s holds weights, which this run will replace (numbered ones when it comes to their "
            "epoch); --continue_train goes on from them, another --name keeps them",
            folder,
        )


def restore(model: "BaseModel", state: dict[str, Any]) -> None:
    """Put a state into the model's optimizers, schedules and pools, and the random generators.

    The learning rate follows from the options and the epoch; only `plateau` remembers one.
    """
    path = state_path(model.opt)
    pools = pools_of(model)
    try:
        for name, optimizer in model.optimizers.items():
            restore_optimizer(optimizer, state["optimizers"][name], model.opt.lr_policy)
        for scheduler, saved in zip(model.schedulers, state["schedulers"], strict=True):
            if model.opt.lr_policy == "plateau":
                scheduler.load_state_dict(saved)
        if model.averages and "averages" in state:
            model.averages.load_state_dict(state["averages"])
        restore_own(pools, state["pools"], state["random"])
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ValueError(
            f"{path}: does not fit this training ({one_line(error)})"
            f"{told(changes(model.opt, state))}"
        ) from None


def restore_own(pools: dict[str, ImagePool], saved: list[Any], random: list[Any]) -> None:
    """Put into this process what each process has of its own.

    Another number of processes than before shares out the pictures of all pools; a process that
    was not there before keeps its fresh noise.
    """
    number, before = processes.number(), len(saved)
    if before != processes.count():
        log.info(
            "processes: %d before, %d now: image pools are shared out anew, and noise is not what "
            "it would have been",
            *(before, processes.count()),
        )
    for name, pool in pools.items():
        images = [image for of_one in saved for image in of_one[name]["images"]]
        mine = images[number :: processes.count()]
        state = {"images": mine, "random": pool.random.getstate()}
        if number < before:
            state = {**saved[number][name], "images": mine}
        pool.load_state_dict(saved[number][name] if before == processes.count() else state)
    if number < before:
        set_random_states(random[number])


def restore_optimizer(optimizer: Optimizer, saved: dict[str, Any], policy: str) -> None:
    """Load the running means; rates and momenta stay as the options have them."""
    groups = optimizer.state_dict()["param_groups"]
    if [len(g["params"]) for g in groups] != [len(g["params"]) for g in saved["param_groups"]]:
        raise ValueError("an optimizer has other parameters")
    if policy == "plateau":
        for group, old in zip(groups, saved["param_groups"], strict=True):
            rate, now = float(old["lr"]), group["lr"]
            group["lr"] = torch.full_like(now, rate) if isinstance(now, Tensor) else rate
    optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})
    # Fused Adam takes a weight and its means in the order in which they lie in memory, which is
    # another on a GPU than on a CPU.
    for weight, means in optimizer.state.items():
        for name, value in means.items():
            if value.shape == weight.shape and value.stride() != weight.stride():
                means[name] = torch.empty_like(weight).copy_(value)
