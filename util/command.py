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

    A user's mistake (ValueError, OSError) is said on one line, status 2; --verbose adds where.
    So is the end of a run before its end, with a status of its own.
    """
    try:
        main(args)
    except RunStopped as stop:
        return _say(str(stop), stop.status)
    except KeyboardInterrupt as stop:
        return _say(str(stop) or "interrupted", getattr(stop, "status", 130))
    except (ValueError, OSError) as error:
        if "--verbose" in (sys.argv if args is None else args):
            log.exception("where it happened:")
        return _say(f"error: {with_source_line(error)}", 2)
    return 0


def _say(message: str, status: int) -> int:
    sys.stdout.flush()
    print(f"{Path(sys.argv[0]).name}: {' '.join(message.split())}", file=sys.stderr)
    return status


def python() -> list[str]:
    """Return how to start a script here: under `uv run`, plain `python` would lack the packages."""
    return ["uv", "run"] if "UV" in os.environ else ["python"]


class Output(logging.StreamHandler):
    """Logs to a stream; keeps running silently when it is closed (`| head`)."""

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
