"""How a command runs: its log lines, its one-line errors, its exit status."""

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from util.errors import FULL_DISK, RunStopped, with_advice, with_source_line
from util.files import ROOT
from util.names import ESCAPE, command_line

log = logging.getLogger(__name__)


def run_command(
    main: Callable[[Sequence[str] | None], None], args: Sequence[str] | None = None
) -> int:
    """Run a command's `main` on `args` (default: sys.argv[1:]) and return its exit status.

    A user's mistake (ValueError, OSError) prints one line and gives status 2; --verbose adds the
    traceback. `RunStopped` and Ctrl-C print one line and give their own status.
    """
    write_any_text()
    try:
        main(args)
    except RunStopped as stop:
        return _say(str(stop), stop.status)
    except KeyboardInterrupt as stop:
        return _say(str(stop) or "interrupted", getattr(stop, "status", 130))
    except (ValueError, OSError) as error:
        if "--verbose" in (sys.argv if args is None else args):
            log.exception("traceback:")
        disk_full = getattr(error, "errno", None) in FULL_DISK  # no mistake in the command
        return _say(f"error: {with_advice(with_source_line(error))}", 1 if disk_full else 2)
    _flush()
    return 0


def words_of(args: Sequence[str] | None) -> list[str]:
    """Return the words that a command is to parse: `args`, by default those of the command line.

    In a notebook the default is none, since the line there is that of its kernel.
    """
    if args is not None:
        return [str(word) for word in args]
    return [] if Path(sys.argv[0]).name.endswith("kernel_launcher.py") else sys.argv[1:]


def write_any_text() -> None:
    """Let standard output and errors escape what their encoding lacks, in place of an error.

    One that is closed, as by `>&-`, writes to nowhere.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):  # not in a notebook
            stream.reconfigure(errors=ESCAPE)


def _say(message: str, status: int) -> int:
    _flush()
    with contextlib.suppress(OSError):  # a terminal that has hung up
        print(f"{Path(sys.argv[0]).name}: {' '.join(message.split())}", file=sys.stderr, flush=True)
    return status


def _flush() -> None:
    """Write what standard output has kept; an error, now or at exit, would change the status."""
    try:
        sys.stdout.flush()
    except OSError:
        _discard(sys.stdout)


def _discard(stream: Any) -> None:
    """Let a stream write to nowhere from now on."""
    with contextlib.suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


# Commands to print ------------------------------------------------------------------------


def python() -> list[str]:
    """Return the words that start Python, as the user typed them: `uv run` if uv started it."""
    if "UV" in os.environ:
        return ["uv", "run"]
    typed = sys.orig_argv[0] if sys.orig_argv else ""
    return [typed if "python" in Path(typed).name.lower() else "python"]


def torchrun() -> list[str]:
    """Return the words that start torchrun in the environment of this Python."""
    *before, typed = python()
    if before:
        return ["uv", "run", "torchrun"]
    path = Path(typed).with_name("torchrun")
    return [str(path) if os.sep in typed and path.exists() else "torchrun"]


def script(name: str) -> str:
    """Return the path of train.py or test.py from the current folder, as the user typed it."""
    for path in (Path(name), Path(sys.argv[0]).with_name(name)):
        with contextlib.suppress(OSError):
            if path.samefile(ROOT / name):
                return str(path)
    return str(ROOT / name)


def run_line(what: str, *words: Any) -> str:
    """Return the command line that runs train.py, test.py or a module from the current folder.

    A module may need another folder; the line then changes to it, and each Path among the words
    is absolute.
    """
    if what.endswith(".py"):
        return command_line([*python(), script(what), *words])
    start = [*python(), "-m", what]
    if finds_modules():
        return command_line([*start, *words])
    start[0] = os.path.abspath(start[0]) if os.sep in start[0] else start[0]
    words = [os.path.abspath(word) if isinstance(word, Path) else word for word in words]
    change = ["pushd" if os.name == "nt" else "cd", ROOT]  # pushd also changes the drive
    return f"{command_line(change)} && {command_line([*start, *words])}"


def finds_modules() -> bool:
    """Return whether `python -m scripts.NAME` works in the current folder."""
    folders = [".", *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return any(Path(folder).resolve() == ROOT for folder in folders)


class Output(logging.StreamHandler):
    """Logs to a stream in its encoding; a stream that cannot be written is no error."""

    def format(self, record: logging.LogRecord) -> str:
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        return super().format(record).encode(encoding, ESCAPE).decode(encoding)

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif error.errno in (errno.EPIPE, errno.EIO):  # `| head`, a terminal that has hung up
            _discard(self.stream)


def setup_logging(stream: TextIO | None = None) -> None:
    """Send log lines to a stream, by default standard output, one plain message a line."""
    handler = Output(stream or sys.stdout)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler])
    logging.getLogger("every process").setLevel(logging.INFO)
