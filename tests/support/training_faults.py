"""Trainings on two small pairs, and what happens to one after a step."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import draw_pairs

from models.pix2pix_model import Pix2PixModel


def after(step: int, action: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let something happen to the model once, after a step of training."""
    count, optimize = 0, Pix2PixModel.optimize_parameters

    def optimize_parameters(self: Pix2PixModel) -> None:
        nonlocal count
        optimize(self)
        count += 1
        if count == step:
            action(self)

    monkeypatch.setattr(Pix2PixModel, "optimize_parameters", optimize_parameters)


def on_two_pairs(
    command: Callable[..., SimpleNamespace], caplog: pytest.LogCaptureFixture, *always: Any
) -> Callable[..., SimpleNamespace]:
    """Draw two pairs; return a function that trains on them with `always` and further flags, and
    whose result has the log as `out`.
    """
    draw_pairs(Path("data"), count=2)

    def run(*flags: Any) -> SimpleNamespace:
        caplog.clear()
        result = command("train", "--dataroot", "data", *always, *flags)
        result.out = caplog.text
        return result

    return run
