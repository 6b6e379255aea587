"""The time of a training step: computing, and waiting for data."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


class StepTimer:
    """Wraps the loop over batches: the time inside `next` is waiting, the rest is computing."""

    def __init__(self) -> None:
        self.begun, self.waited_in_all = time.perf_counter(), 0.0
        self.elapsed_at = self.begun  # when `elapsed` was called last
        self.reset()

    def reset(self) -> None:
        """Start a new interval."""
        self.started, self.waited, self.images = time.perf_counter(), 0.0, 0

    def batches(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield the batches and measure how long each one takes to arrive."""
        iterator = iter(batches)
        while True:
            wait_start = time.perf_counter()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            finally:
                waited = time.perf_counter() - wait_start
                self.waited += waited
                self.waited_in_all += waited
            yield batch

    def share(self) -> float:
        """Return the share of waiting since the start, in 0..1."""
        return self.waited_in_all / max(time.perf_counter() - self.begun, 1e-12)

    def elapsed(self) -> float:
        """Return the seconds since the start, or since the last call."""
        before, self.elapsed_at = self.elapsed_at, time.perf_counter()
        return self.elapsed_at - before

    def lap(self) -> tuple[float, float]:
        """Return (compute, wait) seconds per image since the last lap, and start a new one."""
        total = time.perf_counter() - self.started
        images, waited = max(self.images, 1), self.waited
        self.reset()
        return (total - waited) / images, waited / images


def time_left(seconds: float) -> str:
    """Return `, about 2.6 h left`; "" if it is less than a minute."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f", about {seconds / size:.1f} {unit} left"
    return ""
