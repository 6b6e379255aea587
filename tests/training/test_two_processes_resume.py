"""A training of several processes that is stopped or killed ends as one that nobody touched."""

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from support.torchruns import Started, draw_houses, ours, train_in_two

from util.checkpoint import load

pytestmark = pytest.mark.slow

PARTS = ("networks", "optimizers", "pools", "random", "progress")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set of five images."""
    folder = tmp_path_factory.mktemp("runs")
    draw_houses(folder / "data", 5)
    return folder


def same(one: Any, other: Any, key: str = "") -> bool:
    """Return whether states are equal to the bit; running statistics but for rounding."""
    if isinstance(one, torch.Tensor):
        near = torch.allclose(one, other, 1e-5, 1e-6)
        return near if "running_" in key else torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k], str(k)) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def state(work: Path, name: str) -> dict[str, Any]:
    saved = load(work / "runs" / name / "latest_state.pth")
    for own in ("since", "seconds", "peak_memory"):
        del saved["progress"][own]
    return {part: saved[part] for part in PARTS}


@pytest.fixture(scope="module")
def whole(work: Path) -> dict[str, Any]:
    """The end of a run that nobody touched."""
    train_in_two(work, "whole")
    return state(work, "whole")


def test_each_process_has_noise_and_a_pool_of_its_own(whole):
    pools = [saved["fake_AB_pool"]["images"] for saved in whole["pools"]]
    assert [len(pool) for pool in pools] == [2, 2]
    assert not same(pools[0], pools[1])
    assert not same(whole["random"][0]["torch"], whole["random"][1]["torch"])


def test_a_stopped_run_goes_on_exactly(work, whole):
    run = Started(work, "stopped", agents=[["--standalone"]])
    run.under_way()
    run.agents[0].send_signal(signal.SIGTERM)
    statuses, said = run.end()
    (line,) = ours(said)
    assert statuses != [0] and "the checkpoint includes them" in line and "--continue_train" in line
    train_in_two(work, "stopped", "--continue_train")
    assert same(state(work, "stopped"), whole)


def test_two_nodes_go_on_by_themselves_after_a_kill(work, whole):
    agent = ["--nnodes=2", "--rdzv_backend=c10d", "--rdzv_endpoint=localhost:29563"]
    agent += ["--max_restarts=2", "--rdzv_id=nodes"]
    run = Started(work, "nodes", agents=[agent, agent])
    run.under_way()
    subprocess.run(["kill", "-9", str(run.worker(1))], check=True)
    statuses, said = run.end()
    assert statuses == [0, 0], said
    assert said.count("restarted after a failure: resuming from the last save") == 1
    assert same(state(work, "nodes"), whole)
