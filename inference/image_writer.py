"""Write images in threads while the next ones are translated."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

from inference.timing import Stopwatch


class ImageWriter:
    """Runs functions in a few threads, such as the functions that write images.

    An error in a function is raised by a later `run`, or at the end of the block.
    """

    def __init__(self, threads: int = 2, waiting: int = 64):
        """At most `waiting` calls are pending; then `run` waits for the oldest call."""
        self.pool, self.waiting = ThreadPoolExecutor(threads), waiting
        self.pending: deque[Future] = deque()
        self.waits = Stopwatch()  # for calls to finish

    def run(self, function: Callable[..., Any], *args: Any) -> None:
        """Call the function in a thread."""
        self.pending.append(self.pool.submit(function, *args))
        while len(self.pending) > self.waiting or (self.pending and self.pending[0].done()):
            with self.waits.running():
                self.pending.popleft().result()

    def __enter__(self) -> "ImageWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self.waits.running():
            self.pool.shutdown(cancel_futures=error is not None)
        while error is None and self.pending:
            self.pending.popleft().result()
