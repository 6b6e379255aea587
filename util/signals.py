"""How a run ends: with its last epoch, by a signal, or because going on makes no sense."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any


class StoppedAtOnce(KeyboardInterrupt):
    """The second signal; no `except Exception` on the way holds it up."""

    def __init__(self, number: int):
        super().__init__("stopped at once; what was saved before is whole")
        self.status = status_of(number)


class Signals:
    """What was asked of the process; `received` is the number of the signal, 0 for none."""

    received = 0


def status_of(number: int) -> int:
    """Return the exit status after a signal by convention: 130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + number


@contextlib.contextmanager
def handle_signals() -> Iterator[Signals]:
    """Within it, the first Ctrl-C or SIGTERM only sets `received`, the second stops at once.

    Only a program's main thread can ask for that; elsewhere signals stay what they are.
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
    """Within it, Ctrl-C or SIGTERM end the process at once, whatever it waits for."""
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
    """In a loader's worker: pass over Ctrl-C and the first SIGTERM, which terminals and schedulers
    send to all processes of a job; the parent ends its workers itself. Nor does a worker print
    that a parent which was killed does not answer.
    """
    sys.excepthook = _unless_the_parent_is_gone
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))
