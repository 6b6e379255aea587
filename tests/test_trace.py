"""A few steps from known weights print the losses, and end in the weights, that they must."""

import json
from pathlib import Path
from typing import Any

import golden
import numpy as np
import pytest
import torch
from conftest import FACADES, needs_facades

LOSS_TOLERANCE, WEIGHT_TOLERANCE = 0.002, 1e-4


def compare(expected: dict[str, Any], entries: list[Any], folder: Path) -> None:
    rows = expected["rows"]
    assert [(e.epoch, e.iters) for e in entries[: len(rows)]] == [(r[0], r[1]) for r in rows]
    for row, entry in zip(rows, entries, strict=False):
        assert list(entry.losses) == list(row[2])
        for name, value in row[2].items():
            assert entry.losses[name] == pytest.approx(
                value, rel=LOSS_TOLERANCE, abs=LOSS_TOLERANCE
            ), f"{name} in line {row[:2]}"
    for net, tensors in expected["after_epoch1"].items():
        weights = torch.load(folder / f"1_net_{net}.pth", weights_only=True)
        compared = [k for k, w in weights.items() if w.dim() > 1]
        assert compared
        for key in compared:
            moved = golden.samples(weights[key])
            assert np.abs(moved - np.array(tensors[key])).max() <= WEIGHT_TOLERANCE, key


@needs_facades
def test_the_reference_trace_on_facades_is_reproduced(tmp_path: Path) -> None:
    expected = json.loads((golden.DATA / "trace_facades.json").read_text())["p2p_vanilla"]
    data = golden.resized_facades(FACADES, tmp_path / "data")
    compare(expected, *golden.run(data, tmp_path / "run", expected["flags"]))


@pytest.mark.parametrize("name", golden.DRAWN)
def test_the_golden_trace_on_drawn_pictures_is_reproduced(name: str, tmp_path: Path) -> None:
    expected = json.loads((golden.DATA / "trace_drawn.json").read_text())[name]
    data = golden.draw_five(tmp_path / "data")
    assert expected["flags"] == golden.DRAWN[name]
    compare(expected, *golden.run(data, tmp_path / "run", expected["flags"]))


def test_another_learning_rate_would_be_found(tmp_path: Path) -> None:
    expected = json.loads((golden.DATA / "trace_drawn.json").read_text())["vanilla"]
    data = golden.draw_five(tmp_path / "data")
    with pytest.raises(AssertionError):
        compare(expected, *golden.run(data, tmp_path / "run", [*golden.TINY, "--lr", "0.0003"]))
