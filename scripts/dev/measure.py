"""Measure times side by side, peak memory, and whole commands."""

import multiprocessing
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from util import memory
from util.errors import one_line

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

    Steps then cannot share settings. They are made one after the other, as a GPU chooses its
    algorithms meanwhile; one that cannot be made is left out, and stderr says so. A measurement is
    the mean of `repeats` calls. ValueError if a step fails later.
    """
    context = multiprocessing.get_context("spawn")
    processes, steps = [], {}
    for name, (make, args) in makers.items():
        parent_pipe, child_pipe = context.Pipe()
        process = context.Process(target=_serve, args=(child_pipe, repeats, make, args))
        process.start()
        child_pipe.close()  # so that its end is noticed
        processes.append(process)
        steps[name] = partial(_ask, name, parent_pipe)
    try:
        steps = {name: step for name, step in steps.items() if _was_made(step)}
        times = side_by_side(steps, rounds, warm_up)
        return {name: Spread(*(s / repeats for s in times[name])) for name in times}
    finally:
        for process in processes:
            process.kill()


def _was_made(ask: Step) -> bool:
    try:
        ask()
    except ValueError as error:
        print(f"left out: {error}", file=sys.stderr, flush=True)
        return False
    return True


def _ask(name: str, pipe: Any) -> None:
    """Let a process do its next thing: make its step, then a measurement at a time."""
    try:
        pipe.send("go")
        if failure := pipe.recv():
            raise ValueError(f"{name}: {failure}")
    except (EOFError, OSError):
        raise ValueError(f"{name}: its process has ended") from None


def _next(pipe: Any) -> bool:
    try:
        return bool(pipe.recv())
    except EOFError:  # the process that measures was killed
        return False


def _serve(pipe: Any, repeats: int, make: Callable[..., Step], args: tuple) -> None:
    step = None
    while _next(pipe):
        try:
            if step is None:
                step = make(*args)
            else:
                for _ in range(repeats):
                    step()
            synchronize()
        except Exception as error:  # whatever a step raises; the others go on
            pipe.send(one_line(error) or type(error).__name__)
        else:
            pipe.send("")


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


def peak_memory(
    make: Callable[..., Step], *args: Any, calls: int = 3, device: torch.device | None = None
) -> float:
    """Return the peak memory in MiB of some calls of the step `make(*args)`, networks included.

    The step runs in its own process; `device` is by default a GPU, if there is one.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        return pool.submit(_peak, make, args, calls, device).result()


def _peak(make: Callable[..., Step], args: tuple, calls: int, device: torch.device) -> float:
    if device.type == "cuda":
        step = make(*args)
        step()
        synchronize()
        # Not what is allocated: the activations of a CUDA graph have memory that stays reserved.
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        for _ in range(calls):
            step()
        return torch.cuda.max_memory_reserved() / 2**20
    torch.zeros(1)
    memory.reset_peak()
    before = memory.peak_memory(device)
    step = make(*args)
    step()
    memory.reset_peak()
    for _ in range(calls):
        step()
    return (memory.peak_memory(device) - before) / 2**20


def machine() -> str:
    """Return the hardware and the versions in one line."""
    parts = [platform.processor() or platform.machine()]
    cpus = Path("/proc/cpuinfo")
    if cpus.is_file() and (model := re.search(r"model name\s*: (.*)", cpus.read_text())):
        parts = [model[1]]
    threads = torch.get_num_threads()
    parts.append(f"{threads} thread{'s' * (threads > 1)}")
    if torch.cuda.is_available():
        parts += [torch.cuda.get_device_name(), *_driver_and_clocks()]
        parts += [f"CUDA {torch.version.cuda}", f"cuDNN {torch.backends.cudnn.version()}"]
    return ", ".join(
        [*parts, f"PyTorch {torch.__version__}", f"Python {platform.python_version()}"]
    )


def _driver_and_clocks() -> list[str]:
    """Return the driver of the GPU, and the clocks of its cores and its memory, if it tells."""
    query = "--query-gpu=driver_version,clocks.max.sm,clocks.max.memory"
    command = ["nvidia-smi", query, "--format=csv,noheader", "--id=0"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        driver, core_clock, memory_clock = found.stdout.strip().split(", ")
    except (OSError, subprocess.SubprocessError, ValueError):
        return []
    return [f"driver {driver}", f"at most {core_clock}", f"memory at most {memory_clock}"]


def seconds_of(command: list[str], cwd: Path, until: str = "") -> float:
    """Return the seconds until a command ends, or until it prints a line starting with `until`.

    ValueError if it fails, or ends before.
    """
    return timed_command(command, cwd, until)[0]


def timed_command(command: list[str], cwd: Path, until: str = "") -> tuple[float, list[str]]:
    """Like `seconds_of`; also return the lines that a command that ended has printed."""
    started = time.perf_counter()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=cwd, start_new_session=True, **pipes)
    if until:
        found = any(line.startswith(until) for line in process.stdout)
        seconds = time.perf_counter() - started
        if found:
            os.killpg(process.pid, signal.SIGKILL)  # its workers too
            process.communicate()
            return seconds, []
    out, error = process.communicate()
    if process.returncode or until:
        raise ValueError(
            f"{' '.join(command)}: {error.strip() or 'ended before the expected line'}"
        )
    return time.perf_counter() - started, [*out.splitlines(), *error.splitlines()]
