"""Limits of the system that the processes which load images reach: one line, with the way out."""

import errno
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import TINY

import data.loader
from data.worker_errors import FILES, allow_open_files, explained
from util.errors import RunStopped

Command = Callable[..., SimpleNamespace]
ROOT = Path(__file__).resolve().parents[2]
# As a worker's errors come: a traceback in the message.
TRACEBACK = "Caught {kind} in DataLoader worker process 0.\nOriginal Traceback (most recent…):\n"
TRACEBACK += '  File "x.py", line 1, in <module>\n{kind}: {text}\n'


def in_a_worker(kind: str, text: str) -> str:
    return TRACEBACK.format(kind=kind, text=text)


SHM = "unable to allocate shared memory(shm) for file </torch_1_2_0>: No space left on device (28)"
BUS = (
    "DataLoader worker (pid 12) is killed by signal: Bus error. It is possible that dataloader's "
    "workers are out of shared memory. Please try to raise your shared memory limit."
)
FULL = "Too many open files. Communication with the workers is no longer possible. Please"
KILLED = "DataLoader worker (pid 12) is killed by signal: Killed. "
GONE = "DataLoader worker (pid(s) 12, 13) exited unexpectedly"
MAP = "unable to mmap 196608 bytes from file </torch_1_2_0>: Cannot allocate memory (12)"
WRITE = "unable to write to file </torch_1_2_0>: No space left on device (28)"
OPEN = "unable to open shared memory object </torch_1_2> in read-write mode: Too many open files"

FAILURES = [
    (RuntimeError(SHM), ["--num_threads 0", "--shm-size", "</torch_1_2_0>"]),
    (RuntimeError(in_a_worker("RuntimeError", SHM)), ["--num_threads 0", "--shm-size", "(shm)"]),
    (RuntimeError(BUS), ["--num_threads 0", "--shm-size", "pid 12"]),
    (RuntimeError(MAP), ["--num_threads 0", "--shm-size"]),
    (RuntimeError(WRITE), ["--num_threads 0", "--shm-size"]),
    (RuntimeError(OPEN), ["--num_threads 0", "ulimit -n"]),
    (RuntimeError(FULL), ["--num_threads 0", "ulimit -n"]),
    (RuntimeError("received 0 items of ancdata"), ["--num_threads 0", "ulimit -n"]),
    (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), ["--num_threads 0", "ulimit -n"]),
    (OSError(errno.EMFILE, os.strerror(errno.EMFILE), "1.png"), ["ulimit -n", "1.png"]),
    (OSError(in_a_worker("OSError", "[Errno 24] Too many open files")), ["ulimit -n"]),
    (ValueError("1.png: cannot be read (Too many open files)"), ["ulimit -n", "1.png"]),
    (RuntimeError(KILLED), ["was killed", "pid 12", "--num_threads than 4", "--num_threads 0"]),
    (RuntimeError(GONE), ["was killed", "pid(s) 12, 13", "--cache none"]),
]


@pytest.mark.parametrize(("error", "words"), FAILURES, ids=[str(e)[:40] for e, _ in FAILURES])
def test_a_limit_is_one_line_with_the_way_out(error: Exception, words: list[str]) -> None:
    stop = explained(error, threads=4, starting=False)
    assert isinstance(stop, RunStopped) and "\n" not in str(stop) and "Caught" not in str(stop)
    assert [word for word in words if word not in str(stop)] == [], stop


START = [errno.EAGAIN, errno.ENOMEM, errno.ENOSPC, errno.ENOSYS, errno.EPERM, errno.EROFS]


@pytest.mark.parametrize("number", START)
def test_processes_that_cannot_start_are_no_fault_of_the_images(number: int) -> None:
    error = OSError(number, os.strerror(number))
    stop = explained(error, threads=2, starting=True)
    assert isinstance(stop, RunStopped)
    assert os.strerror(number) in str(stop) and "--num_threads 0" in str(stop)
    assert explained(error, threads=2, starting=False) is error
    assert explained(error, threads=0, starting=True) is error


