"""The loop over steps: what follows every step."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import TINY, draw_pairs

RUN = Path("checkpoints/r")


def weights(tag: str) -> dict[str, torch.Tensor]:
    return torch.load(RUN / f"{tag}.pth", weights_only=True)


@pytest.mark.parametrize("accum", [1, 2])
def test_the_ema_is_updated_once_after_every_step(
    command: Callable[..., SimpleNamespace], accum: int
) -> None:
    draw_pairs(Path("data"), count=4)
    flags = ["--ema", "0.3", "--save_by_iter", "--save_latest_freq", "1", "--norm", "instance"]
    flags += ["--grad_accum", str(accum), "--dataroot", "data", "--name", "r", "--lr", "0.01"]
    result = command("train", *TINY, *flags, "--no_html")
    assert result.status == 0, result.err
    images = range(accum, 5, accum)
    state = torch.load(RUN / "latest_state.pth", weights_only=True)
    assert state["averages"]["steps"] == len(images)
    mean = weights(f"iter_{images[0]}_net_G_ema")
    for step, image in enumerate(images, 1):
        decay = min(0.3, (1 + step) / (10 + step))
        new, found = weights(f"iter_{image}_net_G"), weights(f"iter_{image}_net_G_ema")
        for key in mean if step > 1 else ():
            mean[key] = decay * mean[key] + (1 - decay) * new[key]
            torch.testing.assert_close(found[key], mean[key])
            assert not torch.equal(found[key], new[key]), key
