"""Short trainings on drawn pairs, whose log is kept."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY, draw_pairs


def on_drawn_pairs(
    command: Callable[..., Any], caplog: pytest.LogCaptureFixture, count: int
) -> Callable[..., Any]:
    """Draw `count` pairs into ./data; return `train(name, *flags)`, whose result has the log as
    `out`.
    """
    draw_pairs(Path("data"), count=count)

    def train(name: str, *flags: Any) -> Any:
        caplog.clear()
        place = ["--dataroot", "data", "--name", name, "--print_freq", "1", "--no_html"]
        result = command("train", *TINY, *place, *flags)
        result.out = caplog.text
        return result

    return train
