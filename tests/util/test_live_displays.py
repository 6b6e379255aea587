"""Displays together, each alone, and none; TensorBoard's file; packages that are missing."""

import importlib.util
import io
import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import TINY, refusal
from PIL import Image
from support.servers import (
    AT_ONCE,
    LOSSES,
    be_patient,
    free_port,
    show_step,
    start_run,
    time_displays,
    train,
    trained,
    visdom_server,
    visuals,
    wandb_history,
    wandb_without_account,
    warnings,
)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from training import trainer
from util.displays import live
from util.displays.display import BackgroundDisplay
from util.displays.loss_log import LossLog, parse_line
from util.displays.val_log import Scores
from util.displays.web_page import WebPage
from util.util import tensor2im
from util.visualizer import Console

Command = Callable[..., SimpleNamespace]
PACKAGES = {"--display_id=1": "visdom", "--use_tensorboard": "tensorboard", "--use_wandb": "wandb"}


def events(folder: Path) -> EventAccumulator:
    """Read the event files of a run."""
    read = EventAccumulator(str(folder / "tensorboard"), {"scalars": 0, "images": 0})
    return read.Reload()


def scalars(board: EventAccumulator) -> dict[str, list[tuple[int, float]]]:
    """Return (step, value) by tag."""
    return {tag: [(e.step, e.value) for e in board.Scalars(tag)] for tag in board.Tags()["scalars"]}


def test_tensorboard_holds_losses_and_images_by_images_seen(
    tmp_path: Path, caplog, monkeypatch, capfd
) -> None:
    be_patient(monkeypatch)
    visualizer = start_run(tmp_path, "--use_tensorboard")
    sizes = [(3, 6, 8), (1, 5, 7), (3, 12, 16)]
    steps = {(1, 2): 2, (2, 1): 4, (2, 3): 6}
    for (epoch, iters), total in steps.items():
        losses = {"G_GAN": total / 2, "D_real": total / 4}
        visualizer.print_current_losses(epoch, iters, losses, 0.5, 0.25)
        visualizer.display_current_results(visuals(sizes, seed=total), epoch, False, iters)
    visualizer.print_scores(Scores(2, {"L1": 0.5, "L1_ema": 0.25}))
    visualizer.close()
    assert warnings(caplog) == [] and capfd.readouterr() == ("", "")
    board = events(tmp_path / "r")
    assert scalars(board) == {
        "loss/G_GAN": [(2, 1.0), (4, 2.0), (6, 3.0)],
        "loss/D_real": [(2, 0.5), (4, 1.0), (6, 1.5)],
        "val/L1": [(6, 0.5)],
        "val/L1_ema": [(6, 0.25)],
    }
    assert sorted(board.Tags()["images"]) == sorted(visuals(sizes))
    for label in visuals(sizes):
        shown = {e.step: e.encoded_image_string for e in board.Images(label)}
        assert list(shown) == list(steps.values())
        for total, png in shown.items():
            wanted = tensor2im(visuals(sizes, seed=total)[label])
            pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
            np.testing.assert_array_equal(pixels, np.broadcast_to(wanted, pixels.shape))
            assert pixels.shape[:2] == wanted.shape[:2]


def test_a_continued_run_adds_to_its_board(tmp_path: Path, monkeypatch) -> None:
    be_patient(monkeypatch)
    for epoch, flags in ((1, []), (2, ["--continue_train", "--epoch_count", "2"])):
        visualizer = start_run(tmp_path, "--use_tensorboard", *flags)
        show_step(visualizer, 3, epoch)
        visualizer.close()
    board = events(tmp_path / "r")
    assert [step for step, _ in scalars(board)["loss/G_GAN"]] == [3, 6]


def test_a_board_that_cannot_be_written_costs_one_warning(
    tmp_path: Path, caplog, monkeypatch
) -> None:
    be_patient(monkeypatch)
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "tensorboard").write_text("a file")
    visualizer = start_run(tmp_path, "--use_tensorboard")
    show_step(visualizer, 1)
    visualizer.close()
    assert len(warnings(caplog)) == 1 and warnings(caplog)[0].startswith("TensorBoard: ")


@pytest.mark.slow
def test_a_training_shows_itself_on_all_displays_together(
    command: Command, pairs: Path, tmp_path: Path, caplog, monkeypatch
) -> None:
    be_patient(monkeypatch)
    wandb_without_account(tmp_path, monkeypatch)
    monkeypatch.setenv("WANDB_MODE", "offline")
    times = time_displays(monkeypatch)
    with visdom_server(tmp_path / "visdom") as server:
        flags = ["--display_id", "1", "--display_port", server.port]
        result = train(command, pairs, *flags, "--use_tensorboard", "--use_wandb", epochs=2)
        curves = server.window(1)["content"]["data"]
        images = server.window(2)
    assert result.status == 0 and trained(epochs=2)
    assert warnings(caplog) == [] and max(times.updates) < AT_ONCE
    run, totals = Path("checkpoints/r"), [1, 2, 3, 4, 5, 6]
    entries = LossLog(run / "loss_log.txt", continued=True).entries()
    printed = [e for message in caplog.messages if (e := parse_line(message))]
    assert printed == entries
    names = list(entries[0].losses)
    logged = {name: [e.losses[name] for e in entries] for name in names}
    board, history = scalars(events(run)), wandb_history(Path.cwd())
    assert list(history) == totals
    for curve in curves:
        values = logged[curve["name"]]
        assert curve["x"] == totals and curve["y"] == pytest.approx(values, abs=6e-4)
        assert board[f"loss/{curve['name']}"] == [
            (step, pytest.approx(value)) for step, value in zip(totals, curve["y"], strict=True)
        ]
        assert [row[curve["name"]] for row in history.values()] == pytest.approx(curve["y"])
    assert [curve["name"] for curve in curves] == names
    assert "epoch 2: real_A, fake_B, real_B" in images["title"]
    assert sorted({e.step for e in events(run).Images("fake_B")}) == totals
    assert all("fake_B.path" in row for row in history.values())
    assert (run / "web" / "images" / "epoch002_fake_B.png").is_file()


