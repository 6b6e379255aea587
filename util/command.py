"""How a command runs: its log lines, its one-line errors, its exit status."""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from util.errors import RunStopped, with_source_line

log = logging.getLogger(__name__)


def run_command(
    main: Callable[[Sequence[str] | None], None], args: Sequence[str] | None = None
) -> int:
    """Run a command's `main` on `args` (default: sys.argv[1:]) and return its exit status.

    A user's mistake (ValueError, OSError) prints one line and gives status 2; --verbose adds the
    traceback. `RunStopped` and Ctrl-C print one line and give their own status.
    """
    try:
        main(args)
    except RunStopped as stop:
        return _say(str(stop), stop.status)
    except KeyboardInterrupt as stop:
        return _say(str(stop) or "interrupted", getattr(stop, "status", 130))
    except (ValueError, OSError) as error:
        if "--verbose" in (sys.argv if args is None else args):
            log.exception("traceback:")
        return _say(f"error: {with_source_line(error)}", 2)
    return 0


def _say(message: str, status: int) -> int:
    sys.stdout.flush()
    print(f"{Path(sys.argv[0]).name}: {' '.join(message.split())}", file=sys.stderr)
    return status


def python() -> list[str]:
    """Return the command that starts a script: `uv run` if uv started this one, else `python`."""
    return ["uv", "run"] if "UV" in os.environ else ["python"]


class Output(logging.StreamHandler):
    """Logs to a stream; keeps running silently when the stream is closed (`| head`)."""

    def handleError(self, record: logging.LogRecord) -> None:
        if isinstance(sys.exc_info()[1], BrokenPipeError):
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), self.stream.fileno())
        else:
            super().handleError(record)


def setup_logging() -> None:
    """Send log lines to standard output, one plain message a line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[Output(sys.stdout)])
    logging.getLogger("every process").setLevel(logging.INFO)
