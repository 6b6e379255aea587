"""Static sites of runs, served by Python's own server."""

import contextlib
import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import export
from scripts.static_site import runtime


@functools.cache
def runtime_is_there() -> bool:
    """Return whether npm has the runtime of a site, or has had it."""
    try:
        with runtime.runtime_folder(None):
            return True
    except ValueError:
        return False


def site_of(run: Path, *flags: str) -> Path:
    """Export the site of a run; the test is skipped where there is no runtime."""
    if not runtime_is_there():
        pytest.skip(f"npm pack {runtime.PACKAGE} is not possible here")
    folder = run.parent / "site"
    place = ["--name", run.name, "--checkpoints_dir", str(run.parent)]
    export.main([*place, "--site", str(folder), *flags])
    return folder


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files, and says nothing of it."""

    def log_message(self, *args: object) -> None:
        pass


@contextlib.contextmanager
def hosted(folder: Path) -> Iterator[str]:
    """Serve a folder as `python -m http.server` does; yield its address."""
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join(20)
