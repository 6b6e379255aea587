"""A training that torchrun or Slurm has started anew, after a failure, goes on by itself."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from util.files import LOCK

GOING_ON = ("--continue_train", "--epoch", "latest", "--load_iter", "0")


def attempt() -> int:
    """Return how often torchrun (`--max_restarts`) or Slurm (`--requeue`) has started this training
    before.
    """
    counts = (os.environ.get(f"{name}_RESTART_COUNT") for name in ("TORCHELASTIC", "SLURM"))
    return sum(int(count) for count in counts if count)


def beginning(folder: Path) -> dict[str, str]:
    """Return which job this is, and which saved state it found in its folder when it began.

    That is how a restart knows a state of its own from one of an older run of that name. The
    owner of the folder keeps it in the lock file.
    """
    job = os.environ.get("SLURM_JOB_ID") or os.environ.get("TORCHELASTIC_RUN_ID", "")
    if attempt():
        try:
            kept = json.loads((folder / LOCK).read_text(encoding="utf-8"))
            if kept["job"] == job:
                return {"job": job, "found": str(kept["found"])}
        except (OSError, ValueError, KeyError, TypeError):
            pass  # it did not come so far before
    return {"job": job, "found": _state(folder)}


def flags_of_restart(folder: Path) -> Sequence[str]:
    """Return the flags by which a restarted training goes on; none if it has saved nothing."""
    now = _state(folder)
    return GOING_ON if attempt() and now and now != beginning(folder)["found"] else ()


def _state(folder: Path) -> str:
    try:
        stat = (folder / "latest_state.pth").stat()
    except OSError:
        return ""
    return f"{stat.st_mtime_ns}/{stat.st_size}"
