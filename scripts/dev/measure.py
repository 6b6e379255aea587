"""Measure times side by side, the peak rates of the machine, and the work of a step."""

import multiprocessing
import os
import platform
import re
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from util import memory

Step = Callable[[], object]


class Spread(NamedTuple):
    """Median, minimum and maximum of repeated measurements."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        values = list(values)
        return cls(statistics.median(values), min(values), max(values))


class BenchmarkRow(NamedTuple):
    """A row of the benchmark table; lower is better in s and MiB, higher in images/s."""

    what: str
    unit: str
    plain: Spread
    ours: Spread
    ceiling: str = ""

    @property
    def ratio(self) -> float:
        """By what factor ours is better than plain."""
        ratio = self.plain.median / self.ours.median
        return 1 / ratio if self.unit == "images/s" else ratio


def quarter_hole(count: int, height: int, width: int) -> torch.Tensor:
    """Return masks (N, 1, H, W), 1 in a hole in the middle of a fourth of the area."""
    mask = torch.zeros(count, 1, height, width)
    mask[..., height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = 1
    return mask


def side_by_side(steps: dict[str, Step], rounds: int, warm_up: int = 1) -> dict[str, Spread]:
    """Return the seconds of each step. Steps alternate, so that a busy machine slows all."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(warm_up + rounds):
        for name, step in steps.items():
            seconds = timed(step)
            if turn >= warm_up:
                times[name].append(seconds)
    return {name: Spread.of(values) for name, values in times.items()}


def in_turn(
    makers: dict[str, tuple[Callable[..., Step], tuple]],
    rounds: int,
    warm_up: int = 2,
    repeats: int = 1,
) -> dict[str, Spread]:
    """Like `side_by_side`, with each step made by `make(*args)` in its own process.

    Steps then cannot share settings. A measurement is the mean of `repeats` calls.
    """
    context = multiprocessing.get_context("spawn")
    pipes, processes, steps = [], [], {}
    for name, (make, args) in makers.items():
        parent_pipe, child_pipe = context.Pipe()
        process = context.Process(
            target=_serve, args=(child_pipe, repeats, make, args), daemon=True
        )
        process.start()
        pipes.append(parent_pipe)
        processes.append(process)
        steps[name] = partial(_ask, parent_pipe)
    try:
        times = side_by_side(steps, rounds, warm_up)
        return {name: Spread(*(s / repeats for s in times[name])) for name in times}
    finally:
        for process in processes:
            process.kill()


def _ask(pipe: Any) -> None:
    pipe.send("go")
    pipe.recv()


def _serve(pipe: Any, repeats: int, make: Callable[..., Step], args: tuple) -> None:
    step = make(*args)
    while pipe.recv():
        for _ in range(repeats):
            step()
        synchronize()
        pipe.send("done")


def timed(step: Step) -> float:
    """Return the seconds of one call, including work on a GPU."""
    synchronize()
    started = time.perf_counter()
    step()
    synchronize()
    return time.perf_counter() - started


def synchronize() -> None:
    """Wait for the GPU, if there is one, to finish its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def matmul_rate(device: torch.device, dtype: torch.dtype, size: int = 2048) -> float:
    """Return the floating-point operations per second of a matrix product."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in "ab")
    return 2 * size**3 / min(timed(lambda: a @ b) for _ in range(8))


def copy_rate(device: torch.device, bytes_: int = 2**28) -> float:
    """Return the bytes per second that a copy reads and writes."""
    source = torch.ones(bytes_ // 4, device=device)
    target = torch.empty_like(source)
    return 2 * bytes_ / min(timed(lambda: target.copy_(source)) for _ in range(8))


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


def work_of(step: Step) -> tuple[int, int]:
    """Return the floating-point operations of a step, and the bytes it reads and writes."""
    with FlopCounterMode(display=False) as counter:
        step()
    with _Traffic() as traffic:
        step()
    return counter.get_total_flops(), traffic.bytes


def peak_memory(make: Callable[..., Step], *args: Any, calls: int = 3) -> float:
    """Return the peak memory in MiB of some calls of the step `make(*args)`, networks included.

    The step runs in its own process.
    """
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_peak, (make, args, calls))


def _peak(make: Callable[..., Step], args: tuple, calls: int) -> float:
    cpu = torch.device("cpu")
    torch.zeros(1)
    memory.reset_peak()
    before = memory.peak_memory(cpu)
    step = make(*args)
    step()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        memory.reset_peak()
    for _ in range(calls):
        step()
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return (memory.peak_memory(cpu) - before) / 2**20


def machine() -> str:
    """Return the hardware and the versions in one line."""
    parts = [platform.processor() or platform.machine()]
    cpus = Path("/proc/cpuinfo")
    if cpus.is_file() and (model := re.search(r"model name\s*: (.*)", cpus.read_text())):
        parts = [model[1]]
    threads = torch.get_num_threads()
    parts.append(f"{threads} thread{'s' * (threads > 1)}")
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join(
        [*parts, f"PyTorch {torch.__version__}", f"Python {platform.python_version()}"]
    )


def seconds_of(command: list[str], cwd: Path, until: str = "") -> float:
    """Return the seconds until a command ends, or until it prints a line starting with `until`."""
    started = time.perf_counter()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=cwd, start_new_session=True, **pipes)
    if until:
        found = any(line.startswith(until) for line in process.stdout)
        seconds = time.perf_counter() - started
        if found:
            os.killpg(process.pid, signal.SIGKILL)  # its workers too
            process.communicate()
            return seconds
    out, error = process.communicate()
    if process.returncode:
        raise ValueError(
            f"{' '.join(command)}: {error.strip() or 'ended before the expected line'}"
        )
    return time.perf_counter() - started
