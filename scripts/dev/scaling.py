"""Measure multi-process speed-up: `torchrun --nproc_per_node=2 -m scripts.dev.scaling`.

Times four things in turn on random images: a step of rank 0 alone on the whole batch, a step of
rank 0 alone on its part, a step of all ranks, and an all_reduce of the gradients alone. With
--distributed_graphs, on GPUs, the three kinds of steps are CUDA graphs. Other flags are passed on
to train.py; --batch_size counts the images of all processes.
"""

import os
import statistics
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
from training.cuda_graphs import WARM_UP, enable_cuda_graphs
from util import distributed
from util.command import run_command, setup_logging, words_of
from util.device import tune_malloc
from util.distributed import launch
from util.seeding import seed_everything


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print a table; ValueError without torchrun."""
    setup_logging()
    parser = OneLineParser(prog="torchrun … -m scripts.dev.scaling", description=__doc__)
    parser.add_argument(
        "--rounds", type=number(int, 1), default=5, help="number of rounds for the median"
    )
    parser.add_argument("--steps", type=number(int, 1), default=3, help="number of steps per round")
    argv = words_of(argv)
    args, flags = parser.parse_known_args(argv)
    if not launch.started_by_torchrun():
        raise ValueError(
            "start it with torchrun --nproc_per_node=2 (or more) -m scripts.dev.scaling"
        )
    with tempfile.TemporaryDirectory() as folder:
        opt = TrainOptions().read(["--dataroot", "none", "--checkpoints_dir", folder, *flags])
        # Built before the process group exists, so they average no gradients; two, since a graph
        # holds batches of one size.
        alone = [build(opt) if os.environ["RANK"] == "0" else None for _ in range(2)]
        with launch.process_group():
            count = distributed.world_size()
            if opt.batch_size % count:
                raise ValueError(
                    f"--batch_size {opt.batch_size}: must be a multiple of the {count} processes"
                )
            measure(alone, build(opt), opt, args.rounds, args.steps)


def build(opt: Any) -> BaseModel:
    """Return a model set up for training, with CUDA graphs if there is --distributed_graphs."""
    seed_everything(opt.seed)
    model = create_model(opt)
    model.setup(opt)
    if opt.distributed_graphs:
        enable_cuda_graphs(model, opt)
    return model


def measure(
    alone: Sequence[BaseModel | None], model: BaseModel, opt: Any, rounds: int, steps: int
) -> None:
    """Time the four cases in turn, and print the medians.

    `alone` has two models that average no gradients on rank 0, and None on the other ranks.
    """
    count = distributed.world_size()
    tune_malloc()
    whole, part = (batch_of(size, opt) for size in (opt.batch_size, opt.batch_size // count))
    gradients = torch.zeros(bytes_of(model) // 4, device=model.device)
    kinds: dict[str, Callable[[], None]] = {
        "one process, the whole batch": lambda: step(alone[0], whole),
        "one process, its part of the batch": lambda: step(alone[1], part),
        "all processes, each its part": lambda: step(model, part),
        "the exchange alone": lambda: dist.all_reduce(gradients),
    }
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for kind in kinds:
        timed(kinds[kind], WARM_UP + 1, model.device)  # a graph is captured after WARM_UP steps
    for _ in range(rounds):
        for kind, run in kinds.items():
            seconds[kind].append(timed(run, steps, model.device))
    if distributed.is_main_process():
        print(table(seconds, opt.batch_size, count, gradients.nbytes))


def batch_of(size: int, opt: Any) -> dict[str, Any]:
    """Make a batch of random images of size --crop_size."""
    images = random_images(size, opt.crop_size)
    return {**images, **{f"{side}_paths": ["none"] * size for side in "AB"}}


def bytes_of(model: BaseModel) -> int:
    """Return the bytes of gradients exchanged in a step, once per network."""
    return sum(
        p.numel() * p.element_size() for net in model.nets.values() for p in net.parameters()
    )


def step(model: BaseModel | None, batch: dict[str, Any]) -> None:
    """Train a model for one step; do nothing for None."""
    if model:
        model.set_input(batch)
        model.optimize_parameters()


def timed(run: Callable[[], None], steps: int, device: torch.device) -> float:
    """Return the mean seconds of a step, from a barrier before to a barrier after `steps` steps."""
    distributed.barrier()
    started = time.perf_counter()
    for _ in range(steps):
        run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    distributed.barrier()
    return (time.perf_counter() - started) / steps


def table(seconds: dict[str, list[float]], batch: int, count: int, exchanged: int) -> str:
    """Return the measurements as a Markdown table."""
    lines = ["| step | seconds (median) | min–max | images per second |", "|---|---|---|---|"]
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
            f"{exchanged / 1e6:.1f} MB of gradients per step",
            "",
            *lines,
            "",
            f"- speed-up over one process on the same batch: {median[first] / median[third]:.2f}×",
            f"- efficiency of {count} processes: {median[second] / median[third]:.0%} of the speed "
            "without exchange",
            f"- the exchange alone takes {median[last] / median[third]:.0%} of a step",
        ]
    )


if __name__ == "__main__":
    raise SystemExit(run_command(main))
