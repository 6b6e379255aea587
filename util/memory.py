"""How much memory is left."""

from pathlib import Path


def free_memory(root: Path = Path("/")) -> float:
    """Return the share of the memory that is free, of the machine or of the container; 0 where
    the system does not tell.
    """
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        values = {name: int(rest.split()[0]) for name, _, rest in (x.partition(":") for x in lines)}
        free = values["MemAvailable"] / values["MemTotal"]
    except (OSError, ValueError, KeyError, IndexError):
        return 0.0
    try:
        group = root / "sys/fs/cgroup"
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
        stat = dict(x.split() for x in (group / "memory.stat").read_text().splitlines())
        used -= int(stat.get("inactive_file", 0))  # files that were read, dropped when needed
    except (OSError, ValueError):  # no limit, or another kind of container
        return free
    return min(free, 1 - used / limit)
