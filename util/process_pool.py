"""A pool of worker processes that ends when its parent ends."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor


@contextlib.contextmanager
def worker_pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Start a pool of processes; an error in the block kills them."""
    pool = ProcessPoolExecutor(processes, initializer=_serve, initargs=(os.getpid(),))
    try:
        yield pool
    except BaseException:
        kill_children()  # waiting for them may take forever
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def kill_children() -> None:
    """Kill all multiprocessing children of this process."""
    for process in multiprocessing.active_children():
        process.kill()


def _serve(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too and kills this
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
