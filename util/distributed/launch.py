"""The processes that torchrun has started to train one model together; else this one alone.

They are on PyTorch's own engine (`torch.distributed`). One alone is number 0 of 1, and nothing
here does anything.
"""

import atexit
import contextlib
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

from util.distributed.heartbeat import FAILED, Watch, undisturbed
from util.files import one_line
from util.signals import Stopped, mortal

APPEAR = timedelta(minutes=5)  # for all processes to start
NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")

# What is small and on the CPU goes through a group of its own, beside the gradients.
_control: Any = None
# With which status a process that fails ends.
_status_at_end: int | None = None


def launched() -> bool:
    """Return whether torchrun has started this process as one of several."""
    return all(name in os.environ for name in NAMES) and int(os.environ["WORLD_SIZE"]) > 1


def count() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def number() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if count() > 1 else 0


def is_main() -> bool:
    """Return whether this is the process that writes files and says what happens."""
    return number() == 0


def on_this_machine() -> tuple[int, int]:
    """Return the number of this process on its machine, from 0, and how many are there."""
    if count() == 1:
        return 0, 1
    return int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])


def gather(value: Any) -> list[Any]:
    """Return the value that each process calls this with, in the order of their numbers.

    All processes call it, and wait for each other in it. Tensors must be on the CPU.
    """
    if count() == 1:
        return [value]
    values: list[Any] = [None] * count()
    dist.all_gather_object(values, value, group=_control)
    return values


def of_main(value: Any) -> Any:
    """Return the value that process 0 calls this with; all processes call it."""
    return gather(value if is_main() else None)[0]


def wait_for_all() -> None:
    """Go on once all processes are here."""
    gather(None)


@contextlib.contextmanager
def first_here_first() -> Iterator[None]:
    """Within it, the first process of each machine goes first; the others find what it has made."""
    here, _ = on_this_machine()
    if here:
        wait_for_all()
    yield
    if not here:
        wait_for_all()


class Agreement:
    """A number that a process comes up with between two steps, and that all learn of after the
    same step: none waits for another to find out.
    """

    def __init__(self) -> None:
        self.flag, self.work = torch.zeros(1, dtype=torch.int64), None

    def on(self, mine: int) -> int:
        """Return the largest number that a process had at the step before (alone: this one)."""
        if count() == 1:
            return mine
        if self.work:
            self.work.wait()
        found = int(self.flag)
        self.flag = torch.tensor([mine])
        self.work = dist.all_reduce(self.flag, dist.ReduceOp.MAX, _control, async_op=True)
        return found


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Within it, the processes that torchrun has started know of each other.

    If one ends before its end, whatever the reason, all end, and one of them says why.
    """
    global _status_at_end
    if not launched():
        yield
        return
    if int(os.environ["RANK"]):  # process 0 speaks for all; errors are heard from each
        logging.getLogger().setLevel(logging.ERROR)
    watch = _join()
    try:
        yield
        wait_for_all()
    except BaseException as error:
        undisturbed()
        reason, first = watch.explained(error), watch.speaks()
        watch.stop(FAILED)
        _status_at_end = _status(reason)
        if not first:
            time.sleep(1)  # for the first to say it, before torchrun ends all
            raise SystemExit(_status_at_end) from None
        if reason is error:
            raise
        raise reason from None
    watch.stop()
    _leave()


def _join() -> Watch:
    global _control
    atexit.register(_end_at_once)  # now, so that it comes after what others register
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        with mortal():
            store, *_ = next(dist.rendezvous("env://", timeout=APPEAR))
            store = dist.PrefixStore(_meet(store, rank, world), store)
            watch = Watch(dist.PrefixStore("liveness", store), rank, world)
            engine = dist.PrefixStore("engine", store)
            dist.init_process_group(backend, store=engine, rank=rank, world_size=world)
            _control = dist.new_group(backend="gloo")
            watch.start()
    except (RuntimeError, ValueError) as error:
        raise Stopped(
            f"process {rank} of 0..{world - 1} does not reach the others at "
            f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']} ({one_line(error)})"
        ) from None
    return watch


def _leave() -> None:
    global _control
    dist.destroy_process_group()
    # Its threads go with it. One that frees a tensor while Python ends would abort the process.
    _control = None


def _end_at_once() -> None:
    """End a process that fails without Python's own end, which waits for what the GPU has still to
    do: an exchange with a process that is gone never ends.
    """
    if _status_at_end is not None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_status_at_end)


def _meet(store: Any, rank: int, world: int) -> str:
    """Return a name for this meeting that all processes of it know, and those of no other.

    The store of a torchrun that has started its processes anew still holds what their predecessors
    wrote. So each says who it is now, and goes on when process 0 has read that.
    """
    mine, end = uuid.uuid4().hex, time.monotonic() + APPEAR.total_seconds()
    store.set(f"here/{rank}", mine)
    while time.monotonic() < end:
        if rank == 0:
            everyones = store.multi_get([f"here/{n}" for n in range(world)])
            store.set("meeting", b",".join(everyones))
            if store.add(f"read/{mine}", 0) == world - 1:
                return mine
        elif store.check(["meeting"]):
            everyones = store.get("meeting").decode().split(",")
            if len(everyones) == world and everyones[rank] == mine:
                store.add(f"read/{everyones[0]}", 1)
                return everyones[0]
        time.sleep(0.05)
    raise RuntimeError(f"not all came within {APPEAR}")


def _status(error: BaseException) -> int:
    """Return the exit status that `run_command` would end with."""
    kinds = {SystemExit: getattr(error, "code", 1), KeyboardInterrupt: 130}
    usual = next((status for kind, status in kinds.items() if isinstance(error, kind)), 1)
    return getattr(error, "status", 2 if isinstance(error, ValueError | OSError) else usual)
