"""test.py's page says how the images came about."""

from pathlib import Path

import pytest

from inference.results import statistics_and_noise
from options.test_options import TestOptions


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
