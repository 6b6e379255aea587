"""test.py's page says how the images came about."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from inference.results import note_tiling, statistics_and_noise
from options.test_options import TestOptions
from util.html import HTML


@pytest.mark.parametrize(
    ("flags", "said", "unsaid"),
    [
        ("", ["own statistics", "Dropout stays on", "--eval uses"], ["is off", "(--eval)"]),
        ("--dropout_at_test off", ["own statistics", "off (--dropout_at_test"], ["stays on"]),
        ("--eval", ["running statistics (--eval)", "Dropout is off (--eval)"], ["own", "both"]),
        ("--norm instance", ["Dropout stays on"], ["Batch norm"]),
        ("--no_dropout", ["own statistics"], ["Dropout"]),
    ],
)
def test_the_page_says_what_the_network_draws_on(
    tmp_path: Path, flags: str, said: list[str], unsaid: list[str]
) -> None:
    opt = TestOptions().read(["--checkpoints_dir", str(tmp_path), *flags.split()])
    note = statistics_and_noise(opt)
    assert all(words in note for words in said) and not any(words in note for words in unsaid)


def test_the_page_says_nothing_of_what_the_network_lacks(tmp_path: Path) -> None:
    no_run = ["--checkpoints_dir", str(tmp_path)]
    opt = TestOptions().read([*no_run, "--norm", "instance", "--no_dropout"])
    assert statistics_and_noise(opt) == ""


def test_tiling_is_noted_of_a_batch_with_one_side_alone(tmp_path):
    tiles = SimpleNamespace(tile=64, describe=lambda: "tiles of 64 pixels")
    model = SimpleNamespace(generator=lambda: SimpleNamespace(model=tiles))
    for size, notes in ((64, []), (96, ["Translated in tiles of 64 pixels."])):
        page = HTML(tmp_path / str(size), "page")
        note_tiling(page, SimpleNamespace(model=model), {"B": torch.zeros(1, 3, 32, size)})
        assert page.notes == notes
