"""Errors that a command prints on one line."""

import errno
import traceback
from pathlib import Path

from util.files import ROOT


class RunStopped(Exception):
    """Ends the run with exit status `status`; the message says why, and how to resume."""

    def __init__(self, message: str, status: int = 1):
        super().__init__(message)
        self.status = status


def one_line(error: Exception, most: int | None = None) -> str:
    """Return an error's message on one line, of at most so many characters."""
    text = " ".join(str(error).split())
    return text if most is None or len(text) <= most else f"{text[: most - 1]}…"


def with_source_line(error: Exception) -> Exception:
    """Add file and line to an error not raised by our own checks.

    It is probably a bug in the project, most likely in a model or dataset that the user added.
    """
    frames = traceback.extract_tb(error.__traceback__)
    ours = [
        frame
        for frame in frames
        if Path(frame.filename).is_relative_to(ROOT) and "site-packages" not in frame.filename
    ]
    raised = ours and ours[-1] is frames[-1] and (frames[-1].line or "").startswith("raise ")
    if isinstance(error, OSError) or raised or not ours:
        return error
    place = f"{Path(ours[-1].filename).relative_to(ROOT)}, line {ours[-1].lineno}"
    return ValueError(f"{error} ({place}; --verbose shows the traceback)")


ADVICE = {
    errno.EMFILE: "raise the limit, `ulimit -n 4096`, or use --num_threads 0",
    errno.ENFILE: "this machine has too many open files; use --num_threads 0",
}


FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


def with_advice(error: Exception) -> str:
    """Return an error's message, with what to do about a limit of the system."""
    number = getattr(error, "errno", None)
    if number in FULL_DISK and error.filename:
        return f"{error.filename}: could not be written ({error.strerror})"
    advice = ADVICE.get(number)
    return f"{error}; {advice}" if advice else str(error)
