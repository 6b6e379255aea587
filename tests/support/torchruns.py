"""What the tests of several processes share: how they are started, and what they train on."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from conftest import TINY
from PIL import Image

from data import builtin_facades

ROOT = Path(__file__).resolve().parents[2]


def command(nproc: int, *agent: str) -> list[str]:
    """Return how to start a script of the project in so many processes of this machine."""
    where = agent or ("--standalone",)
    return [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={nproc}", *where]


def environment() -> dict[str, str]:
    """Return the environment in which scripts find the project and what tests share, on one core
    each.
    """
    given = filter(None, [os.environ.get("PYTHONPATH")])
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), *given])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def torchrun(nproc: int, *script: Any, agent: Sequence[str] = (), **how: Any) -> Any:
    """Run a script of the project in several processes: status, stdout, stderr."""
    line = [*command(nproc, *agent), *map(str, script)]
    how = {"capture_output": True, "text": True, "timeout": 300, "env": environment()} | how
    return subprocess.run(line, **how)


def drive_in_two(plans: list[dict[str, Any]], folder: Path, *how: str) -> list[dict[str, Any]]:
    """Run trainings by training_plans.py in two processes; return what it found."""
    plan = folder / "plan.json"
    plan.write_text(json.dumps(plans))
    done = torchrun(2, ROOT / "tests/support/training_plans.py", plan, *how)
    assert done.returncode == 0, done.stderr
    return json.loads(plan.with_suffix(".found").read_text())


# Crops, mirroring, dropout, a pool; a save at every step, the last of an epoch with one image.
FLAGS = [*TINY, "--batch_size", "2", "--pool_size", "4", "--print_freq", "2"]
FLAGS += ["--save_latest_freq", "2", "--no_html", "--n_epochs", "8", "--n_epochs_decay", "2"]


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


def draw_houses(folder: Path, count: int) -> Path:
    """Draw A|B images with texture: rounding decides much where images are flat."""
    (folder / "train").mkdir(parents=True)
    for i in range(count):
        pair = np.concatenate(builtin_facades.draw_pair(np.random.default_rng(i)), axis=1)
        Image.fromarray(pair).save(folder / "train" / f"{i}.png")
    return folder
