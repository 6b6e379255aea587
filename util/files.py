"""Files that exist whole or not at all, and folders that belong to one run."""

import contextlib
import json
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TextIO

ROOT = Path(__file__).resolve().parent.parent  # of the project
LOCK = ".lock"  # in a run's folder: whose it is


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`, which takes its place once all of it is on the disk.

    Whatever happens meanwhile, `path` holds all of the old or all of the new.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # elsewhere a folder cannot be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # so that the new name outlives a power cut
        finally:
            os.close(folder)


def run_folder(opt: Any) -> Path:
    """Return the folder of a run: CHECKPOINTS_DIR/NAME."""
    return Path(opt.checkpoints_dir) / opt.name


def one_line(error: Exception) -> str:
    """Return an error's message on one line."""
    return " ".join(str(error).split())


def make_folder(folder: str | Path, flag: str) -> Path:
    """Make a folder for output; ValueError names `flag` if it cannot be written."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ValueError(
            f"{flag}: {folder} cannot be written ({error.strerror}); choose another folder"
        ) from None
    return folder


@contextlib.contextmanager
def sole_owner(folder: Path, more: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Own a run's folder; ValueError if another process that lives does.

    The folder is made, and taken away if nothing comes into it. The system drops the lock when its
    process ends, however it ends. It is not inherited: a worker that outlives a killed run for a
    moment holds up nobody. `more` is kept in the lock file.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    path = make_folder(folder, "--checkpoints_dir") / LOCK
    try:
        with path.open("a+", encoding="utf-8") as file:
            _own(file, folder, more or {})
            for left in folder.glob(".*.pth.[0-9]*"):  # of a process that was killed in a save
                left.unlink(missing_ok=True)
            yield
    finally:
        if made and [p.name for p in folder.iterdir()] == [LOCK]:
            path.unlink()
            for empty in made:
                with contextlib.suppress(OSError):
                    empty.rmdir()


def _own(file: TextIO, folder: Path, more: Mapping[str, Any]) -> None:
    try:
        _lock(file.fileno())
    except BlockingIOError:
        file.seek(0)
        raise ValueError(
            f"--name {folder.name}: {folder} is in use by {_owner(file.read())}; wait for it "
            f"or choose another --name"
        ) from None
    except OSError:  # a file system without locks
        return
    file.seek(0)
    file.truncate()
    json.dump({"process": os.getpid(), "machine": socket.gethostname(), **more}, file)
    file.flush()


def _owner(text: str) -> str:
    try:
        owner = json.loads(text)
        return f"process {owner['process']} on {owner['machine']}"
    except (ValueError, KeyError, TypeError):
        return "another process"


def _lock(descriptor: int) -> None:
    if os.name == "posix":
        import fcntl

        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            raise BlockingIOError from None
