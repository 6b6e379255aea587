"""One run at a time in a run folder; restarts by torchrun or Slurm that resume by themselves."""

import contextlib
import errno
import json
import logging
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from util.files import make_folder

log = logging.getLogger(__name__)

LOCK = ".lock"  # names the process that owns a run's folder
RESUME_FLAGS = ("--continue_train", "--epoch", "latest", "--load_iter", "0")
# POSIX allows both for a lock that is held: Linux says EAGAIN of disks and NFS, EACCES of SMB.
# NFS may also say EACCES without permission and EAGAIN without a lock server; ENOLCK says no locks.
MAYBE_HELD = {errno.EAGAIN, errno.EACCES}
FAR = 2**30  # Windows locks a byte, which others cannot read: not one of the content


class LaunchInfo(NamedTuple):
    """How this process was launched: job id, torchrun agent, restart count.

    An agent does not count restarts that another agent requested.
    """

    job: str
    agent: str
    restarts: int


def launch_info() -> LaunchInfo:
    """Return how this process was launched."""
    get = os.environ.get
    job = get("SLURM_JOB_ID") or get("TORCHELASTIC_RUN_ID", "")
    # FOLDER_OF_THE_AGENT/attempt_0/0/error.json
    agent = "/".join(get("TORCHELASTIC_ERROR_FILE", "").split("/")[:-3])
    names = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
    return LaunchInfo(job, agent, sum(int(get(name) or 0) for name in names))


def job_record(folder: Path, launches: Sequence[LaunchInfo]) -> dict[str, Any]:
    """Return the job's id, its agents, and the checkpoint that it found when it began.

    `launches` has one entry per rank. A restart uses this to tell its own checkpoint from one of an
    older run of the same name. The lock file keeps it.
    """
    if record := record_of_launch(folder, launches):
        return record
    agents = sorted({launch.agent for launch in launches} - {""})
    return {"job": launches[0].job, "agents": agents, "found": _state(folder)}


def record_of_launch(folder: Path, launches: Sequence[LaunchInfo]) -> dict[str, Any] | None:
    """Return the record of the job that these launches restart; None if they are its first."""
    job, agents = launches[0].job, {launch.agent for launch in launches} - {""}
    try:
        record = json.loads((folder / LOCK).read_text(encoding="utf-8"))
        recorded = set(record["agents"])
        # torchrun calls every launch "none" that is given no id: only its agents tell these apart.
        counted = job not in ("", "none") and any(launch.restarts for launch in launches)
        if record["job"] == job and (counted or recorded.intersection(agents)):
            return {"job": job, "agents": sorted(recorded.union(agents)), "found": record["found"]}
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no lock file of this job
    return None


def restart_flags(folder: Path, launches: Sequence[LaunchInfo]) -> Sequence[str]:
    """Return the flags with which a restarted training resumes; none before its first save."""
    state = _state(folder)
    return RESUME_FLAGS if state and state != job_record(folder, launches)["found"] else ()


def _state(folder: Path) -> str:
    try:
        stat = (folder / "latest_state.pth").stat()
    except OSError:
        return ""
    return f"{stat.st_mtime_ns}/{stat.st_size}"


@contextlib.contextmanager
def lock_run_folder(folder: Path, more: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Lock a run's folder; ValueError if another running process holds the lock.

    Creates the folder, and removes it at the end if it is still empty. The system releases the
    lock when its process ends, even after a crash. Workers do not inherit it. `more` is written
    to the lock file.
    """
    new_folders = [path for path in (folder, *folder.parents) if not path.exists()]
    path = make_folder(folder, "--checkpoints_dir") / LOCK
    try:
        with _opened(path) as file:
            if file:
                _own(file, folder, more or {})
            for leftover in folder.glob(".*.pth.[0-9]*"):  # of a process that was killed in a save
                with contextlib.suppress(OSError):
                    leftover.unlink()
            yield
    finally:
        with contextlib.suppress(OSError):  # the drive may be gone
            if new_folders and {p.name for p in folder.glob("*")} <= {LOCK}:
                path.unlink(missing_ok=True)
                for empty in new_folders:
                    if empty.exists():
                        empty.rmdir()


def _opened(path: Path) -> contextlib.AbstractContextManager[TextIO | None]:
    try:
        return path.open("a+", encoding="utf-8")
    except PermissionError as error:  # another user's
        _warn(path.parent, error)
        return contextlib.nullcontext()


def _own(file: TextIO, folder: Path, more: Mapping[str, Any]) -> None:
    try:
        _lock(file.fileno())
    except OSError as error:
        if error.errno in MAYBE_HELD and _has_locks(folder):
            file.seek(0)
            raise ValueError(
                f"--name {folder.name}: {folder} is in use by {_owner(file.read())}; wait for it "
                f"or choose another --name"
            ) from None
        _warn(folder, error)
    try:
        file.seek(0)
        file.truncate()
        json.dump({"process": os.getpid(), "machine": socket.gethostname(), **more}, file)
        file.flush()
    except OSError as error:
        with contextlib.suppress(OSError):
            file.close()  # else the end of its block tries to write again
        raise ValueError(
            f"--checkpoints_dir: {folder / LOCK} cannot be written ({error.strerror})"
        ) from None


def _warn(folder: Path, error: OSError) -> None:
    log.warning(
        "%s cannot be locked (%s): start no second run of this name", folder, error.strerror
    )


def _has_locks(folder: Path) -> bool:
    """Return whether the folder's file system locks files: a new one, which nobody else holds."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            _lock(file.fileno())
    except OSError:
        return False
    return True


def _owner(text: str) -> str:
    try:
        owner = json.loads(text)
        return f"process {owner['process']} on {owner['machine']}"
    except (ValueError, KeyError, TypeError):
        return "another process"


def _lock(descriptor: int) -> None:
    """Lock a file for this process; OSError if that is not possible."""
    if os.name == "posix":
        import fcntl

        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        import msvcrt

        os.lseek(descriptor, FAR, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
