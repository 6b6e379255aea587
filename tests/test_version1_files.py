"""The files of version 1, in tests/data/version1, are read, gone on from and not made again.

Its README says what they are. A change that fails here loses users' runs: read the old form too.
"""

import csv
import re
import shutil
from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import draw_pairs
from matplotlib.axes import Axes

from translator import Translator

Command = Callable[..., SimpleNamespace]
FILES = Path(__file__).resolve().parent / "data" / "version1"
RUN = Path("checkpoints/run")
CPU = ["--gpu_ids", "-1", "--num_threads", "0"]
STEPS_BEFORE, STEPS = 4, 6  # of the saved state, of its first two epochs


@pytest.fixture
def laid(command: Command) -> Command:
    """The folder of a user with these files and the images that they were made of."""
    draw_pairs(Path("data"), count=3, size=(36, 32))
    shutil.copytree(FILES / "run", RUN)
    shutil.copytree(FILES / "run_results", "results/run")
    shutil.copytree(FILES / "sweep/plan", "checkpoints/plan")
    shutil.copy(FILES / "sweep/plan.yaml", "plan.yaml")
    return command


def load(path: Path) -> Any:
    return torch.load(path, weights_only=True)


def losses(path: Path) -> list[tuple[int, int, dict[str, float]]]:
    """Return epoch, iters and losses of the lines of a loss_log.txt."""
    found = re.findall(r"^\(epoch: (\d+), iters: (\d+), [^)]*\) (.*)$", path.read_text(), re.M)
    return [
        (int(epoch), int(iters), {k: float(v) for k, v in re.findall(r"(\S+): (\S+)", rest)})
        for epoch, iters, rest in found
    ]


def scores(path: Path) -> dict[int, dict[str, float]]:
    """Return the scores of a val_log.csv by epoch."""
    with path.open(newline="") as file:
        rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
    return {int(row.pop("epoch")): row for row in rows}


def values(state: Any, key: Any = None) -> Iterator[tuple[Any, Any]]:
    """Yield every value of a nested state with the last key above it."""
    if isinstance(state, dict):
        for name, value in state.items():
            yield from values(value, name)
    elif isinstance(state, list | tuple):
        for value in state:
            yield from values(value, key)
    else:
        yield key, state


def steps(state: Any) -> set[int]:
    """Return the numbers of steps that the optimizers have counted."""
    return {int(value) for key, value in values(state) if key == "step"}


def images_in(state: Any) -> list[torch.Tensor]:
    """Return the pairs in a state's image pool: real A and fake B, six channels."""
    tensors = (value for _, value in values(state) if isinstance(value, torch.Tensor))
    return [t.reshape(6, 12, 12) for t in tensors if t.shape[-3:] == (6, 12, 12)]


def test_a_run_of_version_1_resumes_in_mid_epoch(
    laid: Command, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    drawn: list[list[float]] = []
    plot = Axes.plot

    def noted(self: Axes, x: Any, *args: Any, **kwargs: Any) -> Any:
        drawn.append(list(x))
        return plot(self, x, *args, **kwargs)

    monkeypatch.setattr(Axes, "plot", noted)
    changed = ["--lr", "0", "--n_epochs", "2"]
    result = laid("train", "--name", "run", "--continue_train", *changed, *CPU)
    assert result.status == 0, result.err
    assert "latest_state.pth" in caplog.text and "lr 0.05 -> 0.0" in caplog.text
    losses_go_on()
    weights_ema_and_pool_go_on()
    scores_go_on()
    assert "best SSIM_ema: 0.0275 of epoch 1" in caplog.text
    page_shows_all_epochs(drawn)


def losses_go_on() -> None:
    before, after = FILES / "run/loss_log.txt", RUN / "loss_log.txt"
    assert after.read_text().startswith(before.read_text())
    assert "continued" in after.read_text()
    found, expected = losses(after), losses(FILES / "resumed/loss_log.txt")
    assert [line[:2] for line in found] == [line[:2] for line in expected]
    assert [line[:2] for line in found[4:]] == [(2, 2), (2, 3)]
    # As version 1 went on: the same order of images, crops, noise and weights.
    for (*_, ours), (*_, theirs) in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, abs=0.002)


