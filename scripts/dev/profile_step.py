"""Profile a training step: the kinds of operations or, on a GPU, of kernels, and those that take
the most time.

    python -m scripts.dev.profile_step --model pix2pix --precision bf16

All flags but --steps and --rows are those of train.py. The images are random; on a GPU the step is
replayed as in a training, unless --no_graphs.
"""

from collections import Counter
from collections.abc import Sequence

import torch
from torch.profiler import ProfilerActivity, profile

from options.parser import OneLineParser, number
from scripts.dev.measure import machine, synchronize, timed
from scripts.dev.random_batch import model_of, random_batch
from training.cuda_graphs import WARM_UP
from util.command import run_command

# Parts of the names of operations and kernels; the first kind that has one counts.
KINDS = {
    "optimizer": ("adam", "multi_tensor"),
    "normalization": ("norm", "bn_"),
    "convolutions and matrix products": (
        *("conv", "gemm", "gemv", "cutlass", "cudnn", "wgrad", "dgrad", "fprop", "xmma", "mm"),
        *("mkldnn", "winograd"),
    ),
    "random numbers": ("dropout", "bernoulli", "philox", "distribution", "rand", "uniform"),
    "copies": ("copy", "memcpy", "memset", "cat", "fill", "zero", "clone", "transpose", "nchw"),
    "sums and means": ("reduce", "sum", "mean"),
    "elementwise": ("elementwise", "vectorized", "relu", "tanh", "add", "mul", "sub", "div", "abs"),
}
OTHERS = "others"


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
    whole = min(timed(lambda: model.train_on([batch])) for _ in range(args.steps))
    synchronize()
    with profile(activities=activities) as profiler:
        for _ in range(args.steps):
            model.train_on([batch])
        synchronize()
    of_device = torch.autograd.DeviceType.CUDA if gpu else torch.autograd.DeviceType.CPU
    events = [
        event
        for event in profiler.key_averages()
        # An annotation covers kernels that are events themselves.
        if event.device_type == of_device and not event.is_user_annotation
    ]
    times = {
        event.key: (event.self_device_time_total if gpu else event.self_cpu_time_total, event.count)
        for event in events
    }
    total, count = (sum(column) / args.steps for column in zip(*times.values(), strict=True))
    kind = "kernels" if gpu else "operations"
    print(f"{machine()}\n{count:.0f} {kind} and {total / 1000:.2f} ms a step")
    print(f"a step takes {whole * 1000:.2f} ms without the profiler")
    kinds, calls_of_kind = Counter(), Counter()
    for name, (time, calls) in times.items():
        kinds[kind_of(name)] += time
        calls_of_kind[kind_of(name)] += calls
    by_kind = {name: (time, calls_of_kind[name]) for name, time in kinds.items()}
    print_table(f"kind of {kind}", by_kind, args.steps, total, len(by_kind))
    print_table(kind, times, args.steps, total, args.rows)


def print_table(
    what: str, times: dict[str, tuple[float, int]], steps: int, total: float, rows: int
) -> None:
    """Print the longest times: by name microseconds and calls, both of all steps; `total` is of
    one.
    """
    print(f"\n| {what} | number a step | ms a step | share |\n|---|---|---|---|")
    for name, (time, calls) in sorted(times.items(), key=lambda item: -item[1][0])[:rows]:
        per_step, ms = calls / steps, time / steps / 1000
        print(f"| {name[:120]} | {per_step:.1f} | {ms:.3f} | {time / steps / total:.0%} |")


def kind_of(name: str) -> str:
    """Return the kind of an operation or a kernel, by its name."""
    lower = name.lower()
    return next((kind for kind, parts in KINDS.items() if any(p in lower for p in parts)), OTHERS)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
