"""train.py: what a run leaves, and when."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import FACADES, TINY, draw_pairs, needs_facades
from PIL import Image

from models.base_model import BaseModel
from training import validation
from training.reporting import passed
from util.checkpoint import saved_progress
from util.displays.loss_log import parse_line

Command = Callable[..., SimpleNamespace]


def losses(run: Path) -> list[Any]:
    return [
        e for line in (run / "loss_log.txt").read_text().splitlines() if (e := parse_line(line))
    ]


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)


def equal(a: Path, b: Path) -> bool:
    return all(
        torch.equal(x, y) for x, y in zip(weights(a).values(), weights(b).values(), strict=True)
    )


def test_a_short_run_leaves_every_file_that_users_know(command: Command, pairs: Path) -> None:
    flags = ["--dataroot", pairs, "--name", "r", "--n_epochs", "2", "--save_epoch_freq", "1"]
    result = command("train", *TINY, *flags, "--print_freq", "2")
    assert result.status == 0, result.err
    run = Path("checkpoints/r")
    files = {p.name for p in run.iterdir()}
    assert files == {
        *(f"{tag}_net_{net}.pth" for tag in ("1", "2", "latest") for net in "GD"),
        *("latest_state.pth", ".lock"),
        *("train_opt.txt", "train_opt.json", "loss_log.txt", "web"),
    }
    assert (run / "web" / "index.html").is_file()
    images = {
        f"epoch{e:03d}_{label}{ending}.png"
        for e in (1, 2)
        for label in ("real_A", "fake_B", "real_B")
        for ending in ("", "_2", "_3")
    }
    written = {p.name for p in (run / "web" / "images").iterdir()}
    assert written == {*images, "losses.png", "losses_narrow.png", "data.png"}
    assert json.loads((run / "train_opt.json").read_text())["netG"] == "unet_64"
    assert [(e.epoch, e.iters) for e in losses(run)] == [(1, 2), (2, 1), (2, 3)]
    assert equal(run / "2_net_G.pth", run / "latest_net_G.pth")
    assert not equal(run / "1_net_G.pth", run / "2_net_G.pth")
    progress = saved_progress(run)  # a sweep shows what a training has cost
    assert 0 < progress["seconds"] < 600 and progress["peak_memory"] > 2**20


def test_the_last_state_is_saved_in_a_run_shorter_than_every_frequency(
    command: Command, pairs: Path
) -> None:
    assert command("train", *TINY, "--dataroot", pairs, "--name", "r").status == 0
    assert {p.name for p in Path("checkpoints/r").glob("*.pth")} == {
        *("latest_net_G.pth", "latest_net_D.pth", "latest_state.pth"),
    }


def test_save_by_iter_counts_images(command: Command, pairs: Path) -> None:
    flags = ["--save_by_iter", "--save_latest_freq", "2", "--batch_size", "2", "--n_epochs", "2"]
    assert command("train", *TINY, "--dataroot", pairs, "--name", "r", *flags).status == 0
    saved = sorted(p.name for p in Path("checkpoints/r").glob("iter_*_net_G.pth"))
    assert saved == [f"iter_{n}_net_G.pth" for n in (2, 4, 6, 8)]  # a short batch counts as 2


def test_the_same_command_gives_the_same_weights(command: Command, pairs: Path) -> None:
    for name, threads in (("a", 0), ("b", 2), ("c", 0)):
        flags = ["--name", name, "--seed", "1" if name == "c" else "0", "--num_threads", threads]
        assert command("train", *TINY, "--dataroot", pairs, *flags).status == 0
    a, b, c = (Path("checkpoints") / n / "latest_net_G.pth" for n in "abc")
    assert equal(a, b)
    assert not equal(a, c)


def test_learning_rate_falls_as_the_paper_has_it(
    command: Command, pairs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flags = [
        "--n_epochs",
        "2",
        "--n_epochs_decay",
        "3",
        "--lr",
        "0.0004",
        "--max_dataset_size",
        "1",
    ]
    assert command("train", *TINY, "--dataroot", pairs, *flags).status == 0
    rates = [float(m.split("learning rate ")[1]) for m in caplog.messages if "learning rate" in m]
    assert rates == pytest.approx([4e-4, 4e-4, 3e-4, 2e-4, 1e-4])


def test_plateau_follows_the_validation_l1(
    command: Command,
    pairs: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured: list[int] = []

    def validate(model: BaseModel, batches: Any, *_: Any) -> dict[str, float]:
        measured.append(sum(1 for _ in batches))
        return {"L1": 1.0}  # no progress: after 5 patient epochs the rate falls

    monkeypatch.setattr(validation, "mean_scores", validate)
    flags = ["--lr_policy", "plateau", "--n_epochs", "8", "--max_dataset_size", "2"]
    assert command("train", *TINY, "--dataroot", pairs, *flags).status == 0
    rates = [float(m.split("learning rate ")[1]) for m in caplog.messages if "learning rate" in m]
    assert rates == pytest.approx([2e-4] * 7 + [4e-5])
    assert measured == [1] + [2] * 8  # a first look, so that mistakes show before an epoch


def test_continue_train_goes_on_from_the_weights(command: Command, pairs: Path) -> None:
    flags = ["--dataroot", pairs, "--name", "r"]
    assert command("train", *TINY, *flags).status == 0
    first = weights(Path("checkpoints/r/latest_net_G.pth"))
    more = ["--continue_train", "--epoch_count", "2", "--n_epochs", "2", "--lr", "0"]
    assert command("train", *TINY, *flags, *more, "--print_freq", "1").status == 0
    second = weights(Path("checkpoints/r/latest_net_G.pth"))
    assert all(
        torch.equal(first[k], second[k]) for k in first if "running" not in k and "num_" not in k
    )
    assert [e.epoch for e in losses(Path("checkpoints/r"))] == [1, 2, 2, 2]


@pytest.mark.parametrize(("print_freq", "lines"), [(100, 1), (2, 1.5), (1, 3)])
def test_each_epoch_has_a_line_of_losses_however_few_its_images(
    command, pairs, print_freq: int, lines: float
) -> None:
    more = ["--name", "r", "--n_epochs", "4", "--print_freq", print_freq]
    assert command("train", *TINY, "--dataroot", pairs, *more).status == 0
    found = losses(Path("checkpoints/r"))
    assert {entry.epoch for entry in found} == {1, 2, 3, 4} and len(found) == 4 * lines


def test_the_page_has_curves_from_the_first_epoch(command, pairs) -> None:
    assert command("train", *TINY, "--dataroot", pairs, "--name", "r").status == 0
    page = Path("checkpoints/r/web/index.html").read_text()
    assert "images/losses.png" in page and Path("checkpoints/r/web/images/losses.png").exists()


@pytest.mark.parametrize(
    "flags",
    [
        ["--model", "template"],
        ["--model", "template", "--dataset_mode", "template"],
        ["--model", "pix2pix", "--dataset_mode", "template"],
    ],
    ids=" ".join,
)
def test_templates_train_and_test_as_they_stand(
    flags: list[str], command: Command, pairs: Path
) -> None:
    root = pairs / "train" if "template" in flags[-1] and len(flags) > 2 else pairs
    result = command("train", *TINY, "--dataroot", root, "--name", "t", *flags)
    assert result.status == 0, result.err
    result = command("test", "--name", "t", "--gpu_ids", "-1", "--num_threads", "0")
    assert result.status == 0, result.err
    assert len(list(Path("results/t/test_latest/images").glob("*_fake_B.png"))) == 3


def test_a_dropped_in_model_trains_and_tests(command: Command, pairs: Path) -> None:
    models = Path(__file__).resolve().parents[2] / "models"
    dropped = models / "dropped_in_for_a_test_model.py"
    source = (models / "template_model.py").read_text()
    dropped.write_text(source.replace("TemplateModel", "DroppedInForATestModel"))
    try:
        flags = ["--model", "dropped_in_for_a_test", "--dataroot", pairs, "--name", "d"]
        assert command("train", *TINY, *flags, "--lambda_regression", "2").status == 0
        assert command("test", "--name", "d", "--gpu_ids", "-1", "--num_threads", "0").status == 0
    finally:
        dropped.unlink()
    assert Path("results/d/test_latest/index.html").is_file()


@pytest.mark.parametrize(
    "flags",
    [
        "--preprocess none",
        "--preprocess crop",
        "--preprocess scale_width",
        "--preprocess scale_width_and_crop",
        "--input_nc 1",
        "--output_nc 1 --direction BtoA",
        "--netG resnet_6blocks --norm instance --no_dropout",
        "--netD pixel --gan_mode hinge",
        "--netD n_layers --n_layers_D 2 --gan_mode wgangp --norm none",
        "--norm sync_batch --upsample resize --gan_mode lsgan",
        "--precision bf16 --batch_size 2",
        "--pool_size 2 --init_type orthogonal --lr_policy cosine",
        "--lr_policy step --init_type xavier --verbose",
    ],
)
def test_flags_train_and_then_test_without_being_repeated(
    flags: str, command: Command, pairs: Path
) -> None:
    args = [*TINY, "--dataroot", pairs, "--name", "f", "--no_html", *flags.split()]
    result = command("train", *args, "--print_freq", "1")
    assert result.status == 0, result.err
    assert all(v == v for e in losses(Path("checkpoints/f")) for v in e.losses.values())
    result = command("test", "--name", "f", "--gpu_ids", "-1", "--num_threads", "0")
    assert result.status == 0, result.err


@pytest.mark.parametrize(
    ("every", "before", "now", "due"),
    [(100, 99, 100, True), (100, 100, 101, False), (100, 98, 101, True), (1, 4, 5, True)],
)
def test_frequencies_fire_when_a_multiple_is_passed(
    every: int, before: int, now: int, due: bool
) -> None:
    assert passed(every, before, now) is due


@needs_facades
@pytest.mark.slow
def test_the_facades_train_and_test(command: Command) -> None:
    flags = ["--dataroot", FACADES, "--name", "facades", "--direction", "BtoA", "--gpu_ids", "-1"]
    small = ["--n_epochs", "1", "--n_epochs_decay", "1", "--max_dataset_size", "4", "--ngf", "8"]
    assert command("train", *flags, *small, "--ndf", "8", "--print_freq", "2").status == 0
    assert [e.epoch for e in losses(Path("checkpoints/facades"))] == [1, 1, 2, 2]
    assert command("test", "--name", "facades", "--num_test", "3").status == 0
    images = {p.name for p in Path("results/facades/test_latest/images").iterdir()}
    assert images == {
        f"{stem}_{label}.png" for stem in (1, 10, 100) for label in ("real_A", "fake_B", "real_B")
    }


def test_two_folders_train_as_stitched_images_do(command: Command, tmp_path: Path) -> None:
    stitched = draw_pairs(tmp_path / "stitched")
    apart = tmp_path / "apart"
    for phase in ("train", "test"):
        for side in "AB":
            (apart / f"{phase}{side}").mkdir(parents=True)
        for path in sorted((stitched / phase).iterdir()):
            pair = Image.open(path)
            half = pair.width // 2
            pair.crop((0, 0, half, pair.height)).save(apart / f"{phase}A" / path.name)
            pair.crop((half, 0, pair.width, pair.height)).save(apart / f"{phase}B" / path.name)
    for root in (stitched, apart):
        assert command("train", *TINY, "--dataroot", root, "--name", root.name).status == 0
    assert equal(
        Path("checkpoints/stitched/latest_net_G.pth"), Path("checkpoints/apart/latest_net_G.pth")
    )