def weights_ema_and_pool_go_on() -> None:
    """A rate of 0 leaves the weights, and the EMA comes nearer to them by its own decay."""
    weights = load(FILES / "run/latest_net_G.pth")
    now, ema = load(RUN / "latest_net_G.pth"), load(RUN / "latest_net_G_ema.pth")
    ema_before = load(FILES / "run/latest_net_G_ema.pth")
    decay = prod(min(0.9, (1 + s) / (10 + s)) for s in range(STEPS_BEFORE + 1, STEPS + 1))
    for key in (key for key in weights if key.endswith((".weight", ".bias"))):
        torch.testing.assert_close(now[key], weights[key], rtol=0, atol=0)
        expected_ema = weights[key] + decay * (ema_before[key] - weights[key])
        torch.testing.assert_close(ema[key], expected_ema, rtol=1e-4, atol=1e-6)

    state_before = load(FILES / "run/latest_state.pth")
    state = load(RUN / "latest_state.pth")
    assert (steps(state_before), steps(state)) == ({STEPS_BEFORE}, {STEPS})
    pool = images_in(state)
    assert len(images_in(state_before)) == STEPS_BEFORE and len(pool) == STEPS
    for image in images_in(state_before):
        assert any(torch.equal(image, other) for other in pool)


def scores_go_on() -> None:
    before, after = scores(FILES / "run/val_log.csv"), scores(RUN / "val_log.csv")
    assert list(after) == [1, 2]
    assert before[1].items() <= after[1].items()
    for epoch, theirs in scores(FILES / "resumed/val_log.csv").items():
        ours = {name: after[epoch][name] for name in theirs}
        assert ours == pytest.approx(theirs, rel=0.02, abs=0.002)
    for path in (FILES / "run").glob("best_net_*.pth"):
        assert (RUN / path.name).read_bytes() == path.read_bytes(), path.name


def page_shows_all_epochs(drawn: list[list[float]]) -> None:
    """`drawn` are the x values of all curves."""
    page = (RUN / "web/index.html").read_text(encoding="utf-8")
    assert '"epochs": [[1, 1], [2, 3]]' in page  # version 1 showed one image an epoch
    assert "images/losses.png" in page
    for x in ([1, 2], [1 / 3, 2 / 3, 1, 4 / 3, 5 / 3, 2]):
        assert any(len(x) == len(curve) and curve == pytest.approx(x) for curve in drawn), x


@pytest.mark.parametrize("flags", [{}, {"epoch": "best", "use_ema": True}])
def test_weights_of_version_1_translate(laid: Command, flags: dict[str, Any]) -> None:
    translator = Translator.load(RUN, gpu_ids=-1, **flags)
    assert translator("data/test/0.png").size == (12, 12)


def test_shards_of_version_1_are_completed_and_not_made_again(laid: Command, caplog: Any) -> None:
    results, before = Path("results/run/test_latest"), FILES / "run_results/test_latest"
    old = {path: path.stat().st_mtime_ns for path in (results / "images").iterdir()}
    assert len(old) == 6
    share = ["--num_shards", "2", "--shard_id", "1"]
    result = laid("test", "--name", "run", *share, *CPU, "--eval")
    assert result.status == 2 and "--eval" in result.err  # other results than those there
    for number in (0, 1):
        share = ["--num_shards", "2", "--shard_id", number]
        result = laid("test", "--name", "run", *share, *CPU)
        assert result.status == 0, result.err
    assert {path: path.stat().st_mtime_ns for path in old} == old
    files = {path.name for path in (results / "images").iterdir()}
    assert files == {
        f"{i}_{label}.png" for i in range(3) for label in ("real_A", "fake_B", "real_B")
    }
    name = "shards/00000_of_00002.jsonl"
    assert (results / name).read_text() == (before / name).read_text()

    assert laid("test", "--name", "run", "--page_only", *CPU).status == 0
    page = (results / "index.html").read_text(encoding="utf-8")
    assert page.count("<img ") == 9 and all(f"images/{file}" in page for file in files)
    assert "all 3 " in caplog.messages[-1]


def test_a_sweep_of_version_1_is_not_trained_again(laid: Command, in_this_process: None) -> None:
    folder = Path("checkpoints/plan")
    trained = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.parent != folder}
    files = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    result = laid("scripts.sweep", "plan.yaml")
    assert result.status == 0, result.err
    assert {p: p.stat().st_mtime_ns for p in trained} == trained
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == files
    table = Path("results/plan/sweep.md").read_text(encoding="utf-8")
    assert "| L1 |" in table and "| L2 |" in table
