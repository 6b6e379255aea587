"""A run deletes only files that its own record says it wrote, oldest first."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import TINY
from support.training_faults import on_two_pairs

from training import validation
from training.saved_files import SavedFiles
from training.trainer import Trainer

RUN = Path("checkpoints/r")
EVERY = ["--save_epoch_freq", "1"]
FLAGS = [*TINY, "--ngf", "2", "--ndf", "2", "--no_html", "--max_dataset_size", "2"]


@pytest.fixture
def train(command: Callable[..., SimpleNamespace], caplog: pytest.LogCaptureFixture) -> Any:
    """Train on two pairs: `train(*flags)`."""
    trained = on_two_pairs(command, caplog, *FLAGS, "--name", "r")

    def run(*flags: Any) -> SimpleNamespace:
        result = trained(*flags)
        assert result.status == 0, result.err
        return result

    return run


def saved() -> set[str]:
    """Return the names of the run's weights."""
    return {path.name for path in RUN.glob("*.pth")} - {"latest_state.pth"}


def tags() -> set[str]:
    return {name.partition("_net_")[0] for name in saved()} - {"latest"}


def test_the_newest_epochs_are_those_that_were_written_last(train):
    """A restart from weights counts epochs anew; so the highest number is not the newest."""
    train("--n_epochs", "4", *EVERY)
    train("--continue_train", "--epoch", "4", "--epoch_count", "1", "--keep", "2", *EVERY)
    assert tags() == {"1", "2", "3", "4"}  # 1 is this run's, the others are not
    train("--continue_train", "--n_epochs", "3", "--keep", "2", *EVERY)
    assert tags() == {"2", "3", "4"}


def test_keep_counts_the_epochs_of_this_run_alone(train):
    train("--n_epochs", "4", "--save_epoch_freq", "2")
    more = ["--epoch", "4", "--epoch_count", "3", "--n_epochs", "4", "--keep", "1"]
    train("--continue_train", *more, *EVERY)
    assert tags() == {"2", "4"}  # epoch 3 is this run's, epoch 2 is not


def test_a_resume_goes_on_with_the_record_of_the_run(train):
    train("--n_epochs", "3", *EVERY)
    train("--n_epochs", "4", "--continue_train", "--keep", "2", *EVERY)
    assert tags() == {"3", "4"}
    train("--n_epochs", "5", "--continue_train")  # with the saved --keep 2
    assert tags() == {"4", "5"}


OWN = [
    "200_net_G_before_finetuning.pth",
    "1_net_G_copy.pth",
    "300_net_G.pth",
    "iter_7_net_G.pth",
    "best_net_G_before.pth",
    "latest_net_G_old_ema.pth",
    "1_net_H_ema.pth",
    "my_1_net_G.pth",
]


@pytest.mark.parametrize("more", [["--overwrite"], ["--continue_train"]])
def test_files_of_the_user_stay_in_a_run(train, more):
    train("--n_epochs", "1", *EVERY, "--val_freq", "1", "--ema", "0.9")
    for name in OWN:
        shutil.copy(RUN / "latest_net_G.pth", RUN / name)
    train("--n_epochs", "4", "--keep", "1", *EVERY, "--ema", "0", "--val_freq", "0", *more)
    assert set(OWN) <= saved()
    assert {"4_net_G.pth", "4_net_D.pth"} <= saved() and "3_net_G.pth" not in saved()


def test_the_best_weights_that_a_run_starts_from_stay(train):
    train("--val_freq", "1", "--ema", "0.9")
    before = {p.name: p.read_bytes() for p in RUN.glob("best_net_*.pth")}
    train("--continue_train", "--epoch", "best", "--val_freq", "0", "--ema", "0")
    assert {p.name: p.read_bytes() for p in RUN.glob("best_net_*.pth")} == before and before
    train("--continue_train", "--n_epochs", "2")
    assert {p.name: p.read_bytes() for p in RUN.glob("best_net_*.pth")} == before


@pytest.mark.parametrize(
    "flags", [["--best_metric", "PSNR"], ["--ema", "0.5"], ["--val_freq", "0"]]
)
def test_the_best_weights_stay_when_another_score_decides(train, flags, monkeypatch):
    train("--val_freq", "1")
    before = (RUN / "best_net_G.pth").read_bytes()
    monkeypatch.setattr(validation.Validation, "due", lambda self, epoch: False)
    train("--continue_train", "--n_epochs", "2", *flags)
    assert (RUN / "best_net_G.pth").read_bytes() == before


def test_an_ema_of_other_weights_does_not_stay_beside_them(train):
    train("--ema", "0.9", *EVERY, "--val_freq", "1")
    assert {"1_net_G_ema.pth", "latest_net_G_ema.pth", "best_net_G_ema.pth"} <= saved()
    train("--n_epochs", "2", "--ema", "0", *EVERY, "--best_metric", "PSNR", "--continue_train")
    assert {name for name in saved() if name.endswith("_ema.pth")} == {"1_net_G_ema.pth"}


