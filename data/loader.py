"""A loader with the same batches for every number of workers."""

import atexit
import logging
import os
import signal
import threading
import time
from collections.abc import Container, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, default_collate, get_worker_info

from data.base_dataset import BaseDataset
from data.device_images import on_device
from data.files.image_files import BadImageError
from data.files.large_images import LargeImage
from data.sampler import EpochBatchSampler, SeededDataset
from data.value_range import StoredRange, save_unsaved, write_ranges
from data.worker_errors import allow_open_files, explained
from util import distributed
from util.command import run_line
from util.process_pool import kill_children
from util.sampling import first_of_parts
from util.signals import worker_init

everywhere = logging.getLogger("every process")  # logs on all ranks, not only on rank 0

TRANSFER_SECONDS = 0.0025  # least time to send a batch from a worker
TIMED_IMAGES = 8  # images to time
CHECKED = (
    "aligned",
    "unaligned",
    "single",
    "colorization",
    "labels",
    "inpaint",
    "measurements",
)  # as scripts.doctor knows them


class Loader:
    """Iterates over batches, dicts of stacked tensors and lists; `len()` counts images.

    Every pass is one epoch. The randomness of item i in epoch e depends on (seed, e, i) alone,
    so the number of workers changes nothing.
    """

    def __init__(self, dataset: Dataset, opt: Any, repeated: bool = False):
        """With `repeated`, every pass is epoch 1, with the same items."""
        self.opt, self.dataset, self.repeated = opt, dataset, repeated
        self.epoch, self.done = 1, 0
        skip = opt.on_bad_image == "skip"
        replace = skip and opt.isTrain and not repeated  # a score counts each image once
        self.reported: set[str] = set()
        self.cache_kind = ""  # the value of --cache; "" for a dataset that names no files
        self.classes: list[tuple[str, str]] = []  # colours and names, of label maps
        self.remarks: list[str] = []  # what the data check has found
        self.statistics: dict[str, Any] = {}  # by side, from the data check
        self.new_ranges: dict[str, StoredRange] = {}  # of values, which the run does not have yet
        self.size = int(min(len(dataset), opt.max_dataset_size))
        self.sampler = EpochBatchSampler(
            self.size, opt.batch_size, shuffle=not opt.serial_batches, seed=opt.seed
        )
        if repeated:  # validation: each rank measures its own images
            self.sampler.restrict_to(range(distributed.rank(), self.size, distributed.world_size()))
        elif opt.isTrain:
            self.sampler.split_by_rank()
        cores = max(1, (os.cpu_count() or 1) // distributed.local_world_size())
        workers = min(opt.num_threads, cores, self.size)
        if workers:
            allow_open_files(workers)
            atexit.register(_end_workers)
        self.loader_options = {
            "dataset": SeededDataset(dataset, opt.seed, replace_bad=replace),
            "batch_sampler": self.sampler,
            "collate_fn": partial(_collate, skip_bad=skip and not replace),
            "pin_memory": bool(opt.gpu_ids) and torch.cuda.is_available(),
            "generator": torch.Generator(),  # spares the global generator
        }
        self.loader, self.iterator = self._loader_with(workers), None
        self.whole_passes, self.without_workers = 0, False
        self.device: torch.device | None = None  # which will hold the cached images

    def __len__(self) -> int:
        return self.size

    def restrict_to(self, indices: Container[int]) -> None:
        """Load only these items; batches then hold their numbers as `index`, and the hashes of
        their files as `input`.
        """
        self.sampler.restrict_to(indices)
        self.loader.dataset.numbered = True

    def item(self, index: int) -> dict[str, Any]:
        """Return an item as a batch of one, as in epoch 1; ValueError or OSError if unreadable."""
        item, _ = self.loader.dataset[1, index]
        if isinstance(item, Exception):
            raise item
        return _stacked([item])

    def some_batches(self, most: int) -> Iterator[dict[str, Any]]:
        """Yield at most `most` batches of items spread evenly over the data, as in epoch 1."""
        local_size = self.opt.batch_size // distributed.world_size()
        indices = first_of_parts(self.size, most * local_size)
        for first in range(0, len(indices), local_size):
            results = [self.loader.dataset[1, i] for i in indices[first : first + local_size]]
            batch, _ = _collate(results, skip_bad=True)
            if isinstance(batch, Exception):
                raise batch
            if batch:
                yield batch

    def keep_on(self, device: torch.device) -> None:
        """Once all images of a small data set are cached, move them to `device` and make the items
        there.
        """
        if self.opt.cache in ("auto", "ram") and isinstance(self.dataset, BaseDataset):
            self.device = device

    def save_new_ranges(self) -> None:
        """Save value ranges that the weights of now on are for."""
        save_unsaved(self.opt)
        if self.new_ranges and distributed.is_main_process():
            write_ranges(self.new_ranges, self.opt)
        self.new_ranges = {}

    def set_epoch(self, epoch: int, done: int = 0) -> None:
        """Set the epoch of the next pass, and the number of its images to skip as done.

        Each pass adds 1 to the epoch.
        """
        self.epoch, self.done = epoch, done

    def __iter__(self) -> Iterator[dict[str, Any]]:
        workers, loaded = self.loader.num_workers, False
        try:
            for batch in self._batches():
                loaded = True
                yield batch
        except Exception as error:
            failure = explained(self._how_workers_ended() or error, workers, not loaded)
            failure.while_loading = True  # the last step is complete: training/rescue.py saves it
            if workers:  # now, and not whenever the memory is collected
                self._replace_workers()
            if failure is error:
                raise
            raise failure from error

    def _batches(self) -> Iterator[dict[str, Any]]:
        if self.whole_passes and self.device:
            self._move_images(self.device)
        if self.whole_passes == 1 and self.loader.num_workers:
            self._choose_process()
        whole = not self.done
        self.sampler.epoch, self.sampler.done = self.epoch, self.done
        self.done = 0
        self.epoch += not self.repeated
        self.iterator = iter(self.loader)
        if self.loader.num_workers:
            restore_sigchld()
        for (batch, bad), part in zip(self.iterator, self.sampler.batch_sizes(), strict=True):
            for error in bad:
                if error not in self.reported:
                    self.reported.add(error)
                    everywhere.warning("skipped: %s", error)
            if isinstance(batch, BadImageError) and self.opt.isTrain:
                raise BadImageError(f"{batch}; {how_to_fix(self.opt)}")
            if isinstance(batch, Exception):
                raise batch
            if batch:
                yield batch | {"part": part} if part else batch
        self.whole_passes += whole  # all images that have room are cached now

    def _loader_with(self, workers: int) -> DataLoader:
        return DataLoader(
            **self.loader_options,
            num_workers=workers,
            persistent_workers=workers > 0,
            worker_init_fn=worker_init,
        )

    def _replace_workers(self) -> None:
        for process in getattr(self.iterator, "_workers", ()):
            process.kill()
        self.loader, self.iterator = self._loader_with(self.loader.num_workers), None

    def _how_workers_ended(self) -> RuntimeError | None:
        """Return an error with the signals that have killed workers, if any did."""
        codes = (process.exitcode or 0 for process in getattr(self.iterator, "_workers", ()))
        names = {signal.Signals(-code).name for code in codes if code < 0}
        message = f"DataLoader worker killed by {', '.join(sorted(names))}"
        return RuntimeError(message) if names else None

    def _move_images(self, device: torch.device) -> None:
        """Move the cached images to a device, if all are cached and it has room for them."""
        files = self.dataset.files_for_device()
        if cache := on_device(self.dataset.cache, files, device):
            self.dataset.cache, self.device = cache, None
            options = self.loader_options | {"pin_memory": False}
            self.loader, self.without_workers = DataLoader(**options), True

    def _choose_process(self) -> None:
        """Load in the main process if that is faster than a worker, e.g. from the cache.

        It times some images, because a full cache is not enough: an item may need more work
        (colorization converts each image, 10 ms), and a large batch may take longer than a GPU's
        step. Workers do that work during the step.
        """
        images = range(0, self.size, -(-self.size // TIMED_IMAGES))
        slowest = max(min(self._seconds_to_load(i) for _ in range(2)) for i in images)
        if slowest * self.sampler.batch_size / self.sampler.world_size < TRANSFER_SECONDS:
            self.loader, self.without_workers = DataLoader(**self.loader_options), True

    def _seconds_to_load(self, index: int) -> float:
        started = time.perf_counter()
        self.loader.dataset[self.epoch, index]
        return time.perf_counter() - started


def how_to_check(opt: Any) -> str:
    """Return the command that names all bad images."""
    mode = opt.dataset_mode if opt.dataset_mode in CHECKED else "single"
    words = ["--dataroot", Path(opt.dataroot)]
    words += [] if mode == "aligned" else ["--dataset_mode", mode]
    return f"{run_line('scripts.doctor', *words)} checks all images"


def how_to_fix(opt: Any) -> str:
    """Return what to do about a bad image."""
    return f"{how_to_check(opt)}, --on_bad_image skip skips bad ones"


def restore_sigchld() -> None:
    """Undo torch's handler of SIGCHLD, which raises in the middle of a step when a worker ends.

    The loader finds out too, between steps, where a training can be saved.
    """
    if hasattr(signal, "SIGCHLD") and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _end_workers() -> None:
    """At exit, kill workers that ignore SIGTERM, so that multiprocessing does not wait for them."""
    if hasattr(signal, "SIGCHLD"):  # otherwise torch would report killed workers
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    kill_children()


def _collate(read: list[tuple[Any, list[str]]], skip_bad: bool) -> tuple[Any, list[str]]:
    """Return a batch, None if it is empty, or an error, and the errors of skipped images."""
    items, bad = [item for item, _ in read], [error for _, errors in read for error in errors]
    failed = [item for item in items if isinstance(item, Exception)]
    if failed and not skip_bad:
        return failed[0], bad
    items = [item for item in items if not isinstance(item, Exception)]
    return _stacked(items) if items else None, bad + [str(error) for error in failed]


def _stacked(items: list[dict[str, Any]]) -> Any:
    for name in (key for key, value in items[0].items() if isinstance(value, torch.Tensor)):
        shapes = sorted({tuple(item[name].shape) for item in items})
        if len(shapes) > 1:
            return ValueError(
                f"--batch_size: images {name} have different sizes ({shapes[0]}, {shapes[1]}) and "
                f"cannot share a batch; use --batch_size 1 or a --preprocess that crops"
            )
    large = any(isinstance(value, LargeImage) for item in items for value in item.values())
    if large and len(items) > 1:
        return ValueError(
            "--batch_size: some images are so large that they are read in parts (--tile), one at a "
            "time; use --batch_size 1"
        )
    if not large and (len(items) > 1 or get_worker_info()):  # workers stack into shared memory
        return default_collate(items)
    # Contiguous, because an expanded tensor cannot be pinned.
    batch = {k: v[None].contiguous() for k, v in items[0].items() if isinstance(v, torch.Tensor)}
    batch |= {k: v for k, v in items[0].items() if isinstance(v, LargeImage)}
    return batch | default_collate([{k: v for k, v in items[0].items() if k not in batch}])
