"""A new run under the name of an earlier one: the earlier one is moved aside and stays whole."""

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from training.run_lock import LOCK, LaunchInfo, job_record, lock_run_folder, record_of_launch
from util.command import run_line
from util.files import folder_size, in_words, run_folder

log = logging.getLogger(__name__)

WINDOWS = os.name == "nt"  # where a folder with an open file cannot be renamed


@contextlib.contextmanager
def own_run_folder(opt: Any, launches: Sequence[LaunchInfo]) -> Iterator[str]:
    """Lock the folder of a run, after an earlier run of its name is moved aside.

    Gives the line that says where that is, to be logged once the training begins; "" for none.
    The earlier run stays in place with --continue_train or --overwrite, and for a restart of the
    launch that began it. If the block ends with an error before it trains, the earlier run is put
    back; a new folder is removed if the error is a user's mistake.
    ValueError if another process uses the folder, or if the earlier run cannot be moved.
    """
    folder = run_folder(opt).resolve()  # of a link, what it points to is moved
    record, aside, new = job_record(folder, launches), None, not folder.exists()
    restarted = record_of_launch(folder, launches) is not None
    stays = opt.continue_train or opt.overwrite or restarted or not holds_weights(folder)
    # If the earlier run cannot be moved aside, its lock file must not hold this launch: a restart
    # of this launch would take the earlier run for its own.
    with lock_run_folder(folder, record if stays else None):
        if stays:
            with removed_unless_begun(folder) if new else contextlib.nullcontext():
                yield ""
            return
        size = in_words(folder_size(folder))
        if not WINDOWS:
            aside = move_aside(folder, opt)
    aside = aside or move_aside(folder, opt)
    # On an error the lock file is closed first: some file systems cannot remove a folder with an
    # open file.
    with put_back_unless_begun(aside, folder, opt), lock_run_folder(folder, record):
        yield moved_line(aside, size, opt)


def holds_weights(folder: Path) -> bool:
    """Return whether a folder holds weights of a run."""
    return any(folder.glob("*_net_*.pth"))


def has_begun(folder: Path) -> bool:
    """Return whether a run has saved anything, or shown a loss."""
    log_file = folder / "loss_log.txt"
    shown = log_file.exists() and "(epoch: " in log_file.read_text(errors="replace")
    return shown or any(folder.glob("*.pth"))


def move_aside(folder: Path, opt: Any) -> Path:
    """Rename the folder of an earlier run, and return its new path."""
    aside = free_name(folder)
    try:
        folder.rename(aside)
    except OSError as error:
        raise ValueError(
            f"--name {opt.name}: {run_folder(opt)} holds an earlier run, which cannot be moved "
            f"aside ({error.strerror}); use another --name, --continue_train to resume it, or "
            f"--overwrite to replace it"
        ) from None
    return aside


def moved_line(aside: Path, size: str, opt: Any) -> str:
    """Return where an earlier run of some size is now, and how to resume it."""
    near = aside.parent == Path("./checkpoints").resolve()
    place = [] if near else ["--checkpoints_dir", aside.parent]
    resume = run_line("train.py", "--name", aside.name, *place, "--continue_train")
    return (
        f"{run_folder(opt)} held an earlier run ({size}), which is now {aside.name}; to resume it: "
        f"{resume} (delete it when you need it no more; --overwrite deletes in place of moving)"
    )


def free_name(folder: Path) -> Path:
    """Return a path beside a folder that says when it was moved aside, and is not taken."""
    name = f"{folder.name}.before-{time.strftime('%Y-%m-%d-%H%M%S')}"
    number, path = 1, folder.with_name(name)
    while os.path.lexists(path):
        number += 1
        path = folder.with_name(f"{name}-{number}")
    return path


@contextlib.contextmanager
def removed_unless_begun(folder: Path) -> Iterator[None]:
    """Remove a new folder if the block ends with a user's mistake before the run trains."""
    try:
        yield
    except ValueError:
        with contextlib.suppress(OSError):
            if not has_begun(folder):
                shutil.rmtree(folder)
        raise


@contextlib.contextmanager
def put_back_unless_begun(aside: Path, folder: Path, opt: Any) -> Iterator[None]:
    """Put an earlier run back if the block ends with an error before the new one trains."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            if not has_begun(folder):
                was_logged = (folder / "loss_log.txt").exists()  # that it was moved: see train.py
                shutil.rmtree(folder, ignore_errors=True)  # the lock may have removed it
                aside.rename(folder)
                # It names this launch, whose restart would take the earlier run for its own.
                (folder / LOCK).unlink(missing_ok=True)
                if was_logged:
                    log.info("moved back: %s is the earlier run again", run_folder(opt))
        raise
