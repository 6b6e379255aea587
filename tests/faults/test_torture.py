"""The torture finds nothing lost, and would find it."""

import os
import random
import re
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from scripts.dev import torture
from scripts.dev.mutations import OtherProcess, damage, mutated
from scripts.dev.torture import same


@pytest.mark.slow
def test_nothing_is_lost(
    command: Callable[..., SimpleNamespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = ["--ngf", "16", "--n_epochs", "1", "--n_epochs_decay", "1"]
    monkeypatch.setattr(torture, "TRAINING", [*torture.TRAINING, *short])
    few = "--kills 2 --terms 1 --limits 1 --images 24 --files 40"
    result = command("scripts.dev.torture", *few.split())
    assert result.status == 0, result.err
    rows = re.findall(r"^\| (.+?) \| (\d+) \| (.+?) \| (\d+) \|$", result.out, re.MULTILINE)
    assert [(int(times), int(lost)) for _, times, _, lost in rows] == [
        *[(2, 0), (1, 0), (1, 0), (24, 0), (24, 0), (24, 0), (24, 0), (40, 0)]
    ]


def test_a_state_that_differs_in_one_bit_is_found() -> None:
    one = {"a": [torch.tensor([1.0, 2.0]), {"b": (1, "x")}]}
    assert same(one, {"a": [torch.tensor([1.0, 2.0]), {"b": (1, "x")}]})
    assert not same(one, {"a": [torch.tensor([1.0, 2.0000002]), {"b": (1, "x")}]})
    assert not same(one, {"a": [torch.tensor([1.0, 2.0]), {"b": (1, "y")}]})
    assert not same(one, {"a": [torch.tensor([1.0, 2.0])]})


def test_a_reader_that_fails_otherwise_is_counted(tmp_path: Path) -> None:
    def read(path: Path) -> None:
        raise KeyError("a traceback")

    (tmp_path / "x.yaml").write_text("a: 1")
    assert damage("x", 5, [tmp_path / "x.yaml"], read, random.Random(0)).lost == 5


def test_a_reader_that_ends_its_process_is_counted(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(b"x")
    lost = damage("x", 2, [tmp_path / "x.npy"], OtherProcess(kill_this_process), random.Random(0))
    assert lost.lost == 2


def kill_this_process(path: Path) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def test_mutations_change_the_bytes() -> None:
    content, rng = bytes(range(256)) * 4, random.Random(0)
    assert sum(mutated(content, rng) != content for _ in range(100)) > 95
