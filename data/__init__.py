"""Datasets by file name, and the loader whose randomness no worker can change."""

import atexit
import logging
import os
import signal
import time
from argparse import Namespace
from collections.abc import Container, Iterator
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, default_collate, get_worker_info

from data import builtin_facades
from data.base_dataset import BaseDataset, all_files
from data.image_cache import shared_cache
from data.image_check import quick_look
from data.sampler import EpochBatches, SeededDataset
from data.transforms import BadPicture
from data.value_range import chosen_ranges, fit_value_ranges, read_ranges
from util import distributed
from util.files import run_folder
from util.process_pool import kill_children
from util.registry import find_class
from util.signals import leave_signals_to_the_parent

log = logging.getLogger(__name__)
everywhere = logging.getLogger("every process")  # heard from all, not from process 0 alone

SENDING = 0.0025  # seconds that a batch takes from one process to another, at least
SAMPLES = 8  # pictures that are timed to find out what is faster


def create_dataset(
    opt: Any, repeated: bool = False, ranges: dict[str, tuple[float, float]] | None = None
) -> "Loader":
    """Build the dataset that `--dataset_mode` names, behind its `Loader`.

    Draws the built-in pictures first if `--dataroot` means them. `ranges` are those of deep
    images, by side; by default a training fits them to its files and others read them in the run.
    ValueError as the dataset says.
    """
    if builtin_facades.is_builtin(opt.dataroot):
        if not repeated:
            log.info("pictures: the built-in facades; --dataroot names others")
        with distributed.local_main_first():
            builtin_facades.write_once(opt.dataroot)
    dataset = find_class("data", opt.dataset_mode, "--dataset_mode")(opt)
    if not len(dataset):
        raise ValueError(
            f"--dataset_mode {opt.dataset_mode}: finds no pictures for --phase {opt.phase} in "
            f"--dataroot {opt.dataroot}"
        )
    by_side = dataset.files_by_side() if isinstance(dataset, BaseDataset) else {}
    if opt.isTrain:
        files = all_files(by_side)
        check_before_training(files, opt)
        if isinstance(dataset, BaseDataset):
            dataset.cache = shared_cache(files, opt.cache, run_folder(opt))
    dataset.ranges = fit_value_ranges(by_side, opt) if ranges is None else ranges
    return Loader(dataset, opt, repeated)


def check_before_training(files: list[str], opt: Any) -> None:
    """Check images before training instead of failing in mid-epoch."""
    bad = quick_look(files)
    if not bad:
        return
    if opt.on_bad_image == "error":
        others = f" ({len(bad) - 1} others are bad too)" if bad[1:] else ""
        raise ValueError(f"{bad[0]}{others}; {_remedy(opt)}")
    log.warning("%d pictures are bad and will be left out; %s", len(bad), _doctor(opt))


def _doctor(opt: Any) -> str:
    return f"python -m scripts.doctor --dataroot {opt.dataroot} looks at all pictures"


def _remedy(opt: Any) -> str:
    return f"{_doctor(opt)}, --on_bad_image skip leaves bad ones out"


def create_validation_dataset(opt: Any, most: int = 50) -> "Loader":
    """Build the dataset of phase `val`, as test.py would read it, of at most `most` pictures."""
    changes = {
        "phase": "val",
        "load_size": opt.crop_size,
        "max_dataset_size": min(most, opt.max_dataset_size),
        "serial_batches": True,
        "no_flip": True,
        "batch_size": 1,
        "num_threads": 0,
    }
    ranges = chosen_ranges(opt, read_ranges(opt))  # those of the training
    try:
        return create_dataset(Namespace(**{**vars(opt), **changes}), repeated=True, ranges=ranges)
    except ValueError as error:
        raise ValueError(
            f"--val_freq, --early_stop and --lr_policy plateau want a validation set: {error}"
        ) from None


