"""Measure the peak memory of a training step on label maps or on images with holes, and with
--checkpoint_activations if the model has it: `python -m scripts.dev.memory --model pix2pixHD
--size 1024x512`.

Each is measured in a process of its own, on random images. Other flags are those of train.py.
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
from scripts.dev.measure import quarter_hole
from util.command import python, run_command
from util.label_maps import instance_edges
from util.memory import peak_memory

CLASSES = 35  # as of Cityscapes
BLOCK = 32  # pixels a side of an area of one class
ALONE = "--alone"  # a process of its own: measure, and print the number of bytes


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print the peaks in GB, and the ratio of two."""
    parser = OneLineParser(prog="python -m scripts.dev.memory", description=__doc__)
    parser.add_argument("--size", default="1024x512", help="WIDTHxHEIGHT in pixels")
    parser.add_argument(ALONE, action="store_true", help="print the bytes of this process")
    argv = [*(sys.argv[1:] if argv is None else argv)]
    args, flags = parser.parse_known_args(argv)
    if args.alone:
        print(peak_bytes(flags, tuple(map(int, args.size.split("x")))))
        return
    again = [*python(), "-m", "scripts.dev.memory", ALONE, *argv]
    both = hasattr(options_of(flags, "."), "checkpoint_activations")
    peaks = []
    for more in ((), ("--checkpoint_activations",)) if both else ((),):
        done = subprocess.run([*again, *more], stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise ValueError(f"the process ended with status {done.returncode}")
        peaks.append(int(done.stdout.split()[-1]))
        print(f"{peaks[-1] / 1e9:.2f} GB {'with' if more else 'without'} --checkpoint_activations")
    if both:
        print(f"ratio {peaks[1] / peaks[0]:.2f}")


def options_of(flags: Sequence[str], folder: str) -> Any:
    """Return the options of a training in a folder without data."""
    place = ["--dataroot", folder, "--checkpoints_dir", folder, "--preprocess", "none"]
    return TrainOptions().read([*place, *flags])


def peak_bytes(flags: Sequence[str], size: tuple[int, int]) -> int:
    """Return the peak memory of training steps: of the GPU, or of the process on a CPU."""
    with tempfile.TemporaryDirectory() as folder:
        opt = options_of(flags, folder)
        if getattr(opt, "label_nc", 0) is None:
            opt.label_nc = CLASSES
        model = create_model(opt)
        model.setup(opt)
        for _ in range(2):  # the second beside the optimizers' state
            model.train_on([random_batch(opt, size)])
    return peak_memory(model.device)


def random_batch(opt: Any, size: tuple[int, int]) -> dict[str, Any]:
    """Return --batch_size label maps of random blocks with their edges, and images of noise; or
    such images with a hole of a fourth of their area.
    """
    width, height = size
    if opt.dataset_mode == "inpaint":
        mask = quarter_hole(opt.batch_size, height, width)
        image = torch.rand(opt.batch_size, 3, height, width) * 2 - 1
        sketch = torch.zeros_like(mask)
        return {"A": image, "mask": mask, "sketch": sketch, "A_paths": ["r"] * opt.batch_size}
    small = torch.randint(opt.label_nc, (opt.batch_size, 1, height // BLOCK, width // BLOCK))
    label = small.repeat_interleave(BLOCK, 2).repeat_interleave(BLOCK, 3)
    found = {"label": label, "instance": label, "edges": instance_edges(label)}
    image = torch.rand(opt.batch_size, 3, *label.shape[-2:]) * 2 - 1
    return {**found, "image": image, "label_paths": ["random"] * opt.batch_size}


if __name__ == "__main__":
    raise SystemExit(run_command(main))
