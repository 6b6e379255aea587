"""What the tests of live displays share: servers that answer, refuse and hang; clocks; warnings."""

import http.server
import json
import logging
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import torch
from conftest import TINY

from options.train_options import TrainOptions
from util.displays import display, visdom_display
from util.displays.display import BackgroundDisplay
from util.displays.loss_log import parse_line
from util.visualizer import Visualizer

HANG = 600.0  # seconds after which a client gives up a server that does not answer
AT_ONCE = 60.0  # seconds: a call that waits for such a server takes longer, load takes less
ROUNDING = 0.01  # seconds by which a wait may end early
LOSSES = {"G_GAN": 0.75, "D_real": 0.5}
THREE = [(3, 6, 8)] * 3  # (C, H, W) of three images


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """Return what `condition` returns as soon as that is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds:.0f} s for {what}")


def seconds_of(action: Callable[[], Any]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return all that anybody has warned of."""
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


@dataclass
class Times:
    """Seconds of each update that is given to a live display, of each `close` of all, and those
    for which the end waits for a display.
    """

    updates: list[float]
    closes: list[float]
    waits: list[float]

    def are_bounded(self, close: float = display.FAREWELL) -> bool:
        """Return whether no update was waited for, and the end waited `close` seconds at most."""
        bounded = max(self.updates) < AT_ONCE and max(self.closes) < close + AT_ONCE
        return bounded and sum(self.waits) < close + ROUNDING and len(self.closes) == 1


def note_waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the seconds of each later wait for a thread, without what load adds to them."""
    waits: list[float] = []
    join = threading.Thread.join

    def noted(self: threading.Thread, timeout: float | None = None) -> None:
        spent = seconds_of(lambda: join(self, timeout))
        if timeout is not None:  # others are of data loaders
            waits.append(min(spent, timeout))

    monkeypatch.setattr(threading.Thread, "join", noted)
    return waits


def time_displays(monkeypatch: pytest.MonkeyPatch) -> Times:
    """Measure what the live displays cost from now on; a server may hang for longer than a test."""
    monkeypatch.setattr(visdom_display, "ANSWER", HANG)
    times = Times([], [], note_waits(monkeypatch))
    hand_over, close = BackgroundDisplay._hand_over, Visualizer.close

    def timed(self: BackgroundDisplay, *values: Any) -> None:
        times.updates.append(seconds_of(lambda: hand_over(self, *values)))

    def timed_close(self: Visualizer) -> None:
        times.closes.append(seconds_of(lambda: close(self)))

    monkeypatch.setattr(BackgroundDisplay, "_hand_over", timed)
    monkeypatch.setattr(Visualizer, "close", timed_close)
    return times


def be_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a slow machine finish what is to be looked at."""
    monkeypatch.setattr(display, "FAREWELL", 60.0)
    monkeypatch.setattr(display, "PATIENCE", 60.0)


def start_run(folder: Path, *flags: Any) -> Visualizer:
    """Return the visualizer of a run `r` in `folder`, 3 images an epoch, without a page."""
    args = ["--checkpoints_dir", folder, "--name", "r", "--gpu_ids", "-1", "--no_html", *flags]
    visualizer = Visualizer(TrainOptions().read([str(a) for a in args]))
    visualizer.start_epoch(1, images=3)
    return visualizer


def visuals(sizes: list[tuple[int, int, int]] = THREE, seed: int = 0) -> dict[str, torch.Tensor]:
    """Make an image of noise, (1, C, H, W) in [-1, 1], for each of three labels."""
    generator = torch.Generator().manual_seed(seed)
    pairs = zip(("real_A", "fake_B", "real_B"), sizes, strict=True)
    return {label: torch.rand(1, *size, generator=generator) * 2 - 1 for label, size in pairs}


def show_step(visualizer: Visualizer, iters: int, epoch: int = 1, seed: int = 0) -> None:
    """Show losses and images of a step."""
    visualizer.print_current_losses(epoch, iters, LOSSES, 0.5, 0.25)
    visualizer.display_current_results(visuals(seed=seed), epoch, False, iters)


def train(command: Callable, pairs: Path, *flags: Any, epochs: int = 1) -> SimpleNamespace:
    """Run a tiny training `r` that shows each of its steps, 3 an epoch."""
    often = ["--print_freq", "1", "--display_freq", "1", "--n_epochs", epochs]
    return command("train", *TINY, "--dataroot", pairs, "--name", "r", *often, *flags)


def trained(epochs: int = 1) -> bool:
    """Return whether that training went on to its end, and logged all steps."""
    run = Path("checkpoints/r")
    lines = (run / "loss_log.txt").read_text().splitlines()
    steps = [(e.epoch, e.iters) for line in lines if (e := parse_line(line))]
    saved = all((run / f"latest_net_{net}.pth").is_file() for net in "GD")
    return saved and steps == [(e + 1, i + 1) for e in range(epochs) for i in range(3)]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@dataclass
class VisdomServer:
    """A real server."""

    port: int
    process: subprocess.Popen

    def window(self, name: int, env: str = "main") -> dict[str, Any] | None:
        """Return a window as the server has it, if it has."""
        url = f"http://localhost:{self.port}/win_data"
        answer = requests.post(url, json={"eid": env, "win": str(name)}, timeout=60)
        return answer.json() if answer.text.startswith("{") else None


@contextmanager
def visdom_server(folder: Path) -> Iterator[VisdomServer]:
    """Start a visdom server; its own launcher would first download scripts."""
    port = free_port()
    start = (
        f"import sys; sys.argv = ['visdom', '-port', '{port}', '-env_path', {str(folder)!r}]; "
        "import visdom.server.run_server as server; server.main()"
    )
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, "-c", start], **silent)

    def answers() -> bool:
        assert process.poll() is None, "the visdom server has ended"
        try:
            requests.get(f"http://localhost:{port}", timeout=60)  # the page itself is missing
        except requests.ConnectionError:
            return False
        return True

    try:
        wait_for(answers, "visdom")
        yield VisdomServer(port, process)
    finally:
        process.kill()
        process.wait()


@contextmanager
def deaf_server() -> Iterator[int]:
    """Give the port of a server that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        yield server.getsockname()[1]


class Failing(http.server.BaseHTTPRequestHandler):
    """Answers 500 to all."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_error(500)

    do_GET = do_POST

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def failing_server() -> Iterator[int]:
    """Give the port of a server that answers every request with status 500."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Failing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def wandb_without_account(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the W&B client find nothing but defaults, and the folder as its home."""
    import matplotlib.font_manager  # noqa: F401  it keeps a list in the true home

    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("NETRC", str(folder / "netrc"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")


def wandb_records(folder: Path) -> list[Any]:
    """Return the records of the only run below `folder`/wandb; the file is a LevelDB log."""
    from wandb.proto import wandb_internal_pb2

    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    data, at, record, records = path.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:  # no record begins at the end of a block
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            records.append(wandb_internal_pb2.Record.FromString(record))
            record = b""
    return records


def wandb_history(folder: Path) -> dict[int, dict[str, Any]]:
    """Return what the only run below `folder`/wandb holds, by step; `a.b` is b of a."""
    rows = [r.history for r in wandb_records(folder) if r.HasField("history")]
    return {
        row.step.num: {i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in row.item}
        for row in rows
    }