class Loader:
    """Iterates over batches, a dict of stacked tensors and lists each; `len()` counts pictures.

    Every pass is one epoch: item i of epoch e is the same whatever the number of workers, since
    all that is random in it follows from (seed, e, i).
    """

    def __init__(self, dataset: Dataset, opt: Any, repeated: bool = False):
        """`repeated`: every pass is epoch 1, the same pictures each time."""
        self.opt, self.dataset, self.repeated = opt, dataset, repeated
        self.epoch, self.done = 1, 0
        skip = opt.on_bad_image == "skip"
        self.left_out: set[str] = set()
        self.size = int(min(len(dataset), opt.max_dataset_size))
        self.sampler = EpochBatches(
            self.size, opt.batch_size, shuffle=not opt.serial_batches, seed=opt.seed
        )
        if repeated:  # a validation: each process measures pictures of its own
            self.sampler.take(range(distributed.rank(), self.size, distributed.world_size()))
        elif opt.isTrain:
            self.sampler.share_out()
        cores = max(1, (os.cpu_count() or 1) // distributed.local_world_size())
        workers = min(opt.num_threads, cores, self.size)
        if workers:
            atexit.register(_end_workers)
        self.how = {
            "dataset": SeededDataset(dataset, opt.seed, replace_bad=skip and opt.isTrain),
            "batch_sampler": self.sampler,
            "collate_fn": partial(_collate, leave_out=skip and not opt.isTrain),
            "pin_memory": bool(opt.gpu_ids) and torch.cuda.is_available(),
            "generator": torch.Generator(),  # the loader's own draws leave the global one alone
        }
        self.loader = DataLoader(
            **self.how,
            num_workers=workers,
            persistent_workers=workers > 0,
            worker_init_fn=leave_signals_to_the_parent,
        )
        self.passes, self.by_itself = 0, False  # by_itself: this process makes the batches

    def __len__(self) -> int:
        return self.size

    def only(self, indices: Container[int]) -> None:
        """Pass over all items but these; a batch then has their numbers, as `index`."""
        self.sampler.take(indices)
        self.loader.dataset.numbered = True

    def set_epoch(self, epoch: int, done: int = 0) -> None:
        """Choose the epoch that the next pass is, and how many of its pictures are left out since
        they are done; passes count on from it by themselves.
        """
        self.epoch, self.done = epoch, done

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self.passes == 1 and self.loader.num_workers:
            self._weigh()
        self.passes += 1
        self.sampler.epoch, self.sampler.done = self.epoch, self.done
        self.done = 0
        self.epoch += not self.repeated
        for (batch, bad), part in zip(self.loader, self.sampler.parts(), strict=True):
            for error in bad:
                if error not in self.left_out:
                    self.left_out.add(error)
                    everywhere.warning("left out: %s", error)
            if isinstance(batch, BadPicture) and self.opt.isTrain:
                raise BadPicture(f"{batch}; {_remedy(self.opt)}")
            if isinstance(batch, Exception):
                raise batch
            if batch:
                yield batch | {"part": part} if part else batch

    def _weigh(self) -> None:
        """Load in this process if that is faster than a worker (e.g. from the cache).

        It is timed, since a full cache decides nothing: items may need more than the cache holds
        (colorization converts each, 10 ms), and a large batch takes longer than a GPU's step.
        Workers do both beside the step.
        """
        pictures = range(0, self.size, -(-self.size // SAMPLES))
        slowest = max(min(self._seconds_of(i) for _ in "ab") for i in pictures)
        if slowest * self.sampler.batch_size / self.sampler.count < SENDING:
            self.loader, self.by_itself = DataLoader(**self.how), True

    def _seconds_of(self, index: int) -> float:
        started = time.perf_counter()
        self.loader.dataset[self.epoch, index]
        return time.perf_counter() - started


def _end_workers() -> None:
    """When the program ends, before multiprocessing waits for workers that pass over a SIGTERM."""
    if hasattr(signal, "SIGCHLD"):  # else torch would report that they were killed
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    kill_children()


def _collate(read: list[tuple[Any, list[str]]], leave_out: bool) -> tuple[Any, list[str]]:
    """Return a batch, or the error that it is, and what was left out of it."""
    items, bad = [item for item, _ in read], [error for _, errors in read for error in errors]
    failed = [item for item in items if isinstance(item, Exception)]
    if failed and not leave_out:
        return failed[0], bad
    items = [item for item in items if not isinstance(item, Exception)]
    return _stacked(items) if items else None, bad + [str(error) for error in failed]


def _stacked(items: list[dict[str, Any]]) -> Any:
    for name in (key for key, value in items[0].items() if isinstance(value, torch.Tensor)):
        shapes = sorted({tuple(item[name].shape) for item in items})
        if len(shapes) > 1:
            return ValueError(
                f"--batch_size: pictures {name} of different sizes ({shapes[0]}, {shapes[1]}) "
                f"cannot share a batch; use --batch_size 1 or a --preprocess that crops"
            )
    if len(items) > 1 or get_worker_info():  # what a worker stacks is in shared memory
        return default_collate(items)
    # Contiguous, since what is expanded cannot be pinned.
    alone = {k: v[None].contiguous() for k, v in items[0].items() if isinstance(v, torch.Tensor)}
    return alone | default_collate([{k: v for k, v in items[0].items() if k not in alone}])
