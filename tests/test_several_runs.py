"""What happens to a training of several processes: stopped, killed, resumed, on other numbers."""

import logging
import re
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import TINY
from several import ROOT, command, environment, torchrun
from test_several import draw_houses

from train import main
from util.checkpoint import load
from util.loss_log import parse_line

pytestmark = pytest.mark.slow

# Crops, mirroring, dropout, a pool; a save at every step, the last of an epoch with one picture.
FLAGS = [*TINY, "--batch_size", "2", "--pool_size", "4", "--print_freq", "2"]
FLAGS += ["--save_latest_freq", "2", "--no_html", "--n_epochs", "8", "--n_epochs_decay", "2"]
PARTS = ("networks", "optimizers", "pools", "random", "progress")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set of five pictures."""
    folder = tmp_path_factory.mktemp("runs")
    draw_houses(folder / "data", 5)
    return folder


def script(work: Path, name: str, *flags: Any) -> list[str]:
    place = ["--dataroot", work / "data", "--checkpoints_dir", work / "runs", "--name", name]
    return [str(part) for part in [ROOT / "train.py", *FLAGS, *place, *flags]]


def train_in_two(work: Path, name: str, *flags: Any) -> SimpleNamespace:
    """Train to the end."""
    done = torchrun(2, *script(work, name, *flags), cwd=work)
    assert done.returncode == 0, done.stderr
    return done


class Started:
    """A training in the background, by one torchrun or, if there are several, one a node."""

    def __init__(self, work: Path, name: str, *flags: Any, agents: list[list[str]]):
        self.state = work / "runs" / name / "latest_state.pth"
        self.agents = [
            subprocess.Popen(
                [*command(1 if len(agents) > 1 else 2, *agent), *script(work, name, *flags)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment(),
                cwd=work,
            )
            for agent in agents
        ]

    def under_way(self) -> None:
        """Wait until it has saved something."""
        end = time.monotonic() + 120
        while not self.state.exists() and time.monotonic() < end:
            assert all(agent.poll() is None for agent in self.agents)
            time.sleep(0.05)
        assert self.state.exists()

    def worker(self, agent: int) -> int:
        """Return the process number of an agent's last worker."""
        of_agent = str(self.agents[agent].pid)
        found = subprocess.run(["pgrep", "-P", of_agent, "-f", "train.py"], capture_output=True)
        return int(found.stdout.split()[-1])

    def end(self) -> tuple[list[int], str]:
        """Wait for the end: the agents' statuses, and all that was said."""
        said = [agent.communicate(timeout=150) for agent in self.agents]
        return [agent.returncode for agent in self.agents], "".join(map("".join, said))


def ours(said: str) -> list[str]:
    """Return the lines that our command said at its end."""
    return [line for line in said.splitlines() if line.startswith("train.py: ")]


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
    del saved["progress"]["since"]
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
    assert statuses != [0] and "all of it saved" in line and "--continue_train" in line
    train_in_two(work, "stopped", "--continue_train")
    assert same(state(work, "stopped"), whole)


def test_a_killed_process_ends_all_with_one_line(work):
    run = Started(work, "killed", agents=[["--standalone"]])
    run.under_way()
    victim, started = run.worker(0), time.monotonic()
    subprocess.run(["kill", "-9", str(victim)], check=True)
    statuses, said = run.end()
    (line,) = ours(said)
    assert time.monotonic() - started < 60 and statuses == [1]
    assert re.match(
        rf"train.py: process \d of 0..1 \(pid {victim}\) was killed, .*the last save", line
    )
    assert "Traceback" not in said.split("failed (exitcode")[0]  # torchrun's own comes after


def test_two_nodes_go_on_by_themselves_after_a_kill(work, whole):
    agent = ["--nnodes=2", "--rdzv_backend=c10d", "--rdzv_endpoint=localhost:29563"]
    agent += ["--max_restarts=2", "--rdzv_id=nodes"]
    run = Started(work, "nodes", agents=[agent, agent])
    run.under_way()
    subprocess.run(["kill", "-9", str(run.worker(1))], check=True)
    statuses, said = run.end()
    assert statuses == [0, 0], said
    assert said.count("started anew after a failure: going on from the last save") == 1
    assert same(state(work, "nodes"), whole)


def test_a_run_goes_on_in_another_number_of_processes(work, caplog):
    flags = ["--norm", "instance", "--no_dropout", "--pool_size", "0", "--n_epochs_decay", "0"]
    main(script(work, "one", *flags, "--n_epochs", 3)[1:])
    train_in_two(work, "some", *flags, "--n_epochs", 1)
    caplog.set_level(logging.INFO)
    main(script(work, "some", *flags, "--n_epochs", 2, "--continue_train")[1:])
    assert "saved by 2 processes, going on in 1" in caplog.text
    done = train_in_two(work, "some", *flags, "--n_epochs", 3, "--continue_train")
    assert "saved by 1 processes, going on in 2" in done.stdout
    logs = [(work / "runs" / name / "loss_log.txt").read_text() for name in ("one", "some")]
    one, some = ([e for line in log.splitlines() if (e := parse_line(line))] for log in logs)
    assert [e[:2] for e in one] == [e[:2] for e in some] and len(one) == 9
    for a, b in zip(one, some, strict=True):
        assert all(abs(a.losses[name] - b.losses[name]) <= 0.002 for name in a.losses)
