"""A training that starts from the weights of another run: fresh optimizers, epoch 1."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import TINY
from support.training_faults import on_two_pairs

RUN, NEW = Path("checkpoints/r"), Path("checkpoints/new")
FLAGS = [*TINY, "--no_html", "--max_dataset_size", "2"]
SMALL = [*TINY[TINY.index("--gpu_ids") :], "--no_html", "--max_dataset_size", "2"]  # no network


@pytest.fixture
def train(command: Callable[..., SimpleNamespace], caplog: pytest.LogCaptureFixture) -> Any:
    """Train on two pairs: `train(*flags)`."""
    return on_two_pairs(command, caplog)


def weights(path: Path) -> dict[str, torch.Tensor]:
    state = torch.load(path, weights_only=True)
    return {k: v for k, v in state.items() if "running" not in k and "num_batches" not in k}


def equal(one: Path, other: Path) -> bool:
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.fixture
def earlier(train) -> Any:
    """An earlier run of two epochs with networks of its own."""
    flags = [*FLAGS, "--ngf", "6", "--norm", "instance", "--n_epochs", "2"]
    assert train("--name", "r", *flags, "--save_epoch_freq", "1").status == 0
    return train


@pytest.mark.parametrize("epoch", ["latest", "1"])
def test_weights_and_network_flags_are_taken_over_and_nothing_else(earlier, epoch) -> None:
    start = [*SMALL, "--init_from", RUN, "--epoch", epoch, "--lr", "0"]
    result = earlier("--name", "new", *start)
    assert result.status == 0, result.err
    for net in "GD":
        assert equal(RUN / f"{epoch}_net_{net}.pth", NEW / f"latest_net_{net}.pth")
    assert f"network G: loaded {RUN / f'{epoch}_net_G.pth'}" in result.out
    state = torch.load(NEW / "latest_state.pth", weights_only=True)
    assert state["progress"]["epoch"] == 2 and state["options"]["ngf"] == 6
    assert state["options"]["norm"] == "instance" and state["options"]["n_epochs"] == 1
    steps = [s["step"] for s in state["optimizers"]["G"]["state"].values()]
    assert steps and {int(step) for step in steps} == {2}


def test_the_same_command_resumes_the_new_run(earlier) -> None:
    start = [*SMALL, "--init_from", RUN, "--epoch", "1"]
    assert earlier("--name", "new", *start).status == 0
    result = earlier("--name", "new", *start, "--continue_train", "--n_epochs", "2")
    assert result.status == 0 and "resuming from checkpoints/new/latest_state.pth" in result.out
    assert torch.load(NEW / "latest_state.pth", weights_only=True)["progress"]["epoch"] == 3


def test_published_weights_of_g_alone_start_a_run_with_a_new_d(earlier) -> None:
    published = Path("published")
    published.mkdir()
    (RUN / "latest_net_G.pth").rename(published / "latest_net_G.pth")
    result = earlier("--name", "new", *SMALL, "--init_from", published, "--lr", "0", "--ndf", "4")
    assert result.status == 0, result.err
    assert equal(published / "latest_net_G.pth", NEW / "latest_net_G.pth")
    assert "weights show --netG unet_64 --ngf 6" in result.out
    assert "network D starts from scratch" in result.out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--init_from", "r"], ["--init_from r: not the folder of a run", "mean checkpoints/r?"]),
        (["--init_from", RUN / "latest_net_G.pth"], ["did you mean", "checkpoints/r?"]),
        (["--init_from", RUN, "--epoch", "9"], ["9_net_G.pth: no such checkpoint"]),
        (["--init_from", RUN, "--netG", "unet_128"], ["latest_net_G.pth: does not fit"]),
        (["--init_from", RUN, "--name", "r"], ["is the folder of this run"]),
    ],
)
def test_what_cannot_be_is_one_line(earlier, flags, words) -> None:
    result = earlier("--name", "new", *SMALL, *flags)
    assert result.status == 2 and len(result.err.splitlines()) == 1
    assert [word for word in words if word not in result.err] == [], result.err
    assert (RUN / "latest_net_G.pth").exists() and not list(NEW.glob("*.pth"))
