"""Weights into networks, and all that a training needs to go on where it was: latest_state.pth."""

import json
import logging
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from models.architecture import differing_flags
from util import processes
from util.checkpoint import load, mismatches, save, without_stale_statistics
from util.device import random_states
from util.files import run_folder
from util.image_pool import ImagePool
from util.stopping import OF_THE_START

if TYPE_CHECKING:
    from models.base_model import BaseModel

log = logging.getLogger(__name__)

VERSION = 1
PARTS: dict[str, type] = {
    **dict.fromkeys(("networks", "optimizers", "progress", "options"), dict),
    **dict.fromkeys(("schedulers", "pools", "random"), list),  # the last two by process
}


@dataclass
class Progress:
    """Where a training stands: `iters` pictures of `epoch` are done, `total` in the whole run.

    `since` is the (epoch, iters) of the saved state that it went on from, if it did; `pictures`
    are those of the training set, 0 before it is known. `best` is the best validation's score by
    `best_metric`, `stale` how many have passed since.
    """

    epoch: int = 1
    iters: int = 0
    total: int = 0
    since: tuple[int, int] | None = None
    pictures: int = 0
    best_metric: str = ""
    best: float | None = None
    best_epoch: int = 0
    stale: int = 0

    def now_of(self, pictures: int) -> None:
        """Take the number of training pictures; say so if it is another than before."""
        if self.pictures not in (0, pictures):
            log.warning(
                "%d training pictures, but %d when it was saved: epoch %d goes on in another order",
                *(pictures, self.pictures, self.epoch),
            )
        self.pictures = pictures


def state_path(opt: Any) -> Path:
    """Return the file of a run's state."""
    return run_folder(opt) / "latest_state.pth"


def save_state(model: "BaseModel", progress: Progress) -> None:
    """Write the state of a training: tensors and plain Python, which load as weights do.

    Of several processes all call it, and process 0 writes; all go on once it is written.
    """
    own = {name: on_cpu(pool.state_dict()) for name, pool in pools_of(model).items()}
    pools, states = processes.gather(own), processes.gather(random_states())
    if processes.is_main():
        _write_state(model, progress, pools, states)
    processes.wait_for_all()


def _write_state(
    model: "BaseModel", progress: Progress, pools: list[Any], states: list[Any]
) -> None:
    state = {
        "version": VERSION,
        "networks": {name: net.state_dict() for name, net in model.nets.items()},
        "optimizers": {name: optim.state_dict() for name, optim in model.optimizers.items()},
        "schedulers": [scheduler.state_dict() for scheduler in model.schedulers],
        "pools": pools,
        "random": states,
        "progress": asdict(progress),
        "options": plain(model.opt),
    }
    if model.averages:
        state["averages"] = model.averages.state_dict()
    save(on_cpu(state), state_path(model.opt))


def load_state(opt: Any) -> dict[str, Any] | None:
    """Read the state that a training with these options goes on from; None if there is none.

    Nor is there one if `--epoch` or `--load_iter` choose other weights. ValueError names a file
    that cannot be used.
    """
    path = state_path(opt)
    if not opt.continue_train or opt.load_iter or opt.epoch != "latest" or not path.exists():
        return None
    hint = "delete it to go on from the weights alone"
    try:
        state = load(path)
    except ValueError as error:
        raise ValueError(f"{error}; {hint}") from None
    if not isinstance(state, dict) or not state.keys() >= PARTS.keys() | {"version"}:
        raise ValueError(f"{path}: is not the state of a training; {hint}")
    if state["version"] != VERSION:
        raise ValueError(f"{path}: has version {state['version']}, not {VERSION}; {hint}")
    wrong = [part for part, kind in PARTS.items() if not isinstance(state[part], kind)]
    counts = () if wrong else (state["progress"].get(name) for name in ("epoch", "iters", "total"))
    wrong += ["progress" for count in counts if not isinstance(count, int) or count < 0]
    if wrong:
        raise ValueError(f"{path}: {wrong[0]} is damaged; {hint}")
    return state


def forget_another_run(model: "BaseModel", tags: Iterable[str | int]) -> None:
    """Delete what a run before this one left under the names of what this one saves: best weights
    if this one has none yet, averages if it keeps none.
    """
    stale = list(model.save_dir.glob("best_net_*.pth")) if model.progress.best is None else []
    for tag in tags if not model.averages else ():
        stale += model.save_dir.glob(f"{tag}_net_*_ema.pth")
    for path in stale:
        path.unlink(missing_ok=True)


def progress_of(state: dict[str, Any]) -> Progress:
    """Return where a saved training stands."""
    epoch, iters, total = (state["progress"][name] for name in ("epoch", "iters", "total"))
    names = {"pictures", "best_metric", "best", "best_epoch", "stale"} & state["progress"].keys()
    more = {name: state["progress"][name] for name in names}  # which old states lack
    return Progress(epoch, iters, total, since=(epoch, iters), **more)


def load_networks_of(model: "BaseModel", state: dict[str, Any]) -> None:
    """Load a state's networks, say which flags changed; ValueError names those that must not."""
    path, saved, changed = state_path(model.opt), state["networks"], changes(model.opt, state)
    log.info("going on from %s", path)
    for change in changed:
        log.info("changed since it was saved: %s", change)
    epoch = state["progress"]["epoch"]
    if model.opt.epoch_count not in (1, epoch):
        log.info("--epoch_count is passed over: the state goes on in epoch %d", epoch)
    if saved.keys() != model.nets.keys():
        raise ValueError(
            f"{path}: holds the networks {', '.join(saved)}, this training has "
            f"{', '.join(model.nets)}{told(changed)}"
        )
    for name, net in model.nets.items():
        load_into(net, saved[name], path, model.opt)


def load_into(net: nn.Module, weights: dict[str, Tensor], path: Path, opt: Any) -> None:
    """Load the weights of a file into a network; ValueError names the flags that would fit it."""
    wanted = net.state_dict()
    loaded = without_stale_statistics(weights, wanted)
    odd = mismatches(loaded, wanted)
    if odd:
        flags = differing_flags(loaded, opt)
        hint = f"it was made with {flags}: give these" if flags else f"differing: {odd[0]}"
        raise ValueError(f"{path}: does not fit the network of these options; {hint}")
    net.load_state_dict(loaded)


def changes(opt: Any, state: dict[str, Any]) -> list[str]:
    """Return the flags that are not those of the saved run, as `--lr 0.0002 -> 0.0001`."""
    now, before = plain(opt), state["options"]
    return [
        f"--{name} {before[name]} -> {now[name]}"
        for name in sorted((now.keys() & before.keys()) - OF_THE_START)
        if now[name] != before[name]
    ]


def told(changed: list[str]) -> str:
    """Return the changes as the end of an error line, without those that cannot be the reason."""
    changed = [line for line in changed if not re.match(r"--(num_threads|\w*_freq) ", line)]
    return f"; changed since it was saved: {', '.join(changed)}" if changed else ""


def plain(opt: Any) -> dict[str, Any]:
    """Return the options as plain values."""
    return json.loads(json.dumps(vars(opt), default=str))


def pools_of(model: "BaseModel") -> dict[str, ImagePool]:
    """Return the image pools among the model's attributes."""
    return {name: value for name, value in vars(model).items() if isinstance(value, ImagePool)}


def on_cpu(value: Any) -> Any:
    """Return the same with copies on the CPU of all tensors; what is on a device stays there."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu")
    if isinstance(value, dict):
        return {key: on_cpu(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(on_cpu(item) for item in value)
    return value
