"""Worker processes end with the command that started them, however it ends."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import alive, gone

from util import process_pool
from util.errors import RunStopped
from util.files import atomic_write
from util.process_pool import worker_pool

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import os, sys, time
from util.process_pool import worker_pool

def busy(seconds):
    time.sleep(seconds)
    return os.getpid()

if __name__ == "__main__":
    with worker_pool(2) as pool:
        print(*{pool.submit(busy, 0.5).result() for _ in range(1)}, *pool._processes, flush=True)
        list(pool.map(busy, [float(sys.argv[1])] * 200))
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at /proc")
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_worker_outlives_its_parent(tmp_path: Path, blow: signal.Signals) -> None:
    (tmp_path / "main.py").write_text(CODE)
    parent = subprocess.Popen(
        [sys.executable, "main.py", "0.2"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    workers = {int(pid) for pid in parent.stdout.readline().split()}
    assert workers and all(map(alive, workers))
    parent.send_signal(blow)
    parent.wait(timeout=60)
    assert gone(workers, 5)


def test_a_worker_that_is_killed_is_one_line() -> None:
    with pytest.raises(RunStopped, match="one of 2 processes was killed; .* --num_threads than 2"):
        with worker_pool(2) as pool:
            list(pool.map(os._exit, [1]))


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM, errno.ENOSPC, errno.EROFS])
def test_processes_that_cannot_start_are_one_line(monkeypatch, number: int) -> None:
    def fail(*args: object, **more: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(process_pool, "ProcessPoolExecutor", fail)
    with pytest.raises(RunStopped, match=rf"cannot start \({os.strerror(number)}\)"):
        with worker_pool(2):
            pass


def test_an_error_of_a_file_passes_through() -> None:
    with pytest.raises(OSError, match="1.png"), worker_pool(1):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), "1.png")


def write_slowly(path: Path) -> None:
    with atomic_write(path) as file:
        time.sleep(0.3)
        file.write(b"whole")


def test_a_file_in_hand_is_finished_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="odd"), worker_pool(1) as pool:
        pool.submit(write_slowly, tmp_path / "1.png")
        while not any(tmp_path.iterdir()):
            time.sleep(0.01)
        raise ValueError("odd")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("1.png", b"whole")]


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_workers_stay_however_they_are_started(tmp_path: Path, method: str) -> None:
    script = tmp_path / "work.py"
    start = f"import multiprocessing; multiprocessing.set_start_method({method!r})"
    script.write_text(CODE.replace("    with worker", f"    {start}\n    with worker"))
    done = subprocess.run(
        [sys.executable, str(script), "0.001"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
