"""Record tiny trainings to the last bit, so that a refactor can be held to them.

    python tests/support/record_training.py before.json
    python tests/support/record_training.py after.json --compare before.json

It trains pix2pix, CycleGAN and colorization for 20 steps or more: in fp32 and bf16, with and
without --grad_accum, with and without EMA and validation, in one and in two processes. It records
losses, weights, optimizers, image pools and random states, and the images that test.py then makes.
Two records agree only on the same machine with the same version of PyTorch.
"""

import argparse
import hashlib
import itertools
import json
import os
import re
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
from PIL import Image

import test as test_command
import train as train_command
from models.base_model import BaseModel

IMAGES = 11  # a batch of 2 leaves one over; so do 3 batches of 2
TINY = "--netG unet_64 --ngf 4 --ndf 4 --gpu_ids -1 --num_threads 0 --load_size 72 --crop_size 64"
RUN = "--batch_size 2 --print_freq 2 --save_latest_freq 8 --save_epoch_freq 3 --no_html --seed 3"
MODELS = {
    "pix2pix": "--model pix2pix --pool_size 3",
    "cycle_gan": "--model cycle_gan --netG resnet_6blocks --ngf 2 --pool_size 3",
    "colorization": "--model colorization --gan_mode lsgan",
}
PRECISIONS = {"fp32": "", "bf16": "--precision bf16"}
ACCUMULATIONS = {
    "grad_accum 1": "--n_epochs 2 --n_epochs_decay 2",
    "grad_accum 3": "--grad_accum 3 --n_epochs 6 --n_epochs_decay 4",
}
EXTRAS = {"plain": "", "EMA and validation": "--ema 0.9 --val_freq 2 --lr_policy plateau"}
MORE = {
    "pix2pix wgangp fp32": "--gan_mode wgangp --no_conditional_D",
    "pix2pix wgangp bf16": "--gan_mode wgangp --precision bf16",
    "cycle_gan wgangp bf16": f"{MODELS['cycle_gan']} --gan_mode wgangp --precision bf16",
    "pix2pix hinge bf16": "--gan_mode hinge --precision bf16 --norm instance --netD pixel",
    "pix2pix without D": "--lambda_GAN 0 --pixel_loss l2",
    "pix2pix sync_batch": "--norm sync_batch --upsample resize",
}


def trainings() -> dict[str, tuple[str, int]]:
    """Return the flags and the number of processes of each training, by name."""
    found = {}
    kinds = itertools.product(MODELS, PRECISIONS, ACCUMULATIONS, EXTRAS)
    rows = {
        f"{model}, {precision}, {steps}, {extra}": " ".join(
            [MODELS[model], PRECISIONS[precision], ACCUMULATIONS[steps], EXTRAS[extra]]
        )
        for model, precision, steps, extra in kinds
    }
    rows |= {name: f"{ACCUMULATIONS['grad_accum 1']} {flags}" for name, flags in MORE.items()}
    for (name, flags), world_size in itertools.product(rows.items(), (1, 2)):
        found[f"{name}, {world_size} process{'es' * (world_size > 1)}"] = flags, world_size
    return found


def draw_data(root: Path) -> None:
    """Write stitched pairs and unpaired images of textured noise."""
    for number, phase in enumerate(("train", "val", "test")):
        for folder in (phase, f"{phase}A", f"{phase}B"):
            (root / folder).mkdir(parents=True)
        for i in range(IMAGES if phase == "train" else 3):
            noise = np.random.default_rng([number, i]).integers(0, 256, (20, 32, 3), np.uint8)
            size = 192 if phase == "test" else 80
            pair = Image.fromarray(noise).resize((2 * size, size), Image.Resampling.BICUBIC)
            pair.save(root / phase / f"{i}.png")
            pair.crop((0, 0, size, size)).save(root / f"{phase}A" / f"{i}.png")
            pair.crop((size, 0, 2 * size, size)).save(root / f"{phase}B" / f"{i}.png")


