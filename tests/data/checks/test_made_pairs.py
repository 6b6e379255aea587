"""Pairs of make_pairs whose task resizing would undo: the flags are printed, noted, remarked on."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import TINY, draw

from data.checks.made_pairs import train_flags

Command = Callable[..., SimpleNamespace]


def made(command: Command, tmp_path: Path, task: str, *more: object) -> Path:
    (tmp_path / "photos").mkdir()
    for i in range(4):
        draw((96, 80), seed=i).save(tmp_path / "photos" / f"{i}.png")
    flags = ["--task", task, "--split", "0.5,0,0.5", "--num_threads", 1, *more]
    result = command("scripts.make_pairs", *flags, tmp_path / "photos", tmp_path / "pairs")
    assert result.status == 0, result.err
    return tmp_path / "pairs"


def tiny(*flags: object) -> list[object]:
    """Small networks, with no word on sizes."""
    kept = TINY[: TINY.index("--load_size")] + TINY[TINY.index("--n_epochs") :]
    return [*kept, "--name", "r", "--no_html", *flags]


@pytest.mark.parametrize(("more", "side"), [([], 80), (["--size", 72], 72)])
def test_superresolution_trains_with_the_flags_that_are_printed(
    command, tmp_path, caplog, more, side
) -> None:
    root = made(command, tmp_path, "superres", *more)
    note = json.loads((root / "make_pairs.json").read_text())
    wanted = f"--preprocess crop --load_size {side} --crop_size {side}"
    assert note["train_flags"] == wanted
    words = shlex.split(re.search(r"train on them with: (.*)", caplog.text)[1])
    flags = words[words.index("--dataroot") :]
    assert " ".join(flags).endswith(wanted)
    caplog.clear()
    assert command("train", *tiny(*flags)).status == 0
    assert "make_pairs --task" not in caplog.text


def test_resizing_them_is_remarked_on(command, tmp_path, caplog) -> None:
    root = made(command, tmp_path, "superres")
    size = ["--load_size", 64, "--crop_size", 64]
    assert command("train", *tiny("--dataroot", root, *size)).status == 0
    assert "make_pairs --task superres made these pairs; --preprocess resize_and_" in caplog.text


@pytest.mark.parametrize(
    ("task", "side", "flags"),
    [
        ("edges", 256, ""),
        ("edges", 200, "--load_size 223 --crop_size 200"),
        ("edges", 128, "--load_size 143 --crop_size 128 --netG unet_128"),
        ("combine", 40, "--load_size 72 --crop_size 64 --netG unet_64"),
        ("superres", 300, "--preprocess crop"),
        ("superres", 128, "--preprocess crop --load_size 128 --crop_size 128 --netG unet_128"),
    ],
)
def test_small_images_stay_small(task: str, side: int, flags: str) -> None:
    assert " ".join(train_flags(task, side)) == flags


def test_the_note_of_other_tasks_holds_no_flags(command, tmp_path, caplog) -> None:
    root = made(command, tmp_path, "grayscale")
    assert "train_flags" not in (root / "make_pairs.json").read_text()
    size = ["--load_size", 64, "--crop_size", 64]
    assert command("train", *tiny("--dataroot", root, *size)).status == 0
    assert "make_pairs --task" not in caplog.text


def test_the_command_can_be_run_again(command, tmp_path) -> None:
    root = made(command, tmp_path, "superres")
    flags = ["--task", "superres", "--split", "0.5,0,0.5", "--num_threads", 1]
    assert command("scripts.make_pairs", *flags, tmp_path / "photos", root).status == 0
    assert "train_flags" in (root / "make_pairs.json").read_text()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"task": 3}'])
def test_a_damaged_note_says_nothing(command, tmp_path, content) -> None:
    root = made(command, tmp_path, "superres")
    (root / "make_pairs.json").write_text(content)
    size = ["--load_size", 64, "--crop_size", 64]
    assert command("train", *tiny("--dataroot", root, *size)).status == 0
