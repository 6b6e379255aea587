"""A drive that is gone in mid-run costs no step: what is in memory is saved (--save_on_error)."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import TINY
from support.failing_calls import fails
from support.training_faults import after

from data.aligned_dataset import AlignedDataset
from data.loader import Loader
from models.pix2pix_model import Pix2PixModel
from training import rescue

Command = Callable[..., SimpleNamespace]
FLAGS = [*TINY, "--name", "r", "--no_html", "--cache", "none", "--n_epochs", "4"]
FOLDER = Path("checkpoints/r")


def one_line(result: SimpleNamespace, status: int, *words: str) -> None:
    assert result.status == status, result.err
    assert len(result.err.splitlines()) == 1 and "Traceback" not in result.err + result.out
    assert [word for word in words if word not in result.err] == [], result.err


def files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in FOLDER.glob("*.pth")}


def progress() -> dict[str, Any]:
    return torch.load(FOLDER / "latest_state.pth", weights_only=True)["progress"]


def weights() -> dict[str, torch.Tensor]:
    return torch.load(FOLDER / "latest_net_G.pth", weights_only=True)


def gone(pairs: Path) -> None:
    (pairs / "train").rename(pairs / "gone")


def damaged(pairs: Path) -> None:
    for path in (pairs / "train").iterdir():
        path.write_bytes(path.read_bytes()[:200])


def emptied(pairs: Path) -> None:
    for path in (pairs / "train").iterdir():
        path.write_bytes(b"")


def unreadable(pairs: Path) -> None:
    """The calls of the drive fail, as those of a network drive do."""

    def read(*args: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(pairs / "train/0.png"))

    AlignedDataset.read = read


@pytest.fixture(autouse=True)
def whole_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AlignedDataset, "read", AlignedDataset.read)  # restored at the end


@pytest.mark.parametrize("harm", [gone, damaged, emptied, unreadable])
@pytest.mark.parametrize("step", [2, 4, 6])
def test_a_read_error_saves_the_steps_that_are_done(
    command: Command, pairs: Path, monkeypatch, harm: Callable, step: int
) -> None:
    after(step, lambda model: harm(pairs), monkeypatch)
    result = command("train", *FLAGS, "--dataroot", pairs)
    one_line(result, 2, str(pairs / "train"), "saved in epoch", "--continue_train")
    now = progress()
    assert now["total"] == step == 3 * (now["epoch"] - 1) + now["iters"]
    assert {"latest_net_G.pth", "latest_net_D.pth", "latest_state.pth"} <= files().keys()


def test_bad_images_that_are_skipped_save_when_none_is_left(command, pairs, monkeypatch) -> None:
    after(4, lambda model: gone(pairs), monkeypatch)
    result = command("train", *FLAGS, "--dataroot", pairs, "--on_bad_image", "skip")
    one_line(result, 2, "no image can be read", "saved in epoch 2 after 1 of its images")


def test_the_run_resumes_as_if_nothing_had_happened(command, pairs, tmp_path, monkeypatch) -> None:
    assert command("train", *FLAGS, "--dataroot", pairs).status == 0
    expected = weights()
    with monkeypatch.context() as patch:
        after(5, lambda model: gone(pairs), patch)
        assert command("train", *FLAGS, "--dataroot", pairs).status == 2
    (pairs / "gone").rename(pairs / "train")
    assert progress()["total"] == 5
    assert command("train", *FLAGS, "--dataroot", pairs, "--continue_train").status == 0
    assert all(torch.equal(value, expected[key]) for key, value in weights().items())


def test_a_validation_that_cannot_be_read_saves_too(command, pairs, monkeypatch) -> None:
    after(4, lambda model: (pairs / "val").rename(pairs / "gone"), monkeypatch)
    result = command("train", *FLAGS, "--dataroot", pairs, "--val_freq", "1")
    one_line(result, 2, str(pairs / "val"), "saved in epoch 2 after 3 of its images")
    (pairs / "gone").rename(pairs / "val")
    more = command("train", *FLAGS, "--dataroot", pairs, "--val_freq", "1", "--continue_train")
    assert more.status == 0
    rows = (FOLDER / "val_log.csv").read_text().splitlines()
    assert [row.partition(",")[0] for row in rows] == ["epoch", "1", "2", "3", "4"]


@pytest.mark.slow
def test_workers_change_nothing(command: Command, pairs: Path, monkeypatch) -> None:
    after(2, lambda model: gone(pairs), monkeypatch)
    result = command("train", *FLAGS, "--dataroot", pairs, "--num_threads", "1")
    one_line(result, 2, str(pairs / "train"), "saved in epoch")
    assert progress()["total"] >= 2


def test_a_worker_that_is_killed_saves(command: Command, pairs: Path, monkeypatch) -> None:
    batches = Loader._batches

    def killed(self: Loader) -> Any:
        yield next(batches(self))
        raise RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed. ")

    monkeypatch.setattr(Loader, "_batches", killed)
    monkeypatch.setattr("data.worker_errors._said", lambda error, threads: str(error))
    result = command("train", *FLAGS, "--dataroot", pairs)
    one_line(result, 1, "was killed", "--num_threads 0", "saved in epoch 1 after 1 of its images")


# What is not to be saved -----------------------------------------------------------------


def spoil(model: Pix2PixModel) -> None:
    next(model.netG.parameters()).data[0, 0, 0, 0] = float("nan")


def test_weights_that_are_not_finite_never_replace_a_good_save(command, pairs, monkeypatch) -> None:
    def both(model: Pix2PixModel) -> None:
        before.update(files())
        spoil(model)
        gone(pairs)

    before: dict[str, bytes] = {}
    after(5, both, monkeypatch)
    result = command("train", *FLAGS, "--dataroot", pairs, "--save_latest_freq", "2")
    one_line(result, 2, str(pairs / "train"), "could not be saved", "not finite", "the last save")
    assert files() == before != {} and progress()["total"] == 4


def test_a_full_disk_leaves_the_older_save(command: Command, pairs: Path, monkeypatch) -> None:
    def both(model: Pix2PixModel) -> None:
        before.update(files())
        fails("fsync", errno.ENOSPC, monkeypatch)
        gone(pairs)

    before: dict[str, bytes] = {}
    after(5, both, monkeypatch)
    result = command("train", *FLAGS, "--dataroot", pairs, "--save_latest_freq", "4")
    words = ("could not be saved", "No space left on device", "--continue_train")
    one_line(result, 2, str(pairs / "train"), *words)
    assert files() == before != {}
    assert not [p for p in FOLDER.iterdir() if p.name.startswith(".latest")]


def test_an_error_before_the_first_step_leaves_an_earlier_run_alone(
    command: Command, pairs: Path, monkeypatch
) -> None:
    assert command("train", *FLAGS, "--dataroot", pairs).status == 0
    before = files()
    unreadable(pairs)
    for more in ([], ["--continue_train", "--n_epochs", "5"]):
        result = command("train", *FLAGS, "--dataroot", pairs, *more, "--save_on_error", "all")
        assert result.status == 2 and "saved" not in result.err
        assert files() == before


@pytest.mark.parametrize("more", [[], ["--save_latest_freq", "2"]])
def test_it_can_be_switched_off(command: Command, pairs: Path, monkeypatch, more) -> None:
    after(3, lambda model: gone(pairs), monkeypatch)
    flags = ["--dataroot", pairs, "--save_on_error", "none", *more]
    result = command("train", *FLAGS, *flags)
    one_line(result, 2, "the last save" if more else "there is no save to resume from")
    assert (progress()["total"] == 2) if more else (not files())


def test_one_of_several_processes_saves_nothing_alone(command, pairs, monkeypatch) -> None:
    after(3, lambda model: gone(pairs), monkeypatch)
    monkeypatch.setattr(rescue, "several_processes", lambda: True)
    one_line(command("train", *FLAGS, "--dataroot", pairs), 2, "no save to resume from")
    assert not files()


# Errors of a step ------------------------------------------------------------------------


def out_of_memory(model: Pix2PixModel) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")


@pytest.mark.parametrize("flags", [[], ["--save_on_error"], ["--save_on_error", "all"]])
def test_an_unfinished_step_is_saved_if_that_is_asked_for(
    command: Command, pairs: Path, monkeypatch, caplog, flags: list[str]
) -> None:
    after(5, out_of_memory, monkeypatch)
    result = command("train", *FLAGS, "--dataroot", pairs, *flags)
    one_line(result, 1, "out of memory with --batch_size 1")
    assert bool(files()) == bool(flags) == ("saved in epoch 2 after 1" in caplog.text)
    assert not flags or progress()["total"] == 4


def test_a_mistake_in_a_model_is_still_shown_whole(command, pairs, monkeypatch) -> None:
    def fail(model: Pix2PixModel) -> None:
        raise KeyError("fake_C")

    after(2, fail, monkeypatch)
    with pytest.raises(KeyError, match="fake_C"):
        command("train", *FLAGS, "--dataroot", pairs, "--save_on_error")
    assert progress()["total"] == 1


def test_a_loss_that_is_not_finite_is_never_saved_even_if_asked(command, pairs, monkeypatch):
    after(3, spoil, monkeypatch)
    more = ["--save_latest_freq", "1", "--save_on_error", "all", "--print_freq", "1"]
    result = command("train", *FLAGS, "--dataroot", pairs, *more)
    one_line(result, 1, "not finite")
    assert progress()["total"] == 2 and all(w.isfinite().all() for w in weights().values())
