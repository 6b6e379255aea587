"""Measure the peak memory of a training step on label maps, with --checkpoint_activations and
without: `python -m scripts.dev.memory --model pix2pixHD --size 1024x512`.

Each is measured in a process of its own, on random label maps. Other flags are those of train.py.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import torch

from models import create_model
from options.parser import OneLineParser
from options.train_options import TrainOptions
from util.command import python, run_command
from util.label_maps import instance_edges

BLOCK = 32  # pixels a side of an area of one class
ALONE = "--alone"  # a process of its own: measure, and print the number of bytes


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print both peaks in GB, and their ratio."""
    parser = OneLineParser(prog="python -m scripts.dev.memory", description=__doc__)
    parser.add_argument("--size", default="1024x512", help="WIDTHxHEIGHT in pixels")
    parser.add_argument(ALONE, action="store_true", help="print the bytes of this process")
    argv = [*(sys.argv[1:] if argv is None else argv)]
    args, flags = parser.parse_known_args(argv)
    if args.alone:
        print(peak_bytes(flags, tuple(map(int, args.size.split("x")))))
        return
    again = [*python(), "-m", "scripts.dev.memory", ALONE, *argv]
    peaks = []
    for more in ((), ("--checkpoint_activations",)):
        done = subprocess.run([*again, *more], stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise ValueError(f"the process ended with status {done.returncode}")
        peaks.append(int(done.stdout.split()[-1]))
        print(f"{peaks[-1] / 1e9:.2f} GB {'with' if more else 'without'} --checkpoint_activations")
    print(f"ratio {peaks[1] / peaks[0]:.2f}")


def peak_bytes(flags: Sequence[str], size: tuple[int, int]) -> int:
    """Return the peak memory of training steps: of the GPU, or of the process on a CPU."""
    with tempfile.TemporaryDirectory() as folder:
        place = ["--dataroot", folder, "--checkpoints_dir", folder, "--preprocess", "none"]
        opt = TrainOptions().read(["--label_nc", "35", *place, *flags])
        model = create_model(opt)
        model.setup(opt)
        for _ in range(2):  # the second beside the optimizers' state
            model.train_on([random_batch(opt, size)])
    if model.device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def random_batch(opt: Any, size: tuple[int, int]) -> dict[str, Any]:
    """Return --batch_size label maps of random blocks with their edges, and images of noise."""
    width, height = size
    small = torch.randint(opt.label_nc, (opt.batch_size, 1, height // BLOCK, width // BLOCK))
    label = small.repeat_interleave(BLOCK, 2).repeat_interleave(BLOCK, 3)
    found = {"label": label, "instance": label, "edges": instance_edges(label)}
    image = torch.rand(opt.batch_size, 3, *label.shape[-2:]) * 2 - 1
    return {**found, "image": image, "label_paths": ["random"] * opt.batch_size}


if __name__ == "__main__":
    raise SystemExit(run_command(main))