def test_threads_that_cannot_start_are_explained_too() -> None:
    stop = explained(RuntimeError("can't start new thread"), threads=2, starting=True)
    assert isinstance(stop, RunStopped) and "--num_threads 0" in str(stop)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(2, "No such file or directory", "/shared memory/torch_/1.png"),
        ValueError("shared memory.png: cannot be read"),
        RuntimeError("something else"),
        KeyError("bus error"),
        RunStopped("too many open files"),
    ],
)
def test_other_errors_stay_as_they_are(error: Exception) -> None:
    assert explained(error, threads=4, starting=True) is error


# In commands -----------------------------------------------------------------------------


def one_line(result: SimpleNamespace, status: int, *words: str) -> None:
    assert result.status == status, result.err
    assert len(result.err.splitlines()) == 1 and "Traceback" not in result.err + result.out
    assert [word for word in words if word not in result.err] == [], result.err


@pytest.mark.parametrize("name", ["train", "test"])
def test_a_command_ends_with_that_line(command: Command, pairs, monkeypatch, name: str) -> None:
    assert command("train", *TINY, "--dataroot", pairs, "--name", "r").status == 0

    class Failing(torch.utils.data.DataLoader):
        def __iter__(self) -> object:
            raise RuntimeError(in_a_worker("RuntimeError", SHM))

    monkeypatch.setattr(data.loader, "DataLoader", Failing)
    flags = TINY if name == "train" else ["--gpu_ids", "-1"]
    result = command(name, *flags, "--dataroot", pairs, "--name", "r", "--num_threads", "2")
    one_line(result, 1, "more shared memory", "--num_threads 0", "--shm-size")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EAGAIN, errno.ENOSPC])
def test_a_start_that_fails_ends_with_that_line(command, pairs, monkeypatch, number: int) -> None:
    def fail(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(multiprocessing.Process, "start", fail)
    result = command("train", *TINY, "--dataroot", pairs, "--num_threads", "1")
    one_line(result, 1, os.strerror(number), "--num_threads 0")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGBUS"), reason="a system without SIGBUS")
@pytest.mark.parametrize("number", ["SIGKILL", "SIGBUS", "SIGSEGV"])
def test_a_worker_that_is_killed_ends_the_run_with_one_line(tmp_path, pairs, number: str) -> None:
    code = (
        "import os, signal\n"
        "from train import main\n"
        "from data.aligned_dataset import AlignedDataset\n"
        "from util.command import run_command\n"
        f"def read(self, index): os.kill(os.getpid(), signal.{number})\n"
        "AlignedDataset.__getitem__ = read\n"
        "raise SystemExit(run_command(main))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *TINY, "--dataroot", pairs, "--num_threads", "1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    one_line(SimpleNamespace(status=done.returncode, out="", err=done.stderr), 1, "--num_threads 0")


# The limit of open files -----------------------------------------------------------------


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list]:
    """Let this process have other limits of open files; return those that it sets."""

    def use(allowed: int, most: int) -> list:
        done: list = []
        monkeypatch.setattr(resource, "getrlimit", lambda kind: (allowed, most))
        monkeypatch.setattr(resource, "setrlimit", lambda kind, both: done.append(both))
        return done

    return use


def test_the_limit_of_open_files_is_raised_as_far_as_it_may(limits) -> None:
    endless = resource.RLIM_INFINITY
    for allowed, most, then in (
        (256, endless, [(FILES, endless)]),
        (256, 100_000, [(FILES, 100_000)]),
        (256, 1024, [(1024, 1024)]),
        (FILES, endless, []),
        (65_536, 65_536, []),
        (endless, endless, []),
    ):
        done = limits(allowed, most)
        allow_open_files(4)
        assert done == then


def test_too_low_a_limit_is_refused_before_processes_wait_for_each_other(limits) -> None:
    limits(20, 20)
    with pytest.raises(RunStopped, match=r"^--num_threads 2: needs .*`ulimit -n` allows 20: .* 0$"):
        allow_open_files(2)


@pytest.mark.slow
@pytest.mark.parametrize("most", [12, 20, 40])
def test_a_run_with_few_open_files_ends_with_one_line(tmp_path, pairs, most: int) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "train.py", *TINY, "--dataroot", pairs, "--num_threads", "2"],
        cwd=tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    one_line(SimpleNamespace(status=done.returncode, out="", err=done.stderr), 1, "ulimit -n")
