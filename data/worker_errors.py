"""Limits of the system that end the loading of images: what to change."""

import contextlib
import errno
import os
import re

from util.errors import RunStopped
from util.process_pool import NO_START

# What torch and Python say of a limit -> what that means, and what to do; the first that fits.
LIMITS = {
    r"too many open files|ancdata": (
        "too many open files",
        "raise the limit, `ulimit -n 4096`, or use --num_threads 0",
    ),
    r"shared memory|bus error|sigbus|</torch_|semlock|sem_open": (
        "the processes that load images need more shared memory",
        "use --num_threads 0, or enlarge /dev/shm (in Docker: --shm-size 8g)",
    ),
    r"^dataloader worker": (
        "a process that loads images was killed",
        "if memory ran out, use a smaller --num_threads than {threads}, --num_threads 0 or "
        "--cache none",
    ),
}
FILES = 4096  # open files to ask the system for
# That a command needs, and each process that loads; two of them failed below 32 in a trial.
LEAST_FILES, FILES_EACH = 40, 12


def allow_open_files(threads: int) -> None:
    """Raise this process's limit of open files, as far as it may.

    `RunStopped` if it stays too low: processes that reach it wait for each other without end.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if allowed != unlimited and allowed < FILES:
        with contextlib.suppress(ValueError, OSError):
            raised = FILES if most == unlimited else min(FILES, most)
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, most))
            allowed = raised
    needed = LEAST_FILES + FILES_EACH * threads
    if allowed != unlimited and allowed < needed:
        raise RunStopped(
            f"--num_threads {threads}: needs {needed} open files, `ulimit -n` allows {allowed}: "
            f"raise the limit, `ulimit -n {FILES}`, or use --num_threads 0"
        )


def explained(error: Exception, threads: int, starting: bool) -> Exception:
    """Return a `RunStopped` with what to change, if a limit of the system ended the loading; else
    the error itself.

    `threads` is the number of processes that load, `starting` says that none has loaded yet.
    """
    if isinstance(error, RunStopped):
        return error
    why = last_words(error)
    for pattern, (what, way_out) in LIMITS.items():
        if re.search(pattern, _said(error, threads), re.IGNORECASE):
            return RunStopped(f"{what} ({why}): {way_out.format(threads=threads)}")
    unable = isinstance(error, OSError) and error.errno in NO_START and not error.filename
    if starting and threads and (unable or "can't start new thread" in why):
        return RunStopped(
            f"the processes that load images cannot start ({why}): use --num_threads 0"
        )
    return error


def _said(error: Exception, threads: int) -> str:
    """Return the part of a message that may tell of a limit."""
    full = os.strerror(errno.EMFILE)
    if full in str(error):  # of an image too, which is then not to blame
        return full
    named = isinstance(error, OSError) and error.filename  # by a file, of any name
    return str(error) if threads and isinstance(error, OSError | RuntimeError) and not named else ""


def last_words(error: Exception) -> str:
    """Return the last line of an error; in that of a worker, a traceback comes before it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].partition(": ")[2] if lines[0].startswith("Caught ") else lines[0]
