"""Start and end of a torchrun launch: all ranks connect, and all end if one fails."""

import atexit
import contextlib
import gc
import logging
import os
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from util import distributed
from util.distributed.heartbeat import FAILED, Heartbeat, ignore_sigterm
from util.errors import RunStopped, one_line
from util.signals import default_signals

APPEAR = timedelta(minutes=5)  # for all ranks to start
NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")

# The exit status after a failure.
_status_at_end: int | None = None


def started_by_torchrun() -> bool:
    """Return whether torchrun started this process, with a world_size above 1."""
    return all(name in os.environ for name in NAMES) and int(os.environ["WORLD_SIZE"]) > 1


@contextlib.contextmanager
def process_group() -> Iterator[None]:
    """Initialise torch.distributed for a torchrun launch.

    If one rank fails, all ranks end and one of them prints the error.
    """
    global _status_at_end
    if not started_by_torchrun():
        yield
        return
    if int(os.environ["RANK"]):  # only rank 0 logs; every rank may log errors
        logging.getLogger().setLevel(logging.ERROR)
    heartbeat = _join()
    try:
        yield
        distributed.barrier()
    except BaseException as error:
        ignore_sigterm()
        reason, first = heartbeat.name_the_dead_rank(error), heartbeat.is_first_to_report()
        heartbeat.stop(FAILED)
        _status_at_end = _status(reason)
        if not first:
            time.sleep(1)  # torchrun ends all ranks then; the first needs time to print
            raise SystemExit(_status_at_end) from None
        if reason is error:
            raise
        raise reason from None
    heartbeat.stop()
    _leave()


def _join() -> Heartbeat:
    atexit.register(_end_at_once)  # registered first, so that it runs last
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        with default_signals():
            store, *_ = next(dist.rendezvous("env://", timeout=APPEAR))
            store = dist.PrefixStore(_meet(store, rank, world), store)
            heartbeat = Heartbeat(dist.PrefixStore("liveness", store), rank, world)
            engine = dist.PrefixStore("engine", store)
            dist.init_process_group(backend, store=engine, rank=rank, world_size=world)
            # Rank 0 may work alone for hours; the heartbeat tells of a rank that has died.
            distributed.control_group = dist.new_group(backend="gloo", timeout=timedelta(days=7))
            heartbeat.start()
    except (RuntimeError, ValueError) as error:
        raise RunStopped(
            f"process {rank} of 0..{world - 1} cannot connect to the others at "
            f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']} ({one_line(error)})"
        ) from None
    return heartbeat


def _leave() -> None:
    gc.collect()  # NCCL waits for CUDA graphs of its collectives, and a model is in a cycle
    dist.destroy_process_group()
    # This ends the threads of gloo: Python aborts if one frees a tensor during shutdown.
    distributed.control_group = None


def _end_at_once() -> None:
    """After a failure, end without Python's shutdown: it waits for the GPU, and a collective
    with a dead rank never finishes.
    """
    if _status_at_end is not None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_status_at_end)


def _meet(store: Any, rank: int, world: int) -> str:
    """Agree on a key for this launch, so that keys of an earlier restart are ignored.

    After a restart by torchrun, the store still holds the keys of the earlier processes. So each
    rank writes a new id and continues once rank 0 has read it.
    """
    own_id, end = uuid.uuid4().hex, time.monotonic() + APPEAR.total_seconds()
    store.set(f"here/{rank}", own_id)
    while time.monotonic() < end:
        if rank == 0:
            ids = store.multi_get([f"here/{n}" for n in range(world)])
            store.set("meeting", b",".join(ids))
            if store.add(f"read/{own_id}", 0) == world - 1:
                return own_id
        elif store.check(["meeting"]):
            ids = store.get("meeting").decode().split(",")
            if len(ids) == world and ids[rank] == own_id:
                store.add(f"read/{ids[0]}", 1)
                return ids[0]
        time.sleep(0.05)
    raise RuntimeError(f"not all ranks started within {APPEAR}")


def _status(error: BaseException) -> int:
    """Return the exit status that `run_command` gives for this error."""
    statuses = {SystemExit: getattr(error, "code", 1), KeyboardInterrupt: 130}
    usual = next((status for kind, status in statuses.items() if isinstance(error, kind)), 1)
    return getattr(error, "status", 2 if isinstance(error, ValueError | OSError) else usual)