def test_overwrite_replaces_all_that_the_earlier_run_wrote(train):
    train("--val_freq", "1", "--ema", "0.9", "--n_epochs", "2", *EVERY)
    result = train("--n_epochs", "1", *EVERY, "--overwrite")
    assert "the first save deletes the earlier run's weights" in result.out
    assert saved() == {f"{tag}_net_{net}.pth" for tag in ("1", "latest") for net in "GD"}


def test_overwrite_deletes_nothing_before_the_first_save(train, monkeypatch):
    train("--val_freq", "1", *EVERY)
    before = saved()
    monkeypatch.setattr(Trainer, "train_epoch", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train("--overwrite")
    assert saved() == before


def test_value_ranges_are_those_of_the_weights_until_the_first_save(train, monkeypatch):
    path = RUN / "pixel_ranges.json"
    train("--range_B", "20,235")
    before = path.read_bytes()
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(Trainer, "train_epoch", lambda self: 1 / 0)
        train("--overwrite", "--range_B", "0,99", "--val_freq", "1")
    assert path.read_bytes() == before
    train("--overwrite", "--range_B", "0,99", "--val_freq", "1")
    assert json.loads(path.read_text())["B"]["high"] == 99
    train("--overwrite")  # 8 bits have the range of their type
    assert not path.exists()
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(Trainer, "train_epoch", lambda self: 1 / 0)
        train("--continue_train", "--n_epochs", "9", "--range_B", "0,99")
    assert not path.exists()


def test_weights_of_which_no_record_tells_stay_and_are_named(train):
    train("--val_freq", "1", "--ema", "0.9")
    (RUN / "latest_state.pth").unlink()
    result = train("--overwrite")
    assert {"best_net_G.pth", "best_net_G_ema.pth", "latest_net_G_ema.pth"} <= saved()
    (line,) = [line for line in result.out.splitlines() if "best_net_G.pth" in line]
    assert "latest_net_G_ema.pth" in line and "no record says" in line


@pytest.mark.parametrize(
    "content", [b"", b"x" * 99, {}, [1], {"files": 3}, {"files": {"by_tag": {"best": 1}}}]
)
def test_a_damaged_record_costs_no_run_its_start(train, content):
    train("--val_freq", "1")
    path = RUN / "latest_state.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    train("--overwrite")
    assert "best_net_G.pth" in saved()


def test_a_record_cannot_name_files_elsewhere(train, tmp_path):
    train(*EVERY)
    outside = tmp_path / "work" / "other_net_G.pth"
    outside.touch()
    path = RUN / "latest_state.pth"
    state = torch.load(path, weights_only=True)
    bad = ["../../other_net_G.pth", str(outside), "latest_state.pth", "train_opt.json", ".."]
    state["files"] = {"by_tag": {"1": bad, "best": bad}, "own": ["1"]}
    torch.save(state, path)
    train("--n_epochs", "3", "--keep", "1", *EVERY, "--continue_train")
    assert outside.exists() and path.exists() and (RUN / "train_opt.json").exists()


def test_a_file_that_cannot_be_deleted_ends_no_run(train, monkeypatch):
    def unlink(self: Path, missing_ok: bool = False) -> None:
        if "_net_" in self.name:
            raise PermissionError(13, "Permission denied")
        delete(self, missing_ok)

    delete = Path.unlink
    train("--n_epochs", "2", *EVERY)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        result = train("--n_epochs", "3", "--keep", "1", *EVERY, "--continue_train")
    assert "1_net_G.pth: could not be deleted (Permission denied)" in result.out
    assert {"1_net_G.pth", "3_net_G.pth"} <= saved()


def test_what_was_written_again_is_the_newest():
    files = SavedFiles()
    for tag in ("10", "5", "latest", "7", "5"):
        files.add(tag, [f"{tag}_net_G.pth"])
    assert files.drop_old_epochs(2) == ["10_net_G.pth"]
    assert files.drop_old_epochs(1) == ["7_net_G.pth"]
    assert files.drop_old_epochs(1) == [] and SavedFiles.from_state(files.state_dict()) == files


def test_overwrite_leaves_no_network_of_the_earlier_run_under_its_own_tag():
    files = SavedFiles({"latest": ["latest_net_G.pth", "latest_net_D.pth"]})
    assert files.add("latest", ["latest_net_G.pth"]) == ["latest_net_D.pth"]
    assert files.add("latest", ["latest_net_G.pth", "latest_net_E.pth"]) == []
    assert files.add("latest", ["latest_net_G.pth"]) == []  # this run's own
