"""Validation in a training: what is measured, the best checkpoint, stopping early, averages."""

import math
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TINY, draw, draw_pairs, random_batch, refusal
from PIL import Image
from support.holes import INPAINT, draw_photos
from support.short_trainings import on_drawn_pairs

from training import validation
from training.state import Progress
from training.validation import Validation
from util.checkpoint import saved_progress
from util.displays.val_log import ScoreLog
from util.metrics import compare


@pytest.fixture
def train(command, caplog):
    """Train on four drawn pairs: `train(name, *flags)`."""
    return on_drawn_pairs(command, caplog, 4)


def log(name: str) -> list:
    return ScoreLog(Path("checkpoints", name, "val_log.csv"), continued=True).lines


def weights(name: str, tag: Any, net: str = "G") -> dict[str, torch.Tensor]:
    return torch.load(Path("checkpoints", name, f"{tag}_net_{net}.pth"), weights_only=True)


def equal(one: dict, other: dict) -> bool:
    return all(torch.equal(one[key], other[key]) for key in one)


def loss_lines(name: str) -> list[str]:
    text = Path("checkpoints", name, "loss_log.txt").read_text()
    return re.findall(r"epoch: \d+, iters: \d+|\w+: -?[\d.]+(?=\s)", text)


EPOCHS = ["--n_epochs", "4", "--save_epoch_freq", "1"]


def test_the_best_epoch_of_filled_holes_is_that_of_the_holes(command) -> None:
    root = draw_photos(Path("photos"))
    place = ["--dataroot", root, "--name", "holes", "--no_html", "--val_freq", "1"]
    assert command("train", *TINY, *INPAINT, *place, "--n_epochs", "2").status == 0
    scores = {s.epoch: s.values["hole_L1"] for s in log("holes")}
    progress = saved_progress(Path("checkpoints/holes"))
    assert (progress["best_metric"], progress["best"]) == ("hole_L1", min(scores.values()))


@pytest.mark.parametrize(("metric", "best_of"), [("L1", min), ("PSNR", max), (None, min)])
def test_the_best_epoch_is_kept_by_the_metric_asked_for(train, metric, best_of):
    flags = ["--best_metric", metric] if metric else []
    assert train("r", *EPOCHS, "--val_freq", "1", *flags).status == 0
    scores = {s.epoch: s.values[metric or "L1"] for s in log("r")}
    assert list(scores) == [1, 2, 3, 4]
    best = best_of(scores, key=scores.get)
    assert equal(weights("r", "best"), weights("r", best))
    assert equal(weights("r", "best", "D"), weights("r", best, "D"))
    assert saved_progress(Path("checkpoints/r"))["best_epoch"] == best


def test_the_page_of_a_training_says_by_what_an_epoch_is_the_best(command):
    draw_pairs(Path("data"), count=2)
    flags = ["--dataroot", "data", "--val_freq", "1", "--best_metric", "PSNR", "--ema", "0.5"]
    assert command("train", *TINY, *flags, "--name", "r").status == 0
    page = Path("checkpoints/r/web/index.html").read_text()
    assert "★: the best epoch by val PSNR of the EMA of G; " in page


def test_the_page_of_the_best_weights_says_their_epoch(train, command):
    assert train("r", *EPOCHS, "--val_freq", "1").status == 0
    test = ["--name", "r", "--gpu_ids", "-1", "--epoch", "best"]
    page = Path("results/r/test_best/index.html")
    assert command("test", *test).status == 0
    best = saved_progress(Path("checkpoints/r"))["best_epoch"]
    assert f"weights best of epoch {best}<" in page.read_text()
    Path("checkpoints/r/latest_state.pth").unlink()
    assert command("test", *test).status == 0
    assert "weights best<" in page.read_text()


def test_it_measures_what_the_test_of_those_weights_writes(train, command):
    assert train("r", "--val_freq", "1", "--ema", "0.5").status == 0
    (scores,) = log("r")
    assert list(scores.values) == ["L1", "PSNR", "SSIM", "L1_ema", "PSNR_ema", "SSIM_ema"]
    for tag, flags in {"latest": [], "latest_ema": ["--use_ema"]}.items():
        test = ["--name", "r", "--phase", "val", "--gpu_ids", "-1", "--num_threads", "0", *flags]
        assert command("test", *test).status == 0
        found: dict[str, list[float]] = {}
        folder = Path("results/r") / f"val_{tag}" / "images"
        for i in range(4):
            pair = [
                np.array(Image.open(folder / f"{i}_{label}.png")) for label in ("fake_B", "real_B")
            ]
            for name, value in compare(
                *(torch.from_numpy(p).permute(2, 0, 1)[None] for p in pair)
            ).items():
                found.setdefault(name, []).append(value.item())
        for name, values in found.items():
            column = name + tag.removeprefix("latest")
            assert scores.values[column] == pytest.approx(np.mean(values), rel=1e-3)


