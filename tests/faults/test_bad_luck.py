"""The worst that can happen to a run: it ends with one line, and what was saved stays whole."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import TINY
from support.training_faults import after

from models.pix2pix_model import Pix2PixModel
from training.health import NanCheck, check_weights
from training.run_lock import lock_run_folder
from util import files
from util.errors import RunStopped
from util.files import atomic_write

Command = Callable[..., SimpleNamespace]
ROOT = Path(__file__).resolve().parents[2]
FLAGS = [*TINY, "--name", "r", "--no_html", "--print_freq", "1", "--n_epochs", "3"]


def saved() -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in Path("checkpoints/r").glob("*") if p.suffix == ".pth"}


def one_line(result: SimpleNamespace, status: int, *words: str) -> None:
    assert result.status == status, result.err
    assert len(result.err.splitlines()) == 1 and "Traceback" not in result.err + result.out
    assert [word for word in words if word not in result.err] == [], result.err


# What is not finite -----------------------------------------------------------------------


@pytest.mark.parametrize("print_freq", ["1", "100"])
def test_a_loss_that_is_not_finite_stops_the_run_before_anything_is_saved(
    command: Command, pairs: Path, monkeypatch, print_freq: str
) -> None:
    def spoil(model: Pix2PixModel) -> None:
        model.losses["G_L1"] = model.losses["G_L1"] * float("nan")

    after(5, spoil, monkeypatch)
    more = ["--dataroot", pairs, "--save_latest_freq", "1", "--print_freq", print_freq]
    result = command("train", *FLAGS, *more)
    one_line(result, 1, "G_L1: not a finite number after image 5 of the run", "--continue_train")
    assert any(f"{i}.png" in result.err for i in range(3))
    weights = torch.load("checkpoints/r/latest_net_G.pth", weights_only=True)
    assert all(w.isfinite().all() for w in weights.values())
    state = torch.load("checkpoints/r/latest_state.pth", weights_only=True)
    assert state["progress"]["total"] == 4


def test_weights_that_are_not_finite_are_never_saved(command, pairs, monkeypatch) -> None:
    def spoil(model: Pix2PixModel) -> None:
        next(model.netG.parameters()).data[0, 0, 0, 0] = float("inf")

    after(5, spoil, monkeypatch)
    result = command("train", *FLAGS, "--dataroot", pairs, "--save_latest_freq", "1")
    one_line(result, 1, "network G", "not finite")
    weights = torch.load("checkpoints/r/latest_net_G.pth", weights_only=True)
    assert all(w.isfinite().all() for w in weights.values())


def test_the_watch_names_the_first_step_its_losses_and_its_files() -> None:
    watch, nan = NanCheck(), float("nan")
    for step, (a, b) in enumerate([(1, 2), (1, nan), (nan, nan), (1, 2)], start=1):
        losses = {"a": torch.tensor(float(a)), "b": torch.tensor(float(b))}
        watch.observe(losses, step, [f"{step}.png"])
    with pytest.raises(RunStopped, match=r"^b: not a finite number after image 2 .*\(2.png\)"):
        watch.check()


def test_the_watch_says_nothing_of_finite_losses_and_forgets_their_files() -> None:
    watch = NanCheck()
    watch.check()
    for step in range(1, 4):
        watch.observe({"a": torch.tensor(1e30)}, step, ["x"])
        watch.observe({}, step, ["x"])
    watch.check()
    assert watch.files == []


def test_finite_weights_pass() -> None:
    net = torch.nn.BatchNorm2d(3)
    check_weights({"G": net})
    net.running_var[0] = float("nan")
    with pytest.raises(RunStopped, match="network G: running_var"):
        check_weights({"G": net})


# Memory, disk, folders --------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
    ],
)
def test_out_of_memory_says_what_to_change(command, pairs, monkeypatch, error) -> None:
    def fail(model: Pix2PixModel) -> None:
        raise error

    after(1, fail, monkeypatch)
    result = command("train", *FLAGS, "--dataroot", pairs)
    one_line(result, 1, "--batch_size 1", "--crop_size 64", "--precision")


def test_other_errors_of_torch_pass_through(command, pairs, monkeypatch) -> None:
    def fail(model: Pix2PixModel) -> None:
        raise RuntimeError("something else")

    after(1, fail, monkeypatch)
    with pytest.raises(RuntimeError, match="something else"):
        command("train", *FLAGS, "--dataroot", pairs)


def test_a_full_disk_stops_the_run_and_leaves_the_older_save(command, pairs, monkeypatch) -> None:
    def fill(model: Pix2PixModel) -> None:
        before.update(saved())

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(files.os, "fsync", full)

    before: dict[str, bytes] = {}
    after(5, fill, monkeypatch)
    result = command("train", *FLAGS, "--dataroot", pairs, "--save_latest_freq", "1")
    one_line(result, 1, "train_opt.json: could not be written", "No space left on device")
    assert saved() == before != {}
    assert not [p for p in Path("checkpoints/r").iterdir() if p.name.startswith(".latest")]


@pytest.mark.slow
def test_a_file_that_may_grow_no_further_is_named(tmp_path: Path) -> None:
    code = (
        "import resource, signal, torch\n"
        "from pathlib import Path\n"
        "from util.checkpoint import save_weights\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "save_weights({'w': torch.zeros(10)}, Path('w.pth'))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: save_weights({'w': torch.ones(1_000_000)}, Path('w.pth'))\n"
        "except Exception as error: print(type(error).__name__, error)\n"
        "weights = torch.load('w.pth', weights_only=True)['w']\n"
        "print(weights.sum().item(), len(list(Path().iterdir())))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    first, second = done.stdout.splitlines()
    assert first.startswith("RunStopped w.pth: could not be written (") and second == "0.0 1"


def test_an_older_file_outlives_a_write_that_breaks_off(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as file:
        file.write(b"new, half")
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["x"] and path.read_bytes() == b"old"


def test_a_image_that_turns_unreadable_in_mid_run_is_named(command, pairs, monkeypatch) -> None:
    after(4, lambda model: (pairs / "train/1.png").write_bytes(b"gone"), monkeypatch)
    once = ["--save_latest_freq", "1", "--cache", "none"]
    result = command("train", *FLAGS, "--dataroot", pairs, *once)
    one_line(result, 2, "1.png")
    assert "latest_state.pth" in saved()


@pytest.mark.parametrize("workers", ["0", "2"])
def test_images_that_cannot_be_read_are_left_out_if_asked(
    command, pairs, caplog, workers: str
) -> None:
    (pairs / "train/1.png").write_bytes(b"bad")
    (pairs / "test/0.png").write_bytes(b"")
    skip = ["--on_bad_image", "skip", "--num_threads", workers]
    assert command("train", *FLAGS, "--dataroot", pairs, *skip).status == 0
    assert len([r for r in caplog.records if "skipped: " in r.message]) == 1
    result = command("test", "--name", "r", "--gpu_ids", "-1", *skip)
    assert result.status == 0 and "test/0.png" in caplog.text
    names = {p.name for p in Path("results/r/test_latest/images").iterdir()}
    assert names == {f"{i}_{label}.png" for i in (1, 2) for label in ("real_A", "fake_B", "real_B")}


def test_a_set_without_one_image_that_can_be_read_is_refused(command, pairs) -> None:
    for path in (pairs / "train").iterdir():
        path.write_bytes(b"bad")
    result = command("train", *FLAGS, "--dataroot", pairs, "--on_bad_image", "skip")
    one_line(result, 2, "train/")


# Two runs, old epochs ---------------------------------------------------------------------

OWNER = (
    "import sys, time\n"
    "from pathlib import Path\n"
    "from training.run_lock import lock_run_folder\n"
    "with lock_run_folder(Path(sys.argv[1])): print('mine', flush=True); time.sleep(60)"
)


def test_a_second_run_of_the_same_name_is_refused_until_the_first_is_dead(
    command: Command, pairs: Path
) -> None:
    folder = Path("checkpoints/r")
    folder.mkdir(parents=True)
    first = subprocess.Popen(
        [sys.executable, "-c", OWNER, folder.resolve()],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.stdout.readline() == "mine\n"
    result = command("train", *FLAGS, "--dataroot", pairs)
    one_line(result, 2, "--name r", f"process {first.pid}", "another --name")
    assert saved() == {}
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert command("train", *FLAGS, "--dataroot", pairs).status == 0


def test_the_lock_is_not_inherited_by_workers(tmp_path: Path) -> None:
    with lock_run_folder(tmp_path):
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
    try:
        code = (
            "import sys; from pathlib import Path; from training.run_lock import lock_run_folder\n"
        )
        code += "with lock_run_folder(Path(sys.argv[1])): print('mine')"
        done = subprocess.run(
            [sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True
        )
        assert done.stdout == "mine\n", done.stderr
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_what_a_killed_save_left_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / ".latest_net_G.pth.123").write_bytes(b"half")
    (tmp_path / "latest_net_G.pth").write_bytes(b"whole")
    with lock_run_folder(tmp_path):
        assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", "latest_net_G.pth"]


def test_keep_limits_the_epochs_that_stay(command: Command, pairs: Path) -> None:
    more = ["--n_epochs", "4", "--save_epoch_freq", "1", "--keep", "2"]
    assert command("train", *FLAGS, "--dataroot", pairs, *more).status == 0
    assert set(saved()) == {
        *(f"{tag}_net_{net}.pth" for tag in ("3", "4", "latest") for net in "GD"),
        "latest_state.pth",
    }


def test_a_folder_that_disappears_in_mid_run_is_named(command, pairs, monkeypatch) -> None:
    after(4, lambda model: (pairs / "train").rename(pairs / "gone"), monkeypatch)
    once = ["--save_latest_freq", "1", "--cache", "none"]
    result = command("train", *FLAGS, "--dataroot", pairs, *once)
    one_line(result, 2, str(pairs / "train"))
    assert "latest_state.pth" in saved()
