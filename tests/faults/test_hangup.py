"""A terminal that is closed, or a connection that is lost, costs no step of a training."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import TINY, draw_pairs, gone

from util.signals import StoppedAtOnce, default_signals, handle_signals, status_of, worker_init

ROOT = Path(__file__).resolve().parents[2]
FLAGS = [*TINY, "--n_epochs", "500", "--print_freq", "1", "--no_html", "--cache", "none"]
COMMAND = [sys.executable, str(ROOT / "train.py"), *FLAGS, "--dataroot", "data", "--name", "r"]

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="a system without SIGHUP")


@pytest.fixture(autouse=True)
def not_ignored() -> None:
    """Let the tests be the same under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def test_the_first_signal_is_kept_and_only_an_impatient_second_stops_at_once(monkeypatch) -> None:
    monkeypatch.setattr("util.signals.SAME_SIGNAL", 0)
    with handle_signals() as signals:
        for _ in range(3):
            signal.raise_signal(signal.SIGHUP)
        assert signals.received == signal.SIGHUP and status_of(signals.received) == 129
        with pytest.raises(StoppedAtOnce) as stop:
            signal.raise_signal(signal.SIGTERM)
        assert stop.value.status == 143
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def test_a_signal_that_is_delivered_twice_is_one() -> None:
    with handle_signals() as signals:
        for _ in range(2):  # by its group, and by uv
            signal.raise_signal(signal.SIGINT)
        assert signals.received == signal.SIGINT


def test_a_hangup_that_follows_sigterm_changes_nothing() -> None:
    """A session's end may send both, one right after the other."""
    with handle_signals() as signals:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGHUP)
        assert signals.received == signal.SIGTERM


@pytest.mark.parametrize("block", [handle_signals, default_signals])
def test_what_nohup_ignores_stays_ignored(block: Callable) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with block() as signals:
        signal.raise_signal(signal.SIGHUP)
        assert signals is None or signals.received == 0
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_worker_leaves_it_to_the_training() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}, sys.excepthook
    try:
        worker_init()
        signal.raise_signal(signal.SIGHUP)
    finally:
        sys.excepthook = before[1]
        for number, handler in before[0].items():
            signal.signal(number, handler)


# Real trainings --------------------------------------------------------------------------


def started(folder: Path, *more: str) -> subprocess.Popen:
    """Start a training in a process group of its own; return it in mid-run."""
    draw_pairs(folder / "data", count=6, size=(800, 600))  # large, so that workers read them
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([*COMMAND, *more], cwd=folder, start_new_session=True, **pipes)
    for line in process.stdout:
        if line.startswith("(epoch: 2"):
            break
    return process


def saved(folder: Path) -> int:
    """Return the epoch of the last save."""
    state = torch.load(folder / "checkpoints/r/latest_state.pth", weights_only=True)
    return state["progress"]["epoch"]


@pytest.mark.slow
def test_a_hangup_saves_and_ends_the_workers_too(tmp_path: Path) -> None:
    process = started(tmp_path, "--num_threads", "2")
    for _ in range(3):
        os.killpg(process.pid, signal.SIGHUP)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 129, err
    assert err.startswith("train.py: stopped in epoch") and len(err.splitlines()) == 1
    assert saved(tmp_path) >= 2


@pytest.mark.slow
def test_nohup_trains_on(tmp_path: Path) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the process inherits it
    process = started(tmp_path, "--num_threads", "2")
    os.killpg(process.pid, signal.SIGHUP)
    for line in process.stdout:
        if line.startswith("(epoch: 4"):
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143 and saved(tmp_path) >= 4


@pytest.mark.slow
def test_a_terminal_that_is_closed_in_mid_run_loses_nothing(tmp_path: Path) -> None:
    draw_pairs(tmp_path / "data")
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execv(sys.executable, COMMAND)
    shown = b""
    while b"epoch 2" not in shown:  # of the progress bar
        shown += os.read(terminal, 65536)
    os.close(terminal)
    end = time.monotonic() + 60
    done, status = 0, 0
    while not done and time.monotonic() < end:
        time.sleep(0.05)
        done, status = os.waitpid(pid, os.WNOHANG)
    assert done and os.waitstatus_to_exitcode(status) == 129
    assert saved(tmp_path) >= 2 and gone({pid})
