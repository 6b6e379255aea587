"""Train the runs of a sweep, one or several at a time, each by train.py in its own process."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from scripts.sweeps.plan import Run
from util.checkpoint import load
from util.errors import RunStopped
from util.files import ROOT
from util.signals import Signals, status_of

log = logging.getLogger(__name__)

TRAIN = ROOT / "train.py"
PAUSE = 0.2  # seconds between polls of the processes


class RunningTraining(NamedTuple):
    """A process that trains a run; its output goes to the file `output`."""

    run: Run
    process: subprocess.Popen
    output: Path
    since: float


def train_all(runs: Sequence[Run], jobs: int, signals: Signals) -> list[Run]:
    """Train all unfinished runs, `jobs` at a time; return the failed runs.

    ValueError if the first training rejects its data or flags, since all others would too;
    `RunStopped` after a signal. In both cases running trainings save and stop first.
    """
    waiting = [run for run in runs if not finished(run)]
    done = len(runs) - len(waiting)
    if done:
        log.info("%d of %d trainings are already done", done, len(runs))
    running: list[RunningTraining] = []
    failed: list[Run] = []
    try:
        while (waiting or running) and not signals.received:
            while waiting and len(running) < jobs:
                place = f"{len(runs) - len(waiting) + 1} of {len(runs)}"
                running.append(start(waiting.pop(0), jobs, place))
            time.sleep(PAUSE)
            for training in [t for t in running if t.process.poll() is not None]:
                running.remove(training)
                succeeded = report_end(training, nothing_yet=not done)
                done += succeeded
                failed += [] if succeeded else [training.run]
    finally:
        for training in running:
            training.process.terminate()  # train.py saves, then ends
        for training in running:
            training.process.wait()
    if signals.received:
        raise RunStopped("stopped; run the same command to resume", status_of(signals.received))
    return failed


def finished(run: Run) -> bool:
    """Return whether a run has trained all epochs; train.py detects an early stop itself."""
    state = run.folder / "latest_state.pth"
    return state.exists() and load(state)["progress"]["epoch"] > run.last_epoch


def start(run: Run, jobs: int, place: str) -> RunningTraining:
    """Start or resume a training; `place` is its position in the sweep, "2 of 8"."""
    command = [sys.executable, str(TRAIN), *run.flags]
    action = "training"
    if (run.folder / "latest_state.pth").exists():
        command.append("--continue_train")
        action = "resuming the training"
    environment = dict(os.environ)
    if jobs > 1:  # otherwise the trainings oversubscribe the cores
        environment.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // jobs, 1)))
    output = run.folder.with_name(f"{run.folder.name}.log")
    log.info("%s (%s): %s; output goes to %s", run.name, place, action, output)
    with output.open("a", encoding="utf-8") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches it only through us, once
        )
    return RunningTraining(run, process, output, time.monotonic())


def report_end(training: RunningTraining, nothing_yet: bool) -> bool:
    """Log how a training ended, and return whether it succeeded.

    ValueError if train.py rejected its data or flags and `nothing_yet` was trained.
    """
    name, status = training.run.name, training.process.returncode
    lines = training.output.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    message = lines[-1].removeprefix("train.py: ") if lines else f"status {status}"
    message = message.removeprefix("error: ")
    if status == 2 and nothing_yet:
        raise ValueError(f"{name}: {message}")
    if status:
        log.warning("%s: failed: %s", name, message)
    else:
        log.info("%s: trained in %.0f s", name, time.monotonic() - training.since)
    return status == 0
