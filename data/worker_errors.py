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
    soft_limit, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft_limit != unlimited and soft_limit < FILES:
        with contextlib.suppress(ValueError, OSError):
            raised = FILES if hard_limit == unlimited else min(FILES, hard_limit)
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard_limit))
            soft_limit = raised
    needed = LEAST_FILES + FILES_EACH * threads
    if soft_limit != unlimited and soft_limit < needed:
        raise RunStopped(
            f"--num_threads {threads}: needs {needed} open files, `ulimit -n` allows {soft_limit}: "
            f"raise the limit, `ulimit -n {FILES}`, or use --num_threads 0"
        )


def explained(error: Exception, threads: int, starting: bool) -> Exception:
    """Return a `RunStopped` with what to change, if a limit of the system ended the loading; else
    the error itself.

    `threads` is the number of processes that load, `starting` says that none has loaded yet.
    """
    if isinstance(error, RunStopped):
        return error
    message = last_words(error)
    for pattern, (meaning, fix) in LIMITS.items():
        if re.search(pattern, _said(error, threads), re.IGNORECASE):
            return RunStopped(f"{meaning} ({message}): {fix.format(threads=threads)}")
    unable = isinstance(error, OSError) and error.errno in NO_START and not error.filename
    if starting and threads and (unable or "can't start new thread" in message):
        return RunStopped(
            f"the processes that load images cannot start ({message}): use --num_threads 0"
        )
    return error


def _said(error: Exception, threads: int) -> str:
    """Return the part of a message that may tell of a limit."""
    too_many_files = os.strerror(errno.EMFILE)
    if too_many_files in str(error):  # of an image too, which is then not to blame
        return too_many_files
    named = isinstance(error, OSError) and error.filename  # by a file, of any name
    return str(error) if threads and isinstance(error, OSError | RuntimeError) and not named else ""


def last_words(error: Exception) -> str:
    """Return the last line of an error; in that of a worker, a traceback comes before it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].partition(": ")[2] if lines[0].startswith("Caught ") else lines[0]
