"""The ranks of a torchrun launch, on top of `torch.distributed`.

A single process is rank 0 with world_size 1; every function here is then a no-op.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist

# A gloo group for small CPU messages, apart from the gradients' group; `launch` sets it.
control_group: Any = None


def world_size() -> int:
    """Return the number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, from 0 to world_size() - 1."""
    return dist.get_rank() if world_size() > 1 else 0


def is_main_process() -> bool:
    """Return whether this is rank 0, which writes files and logs."""
    return rank() == 0


def local_rank() -> int:
    """Return the number of this process on its machine, from 0 to local_world_size() - 1."""
    return int(os.environ["LOCAL_RANK"]) if world_size() > 1 else 0


def local_world_size() -> int:
    """Return the number of processes that train together on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if world_size() > 1 else 1


def all_gather(value: Any) -> list[Any]:
    """Return the Python objects that all ranks pass, ordered by rank; tensors are on the CPU.

    All ranks must call it; each waits for the others.
    """
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value, group=control_group)
    return values


def broadcast_from_main(value: Any) -> Any:
    """Return the value that rank 0 passes; all ranks must call it."""
    return all_gather(value if is_main_process() else None)[0]


def barrier() -> None:
    """Wait until all ranks have called this."""
    all_gather(None)


@contextlib.contextmanager
def local_main_first() -> Iterator[None]:
    """Run the block on local rank 0 first, then on the other ranks of the machine."""
    first = local_rank() == 0
    if not first:
        barrier()
    yield
    if first:
        barrier()


class StopFlag:
    """A flag that any rank can raise; all ranks see it one step later, without blocking."""

    def __init__(self) -> None:
        self.flag, self.work = torch.zeros(1, dtype=torch.int64), None

    def on(self, mine: int) -> int:
        """Return the largest value of any rank at the previous step; in one process, `mine`."""
        if world_size() == 1:
            return mine
        if self.work:
            self.work.wait()
        largest = int(self.flag)
        self.flag = torch.tensor([mine])
        self.work = dist.all_reduce(self.flag, dist.ReduceOp.MAX, control_group, async_op=True)
        return largest
