"""What a training chooses or costs by itself is said in one line, with the reason."""

import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import TINY, draw_pairs
from PIL import Image

from training import validation

Command = Callable[..., SimpleNamespace]
SMALL = [*TINY[: TINY.index("--load_size")], "--n_epochs", "1", "--n_epochs_decay", "0"]


def trained(command: Command, root: Path, *flags: object) -> None:
    line = [*SMALL, "--dataroot", root, "--name", "r", "--no_html", "--max_dataset_size", 2]
    result = command("train", *line, *flags)
    assert result.status == 0, result.err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ["--netG", "unet_256", "--load_size", 64, "--crop_size", 64],
            "pads images of 64x64 pixels to 256x256, 16 times the work; --netG unet_64 pads no",
        ),
        (
            ["--netG", "unet_256", "--load_size", 130, "--crop_size", 130],
            "pads images of 130x130 pixels to 256x256, 4 times the work",
        ),
        (["--netG", "unet_64", "--load_size", 64, "--crop_size", 64], ""),
        (["--netG", "unet_64", "--load_size", 120, "--crop_size", 120], ""),
        (["--netG", "resnet_6blocks", "--load_size", 66, "--crop_size", 66], ""),
        (["--netG", "unet_128", "--preprocess", "none"], "pads images of 72x72 pixels to 128x128"),
    ],
)
def test_padding_that_costs_much_is_said(command, tmp_path, caplog, flags, said) -> None:
    trained(command, draw_pairs(tmp_path / "d", size=(72, 72)), *flags)
    lines = [text for text in caplog.messages if ": pads images" in text]
    assert bool(lines) == bool(said) and all(said in line for line in lines)


@pytest.mark.parametrize(("freq", "among"), [(1, "all"), (2, "one in 2 and the last")])
def test_the_best_says_among_which_epochs(command, pairs, caplog, freq, among) -> None:
    trained(command, pairs, "--crop_size", 64, "--load_size", 64, "--val_freq", freq)
    (words,) = [text for text in caplog.messages if "best epoch by val" in text]
    assert words.startswith(f"best epoch by val L1: 1 (of {among}; ")
    assert words.endswith("test.py --name r --epoch best)")


@pytest.mark.parametrize(("since", "said"), [(4, ""), (5, "none of the 5 validations since was")])
def test_validations_that_only_get_worse_are_said(
    command, pairs, caplog, monkeypatch, since, said
) -> None:
    scores = itertools.count()
    monkeypatch.setattr(validation, "mean_scores", lambda *_: {"L1": float(next(scores))})
    flags = ["--crop_size", 64, "--load_size", 64, "--n_epochs", 1 + since, "--val_freq", 1]
    trained(command, pairs, *flags)
    (words,) = [text for text in caplog.messages if "best epoch by val" in text]
    assert "by val L1: 1 (of all; " in words and "test.py --name r --epoch best)" in words
    assert ("validations since" in words) == bool(said) and said in words


@pytest.mark.parametrize(("size", "said"), [(2, False), (3, True)])
def test_a_batch_of_more_than_all_images_is_said(command, pairs, caplog, size, said) -> None:
    trained(command, pairs, "--crop_size", 64, "--load_size", 64, "--batch_size", size)
    assert (f"--batch_size {size}: is more than the 2 training images" in caplog.text) == said


def test_a_resume_says_where_it_goes_on(command, pairs, caplog) -> None:
    size = ["--crop_size", 64, "--load_size", 64, "--n_epochs", 2]
    trained(command, pairs, *size)
    caplog.clear()
    trained(command, pairs, *size[:-1], 3, "--continue_train")
    assert "resuming from checkpoints/r/latest_state.pth in epoch 3, from its start" in caplog.text


def test_the_last_batch_of_a_fixed_order_may_have_a_size_of_its_own(command, tmp_path) -> None:
    root = draw_pairs(tmp_path / "d", count=3, size=(64, 64))
    with Image.open(root / "train" / "2.png") as image:
        large = image.resize((256, 128))
    large.save(root / "train" / "2.png")
    place = ["--dataroot", root, "--name", "r", "--no_html"]
    fixed = ["--preprocess", "none", "--batch_size", 2, "--serial_batches"]
    result = command("train", *SMALL, *place, *fixed)
    assert result.status == 0, result.err
