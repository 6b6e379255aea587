"""Ctrl-C, SIGTERM and SIGHUP: the first stops a run after its step, the second at once."""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any


class StoppedAtOnce(KeyboardInterrupt):
    """The second signal; as a KeyboardInterrupt, it passes every `except Exception`."""

    def __init__(self, number: int):
        super().__init__("stopped at once; earlier checkpoints are intact")
        self.status = status_of(number)


class Signals:
    """`received` is the number of the first signal, or 0; `at` the time of it in seconds."""

    received, at = 0, 0.0


# Seconds in which a second signal is the first one again: uv passes on what its whole group gets.
SAME_SIGNAL = 0.5
# SIGHUP: a terminal was closed, or the connection to it was lost. Windows has none.
HANGUP = getattr(signal, "SIGHUP", None)


def status_of(number: int) -> int:
    """Return the conventional exit status: 130 after Ctrl-C, 143 after SIGTERM, 129 by SIGHUP."""
    return 128 + number


def _to_handle() -> list[int]:
    """Return the signals that end a run; SIGHUP not if it is ignored, as nohup does."""
    ignored = HANGUP is None or signal.getsignal(HANGUP) is signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([] if ignored else [HANGUP])]


@contextlib.contextmanager
def handle_signals() -> Iterator[Signals]:
    """In the block, the first Ctrl-C, SIGTERM or SIGHUP only sets `received`; another Ctrl-C or
    SIGTERM, half a second later, stops at once, but not another SIGHUP: a closed terminal may send
    several.

    Outside the main thread, Python forbids signal handlers, and this changes nothing.
    """
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return

    def handle(number: int, frame: object) -> None:
        if not signals.received:
            signals.received, signals.at = number, time.monotonic()
        elif number != HANGUP and time.monotonic() >= signals.at + SAME_SIGNAL:
            raise StoppedAtOnce(number)

    before = {number: signal.signal(number, handle) for number in _to_handle()}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def default_signals() -> Iterator[None]:
    """In the block, these signals end the process at once, even inside a C call."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_DFL) for number in _to_handle()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _unless_the_parent_is_gone(kind: type, error: BaseException, trace: Any) -> None:
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)


def worker_init(worker: int = 0) -> None:
    """In a loader's worker, ignore Ctrl-C, SIGHUP and the first SIGTERM; the parent ends its
    workers.

    Terminals and schedulers send these signals to all processes of a job. The worker also prints
    no traceback when its parent was killed.
    """
    sys.excepthook = _unless_the_parent_is_gone
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if HANGUP is not None:
        signal.signal(HANGUP, signal.SIG_IGN)
    for name in ("SIGBUS", "SIGSEGV", "SIGFPE"):  # torch's handlers add a line to the training's
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))
