"""The progress of a training, and the checkpoint that it resumes from: latest_state.pth."""

import json
import logging
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.base_model import BaseModel
from options.roles import SAME_RESULTS, differences
from training.ema import EMA
from training.saved_files import SavedFiles, delete
from util import distributed
from util.checkpoint import load, save
from util.files import make_folder, run_folder
from util.seeding import random_states

log = logging.getLogger(__name__)

VERSION = 1
PARTS: dict[str, type] = {
    "networks": dict,
    "optimizers": dict,
    "progress": dict,
    "options": dict,
    "schedulers": list,
    "pools": list,  # an entry for each rank
    "random": list,  # the same
}


@dataclass
class Progress:
    """Progress of a training: `iters` images of `epoch` are done, `total` in the whole run.

    `resumed_at` is the (epoch, iters) of the checkpoint that this process resumed from, if any;
    `dataset_size` is the number of training images, 0 before it is known. `best` is the best
    validation score by `best_metric`. `seconds` is the time that training on `total` images took,
    `peak_memory` the most bytes that the process had.
    """

    epoch: int = 1
    iters: int = 0
    total: int = 0
    resumed_at: tuple[int, int] | None = None
    dataset_size: int = 0
    best_metric: str = ""
    best: float | None = None
    best_epoch: int = 0
    validations_since_best: int = 0
    seconds: float = 0.0
    peak_memory: int = 0

    @property
    def best_so_far(self) -> tuple[int, str]:
        """The best epoch, and the score by which it is the best; "" if another score now counts."""
        return self.best_epoch, "" if self.best is None else self.best_metric

    def set_dataset_size(self, size: int) -> None:
        """Set the number of training images; warn if the checkpoint was saved with another."""
        if self.dataset_size not in (0, size):
            log.warning(
                "%d training images, %d in the checkpoint: the rest of epoch %d has another order",
                *(size, self.dataset_size, self.epoch),
            )
        self.dataset_size = size

    def state_dict(self) -> dict[str, Any]:
        """Return plain values by the names that they have in the file."""
        return {NAMES_IN_FILE.get(name, name): value for name, value in asdict(self).items()}

    @classmethod
    def from_state(cls, saved: dict[str, Any]) -> "Progress":
        """Read what a file holds; checkpoints of early versions lack some of it."""
        names = {NAMES_IN_FILE.get(name, name): name for name in cls.__dataclass_fields__}
        progress = cls(**{names[key]: value for key, value in saved.items() if key in names})
        progress.resumed_at = progress.epoch, progress.iters
        return progress


# The keys in the file where they differ from the attributes.
NAMES_IN_FILE = {
    "resumed_at": "since",
    "dataset_size": "pictures",
    "validations_since_best": "stale",
}


@dataclass
class TrainingState:
    """All that a checkpoint holds: the model, its EMA, its progress, the record of its files."""

    opt: Any
    model: BaseModel
    progress: Progress
    ema: EMA | None = None
    files: SavedFiles = field(default_factory=SavedFiles)
    overwrites: bool = False  # whether the first save replaces an earlier run

    @property
    def nets(self) -> dict[str, nn.Module]:
        """The networks in training, and their EMAs as `NAME_ema`."""
        emas = self.ema.nets if self.ema else {}
        return self.model.nets | {f"{name}_ema": net for name, net in emas.items()}

    def begin_save(self) -> None:
        """Mark that the first save has begun, so that what a kill within it leaves is not taken for
        a complete save; with --overwrite, also delete the state of the replaced run.
        """
        overwrites, self.overwrites = self.overwrites, False
        if distributed.is_main_process() and (overwrites or not state_path(self.opt).exists()):
            make_folder(run_folder(self.opt), "--checkpoints_dir")
            first_save_mark(self.opt).touch()
            state_path(self.opt).unlink(missing_ok=True)

    def save_networks(self, tag: str | int) -> None:
        """Write `TAG_net_NAME.pth` of every network, and `TAG_net_NAME_ema.pth` of the EMA."""
        folder, names = self.model.save_dir, [f"{tag}_net_{name}.pth" for name in self.model.nets]
        self.model.save_networks(tag)
        if self.ema:
            self.ema.save_networks(tag, folder)
            names += [f"{tag}_net_{name}_ema.pth" for name in self.ema.nets]
        stale = self.files.add(tag, names)
        if distributed.is_main_process():
            delete(folder, stale)

    def save(self) -> None:
        """Write latest_state.pth: tensors and plain Python, which `weights_only=True` reads.

        Then delete epochs beyond `--keep`, and the weights of a run that --overwrite replaces.
        All ranks call it; rank 0 writes, and all continue once the file is written.
        """
        old_files = self.files.drop_old_epochs(self.opt.keep)
        old_files += self.files.drop_replaced() if self.opt.overwrite else []
        state = self.model.state_dict()
        state["pools"] = distributed.all_gather(on_cpu(state["pools"]))
        state["random"] = distributed.all_gather(random_states())
        if distributed.is_main_process():
            state |= {"version": VERSION, "progress": self.progress.state_dict()}
            state |= {"options": plain(self.opt), "files": self.files.state_dict()}
            if self.ema:
                state["averages"] = self.ema.state_dict()
            save(on_cpu(state), state_path(self.opt))
            first_save_mark(self.opt).unlink(missing_ok=True)
            delete(self.model.save_dir, old_files)
        distributed.barrier()


