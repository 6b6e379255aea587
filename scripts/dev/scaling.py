"""How much faster several processes train: `torchrun --nproc_per_node=2 -m scripts.dev.scaling`.

Times a training step on random images, in turn: process 0 alone on the whole batch, process 0
alone on its part of it, and all together; and the exchange of as many bytes without a step. Other
flags are those of train.py; --batch_size counts the images of all processes.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist

from models import create_model
from models.base_model import BaseModel
from options.parser import OneLineParser, number
from options.train_options import TrainOptions
from scripts.dev.training_steps import random_images
from util import distributed
from util.command import run_command, setup_logging
from util.device import tune_malloc
from util.distributed import launch
from util.seeding import seed_everything


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print a table; ValueError outside torchrun."""
    setup_logging()
    parser = OneLineParser(prog="torchrun … -m scripts.dev.scaling", description=__doc__)
    parser.add_argument("--rounds", type=number(int, 1), default=5, help="the median of so many")
    parser.add_argument("--steps", type=number(int, 1), default=3, help="steps a round")
    argv = sys.argv[1:] if argv is None else argv
    args, flags = parser.parse_known_args(argv)
    if not launch.started_by_torchrun():
        raise ValueError(
            "start it with torchrun --nproc_per_node=2 (or more) -m scripts.dev.scaling"
        )
    with tempfile.TemporaryDirectory() as folder:
        opt = TrainOptions().read(["--dataroot", "none", "--checkpoints_dir", folder, *flags])
        alone = build(opt) if os.environ["RANK"] == "0" else None  # before the others are there
        with launch.process_group():
            count = distributed.world_size()
            if opt.batch_size % count:
                raise ValueError(f"--batch_size {opt.batch_size}: must be a multiple of {count}")
            measure(alone, build(opt), opt, args.rounds, args.steps)


def build(opt: Any) -> BaseModel:
    """Return a model that is ready to train."""
    seed_everything(opt.seed)
    model = create_model(opt)
    model.setup(opt)
    return model


def measure(alone: BaseModel | None, model: BaseModel, opt: Any, rounds: int, steps: int) -> None:
    """Time the four in turn, and print the medians.

    `alone` is the model of rank 0 that exchanges nothing; the other ranks have none.
    """
    count = distributed.world_size()
    tune_malloc()
    whole, part = (batch_of(size, opt) for size in (opt.batch_size, opt.batch_size // count))
    gradients = torch.zeros(bytes_of(model) // 4, device=model.device)
    kinds: dict[str, Callable[[], None]] = {
        "one process, the whole batch": lambda: step(alone, whole),
        "one process, its part of the batch": lambda: step(alone, part),
        "all processes, each its part": lambda: step(model, part),
        "the exchange alone": lambda: dist.all_reduce(gradients),
    }
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for kind in (*kinds, *kinds):
        timed(kinds[kind], 1, model.device)  # before anything is measured
    for _ in range(rounds):
        for kind, run in kinds.items():
            seconds[kind].append(timed(run, steps, model.device))
    if distributed.is_main_process():
        print(table(seconds, opt.batch_size, count, gradients.nbytes))


def batch_of(size: int, opt: Any) -> dict[str, Any]:
    """Make a batch of random images of the size that the options say."""
    images = random_images(size, opt.crop_size)
    return {**images, **{f"{side}_paths": ["none"] * size for side in "AB"}}


def bytes_of(model: BaseModel) -> int:
    """Return how many bytes of gradients the processes exchange in a step: each network's once."""
    return sum(
        p.numel() * p.element_size() for net in model.nets.values() for p in net.parameters()
    )


def step(model: BaseModel | None, batch: dict[str, Any]) -> None:
    """Train a model, if there is one, for a step."""
    if model:
        model.set_input(batch)
        model.optimize_parameters()


def timed(run: Callable[[], None], steps: int, device: torch.device) -> float:
    """Return the seconds of one of several steps, from when all processes begin until all end."""
    distributed.barrier()
    started = time.perf_counter()
    for _ in range(steps):
        run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    distributed.barrier()
    return (time.perf_counter() - started) / steps


def table(seconds: dict[str, list[float]], batch: int, count: int, exchanged: int) -> str:
    """Return what was measured, in Markdown."""
    lines = ["| step | seconds (median) | least–most | images a second |", "|---|---|---|---|"]
    median = {kind: statistics.median(values) for kind, values in seconds.items()}
    first, second, third, last = seconds
    images = dict(zip(seconds, (batch, batch // count, batch, 0), strict=True))
    for kind, values in seconds.items():
        rate = f"{images[kind] / median[kind]:.2f}" if images[kind] else ""
        spread = f"{min(values):.3f}–{max(values):.3f}"
        lines.append(f"| {kind} | {median[kind]:.3f} | {spread} | {rate} |")
    return "\n".join(
        [
            f"{count} processes, {torch.get_num_threads()} threads each, batch {batch}, "
            f"{exchanged / 1e6:.1f} MB of gradients a step",
            "",
            *lines,
            "",
            f"- faster than one process on the same batch: {median[first] / median[third]:.2f}×",
            f"- of what {count} would do without an exchange: {median[second] / median[third]:.0%}",
            f"- the exchange alone: {median[last] / median[third]:.0%} of a step",
        ]
    )


if __name__ == "__main__":
    raise SystemExit(run_command(main))
