"""The page shows how the same few images are translated; the training does not notice."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TINY, draw_pairs
from PIL import Image

from training.reporting import Reporter
from training.samples import Samples, by_inputs, name_of

Command = Callable[..., SimpleNamespace]
MODELS = [["--model", "pix2pix"], ["--model", "cycle_gan", "--pool_size", "2"]]


def draw(count: int, val: bool = True) -> None:
    """Write pairs of images into data/, without a phase val if not `val`."""
    draw_pairs(Path("data"), count)
    if not val:
        shutil.rmtree("data/val")


@pytest.mark.parametrize(
    ("batch", "name"),
    [
        ({"A_paths": ["a/1.png"], "B_paths": ["b/7.png"]}, "A: 1, B: 7"),
        ({"A_paths": ["a/1.png"], "B_paths": ["b/1.jpg"]}, "1"),
        ({"A_paths": ["a/1.png"]}, "1"),
        ({}, "1"),
        (
            {"A_paths": ["a/1.png"], "B_paths": ["b/7.png"], "slice": torch.tensor([4])},
            "1, slice 4",
        ),
    ],
)
def test_a_sample_has_the_names_of_both_sides_where_they_differ(
    batch: dict[str, Any], name: str
) -> None:
    assert name_of(batch, ["a/1.png"]) == name


def test_images_of_several_inputs_are_shown_one_by_one() -> None:
    real = torch.arange(4.0).reshape(1, 4, 1, 1)
    parts = {"A1": slice(0, 1), "A2": slice(1, 4)}
    found = by_inputs({"real_A": real, "fake_B": real[:, :1], "rec_A": -real}, parts)
    assert [*found] == ["real_A1", "real_A2", "fake_B", "rec_A1", "rec_A2"]
    assert found["real_A2"].flatten().tolist() == [1, 2, 3]
    assert found["rec_A1"].flatten().tolist() == [0]
    assert by_inputs({"real_A": real}, {}) == {"real_A": real}


def images_of(run: str, epoch: int, label: str) -> list[np.ndarray]:
    """Return the images of an epoch on the page of a run, in order."""
    folder = Path("checkpoints", run, "web", "images")
    names = [f"epoch{epoch:03d}_{label}{ending}.png" for ending in ("", "_2", "_3", "_4", "_5")]
    return [np.asarray(Image.open(folder / name)) for name in names if (folder / name).exists()]


def train(command: Command, name: str, *flags: str) -> None:
    place = ["--dataroot", "data", "--name", name, "--n_epochs", "3", "--update_html_freq", "2"]
    result = command("train", *TINY, *place, *flags)
    assert result.status == 0, result.err


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("val", [False, True])
@pytest.mark.parametrize("ema", [[], ["--ema", "0.9"]])
def test_a_training_is_equal_to_the_bit_with_and_without_a_page(
    command: Command, model: list[str], val: bool, ema: list[str]
) -> None:
    draw(5, val)
    train(command, "page", *model, *ema)
    train(command, "none", *model, *ema, "--no_html")
    assert Path("checkpoints/page/web/index.html").exists()
    assert not Path("checkpoints/none/web").exists()
    states = [torch.load(f"checkpoints/{name}/latest_state.pth") for name in ("page", "none")]
    for part in ("networks", "optimizers", "pools", "random", *(["averages"] if ema else [])):
        assert_equal(states[0][part], states[1][part])


def assert_equal(one: object, other: object) -> None:
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_equal(a, b)
    else:
        assert one == other


def alike(image: np.ndarray, path: Path) -> bool:
    """Return whether an image is that of a file, but for rounding: batches of another size, which
    test.py makes, are added up in another order on some processors.
    """
    apart = np.abs(image.astype(int) - np.asarray(Image.open(path)))
    return apart.max() <= 1 and (apart > 0).mean() < 0.01


def test_the_same_images_of_val_are_shown_in_every_epoch(command: Command) -> None:
    draw(5)
    train(command, "run")
    inputs = [images_of("run", epoch, "real_A") for epoch in (1, 2, 3)]
    assert [len(images) for images in inputs] == [4, 4, 4]
    for first, *later in zip(*inputs, strict=True):
        assert all(np.array_equal(first, one) for one in later)
    outputs = [images_of("run", epoch, "fake_B")[0] for epoch in (1, 3)]
    assert not np.array_equal(*outputs)
    result = command("test", "--name", "run", "--phase", "val", "--gpu_ids", "-1")
    assert result.status == 0, result.err
    shown = images_of("run", 3, "fake_B")
    tested = sorted(Path("results/run/val_latest/images").glob("*_fake_B.png"))
    chosen = [tested[i] for i in (0, 1, 3, 4)]  # of five, spread evenly
    for image, path in zip(shown, chosen, strict=True):
        assert alike(image, path), path


def test_the_averaged_generator_translates_them(command: Command) -> None:
    draw(2)
    train(command, "run", "--ema", "0.5")
    flags = ["--phase", "val", "--gpu_ids", "-1", "--use_ema"]
    assert command("test", "--name", "run", *flags).status == 0
    tested = sorted(Path("results/run/val_latest_ema/images").glob("*_fake_B.png"))
    for image, path in zip(images_of("run", 3, "fake_B"), tested, strict=True):
        assert alike(image, path), path


def test_without_val_the_same_crops_of_training_images_are_shown(command: Command) -> None:
    draw(3, val=False)
    train(command, "run")
    inputs = [images_of("run", epoch, "real_A") for epoch in (1, 2, 3)]
    assert [len(images) for images in inputs] == [3, 3, 3]
    for first, *later in zip(*inputs, strict=True):
        assert all(np.array_equal(first, one) for one in later)


def test_a_bad_image_of_val_costs_that_image_alone(command: Command, caplog) -> None:
    draw(3)
    bad = Path("data/val/1.png")
    bad.write_bytes(bad.read_bytes()[:200])
    train(command, "run", "--on_bad_image", "skip")
    assert [len(images_of("run", epoch, "real_A")) for epoch in (1, 3)] == [2, 2]
    assert "continues without it" not in caplog.text


def test_all_ranks_estimate_the_statistics_of_averages_before_the_page_shows_them() -> None:
    calls: list[str] = []
    ema = SimpleNamespace(refresh=lambda: calls.append("refresh"))
    samples = SimpleNamespace(state=SimpleNamespace(ema=ema), translate=None)
    visualizer = SimpleNamespace(show_samples=lambda *args: calls.append("show"))
    for no_html, expected in ((False, ["refresh", "show"]), (True, ["show"])):
        calls.clear()
        reporter = SimpleNamespace(
            samples=samples, visualizer=visualizer, opt=SimpleNamespace(no_html=no_html)
        )
        Reporter.show_samples(reporter, 1)
        assert calls == expected


def test_images_that_cannot_be_translated_cost_the_page_alone(
    command: Command, monkeypatch, caplog
) -> None:
    def fail(self: Samples) -> None:
        raise RuntimeError("out of memory")

    draw(3, val=False)
    monkeypatch.setattr(Samples, "translate", fail)
    train(command, "run")
    warned = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert warned == ["WebPage: out of memory; the run continues without it"]
    assert Path("checkpoints/run/latest_net_G.pth").exists()


def test_samples_leave_the_model_its_images_and_have_names_of_their_own(command, monkeypatch):
    """Two photos of one name, in two folders, are two samples; noise does not depend on when."""
    found = []
    translate = Samples.translate

    def twice(self):
        before = self.state.model.visuals
        self.batches = [self.batches[0], self.batches[0]]
        torch.rand(3)
        first, second = translate(self), translate(self)
        found.append((before is not None and self.state.model.visuals == before, first, second))
        return first

    monkeypatch.setattr(Samples, "translate", twice)
    draw(3)
    train(command, "run")
    for left, first, second in found:
        assert left and list(first) == list(second) == ["0", "0_2"]
        assert all(np.array_equal(first[n][k], second[n][k]) for n in first for k in first[n])