def test_a_training_that_fails_leaves_its_last_losses_on_the_board(
    command: Command, pairs: Path, monkeypatch
) -> None:
    be_patient(monkeypatch)

    def fail(training) -> None:
        training.visualizer.print_current_losses(1, 3, LOSSES, 0.5, 0.25)
        raise ValueError("the disk is on fire")

    command("train", "--help")
    monkeypatch.setattr(trainer.Trainer, "run", fail)
    result = train(command, pairs, "--use_tensorboard")
    assert result.status == 2 and "on fire" in result.err
    assert set(scalars(events(Path("checkpoints/r")))) == {f"loss/{name}" for name in LOSSES}


def test_what_is_not_asked_for_has_no_thread_and_is_not_imported(
    command: Command, pairs: Path, monkeypatch, caplog
) -> None:
    packages = {"visdom", "tensorboard", "wandb", "torch.utils.tensorboard"}
    for name in packages:
        monkeypatch.delitem(sys.modules, name, raising=False)
    started: list[str] = []
    monkeypatch.setattr(threading.Thread, "start", lambda self: started.append(self.name))
    monkeypatch.setattr(BackgroundDisplay, "__init__", lambda *_: pytest.fail("a display was made"))
    assert train(command, pairs).status == 0 and trained()
    assert not packages & set(sys.modules)
    assert started == [] and warnings(caplog) == []
    assert not (Path("checkpoints/r") / "tensorboard").exists() and not Path("wandb").exists()


@pytest.mark.parametrize("flag", PACKAGES)
def test_a_missing_package_is_said_on_one_line_before_training(
    command: Command, pairs: Path, monkeypatch, flag: str
) -> None:
    package, find = PACKAGES[flag], importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == package else find(name, *a)
    )
    result = command("train", *TINY, "--dataroot", pairs, "--name", "r", flag)
    assert result.status == 2
    (line,) = result.err.splitlines()
    for words in (flag.split("=")[0], "not installed", f"pip install {package}"):
        assert words in line
    log = Path("checkpoints/r/loss_log.txt")
    assert not log.exists() or not LossLog(log, continued=True).entries()


@pytest.mark.parametrize("flag", PACKAGES)
def test_a_missing_package_does_not_matter_to_other_displays(
    tmp_path: Path, monkeypatch, flag: str
) -> None:
    package, find = PACKAGES[flag], importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == package else find(name, *a)
    )
    others = [other for other in PACKAGES if other != flag]
    assert len(start_run(tmp_path, *others).live) == 2
    assert len(start_run(tmp_path).live) == 0


def test_a_folder_of_the_packages_name_is_no_package(tmp_path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "notes").mkdir()  # as wandb/ is, which earlier runs have left
    monkeypatch.setitem(live.INSTALL, "notes", "pip install notes")
    refusal(lambda: live._require("notes", "--use_notes"), "--use_notes: needs the package notes")


def test_the_command_for_each_package_is_known() -> None:
    assert set(live.INSTALL) == set(PACKAGES.values())


@pytest.mark.parametrize("broken", [(WebPage, "write"), (Console, "show_losses"), (LossLog, "add")])
def test_a_display_that_fails_ends_alone_with_one_warning(
    command: Command, pairs: Path, caplog, monkeypatch, broken: tuple[type, str]
) -> None:
    calls: list[int] = []

    def fail(*_) -> None:
        calls.append(1)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*broken, fail)
    result = train(command, pairs, "--update_html_freq", "1")
    assert result.status == 0 and len(calls) == 1
    assert len(warnings(caplog)) == 1 and "No space left" in warnings(caplog)[0]
    assert trained() or broken == (LossLog, "add")
    printed = [parse_line(r.getMessage()) for r in caplog.records if r.levelno == logging.INFO]
    assert any(printed) or broken == (Console, "show_losses")


@pytest.mark.slow
def test_the_live_displays_share_the_two_seconds(tmp_path: Path, monkeypatch, caplog) -> None:
    times, gate = time_displays(monkeypatch), threading.Event()
    for name in ("Visdom", "TensorBoard", "Wandb"):
        monkeypatch.setattr(live, name, lambda *_, **__: gate.wait())
    visualizer = start_run(tmp_path, *PACKAGES, "--display_port", free_port())
    show_step(visualizer, 1)
    visualizer.close()
    assert times.are_bounded()
    assert [w.split(":")[0] for w in warnings(caplog)] == [
        "visdom at http",
        "TensorBoard",
        "Weights & Biases",
    ]
    gate.set()
