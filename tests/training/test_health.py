"""The warnings that D has won for good, or that an output has gone constant."""

import pytest
import torch
from conftest import random_batch

from training.health import LINES, CollapseMonitor


def watch(caplog, steps, gan_mode="vanilla") -> list[str]:
    balance = CollapseMonitor(gan_mode)
    for losses, visuals in steps:
        balance.observe(losses, visuals)
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def images(seed: int) -> dict[str, torch.Tensor]:
    batch = random_batch(seed)
    return {"real_A": batch["A"], "fake_B": batch["B"]}


LOW, MIXED = {"G_GAN": 9.0, "D_real": 0.01, "D_fake": 0.04}, {"D_real": 0.01, "D_fake": 0.06}


def test_a_d_that_wins_for_good_is_said_once(caplog):
    (said,) = watch(caplog, [(LOW, images(i)) for i in range(3 * LINES)])
    assert said.startswith(f"for {LINES} lines in a row, D has won: D_real and D_fake below 0.05")


def test_the_penalty_of_d_is_no_loss_that_it_wins_by(caplog):
    penalised = LOW | {"D_R1": 0.7}
    (said,) = watch(caplog, [(penalised, images(i)) for i in range(LINES)])
    assert "D_real and D_fake below" in said and "D_R1" not in said


@pytest.mark.parametrize(("lines", "said"), [(19, 0), (20, 1)])
def test_it_takes_20_lines_in_a_row_to_say_so(caplog, lines, said):
    flat = {"fake_B": torch.zeros(1, 3, 8, 8)}
    stuck = {"fake_B": images(0)["fake_B"]}
    for steps in ([(LOW, {})] * lines, [({}, flat)] * lines, [({}, stuck)] * (lines + 1)):
        caplog.clear()
        assert len(watch(caplog, steps)) == said
    caplog.clear()
    broken = [(LOW, {})] * 19 + [(MIXED, {})] + [(LOW, {})] * (lines - 1)
    assert watch(caplog, broken) == []


@pytest.mark.parametrize("gan_mode", ["vanilla", "wgangp"])
def test_a_d_that_loses_now_and_then_is_not_spoken_of(caplog, gan_mode):
    lows = [(LOW, images(i)) for i in range(LINES - 1)]
    steps = [*lows, (MIXED, images(99)), *lows] if gan_mode == "vanilla" else lows * 2
    assert watch(caplog, steps, gan_mode) == []


def test_an_output_of_one_colour_is_said_once(caplog):
    flat = {"fake_B": torch.full((1, 3, 8, 8), 0.3)}
    (said,) = watch(caplog, [({}, flat)] * (2 * LINES))
    assert "fake_B is one flat colour" in said


def test_an_output_that_no_longer_follows_its_input_is_said_once(caplog):
    stuck = images(0)["fake_B"]
    steps = [({}, {"real_A": images(i)["real_A"], "fake_B": stuck}) for i in range(2 * LINES)]
    (said,) = watch(caplog, steps)
    assert "fake_B is the same image whatever the input" in said
    caplog.clear()
    assert watch(caplog, [({}, images(i)) for i in range(2 * LINES)]) == []
