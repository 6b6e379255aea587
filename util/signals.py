"""Ctrl-C and SIGTERM: the first stops a run after its step, the second at once."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any


class StoppedAtOnce(KeyboardInterrupt):
    """The second signal; as a KeyboardInterrupt, it passes every `except Exception`."""

    def __init__(self, number: int):
        super().__init__("stopped at once; earlier checkpoints are intact")
        self.status = status_of(number)


class Signals:
    """`received` is the number of the first signal, or 0."""

    received = 0


def status_of(number: int) -> int:
    """Return the conventional exit status: 130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + number


@contextlib.contextmanager
def handle_signals() -> Iterator[Signals]:
    """In the block, the first Ctrl-C or SIGTERM only sets `received`; the second stops at once.

    Outside the main thread, Python forbids signal handlers, and this changes nothing.
    """
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return

    def handle(number: int, frame: object) -> None:
        if signals.received:
            raise StoppedAtOnce(number)
        signals.received = number

    before = {n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def default_signals() -> Iterator[None]:
    """In the block, Ctrl-C and SIGTERM end the process at once, even inside a C call."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _unless_the_parent_is_gone(kind: type, error: BaseException, trace: Any) -> None:
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)


def worker_init(worker: int = 0) -> None:
    """In a loader's worker, ignore Ctrl-C and the first SIGTERM; the parent ends its workers.

    Terminals and schedulers send these signals to all processes of a job. The worker also prints
    no traceback when its parent was killed.
    """
    sys.excepthook = _unless_the_parent_is_gone
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))
