"""The peak rates of the machine, the work of a step, and how near to both a step comes."""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from scripts.dev.measure import Step, timed


def matmul_rate(device: torch.device, dtype: torch.dtype, size: int = 0) -> float:
    """Return the floating-point operations per second of a matrix product."""
    size = size or (8192 if device.type == "cuda" else 2048)
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in "ab")
    return 2 * size**3 / _least_seconds(lambda: a @ b, device)


def copy_rate(device: torch.device, bytes_: int = 0) -> float:
    """Return the bytes per second that a copy reads and writes."""
    bytes_ = bytes_ or (2**31 if device.type == "cuda" else 2**28)
    source = torch.ones(bytes_ // 4, device=device)
    target = torch.empty_like(source)
    return 2 * bytes_ / _least_seconds(lambda: target.copy_(source), device)


def _least_seconds(call: Step, device: torch.device) -> float:
    """Return the seconds of the fastest call; on a GPU of several, as each takes time to start."""
    calls = 10 if device.type == "cuda" else 1

    def run() -> None:
        for _ in range(calls):
            call()

    return min(timed(run) for _ in range(8)) / calls


def share_of_ceiling(
    seconds: float, operations: float, moved: float, device: torch.device, dtype: torch.dtype
) -> str:
    """Return the minimum time for the work as a percentage of `seconds`, and its bottleneck."""
    arithmetic = operations / matmul_rate(device, dtype)
    copying = moved / copy_rate(device)
    bound = "arithmetic" if arithmetic > copying else "memory"
    return f"{max(arithmetic, copying) / seconds:.0%} ({bound})"


class _Traffic(TorchDispatchMode):
    """Counts the bytes that operations read and write; each operand counts once per operation."""

    bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            for leaf in tree_leaves((args, kwargs, result)):
                if isinstance(leaf, torch.Tensor):
                    self.bytes += leaf.numel() * leaf.element_size()
        return result


def operations_of(step: Step) -> int:
    """Return the floating-point operations of a step."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def bytes_of(step: Step) -> int:
    """Return the bytes that the operations of a step read and write."""
    with _Traffic() as traffic:
        step()
    return traffic.bytes
