"""How much of the training time is spent computing, and how much waiting for data."""

import logging
import os
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


class Clock:
    """Wraps the loop over batches: time inside `next` is waiting, the rest is computing."""

    def __init__(self) -> None:
        self.begun, self.waited_in_all = time.perf_counter(), 0.0
        self.reset()

    def reset(self) -> None:
        """Start a new interval."""
        self.started, self.waited, self.pictures = time.perf_counter(), 0.0, 0

    def waiting_for(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield the batches, counting the time that each is waited for."""
        iterator = iter(batches)
        while True:
            asked = time.perf_counter()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            finally:
                waited = time.perf_counter() - asked
                self.waited += waited
                self.waited_in_all += waited
            yield batch

    def share(self) -> float:
        """Return the share of all the time so far that was spent waiting."""
        return self.waited_in_all / max(time.perf_counter() - self.begun, 1e-12)

    def lap(self) -> tuple[float, float]:
        """Return (compute, wait) seconds a picture since the last lap, and start a new one."""
        total = time.perf_counter() - self.started
        pictures, waited = max(self.pictures, 1), self.waited
        self.reset()
        return (total - waited) / pictures, waited / pictures


class WaitingAdvice:
    """Says, once, what to change if more than a tenth of an epoch is spent waiting for data."""

    def __init__(self) -> None:
        self.epochs, self.said = 0, False

    def after_epoch(self, waiting: float, num_threads: int, cache: str) -> None:
        """Take the share of an epoch; the first, in which caches fill, does not count."""
        self.epochs += 1
        if self.epochs == 1 or waiting <= 0.1 or self.said:
            return
        self.said, cores = True, os.cpu_count() or 1
        ways = [f"--num_threads {cores}"] if num_threads < cores else []
        ways += [f"--cache {kind}" for kind in ("ram", "disk") if cache in ("auto", "none")]
        log.info(
            "%.0f%% of the time was spent waiting for pictures; try %s",
            *(100 * waiting, ", ".join([*ways, "smaller files, a faster disk"])),
        )
