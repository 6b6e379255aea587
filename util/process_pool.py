"""A pool of worker processes that ends when its parent ends."""

import contextlib
import errno
import functools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from util.errors import RunStopped

MOST_ON_WINDOWS = 61  # processes of a pool
# Errors at the start of a process: of memory, of processes, of /dev/shm.
NO_START = {
    *(errno.EAGAIN, errno.ENOMEM, errno.ENOSPC, errno.ENOSYS),
    *(errno.EPERM, errno.EACCES, errno.EROFS, errno.ENOENT),
}


@contextlib.contextmanager
def worker_pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Start a pool of processes; after an error in the block they finish the files in hand.

    Ctrl+C kills them. `RunStopped` if the system kills one, mostly by lack of memory, or cannot
    start them.
    """
    pool = None
    try:
        if os.name == "nt":
            processes = min(processes, MOST_ON_WINDOWS)
        pool = ProcessPoolExecutor(processes, initializer=_serve)
        yield pool
    except BaseException as error:
        broken = isinstance(error, BrokenProcessPool) or not isinstance(error, Exception)
        if broken:
            kill_children()  # waiting for them may take forever
        if pool:
            pool.shutdown(wait=not broken, cancel_futures=True)
        if isinstance(error, BrokenProcessPool):
            why = f"one of {processes} processes was killed; if memory ran out, "
        elif isinstance(error, OSError) and not error.filename and error.errno in NO_START:
            why = f"{processes} processes cannot start ({error.strerror}); "
        else:
            raise
        raise RunStopped(f"{why}use a smaller --num_threads than {processes}") from None
    pool.shutdown()


@functools.cache
def survive_forks() -> None:
    """From now on, let torch compute in one thread in processes that are forked from this one.

    Once torch has computed in several threads, a fork has none of them, and would wait for them.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_use_one_thread)


def _use_one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def kill_children() -> None:
    """Kill all multiprocessing children of this process."""
    for process in multiprocessing.active_children():
        process.kill()


def _serve() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too and kills this
    parent = os.getppid()  # on Python 3.14 a fork server, which ends with the command
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
