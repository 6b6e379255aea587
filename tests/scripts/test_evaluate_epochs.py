"""scripts.evaluate --epoch all: the kept epochs of a run, compared on val."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TINY

from scripts.evaluation.compare import ImageSet, Result
from scripts.evaluation.epochs import best_epochs, kept_epochs


@pytest.fixture
def evaluate(command, caplog, in_this_process):
    """Run the script; return its status and lines, the error last."""

    def run(*flags: Any) -> tuple[int, list[str]]:
        caplog.clear()
        result = command("scripts.evaluate", *flags, "--gpu_ids", "-1")
        return result.status, [*caplog.messages, result.err.strip()]

    return run


def test_every_kept_epoch_is_scored_on_val_and_the_best_is_named(command, pairs, evaluate) -> None:
    flags = ["--dataroot", pairs, "--name", "r", "--no_html", "--save_epoch_freq", "1"]
    assert command("train", *TINY, *flags, "--n_epochs", "3").status == 0
    status, lines = evaluate("--name", "r", "--epoch", "all", "--num_threads", "1")
    assert status == 0, lines
    text = "\n".join(lines)
    assert all(text.count(f"\n  r {epoch} ") == 3 for epoch in (1, 2, 3))  # L1, PSNR, SSIM
    assert "r latest" not in text and f"{pairs}, val," in text
    assert [line.partition(":")[0] for line in lines if line.startswith("best by")] == [
        f"best by {metric}" for metric in ("L1", "PSNR", "SSIM")
    ]
    page = Path("results/r/val_all_evaluation/index.html").read_text()
    assert "<h1>Evaluation of the epochs of r</h1>" in page
    assert Path("results/r/val_2/images/0_fake_B.png").exists()


def test_latest_counts_if_no_epoch_is_the_same(tmp_path: Path) -> None:
    for tag in ("2", "10", "latest", "best", "iter_7"):
        (tmp_path / f"{tag}_net_G.pth").touch()
    (tmp_path / "200_net_G_before_finetuning.pth").touch()
    (tmp_path / "10_net_G_ema.pth").touch()
    assert kept_epochs(tmp_path) == ["2", "10", "latest"]
    assert kept_epochs(tmp_path, use_ema=True) == ["10"]
    for epoch, iters, tags in ((11, 0, ["2", "10"]), (11, 3, ["2", "10", "latest"])):
        torch.save({"progress": {"epoch": epoch, "iters": iters}}, tmp_path / "latest_state.pth")
        assert kept_epochs(tmp_path) == tags


def test_a_run_without_weights_is_named(evaluate) -> None:
    Path("checkpoints/none").mkdir(parents=True)
    status, lines = evaluate("--name", "none", "--epoch", "all")
    assert status == 2 and "--epoch all: checkpoints/none holds no weights" in lines[-1]


def test_epochs_that_chance_may_explain_are_named_too() -> None:
    generator = np.random.default_rng(0)
    noise = generator.normal(0, 1, (3, 50))
    results = [
        Result(ImageSet(f"r {epoch}", {}, {}), {"PSNR": dict(enumerate(20 + level + row))})
        for epoch, level, row in zip((5, 10, 15), (0, 9, 9), noise, strict=True)
    ]
    (line,) = best_epochs(results)
    best, near = ("r 10", "r 15") if noise[1].mean() > noise[2].mean() else ("r 15", "r 10")
    assert line == f"best by PSNR: {best}; as good, within the interval: {near}"


def test_an_unknown_flag_is_told_the_nearest(evaluate) -> None:
    status, lines = evaluate("--nam", "r")
    assert status == 2 and lines[-1].endswith("--nam: unknown flag; did you mean --name?")
