"""The free memory of this machine, container or job, and what this process has taken of it."""

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch


class Names(NamedTuple):
    """The files of a memory cgroup, and what memory.stat calls the page cache of it."""

    limit: str
    used: str
    page_cache: str


V1 = Names("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = Names("memory.max", "memory.current", "inactive_file")


def free_memory(root: Path = Path("/")) -> float:
    """Return the free fraction of the memory of the machine or container; 0 if unknown."""
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        values = {name: int(rest.split()[0]) for name, _, rest in (x.partition(":") for x in lines)}
        free = values["MemAvailable"] / values["MemTotal"]
    except (OSError, ValueError, KeyError, IndexError):
        return 0.0
    return min([free, *(_free_in(group, names) for group, names in _groups(root))])


def peak_memory(device: torch.device) -> int:
    """Return the most bytes that this process has had: of tensors on a GPU, else of the machine's
    memory; 0 if unknown.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "linux":  # where getrusage() counts the process that started this one, too
        status = Path("/proc/self/status").read_text()
        peaks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
        return int(peaks[0]) * 1024 if peaks else 0
    try:
        import resource  # not on Windows
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def reset_peak() -> None:
    """Set the peak of this process's memory back to what it holds now; Linux only."""
    Path("/proc/self/clear_refs").write_text("5")


@cache
def _groups(root: Path) -> list[tuple[Path, Names]]:
    """Return the memory cgroups of this process and those above it; each may have a limit."""
    return [(group, names) for group, names in _places(root) if (group / names.limit).exists()]


def _places(root: Path) -> Iterator[tuple[Path, Names]]:
    """Yield where such groups are, in both versions of cgroups."""
    mount = root / "sys/fs/cgroup"
    paths = {"": "/", "memory": "/"}  # by controller; a container sees its own group as the root
    try:
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            paths |= dict.fromkeys(controllers.split(","), path)
    except (OSError, ValueError):
        pass
    for top, controller, names in (
        (mount, "", V2),
        (mount / "unified", "", V2),
        (mount / "memory", "memory", V1),
    ):
        below = Path(paths[controller].lstrip("/"))
        yield top, names
        yield from ((top / group, names) for group in (below, *below.parents) if group.parts)


def _free_in(group: Path, names: Names) -> float:
    """Return the free fraction of a cgroup's memory; 1 without a limit, or without the group."""
    try:
        limit, used = (int((group / name).read_text()) for name in (names.limit, names.used))
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        used -= int(stat.get(names.page_cache, 0))  # which the kernel drops on demand
        return max(1 - used / limit, 0.0)
    except (OSError, ValueError, ZeroDivisionError):
        return 1.0
