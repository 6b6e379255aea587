"""Time a training step of each row of a sweep, and measure its peak memory:

    python -m scripts.dev.step_cost scripts/sweeps/recipe.yaml

The rows run in turn, each in a process of its own, on random images of their crop size; the time
is also relative to that of the first row. Flags of train.py after the file apply to every row.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from models.lazy_r1 import EVERY
from options.parser import OneLineParser, number
from scripts.dev.measure import Step, in_turn, machine, peak_memory
from scripts.dev.random_batch import model_of, options_of, random_batch
from scripts.sweeps.plan import read_plan
from training.ema import EMA
from util.command import run_command


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the steps, and print the table."""
    parser = OneLineParser(prog="python -m scripts.dev.step_cost", description=__doc__)
    parser.add_argument("file", type=Path, help="YAML file of scripts.sweep")
    parser.add_argument("--rounds", type=number(int, 1), default=5, help="number of measurements")
    parser.add_argument(
        "--threads", type=number(int, 1), default=1, help="number of threads of each process"
    )
    args, train_flags = parser.parse_known_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        plan = read_plan(args.file, Path(folder), train_flags)
        rows = {run.label: run.flags for run in plan.runs if run.seed == plan.seeds[0]}
        for label, flags in rows.items():
            try:
                random_batch(options_of(flags, folder))
            except ValueError as error:
                raise ValueError(f"{args.file}: {label}: {error}") from None
        makers = {label: (step_of, (flags, args.threads)) for label, flags in rows.items()}
        times = in_turn(makers, args.rounds, warm_up=1, repeats=EVERY)  # one of them has R1
        first = times.get(next(iter(rows)))
        print(f"{machine()}; --threads {args.threads}; the median of {args.rounds}\n")
        print("| | ms a step | relative | peak MiB |\n|---|---|---|---|")
        for label, seconds in times.items():
            spread = " – ".join(f"{1e3 * end:.2f}" for end in (seconds.least, seconds.most))
            relative = f"{seconds.median / first.median:.2f}" if first else ""
            make, values = makers[label]
            peak = peak_memory(make, *values, calls=EVERY)
            time = f"{1e3 * seconds.median:.2f} ({spread})"
            print(f"| {label} | {time} | {relative} | {peak:.0f} |", flush=True)


def step_of(flags: Sequence[str], threads: int) -> Step:
    """Build the model of some flags of train.py, and return its training step, with the EMA."""
    torch.set_num_threads(threads)
    model = model_of(flags)
    decay = model.opt.ema
    ema = EMA(model.nets, decay) if decay else None
    batch = random_batch(model.opt)

    def step() -> None:
        model.train_on([batch])
        if ema:
            ema.update()

    return step


if __name__ == "__main__":
    raise SystemExit(run_command(main))