def test_validation_and_averages_leave_the_training_as_it_is(train):
    assert train("plain", *EPOCHS).status == 0
    assert train("watched", *EPOCHS, "--val_freq", "2", "--ema", "0.9").status == 0
    assert [s.epoch for s in log("watched")] == [2, 4]
    assert loss_lines("plain") == loss_lines("watched") and len(loss_lines("plain")) == 16 * 5
    assert equal(weights("plain", "latest"), weights("watched", "latest"))
    assert not equal(weights("watched", "latest"), weights("watched", "latest", "G_ema"))


def test_a_resumed_run_remembers_scores_best_and_averages(train):
    flags = ["--val_freq", "1", "--ema", "0.9", "--n_epochs_decay", "0"]
    assert train("whole", *flags, "--n_epochs", "4").status == 0
    assert train("cut", *flags, "--n_epochs", "2").status == 0
    assert train("cut", *flags, "--n_epochs", "4", "--continue_train").status == 0
    assert log("cut") == log("whole") and len(log("cut")) == 4
    for tag, net in (("best", "G"), ("best", "G_ema"), ("latest", "G_ema")):
        assert equal(weights("cut", tag, net), weights("whole", tag, net))


def test_a_run_that_gets_no_better_stops_early(train, monkeypatch):
    scores = iter([0.0, 0.5, 0.3, 0.4, 0.6, 0.2, 0.1])
    monkeypatch.setattr(validation, "mean_scores", lambda *_: {"L1": next(scores)})
    result = train("r", "--n_epochs", "9", "--early_stop", "2")  # the first look is not judged
    assert result.status == 0, result.err
    assert [s.values["L1"] for s in log("r")] == [0.5, 0.3, 0.4, 0.6]
    assert "stopped early: best L1: 0.3000 of epoch 2, 2 validations ago" in result.out
    again = train("r", "--continue_train", "--n_epochs", "9")
    assert again.status == 0 and "--early_stop 0 trains on" in again.out
    assert len(log("r")) == 4


def test_another_metric_begins_anew(train, monkeypatch):
    monkeypatch.setattr(validation, "mean_scores", lambda *_: {"L1": 0.5, "PSNR": 10.0})
    assert train("r", "--val_freq", "1").status == 0
    flags = ["--continue_train", "--n_epochs", "2", "--best_metric", "PSNR"]
    assert "best PSNR: 10.0000 of epoch 2" in train("r", *flags).out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--val_freq", "1", "--best_metric", "MS-SSIM"], ["--best_metric MS-SSIM", "L1, PSNR"]),
        (["--val_freq", "1", "--dataroot", "else"], ["--val_freq", "val/"]),
        (["--ema", "1"], ["--ema", "at most"]),
    ],
)
def test_what_cannot_be_measured_is_refused_before_training(train, flags, words):
    shutil.rmtree(draw_pairs(Path("else"), count=2) / "val")
    result = train("r", *flags)
    assert result.status == 2 and all(word in result.err for word in words), result.err
    assert not Path("checkpoints/r/loss_log.txt").exists()


def test_a_metric_that_one_small_image_lacks_is_refused_before_training(train) -> None:
    draw((128, 8)).save(draw_pairs(Path("mixed"), count=3) / "val" / "2.png")
    flags = ["--dataroot", "mixed", "--preprocess", "none", "--val_freq", "1"]
    result = train("r", *flags, "--best_metric", "SSIM")
    assert result.status == 2 and "--best_metric SSIM: not measured" in result.err
    assert train("r", *flags, "--best_metric", "L1").status == 0


def test_validation_images_of_which_none_can_be_read_are_one_line(train) -> None:
    for path in (draw_pairs(Path("bad"), count=2) / "val").iterdir():
        path.write_bytes(path.read_bytes()[:200])
    result = train("r", "--dataroot", "bad", "--val_freq", "1", "--on_bad_image", "skip")
    assert result.status == 2 and "--val_freq: none of the validation images" in result.err


@pytest.mark.parametrize(
    ("metric", "values", "best"),
    [
        ("L1", [0.5, 0.5, 0.5], 1),
        ("PSNR", [10.0, 10.0, 10.0], 1),
        ("L1", [0.5, 0.4, 0.4], 2),
        ("PSNR", [10.0, 11.0, 11.0], 2),
        ("L1", [math.nan, 0.5, math.nan], 2),
        ("PSNR", [math.nan, 10.0, 9.0], 2),
    ],
)
def test_of_equal_scores_the_first_is_the_best_and_nan_never_is(
    train, monkeypatch, metric, values, best
):
    scores = iter([{"L1": 1.0, "PSNR": 1.0}, *({"L1": v, "PSNR": v} for v in values)])
    monkeypatch.setattr(validation, "mean_scores", lambda *_: next(scores))
    flags = ["--best_metric", metric, "--n_epochs", "3", "--save_epoch_freq", "1"]
    result = train("r", *flags)
    assert result.status == 0, result.err
    assert equal(weights("r", "best"), weights("r", best))
    assert f"of epoch {best}, {3 - best} validation" in result.out


