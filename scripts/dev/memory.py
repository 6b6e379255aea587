"""Measure the peak memory of a training step on label maps or on images with holes, and with
--checkpoint_activations if the model has it: `python -m scripts.dev.memory --model pix2pixHD
--size 1024x512`.

Each is measured in a process of its own, on random images. Other flags are those of train.py.
"""

import subprocess
import tempfile
from collections.abc import Sequence

import torch

from models import create_model
from options.parser import OneLineParser
from scripts.dev.measure import machine
from scripts.dev.random_batch import options_of, random_batch
from util.command import python, run_command, words_of
from util.memory import peak_memory

ALONE = "--alone"  # a process of its own: measure, and print the number of bytes


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print the peaks in GB, and the ratio of two."""
    parser = OneLineParser(prog="python -m scripts.dev.memory", description=__doc__)
    parser.add_argument("--size", default="1024x512", help="WIDTHxHEIGHT in pixels")
    parser.add_argument(ALONE, action="store_true", help="print the bytes of this process")
    argv = words_of(argv)
    args, flags = parser.parse_known_args(argv)
    if args.alone:
        print(peak_bytes(flags, tuple(map(int, args.size.split("x")))))
        return
    print(machine())
    command = [*python(), "-m", "scripts.dev.memory", ALONE, *argv]
    both = hasattr(options_of(flags, "."), "checkpoint_activations")
    peaks = []
    for extra in ((), ("--checkpoint_activations",)) if both else ((),):
        process = subprocess.run([*command, *extra], stdout=subprocess.PIPE, text=True)
        if process.returncode:
            raise ValueError(f"the process ended with status {process.returncode}")
        peaks.append(int(process.stdout.split()[-1]))
        print(f"{peaks[-1] / 1e9:.2f} GB {'with' if extra else 'without'} --checkpoint_activations")
    if both:
        print(f"ratio {peaks[1] / peaks[0]:.2f}")


def peak_bytes(flags: Sequence[str], size: tuple[int, int]) -> int:
    """Return the peak memory of training steps: of the GPU, or of the process on a CPU."""
    with tempfile.TemporaryDirectory() as folder:
        opt = options_of([*flags, "--preprocess", "none"], folder)
        model = create_model(opt)
        model.setup(opt)
        for _ in range(2):  # the second beside the optimizers' state
            if model.device.type == "cuda":  # whose first step tries algorithms
                torch.cuda.reset_peak_memory_stats()
            model.train_on([random_batch(opt, size)])
    return peak_memory(model.device)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
