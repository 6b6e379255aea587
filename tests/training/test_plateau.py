"""--lr_policy plateau follows the score that decides, and the flags of a resume."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import TINY, draw_pairs
from torch.optim import lr_scheduler

from models.pix2pix_model import Pix2PixModel
from training import validation

FLAGS = [*TINY, "--ngf", "2", "--ndf", "2", "--no_html", "--max_dataset_size", "1"]
FLAGS += ["--dataroot", "data", "--name", "r"]
PLATEAU = ["--lr_policy", "plateau"]
STATE = Path("checkpoints/r/latest_state.pth")


@pytest.fixture
def train(command: Callable[..., SimpleNamespace], caplog, monkeypatch) -> Any:
    """Train with made-up scores: `train(scores, *flags)`, one epoch for each of them."""
    draw_pairs(Path("data"), count=1)

    def run(scores: list[dict[str, float]], *flags: Any) -> SimpleNamespace:
        caplog.clear()
        done = torch.load(STATE, weights_only=True)["progress"]["epoch"] if STATE.exists() else 1
        found = iter([scores[0], *scores])  # a first look, which is not judged
        monkeypatch.setattr(validation, "mean_scores", lambda *_: next(found))
        more = ["--n_epochs", done - 1 + len(scores), *(["--continue_train"] if done > 1 else [])]
        result = command("train", *FLAGS, *more, *flags)
        assert result.status == 0, result.err
        lines = [m for m in caplog.messages if "learning rate" in m]
        result.rates = [float(line.split("learning rate ")[1].split()[0]) for line in lines]
        return result

    return run


def scores(*values: float, name: str = "L1") -> list[dict[str, float]]:
    return [{"L1": 0.5, "PSNR": 10.0, name: value} for value in values]


def rates() -> set[float]:
    """Return the learning rates in the checkpoint."""
    state = torch.load(STATE, weights_only=True)
    groups = [g for optim in state["optimizers"].values() for g in optim["param_groups"]]
    return {float(group["lr"]) for group in groups}


def bad_epochs() -> set[int]:
    """Return the number of epochs without progress in the checkpoint."""
    state = torch.load(STATE, weights_only=True)
    return {schedule["num_bad_epochs"] for schedule in state["schedulers"]}


STUCK = [1.0] * 7  # the first is the best; after 6 that are no better the rate falls


@pytest.mark.parametrize(
    ("name", "better", "worse"), [("L1", 0.8, 1.2), ("PSNR", 1.2, 0.8), (None, 0.8, 1.2)]
)
def test_the_rate_falls_when_the_score_that_decides_gets_no_better(train, name, better, worse):
    flags = [*PLATEAU, *(["--best_metric", name] if name else [])]
    values = [worse**n for n in range(8)]
    assert train(scores(*values, name=name or "L1"), *flags).rates[-1] == pytest.approx(4e-5)
    Path(STATE).unlink()
    values = [better**n for n in range(8)]
    assert train(scores(*values, name=name or "L1"), *flags).rates == pytest.approx([2e-4] * 8)


def test_a_rate_given_again_on_resume_is_used(train):
    train(scores(*STUCK), *PLATEAU)
    assert rates() == {2e-4 * 0.2}
    assert train(scores(1.0), "--lr", "5e-5").rates == [5e-5]
    assert rates() == {5e-5} and bad_epochs() == {1}  # the count of epochs goes on
    same = train(scores(*STUCK[1:]), "--lr", "5e-5")  # the same command again changes nothing
    assert same.rates == pytest.approx([5e-5] * 5 + [1e-5])
    assert train(scores(1.0), "--lr", "5e-5").rates == pytest.approx([1e-5])


def test_a_rate_of_one_network_given_on_resume_is_used(train):
    train(scores(*STUCK), *PLATEAU)
    train(scores(1.0), "--lr_D", "5e-5")
    assert rates() == {2e-4, 5e-5}


@pytest.mark.parametrize(("first", "then"), [("L1", "PSNR"), ("PSNR", "L1"), ("SSIM", "PSNR")])
def test_another_metric_on_resume_starts_its_own_count(train, first, then):
    train(scores(1.0, *STUCK[1:5], name=first), *PLATEAU, "--best_metric", first)
    assert bad_epochs() == {4}
    sign = 1 if then == "PSNR" else -1
    better = [30.0 + sign * n for n in range(8)]
    more = train(scores(*better, name=then), "--best_metric", then)
    assert more.rates == pytest.approx([2e-4] * 8) and bad_epochs() == {0}
    worse = [30.0 - sign * n for n in range(7)]
    assert train(scores(*worse, name=then)).rates[-1] == pytest.approx(4e-5)


def test_scores_of_an_ema_that_is_new_start_their_own_count(train):
    train(scores(*STUCK[:4]), *PLATEAU)
    assert bad_epochs() == {3}
    train([*scores(1.0, 1.0), *scores(1.0, 1.0)], "--ema", "0.9", "--n_epochs", "6")
    assert bad_epochs() == {1}


def test_a_count_goes_on_where_it_was(train):
    train(scores(*STUCK[:3]), *PLATEAU)
    assert train(scores(*STUCK[:5])).rates == pytest.approx([2e-4] * 4 + [4e-5])


@pytest.mark.parametrize("policy", ["linear", "cosine", "step"])
def test_a_schedule_that_becomes_plateau_starts_with_the_rate_of_its_flag(train, policy):
    flags = ["--lr_policy", policy, "--lr_decay_iters", "1", "--n_epochs_decay", "2"]
    train(scores(1.0, 1.0, 1.0, 1.0), *flags, "--n_epochs", "2", "--val_freq", "1")
    assert max(rates()) < 2e-4
    assert train(scores(1.0), *PLATEAU, "--n_epochs_decay", "0").rates == [2e-4]
    assert bad_epochs() == {0}
    assert train(scores(1.0), "--lr_policy", "linear").rates == [2e-4]


def test_two_optimizers_with_rates_of_their_own_keep_their_ratio(train, monkeypatch):
    def build(self: Any, *nets: Any) -> torch.optim.Optimizer:
        optimizer = make(self, *nets)
        optimizer.param_groups[0]["lr"] *= 4 if nets[0] is self.nets.get("D") else 1
        return optimizer

    make = Pix2PixModel.make_optimizer
    monkeypatch.setattr(Pix2PixModel, "make_optimizer", build)
    train(scores(*STUCK), *PLATEAU)
    assert sorted(rates()) == pytest.approx([4e-5, 16e-5])
    train(scores(1.0), "--lr", "5e-5")
    assert sorted(rates()) == pytest.approx([5e-5, 20e-5])


def test_the_schedule_follows_what_validate_returns(train, monkeypatch):
    """Of the scores of a validation, the one that decides is passed on, each epoch's own."""
    given = []
    step = lr_scheduler.ReduceLROnPlateau.step
    spy = lambda self, metric: (given.append(metric), step(self, metric))  # noqa: E731
    monkeypatch.setattr(lr_scheduler.ReduceLROnPlateau, "step", spy)
    train(scores(3.0, 1.0, 2.0, name="PSNR"), *PLATEAU, "--best_metric", "PSNR")
    assert given == [3.0, 3.0, 1.0, 1.0, 2.0, 2.0]  # of two optimizers