def test_a_score_that_is_nan_from_the_start_stops_early_without_a_best(train, monkeypatch):
    monkeypatch.setattr(validation, "mean_scores", lambda *_: {"L1": math.nan})
    result = train("r", "--early_stop", "2", "--n_epochs", "4")
    assert result.status == 0 and "stopped early: no best L1 yet" in result.out, result.err
    assert len(log("r")) == 2 and not list(Path("checkpoints/r").glob("best_*"))


@pytest.mark.parametrize(("ema", "damaged"), [("0", 2), ("0.9", 2), ("0.9", 3)])
def test_weights_that_are_not_finite_do_not_become_the_best(train, monkeypatch, ema, damaged):
    """Scores of 8-bit images hide them."""

    def measure(model: Any, *_: Any) -> dict[str, float]:
        nonlocal looks
        looks += 1
        if looks == damaged:
            next(model.nets["G"].parameters()).data.flatten()[0] = math.inf
        return {"L1": 1 / looks}

    looks = 0  # the first at one image; with an EMA, each validation then looks twice
    monkeypatch.setattr(validation, "mean_scores", measure)
    result = train("r", "--val_freq", "1", "--ema", ema, "--n_epochs", "2")
    assert result.status == 1 and "not finite" in result.err
    assert not list(Path("checkpoints/r").glob("*_net_*.pth"))


def test_the_last_epoch_is_looked_at_whatever_the_frequency(train):
    assert train("r", "--n_epochs", "3", "--val_freq", "2").status == 0
    assert [s.epoch for s in log("r")] == [2, 3]


@pytest.mark.parametrize("flags", [["--best_metric", "SSIM"], ["--early_stop", "3"]])
def test_what_follows_a_metric_looks_after_every_epoch(train, flags):
    assert train("r", "--n_epochs", "2", *flags).status == 0
    assert [s.epoch for s in log("r")] == [1, 2]


def test_a_new_run_of_an_old_name_leaves_no_best_of_the_old_one(train, command):
    assert train("r", "--val_freq", "1", "--ema", "0.5").status == 0
    assert train("r").status == 0
    folder = Path("checkpoints/r")
    assert not list(folder.glob("best_net_*")) and not (folder / "val_log.csv").exists()
    result = command("test", "--name", "r", "--gpu_ids", "-1", "--epoch", "best")
    assert result.status == 2 and "train.py --val_freq keeps the best" in result.err
    assert not list(folder.glob("latest_net_*_ema.pth"))
    result = command("test", "--name", "r", "--gpu_ids", "-1", "--use_ema")
    assert result.status == 2 and "train.py --ema writes EMA weights" in result.err


def test_with_averages_theirs_is_the_best_that_is_said(train):
    result = train("r", "--val_freq", "1", "--ema", "0.5")
    value = log("r")[0].values["L1_ema"]
    assert f"(best L1_ema: {value:.4f} of epoch 1)" in result.out


def test_without_averages_test_names_the_file_that_is_missing(train, command):
    assert train("r").status == 0
    result = command("test", "--name", "r", "--gpu_ids", "-1", "--use_ema")
    assert result.status == 2 and "latest_net_G_ema.pth" in result.err
    assert "train.py --ema writes EMA weights" in result.err


@pytest.mark.parametrize(("count", "few"), [(2, True), (10, False)])
def test_few_validation_images_are_said(command, tmp_path, caplog, count, few) -> None:
    draw_pairs(tmp_path / "data", count)
    flags = ["--dataroot", tmp_path / "data", "--val_freq", 1]
    assert command("train", *TINY, "--no_html", *flags).status == 0
    assert f"{count} validation images" in caplog.messages
    assert ("images are too few" in caplog.text) == few


def test_a_first_image_that_cannot_be_measured_is_not_all(make, monkeypatch) -> None:
    """As the first slice of a volume, without data, or a crop without its hole."""
    model = make("--val_freq", 1)
    batches = [random_batch(seed=seed) for seed in range(3)]
    monkeypatch.setattr(
        "training.validation.nothing_to_measure", lambda model: model.image_paths == ["first"]
    )
    batches[0]["A_paths"] = batches[0]["B_paths"] = ["first"]
    state = SimpleNamespace(model=model, ema=None, progress=Progress())
    state.progress.best_metric, state.progress.validations_since_best = "SSIM", 7
    found = Validation(model.opt, state, batches)
    assert found.metric == "L1" and state.progress.validations_since_best == 0  # of another metric
    averaged = []
    monkeypatch.setattr("training.validation.average_buffers", averaged.extend)
    found.measure()
    assert averaged == [*model.nets.values()]  # as all ranks save them
    refusal(lambda: Validation(model.opt, state, batches[:1]), "--val_freq: none of the validation")
