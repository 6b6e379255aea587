"""Draw in the browser and watch the translation: `python -m scripts.draw --name facades`.

Serves a page on this machine with a canvas and the translation beside it, updated as you draw. The
canvas has the label colours of the run, a pen, or a place for photos. --name defaults to the newest
run. Other flags, such as --epoch or --eval, are those of test.py.
"""

import contextlib
import errno
import logging
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # python scripts/draw.py

from options.parser import OneLineParser, number
from scripts.drawing.subject import describe_run, newest_run
from translator import Translator, run_options
from util.command import run_command, setup_logging

log = logging.getLogger(__name__)

LOOPBACK = ["localhost", "127.0.0.1", "[::1]"]


def main(argv: Sequence[str] | None = None) -> None:
    """Serve the page until Ctrl-C; ValueError for a user's mistake."""
    setup_logging()
    args, flags = parse(argv)
    try:
        import uvicorn

        from scripts.drawing.server import Studio, make_app
    except ModuleNotFoundError as error:
        raise ValueError(f"{error}: the page needs `pip install starlette uvicorn`") from None
    translator = Translator(run_options(flags, also=args.flags))
    subject, examples = describe_run(translator)
    hosts = [*LOOPBACK, bracketed(args.host), *args.allow_host]
    app = make_app(Studio(translator, subject, examples), hosts)
    listening = listen(args.host, args.port)
    port = listening.getsockname()[1]
    log.info("draw for %s at http://%s:%d/ (stop with Ctrl-C)", subject.name, hosts[3], port)
    if hosts[3] not in LOOPBACK:
        log.warning("--host %s: anyone who can reach this machine can use the page", args.host)
    config = uvicorn.Config(
        app, log_level="warning", limit_concurrency=100, timeout_graceful_shutdown=3
    )
    server = uvicorn.Server(config)
    # At shutdown, do not log errors about unfinished requests.
    logging.getLogger("uvicorn.error").addFilter(lambda record: not server.should_exit)
    with contextlib.suppress(KeyboardInterrupt), listening:
        server.run(sockets=[listening])


def parse(argv: Sequence[str] | None) -> tuple[Any, list[str]]:
    """Return our own flags, and the flags for test.py, which name the run."""
    parser = OneLineParser(prog="python -m scripts.draw", description=__doc__)
    add = parser.add_argument
    add("--name", help="name of the run; by default the newest in --checkpoints_dir")
    add("--checkpoints_dir", type=Path, help="folder of all runs, by default ./checkpoints")
    add(
        "--host",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0 also serves other machines",
    )
    add(
        "--port",
        type=number(int, 0, 65535),
        default=8000,
        help="port to listen on; 0: any free port",
    )
    add("--allow_host", nargs="+", action="extend", default=[], help="other names of this machine")
    args, test_flags = parser.parse_known_args(argv)
    args.flags = parser.flags()
    place = {"--checkpoints_dir": args.checkpoints_dir, "--name": args.name}
    flags = [word for flag, value in place.items() if value for word in (flag, str(value))]
    opt = run_options([*flags, *test_flags], also=args.flags)
    if "name" not in opt.given:  # nor in a --config file
        flags += ["--name", newest_run(Path(opt.checkpoints_dir))]
    return args, [*flags, *test_flags]


def bracketed(host: str) -> str:
    """Return an address in the form used in a URL."""
    return f"[{host}]" if ":" in host else host


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; ValueError if the address or port is not available."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=64)
    except OSError as error:
        why = error.strerror or str(error)
        fix = "; use --port 0 for any free port" if error.errno == errno.EADDRINUSE else ""
        raise ValueError(f"--host {host} --port {port}: {why}{fix}") from None


if __name__ == "__main__":
    raise SystemExit(run_command(main))
