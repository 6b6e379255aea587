"""Profile a training step: the operations or, on a GPU, the kernels that take the most time.

    python -m scripts.dev.profile_step --model pix2pix --precision bf16

All flags but --steps and --rows are those of train.py. The images are random; on a GPU the step is
replayed as in a training, unless --no_graphs.
"""

from collections.abc import Sequence

import torch
from torch.profiler import ProfilerActivity, profile

from options.parser import OneLineParser, number
from scripts.dev.measure import machine, synchronize
from scripts.dev.random_batch import model_of, random_batch
from training.cuda_graphs import WARM_UP
from util.command import run_command


def main(argv: Sequence[str] | None = None) -> None:
    """Profile some steps, and print the table."""
    parser = OneLineParser(prog="python -m scripts.dev.profile_step", description=__doc__)
    parser.add_argument("--steps", type=number(int, 1), default=10, help="number of steps")
    parser.add_argument("--rows", type=number(int, 1), default=20, help="rows of the table")
    args, flags = parser.parse_known_args(argv)
    model = model_of(flags)
    batch = random_batch(model.opt)
    for _ in range(WARM_UP + 2):
        model.train_on([batch])
    gpu = model.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]
    synchronize()
    with profile(activities=activities) as profiler:
        for _ in range(args.steps):
            model.train_on([batch])
        synchronize()
    of_device = torch.autograd.DeviceType.CUDA if gpu else torch.autograd.DeviceType.CPU
    events = [event for event in profiler.key_averages() if event.device_type == of_device]
    times = {
        event.key: (event.self_device_time_total if gpu else event.self_cpu_time_total, event.count)
        for event in events
    }
    total, count = (sum(column) / args.steps for column in zip(*times.values(), strict=True))
    kind = "kernels" if gpu else "operations"
    print(f"{machine()}\n{count:.0f} {kind} and {total / 1000:.2f} ms a step\n")
    print(f"| {kind} | number a step | ms a step | share |\n|---|---|---|---|")
    for name, (time, calls) in sorted(times.items(), key=lambda item: -item[1][0])[: args.rows]:
        per_step, ms = calls / args.steps, time / args.steps / 1000
        print(f"| {name[:80]} | {per_step:.1f} | {ms:.3f} | {time / args.steps / total:.0%} |")


if __name__ == "__main__":
    raise SystemExit(run_command(main))
