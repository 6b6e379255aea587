"""Runs of a few steps from weights given by a formula: what a refactor must reproduce.

`PYTHONPATH=.:tests python tests/support/golden.py` writes tests/data/trace_drawn.json; do so for a
change of the numerics on purpose only.
"""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from models import create_model
from options.train_options import TrainOptions
from train import main as train
from util.displays.loss_log import Entry, parse_line

DATA = Path(__file__).resolve().parents[1] / "data"
STEPS = ["--continue_train", "--serial_batches", "--no_flip", "--preprocess", "none"]
STEPS += ["--num_threads", "0", "--print_freq", "1", "--save_epoch_freq", "1"]
STEPS += ["--n_epochs", "4", "--n_epochs_decay", "0", "--gpu_ids", "-1", "--no_html"]
SMALL = ["--ngf", "8", "--ndf", "8", "--no_dropout"]
TINY = [*SMALL, "--netG", "unet_128", "--direction", "BtoA"]
DRAWN = {
    "vanilla": TINY,
    "lsgan, instance norm, ResNet": [*TINY, "--netG", "resnet_6blocks"]
    + ["--norm", "instance", "--gan_mode", "lsgan"],
    "hinge, batch 2, resize": [*TINY, "--gan_mode", "hinge", "--batch_size", "2"]
    + ["--upsample", "resize", "--print_freq", "2"],
    "cycle_gan, instance norm": [*SMALL, "--model", "cycle_gan", "--netG", "resnet_6blocks"],
    "colorization": [*SMALL, "--model", "colorization", "--netG", "unet_128"],
    "the paper's switches": [*TINY, "--netG", "encdec_128", "--no_conditional_D"]
    + ["--netD", "pixel", "--pixel_loss", "l2", "--lambda_GAN", "0.5"],
}


def formula(key: str, tensor: Tensor) -> Tensor:
    """Return the weights of a tensor by its state-dict key."""
    i = np.arange(tensor.numel(), dtype=np.float64)
    v = np.sin(i * 12.9898 + (zlib.crc32(key.encode()) % 10007) / 10007 * 6.28318) * 43758.5453
    u = (v - np.floor(v)) * 2 - 1
    name = key.rpartition(".")[2]
    if name in ("running_mean", "num_batches_tracked"):
        u = np.zeros_like(u)
    elif name == "running_var":
        u = np.ones_like(u)
    elif tensor.dim() >= 2:
        u = u * 0.05
    else:
        u = u * 0.01 if name == "bias" else 1 + 0.02 * u
    return torch.from_numpy(u).to(tensor.dtype).reshape(tensor.shape)


def samples(tensor: Tensor) -> np.ndarray:
    """Return up to 8 evenly spaced entries of a flattened tensor."""
    flat = tensor.flatten().double().numpy()
    return flat[np.linspace(0, len(flat) - 1, min(8, len(flat))).astype(int)]


def draw_five(root: Path) -> Path:
    """Write five 256×128 pairs drawn by a formula, the same on every machine."""
    (root / "train").mkdir(parents=True)
    y, x, c = np.mgrid[0:128, 0:256, 0:3]
    for i in range(1, 6):
        waves = np.sin(x * (0.03 * i + 0.02 * c)) * np.cos(y * (0.05 + 0.01 * i)) + np.sin(
            y * x / 900
        )
        Image.fromarray(np.uint8(127 + 60 * waves)).save(root / "train" / f"{i}.png")
    return root


def resized_facades(facades: Path, root: Path) -> Path:
    """Write the first five facades, each resized as a whole to 256×128."""
    (root / "train").mkdir(parents=True)
    for i in range(1, 6):
        image = Image.open(facades / "train" / f"{i}.jpg").convert("RGB")
        image.resize((256, 128), Image.Resampling.BICUBIC).save(root / "train" / f"{i}.png")
    return root


def run(dataroot: Path, checkpoints: Path, flags: list[str]) -> tuple[list[Entry], Path]:
    """Train from the formula's weights; return the lines of losses and the run's folder."""
    args = ["--dataroot", str(dataroot), "--checkpoints_dir", str(checkpoints), "--name", "trace"]
    args += [*STEPS, *flags]
    folder = checkpoints / "trace"
    folder.mkdir(parents=True)
    for name, net in create_model(TrainOptions().read(args)).nets.items():
        weights = {key: formula(key, tensor) for key, tensor in net.state_dict().items()}
        torch.save(weights, folder / f"latest_net_{name}.pth")
    train(args)
    lines = (folder / "loss_log.txt").read_text().splitlines()
    return [entry for line in lines if (entry := parse_line(line))], folder


def record(root: Path) -> dict[str, Any]:
    """Return the traces on drawn input, as `trace_facades.json` has those on the facades."""
    data, traces = draw_five(root / "data"), {}
    for name, flags in DRAWN.items():
        entries, folder = run(data, root / name.replace(" ", "_"), flags)
        after = {}
        for file in sorted(folder.glob("1_net_*.pth")):
            weights = torch.load(file, weights_only=True)
            after[file.stem.removeprefix("1_net_")] = {
                k: [float(f"{v:.8f}") for v in samples(w)]
                for k, w in weights.items()
                if w.dim() > 1
            }
        # A bias in front of instance norm gets rounding noise, which Adam turns into steps of lr:
        # from the second epoch on, such a run differs between machines.
        epochs = 1 if "instance" in name else 2
        rows = [[e.epoch, e.iters, e.losses] for e in entries if e.epoch <= epochs]
        traces[name] = {"flags": flags, "rows": rows, "after_epoch1": after}
    return traces


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        text = json.dumps(record(Path(folder)), separators=(",", ":"))
    (DATA / "trace_drawn.json").write_text(text + "\n")