def digest(value: Any) -> str:
    """Return a hash of nested tensors, arrays and plain Python."""
    found = hashlib.sha256()

    def add(item: Any) -> None:
        if isinstance(item, torch.Tensor):
            found.update(f"{item.dtype} {tuple(item.shape)}".encode())
            found.update(item.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        elif isinstance(item, dict):
            for key in sorted(item, key=str):
                found.update(str(key).encode())
                add(item[key])
        elif isinstance(item, list | tuple):
            for part in item:
                add(part)
        else:
            found.update(repr(item).encode())

    add(value)
    return found.hexdigest()[:16]


def run_training(flags: list[str], run: Path) -> None:
    """Train, and write down every printed loss in full precision."""
    losses: list[Any] = []
    read = BaseModel.get_current_losses

    def recorded(model: BaseModel) -> dict[str, float]:
        found = read(model)
        losses.append({name: float(value).hex() for name, value in found.items()})
        return found

    BaseModel.get_current_losses = recorded
    train_command.main(flags)
    rank = os.environ.get("RANK", "0")
    run.joinpath(f"losses_{rank}.json").write_text(json.dumps(losses))


def in_processes(world_size: int, function: Callable[[], None], log: Path) -> None:
    """Run a function in forked processes, as torchrun would start them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = []
    for rank in range(world_size):
        child = os.fork()
        if child:
            children.append(child)
            continue
        if world_size > 1:
            names = {"RANK": rank, "LOCAL_RANK": rank, "MASTER_PORT": port}
            names |= {"WORLD_SIZE": world_size, "LOCAL_WORLD_SIZE": world_size}
            os.environ.update({name: str(value) for name, value in names.items()})
            os.environ["MASTER_ADDR"] = "127.0.0.1"
        status = 1
        try:
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(output, 1)
            os.dup2(output, 2)
            function()
            status = 0
        except BaseException as error:
            print(repr(error), flush=True)
        finally:
            sys.stdout.flush()
            os._exit(status)
    if any([os.waitpid(child, 0)[1] for child in children]):
        raise SystemExit(f"a training failed:\n{log.read_text()[-3000:]}")


def record(name: str, flags: str, world_size: int, data: Path, work: Path) -> dict[str, Any]:
    """Train once; return all that a refactor must reproduce."""
    run = work / "run"
    place = ["--dataroot", str(data), "--checkpoints_dir", str(work), "--name", "run"]
    line = [*TINY.split(), *RUN.split(), *flags.split(), *place]
    in_processes(world_size, lambda: run_training(line, run), work / "train.log")
    found: dict[str, Any] = {
        path.name: digest(torch.load(path, weights_only=True)) for path in run.glob("*_net_*.pth")
    }
    state = torch.load(run / "latest_state.pth", weights_only=True)
    parts = ("networks", "optimizers", "schedulers", "pools", "random", "progress", "averages")
    for of_time in ("seconds", "peak_memory"):
        state["progress"].pop(of_time, None)
    found |= {f"state: {part}": digest(state[part]) for part in parts if part in state}
    found["losses"] = json.loads((run / "losses_0.json").read_text())
    lines = (run / "loss_log.txt").read_text().splitlines()
    found["loss_log"] = [re.sub(r", time:[^)]*\)", ")", line) for line in lines if "time" in line]
    if (run / "val_log.csv").exists():
        found["val_log"] = (run / "val_log.csv").read_text().splitlines()
    if world_size == 1:
        for number, more in enumerate(("", "--eval", "--tile 128 --preprocess none --use_ema")):
            if "use_ema" in more and "--ema" not in flags:
                continue
            results = work / f"results{number}"
            line = ["--gpu_ids", "-1", "--num_threads", "0", "--results_dir", str(results)]
            line += ["--dataroot", str(data), *place[2:], *more.split()]
            in_processes(1, lambda line=line: test_command.main(line), work / "test.log")
            images = sorted(results.rglob("*.png"))
            found[f"test.py {more}"] = digest([np.asarray(Image.open(p)).tobytes() for p in images])
            found[f"test.py {more} files"] = [path.name for path in images]
    return found


def differences(before: dict[str, Any], after: dict[str, Any]) -> Iterable[str]:
    """Yield what differs between two records, by training."""
    for name in before.keys() | after.keys():
        one, other = before.get(name, {}), after.get(name, {})
        odd = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
        if odd:
            yield f"{name}: {', '.join(odd)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="where the record is written")
    parser.add_argument("--compare", type=Path, help="an earlier record that must be equal")
    parser.add_argument("--only", default="", help="only trainings whose name holds this text")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        draw_data(Path(folder) / "data")
        for number, (name, (flags, world_size)) in enumerate(trainings().items()):
            if args.only in name:
                work = Path(folder) / str(number)
                work.mkdir()
                found[name] = record(name, flags, world_size, Path(folder) / "data", work)
    args.file.write_text(json.dumps(found, indent=1))
    print(f"{len(found)} trainings recorded in {args.file}")
    if args.compare:
        before = json.loads(args.compare.read_text())
        before = {name: value for name, value in before.items() if args.only in name}
        odd = sorted(differences(before, found))
        print("\n".join(odd) or f"all {len(before)} equal {args.compare}")
        raise SystemExit(1 if odd else 0)


if __name__ == "__main__":
    main()
