"""Real trainings with worker processes, and the signals that terminals and schedulers send."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import TINY, draw_pairs, gone

ROOT = Path(__file__).resolve().parents[2]
FLAGS = [*TINY, *("--num_threads", "2", "--n_epochs", "500", "--print_freq", "1", "--no_html")]
FLAGS += ["--cache", "none"]  # so that files are read in every epoch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at /proc"),
]


def children(pid: int) -> set[int]:
    found = set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(words[1]) == pid:
            found.add(int(entry.parent.name))
    return found


@pytest.fixture
def start(tmp_path: Path) -> Callable[[], tuple[subprocess.Popen, set[int]]]:
    """Start a training in a process group of its own; return it in mid-run, and its workers."""
    # So large that the training leaves the reading to its workers.
    draw_pairs(tmp_path / "data", count=6, size=(800, 600))

    def run() -> tuple[subprocess.Popen, set[int]]:
        command = [sys.executable, ROOT / "train.py", *FLAGS, "--dataroot", "data", "--name", "r"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(command, cwd=tmp_path, start_new_session=True, **pipes)
        for line in process.stdout:
            if line.startswith("(epoch: 2"):
                break
        workers = children(process.pid)
        assert len(workers) == 2
        return process, workers

    return run


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("whom", ["the process", "the group"])
def test_a_signal_ends_the_run_well_and_no_worker_lingers(start, tmp_path, by, whom) -> None:
    process, workers = start()
    (os.killpg if whom == "the group" else os.kill)(process.pid, by)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + by
    assert err.startswith("train.py: stopped in epoch") and len(err.splitlines()) == 1
    assert gone(workers)
    state = torch.load(tmp_path / "checkpoints/r/latest_state.pth", weights_only=True)
    assert state["progress"]["epoch"] >= 2


def test_no_worker_outlives_a_killed_run_for_long(start) -> None:
    process, workers = start()
    process.kill()
    process.wait()
    assert gone(workers)


def test_an_error_in_mid_run_ends_it_with_its_workers(start, tmp_path) -> None:
    process, workers = start()
    for path in (tmp_path / "data/train").iterdir():
        path.write_bytes(b"")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and len(err.splitlines()) == 1, err
    assert gone(workers)


def test_two_signals_in_a_row_end_it_with_its_workers(start) -> None:
    process, workers = start()
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.02)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and len(err.splitlines()) == 1, err
    assert "stopped" in err and gone(workers)


def test_a_second_ctrl_c_ends_it_at_once(start) -> None:
    process, workers = start()
    process.send_signal(signal.SIGSTOP)  # so that both are waiting when it goes on
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (130, 143) and len(err.splitlines()) == 1
    assert "Traceback" not in err and gone(workers)
