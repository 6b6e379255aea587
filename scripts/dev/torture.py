"""Inject faults into trainings and count failures: `python -m scripts.dev.torture`.

Runs a small training that saves after every step, kills it at random moments, resumes it, and
compares the result with an uninterrupted run. Also sends SIGTERM, limits the size of files, and
reads damaged images, checkpoints and options. Prints a table; exit status 1 if anything was lost.
The default takes about half an hour on two cores.
"""

import logging
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from options.parser import OneLineParser, number
from scripts.dev.mutations import FaultRow, damage_files, damage_images
from util.checkpoint import load
from util.command import run_command, setup_logging
from util.errors import RunStopped
from util.files import ROOT

log = logging.getLogger(__name__)

# Large networks on small images: most of the time goes into saving.
TRAINING = (
    "--netG unet_64 --ndf 16 --load_size 72 --crop_size 64 --pool_size 4 "
    "--n_epochs 3 --n_epochs_decay 3 --save_latest_freq 1 --print_freq 1 --no_html --gpu_ids -1 "
    "--num_threads 1 --dataroot data"
).split()
PARTS = ("networks", "optimizers", "pools", "random")


def main(argv: Sequence[str] | None = None) -> None:
    """Run all parts; raise `RunStopped` if anything was lost."""
    setup_logging()
    parser = OneLineParser(prog="python -m scripts.dev.torture", description=__doc__)
    for name, default, text in (
        ("kills", 100, "number of kills (SIGKILL) at random moments"),
        ("terms", 20, "number of SIGTERMs at random moments"),
        ("limits", 10, "number of runs with a limited file size"),
        ("images", 300, "number of damaged images of each kind: 8 bits, 16-bit PNG, TIFF, .npy"),
        ("files", 300, "number of damaged checkpoints, options and YAML files"),
        ("seed", 0, "random seed of moments and damage"),
    ):
        parser.add_argument(f"--{name}", type=number(int, 0), default=default, help=text)
    args = parser.parse_args(argv)
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        torture = Torture(Path(folder), rng)
        rows = [
            torture.stop(signal.SIGKILL, args.kills),
            torture.stop(signal.SIGTERM, args.terms),
            torture.limit(args.limits),
            *damage_images(Path(folder), args.images, rng),
            damage_files(Path(folder), args.files, rng),
        ]
    print("| what | times | outcome | lost |\n|---|---|---|---|")
    print("\n".join(f"| {' | '.join(map(str, row))} |" for row in rows))
    if lost := sum(row.lost for row in rows):
        raise RunStopped(f"lost: {lost}; see the table and the warnings")


class Torture:
    """A folder with data and an uninterrupted run to compare with."""

    def __init__(self, folder: Path, rng: random.Random):
        self.folder, self.rng = folder, rng
        (folder / "data" / "train").mkdir(parents=True)
        for i in range(8):
            pixels = np.random.default_rng(i).integers(0, 256, (9, 18, 3), dtype=np.uint8)
            image = Image.fromarray(pixels).resize((160, 80), Image.Resampling.BICUBIC)
            image.save(folder / "data" / "train" / f"{i}.png")
        self.finish(self.start("whole"))
        self.whole = self.state("whole")
        self.names = 0

    def start(self, name: str, *flags: str, **how: object) -> subprocess.Popen:
        """Start or resume a run."""
        command = [sys.executable, str(ROOT / "train.py"), *TRAINING, "--name", name, *flags]
        if (self.folder / "checkpoints" / name / "latest_state.pth").exists():
            command.append("--continue_train")
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=self.folder, **pipes, **how)

    def finish(self, run: subprocess.Popen) -> str:
        """Wait for a run that must succeed; return its output."""
        out, err = run.communicate(timeout=600)
        if run.returncode:
            raise RunStopped(f"a run ended with status {run.returncode}: {err.strip()}")
        return out

    def state(self, name: str) -> dict:
        return load(self.folder / "checkpoints" / name / "latest_state.pth")

    def stop(self, by: signal.Signals, times: int) -> FaultRow:
        """Stop runs at random moments, resume them, and compare their final states."""
        inside, wrong, runs, stopped = 0, 0, 0, 0
        bar = tqdm(total=times, desc=by.name, disable=None)
        while stopped < times:
            name, runs = f"{by.name}_{runs}", runs + 1
            while True:
                run = self.start(name)
                if stopped == times or not self.stop_one(run, by):
                    break
                out, _ = run.communicate(timeout=600)
                if run.returncode == 0:  # stopped in its last save, which was complete
                    break
                if "weights and pages are in" in out:  # the training ended; Python was exiting
                    continue
                stopped += 1
                bar.update()
                inside += self.was_saving(name)
                if run.returncode != (-by if by == signal.SIGKILL else 128 + by):
                    log.warning("%s: status %d after %s", name, run.returncode, by.name)
                    wrong += 1
            self.finish(run)
            final_state = self.state(name)
            for part in PARTS:
                if not same(final_state[part], self.whole[part]):
                    log.warning("%s: differs from the uninterrupted run: %s", name, part)
                    wrong += 1
        bar.close()
        detail = f"{inside} inside a save" if by == signal.SIGKILL else "status 143"
        outcome = f"{detail}; {runs} runs ended bit-identical"
        return FaultRow(f"{by.name}, then resumed", times, outcome, wrong)

    def was_saving(self, name: str) -> bool:
        """Return whether a run was killed during a save.

        If so, a temporary file is left, or the weights are newer than latest_state.pth.
        """
        folder = self.folder / "checkpoints" / name
        weights, state = folder / "latest_net_G.pth", folder / "latest_state.pth"
        if any(folder.glob(".*.pth.*")) or not state.exists():
            return weights.exists()
        return weights.stat().st_mtime_ns > state.stat().st_mtime_ns

    def stop_one(self, run: subprocess.Popen, by: signal.Signals) -> bool:
        """Send the signal within 3 seconds of the first step; False if the run ended first."""
        for line in run.stdout:
            if line.startswith("(epoch:"):
                break
        time.sleep(self.rng.uniform(0, 3))
        if run.poll() is not None:
            return False
        run.send_signal(by)
        return True

    def limit(self, times: int) -> FaultRow:
        """Limit the size of files at random, which acts like a full disk."""
        name, wrong = "limited", 0
        self.finish(self.start(name))
        folder = self.folder / "checkpoints" / name
        (folder / "latest_state.pth").rename(folder / "state")  # the run starts from scratch
        before = {path: path.read_bytes() for path in folder.glob("latest_net_*.pth")}
        largest = max(len(content) for content in before.values())
        for _ in tqdm(range(times), desc="limits", disable=None):
            size = self.rng.randrange(50_000, largest)
            # No worker: shared memory counts as files too.
            run = self.start(
                *(name, "--num_threads", "0", "--overwrite"),
                preexec_fn=lambda size=size: limit_files(size),
            )
            _, err = run.communicate(timeout=600)
            clear = run.returncode == 1 and "could not be written" in err and "Traceback" not in err
            leftovers = list(folder.glob(".*.pth.*"))
            changed = [p for p, content in before.items() if len(p.read_bytes()) != len(content)]
            wrong += not clear or bool(leftovers or changed)
            for path in before:
                load(path)
        return FaultRow(
            "files limited in size", times, "status 1, one line, older files whole", wrong
        )


def limit_files(size: int) -> None:
    """Limit the size of files in the process of the run."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def same(one: object, other: object) -> bool:
    """Return whether two states are bit-identical."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


if __name__ == "__main__":
    raise SystemExit(run_command(main))