def first_save_mark(opt: Any) -> Path:
    """Return the file that is there while a run's first save is written, and after a kill in it."""
    return run_folder(opt) / ".first_save"


def state_path(opt: Any) -> Path:
    """Return the file of a run's state."""
    return run_folder(opt) / "latest_state.pth"


def read_state(opt: Any) -> dict[str, Any] | None:
    """Read the checkpoint that a training with these options resumes from.

    None without --continue_train, without a checkpoint, or if --epoch or --load_iter choose other
    weights. ValueError names a file that cannot be used.
    """
    path = state_path(opt)
    if not opt.continue_train or opt.load_iter or opt.epoch != "latest" or not path.exists():
        return None
    hint = "delete it to resume from the weights alone"
    try:
        state = load(path)
    except ValueError as error:
        raise ValueError(f"{error}; {hint}") from None
    if not isinstance(state, dict) or not state.keys() >= PARTS.keys() | {"version"}:
        raise ValueError(f"{path}: is not the checkpoint of a training; {hint}")
    if state["version"] != VERSION:
        raise ValueError(f"{path}: has version {state['version']}, not {VERSION}; {hint}")
    wrong = [part for part, kind in PARTS.items() if not isinstance(state[part], kind)]
    counts = () if wrong else (state["progress"].get(name) for name in ("epoch", "iters", "total"))
    wrong += ["progress" for count in counts if not isinstance(count, int) or count < 0]
    if wrong:
        raise ValueError(f"{path}: {wrong[0]} is damaged; {hint}")
    return state


def earlier_files(opt: Any) -> SavedFiles:
    """Return the record of an earlier run of this name, whose files this run does not own."""
    try:
        state = torch.load(state_path(opt), map_location="cpu", weights_only=True, mmap=True)
        return SavedFiles(SavedFiles.from_state(state["files"]).by_tag)
    except Exception:  # torch.load raises nearly anything; an early version had no record
        return SavedFiles()


def changed_flags(
    opt: Any, state: dict[str, Any], without: Collection[str] = ("launch",)
) -> list[str]:
    """Return the flags that differ from the saved run, as `--lr 0.0002 -> 0.0001`."""
    changes = differences(opt, state["options"], without)
    return [f"--{name} {before} -> {now}" for name, (before, now) in changes.items()]


def changes_as_hint(opt: Any, state: dict[str, Any]) -> str:
    """Return the changed flags that may be the reason of an error, as the end of its line."""
    changed = changed_flags(opt, state, SAME_RESULTS)
    return f"; changed since it was saved: {', '.join(changed)}" if changed else ""


def plain(opt: Any) -> dict[str, Any]:
    """Return the options as plain values."""
    return json.loads(json.dumps(vars(opt), default=str))


def on_cpu(value: Any) -> Any:
    """Return a copy with all tensors on the CPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu")
    if isinstance(value, dict):
        return {key: on_cpu(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(on_cpu(item) for item in value)
    return value
