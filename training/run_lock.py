"""A training that torchrun or Slurm has started anew, after a failure, goes on by itself."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from util.files import LOCK

GOING_ON = ("--continue_train", "--epoch", "latest", "--load_iter", "0")


class Start(NamedTuple):
    """What a process can tell of how it was started: by which job, by which of torchrun's agents,
    how often before.

    An agent does not count the restarts that another one has asked for.
    """

    job: str
    agent: str
    restarts: int


def this_start() -> Start:
    """Return how this process was started."""
    get = os.environ.get
    job = get("SLURM_JOB_ID") or get("TORCHELASTIC_RUN_ID", "")
    # FOLDER_OF_THE_AGENT/attempt_0/0/error.json
    agent = "/".join(get("TORCHELASTIC_ERROR_FILE", "").split("/")[:-3])
    names = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
    return Start(job, agent, sum(int(get(name) or 0) for name in names))


def beginning(folder: Path, starts: Sequence[Start]) -> dict[str, Any]:
    """Return which job this is, by which agents, and which saved state it found in its folder when
    it began; `starts` are those of all processes.

    That is how a restart knows a state of its own from one of an older run of that name. The
    owner of the folder keeps it in the lock file.
    """
    job, agents = starts[0].job, sorted({start.agent for start in starts} - {""})
    try:
        kept = json.loads((folder / LOCK).read_text(encoding="utf-8"))
        known = set(kept["agents"])
        again = any(start.restarts for start in starts) or known.intersection(agents)
        if kept["job"] == job and again:
            return {"job": job, "agents": sorted(known.union(agents)), "found": kept["found"]}
    except (OSError, ValueError, KeyError, TypeError):
        pass  # nothing came so far before
    return {"job": job, "agents": agents, "found": _state(folder)}


def flags_of_restart(folder: Path, starts: Sequence[Start]) -> Sequence[str]:
    """Return the flags by which a restarted training goes on; none if it has saved nothing."""
    now = _state(folder)
    return GOING_ON if now and now != beginning(folder, starts)["found"] else ()


def _state(folder: Path) -> str:
    try:
        stat = (folder / "latest_state.pth").stat()
    except OSError:
        return ""
    return f"{stat.st_mtime_ns}/{stat.st_size}"
