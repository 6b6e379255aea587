"""Benchmark the training step: time and memory of plain and ours, and the peak rate."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from data import create_dataset
from models import create_model
from models.label_convolution import LabelConv2d
from models.label_windows import one_hot, semantic_map
from options.base_options import Options
from options.train_options import TrainOptions
from scripts.dev import plain_cyclegan, plain_pix2pix, plain_spade
from scripts.dev.ceiling import bytes_of, operations_of, share_of_ceiling
from scripts.dev.label_batches import CLASSES, SIZE, SPADE_FLAGS, label_batch
from scripts.dev.measure import (
    BenchmarkRow,
    Spread,
    Step,
    in_turn,
    peak_memory,
)
from scripts.dev.random_batch import random_batch
from training.cuda_graphs import enable_cuda_graphs
from util.device import tune_malloc

CUDA = torch.cuda.is_available()
# Without CPU support, bf16 is emulated and much slower, so it is not measured.
BF16 = CUDA or (
    torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
)
PRECISIONS = ("fp32", *(["tf32"] if CUDA else []), *(["bf16"] if BF16 else []))
# Variants of our step: name -> (precision, flags).
VARIANTS = {p: (p, ()) for p in PRECISIONS}
VARIANTS |= {"tf32, --no_graphs": ("tf32", ("--no_graphs",))} if CUDA else {}
# A GPU takes time to switch between processes; many steps per measurement hide it.
REPEATS = 20 if CUDA else 1


def our_step(batch: int, *flags: str) -> Step:
    """Build our model, and return a training step on random images, or on label maps."""
    place = ("--dataroot", "none", "--batch_size", str(batch))
    with tempfile.TemporaryDirectory() as folder:
        model = create_model(machine_options([*place, *flags], folder))
        model.setup(model.opt)
    enable_cuda_graphs(model, model.opt)
    tune_malloc()  # as train.py does
    if model.opt.dataset_mode == "labels":
        images = label_batch(batch, model.opt.dataroot)
    elif model.opt.dataset_mode == "inpaint":
        images = random_batch(model.opt)
    else:
        paths = {f"{side}_paths": ["none"] * batch for side in "AB"}
        images = {**random_images(batch), **paths}
    images = pinned(images)

    def step() -> None:
        model.set_input(images)
        model.optimize_parameters()

    for _ in range(5 if CUDA else 0):
        step()  # captures the CUDA graphs
    return step


def machine_options(flags: Sequence[str], folder: str) -> Options:
    """Return the options of a training on the GPU of this machine, if it has one."""
    place = ("--name", "benchmark", "--gpu_ids", "0" if CUDA else "-1")
    return TrainOptions().read([*place, *flags, "--checkpoints_dir", folder])


def pinned(batch: dict[str, Any]) -> dict[str, Any]:
    """Return a batch in memory from which a GPU copies fastest, as the loader makes it."""
    if not CUDA:
        return batch
    return {k: v.pin_memory() if isinstance(v, Tensor) else v for k, v in batch.items()}


def plain_step(batch: int, kind: str = "pix2pix", dataroot: str = "none") -> Step:
    """Build the plain model, and return a training step on random images, or on label maps."""
    device = torch.device("cuda" if CUDA else "cpu")
    torch.backends.cudnn.benchmark = True
    if kind == "spade":
        inputs = CLASSES + 1
        nets = [plain_spade.Generator(inputs), plain_spade.Discriminator(inputs + 3)]
        model = plain_spade.SPADE(*(net.to(device) for net in nets), CLASSES)
        images = pinned(label_batch(batch, dataroot))
        parts = ("label", "edges", "image")
        return lambda: model.step(*(images[part].to(device) for part in parts))
    if kind == "pix2pix":
        nets = [plain_pix2pix.unet(), plain_pix2pix.patchgan()]
        model = plain_pix2pix.Pix2Pix(*(net.to(device) for net in nets))
    else:
        nets = [plain_cyclegan.resnet() for _ in "AB"]
        nets += [plain_cyclegan.discriminator() for _ in "AB"]
        model = plain_cyclegan.CycleGAN(*(net.to(device) for net in nets))
    images = pinned(random_images(batch))
    return lambda: model.step(images["A"].to(device), images["B"].to(device))


def random_images(batch: int, size: int = 256) -> dict[str, torch.Tensor]:
    return {side: torch.rand(batch, 3, size, size) * 2 - 1 for side in "AB"}


def steps(args: Any) -> Iterator[BenchmarkRow]:
    """pix2pix: unet_256 and the 70×70 PatchGAN, 256×256."""
    for batch in map(int, args.batches.split(",")):
        yield from compared(f"pix2pix step, batch {batch}", args, batch, "pix2pix", ())


def cyclegan(args: Any) -> Iterator[BenchmarkRow]:
    """CycleGAN: resnet_9blocks, 256×256, no image pool; on a GPU also with its pool, beside which
    the step is not one CUDA graph.
    """
    flags = ("--model", "cycle_gan")
    pools = {"": ("--pool_size", "0")} | ({", image pool": ()} if CUDA else {})
    for what, pool in pools.items():
        yield from compared(f"CycleGAN step{what}, batch 1", args, 1, "cyclegan", (*flags, *pool))


def spade(args: Any) -> Iterator[BenchmarkRow]:
    """SPADE: 183 classes and edges, 256×256, no perceptual loss; and one layer of its generator."""
    dataroot = args.labels or "none"
    if not CUDA:  # where both sides would be the plain layer
        layers = {side: (shared_layer, (dataroot, side == "ours")) for side in ("plain", "ours")}
        times = in_turn(layers, args.rounds)
        what = "a norm's first layer (mlp_shared) on its label map, forward and backward"
        yield BenchmarkRow(what, "s", times["plain"], times["ours"])
    flags = (*SPADE_FLAGS, "--dataroot", dataroot)
    yield from compared("SPADE step, batch 1", args, 1, "spade", flags, (dataroot,))


def inpaint(args: Any) -> Iterator[BenchmarkRow]:
    """DeepFillv2, 256×256; the plain step is ours in float32, without CUDA graphs."""
    flags = ("--model", "inpaint")
    sides = {
        "plain": (our_step, (1, *flags, "--precision", "fp32", *(["--no_graphs"] if CUDA else [])))
    }
    for name, (precision, own) in VARIANTS.items():
        sides[name] = our_step, (1, *flags, "--precision", precision, *own)
    times = timed_beside_plain(sides, args.rounds)
    for name in [name for name in VARIANTS if name in times]:
        what = f"inpaint step, batch 1, {name}; plain: ours, fp32, no graphs"
        yield BenchmarkRow(what, "s", times["plain"], times[name])


def training(args: Any) -> Iterator[BenchmarkRow]:
    """A step of pix2pix in a training, with its data, beside the same step without."""
    precision = "tf32" if CUDA else "fp32"
    flags = ("--precision", precision)
    sides = {"plain": (our_step, (1, *flags)), "ours": (step_with_data, (args.dataroot, *flags))}
    times = timed_beside_plain(sides, args.rounds)
    what = f"pix2pix step with its data, batch 1, {precision}; plain: without data"
    yield BenchmarkRow(what, "s", times["plain"], times["ours"])


def step_with_data(dataroot: str, *flags: str) -> Step:
    """Build our loader and model, and return a training step on its next batch, as of the third
    epoch: all images are in the cache by then, or on the GPU.
    """
    most = ("--max_dataset_size", "400" if CUDA else "8")
    with tempfile.TemporaryDirectory() as folder:
        opt = machine_options(["--dataroot", dataroot, *most, *flags], folder)
        dataset, model = create_dataset(opt), create_model(opt)
        model.setup(opt)
    enable_cuda_graphs(model, opt)
    tune_malloc()
    if CUDA:
        dataset.keep_on(model.device)

    def endless() -> Iterator[Any]:
        while True:
            yield from dataset

    batches = endless()
    for _ in range(2 * len(dataset)):
        model.train_on([next(batches)])
    return lambda: model.train_on([next(batches)])


def shared_layer(dataroot: str, as_labels: bool) -> Step:
    """Return the forward and backward pass of the first layer of a SPADE norm, on a new label map
    or on its one-hot map.
    """
    device = torch.device("cuda" if CUDA else "cpu")
    batch = label_batch(1, dataroot)
    labels = torch.cat([batch["label"].float(), batch["edges"]], 1).to(device)
    layer = LabelConv2d(CLASSES + 1, 128, 3, padding=1).to(device)
    grad = torch.randn(1, 128, SIZE, SIZE, device=device)

    def step() -> None:
        x = semantic_map(labels, CLASSES) if as_labels else one_hot(labels, CLASSES)
        layer(x).backward(grad)

    return step


def compared(
    what: str, args: Any, batch: int, kind: str, flags: tuple[str, ...], more: tuple[str, ...] = ()
) -> Iterator[BenchmarkRow]:
    """Time the plain step, with `more` arguments, and ours in every precision."""
    ours = {
        name: (our_step, (batch, "--precision", precision, *flags, *own))
        for name, (precision, own) in VARIANTS.items()
    }
    plain = {"plain": (plain_step, (batch, kind, *more))}
    times = timed_beside_plain(plain | ours, args.rounds)
    operations = operations_of(plain_step(batch, kind, *more))
    eager = ("--no_graphs",) if CUDA else ()
    for name in [name for name in ours if name in times]:
        moved = bytes_of(our_step(*ours[name][1], *eager))
        ceiling = ceiling_of(VARIANTS[name][0], times[name].median, operations, moved)
        yield BenchmarkRow(f"{what}, {name}", "s", times["plain"], times[name], ceiling)


def timed_beside_plain(
    makers: dict[str, tuple[Callable[..., Step], tuple]], rounds: int
) -> dict[str, Spread]:
    """Return the times of `in_turn`; ValueError without that of the plain side."""
    times = in_turn(makers, rounds, repeats=REPEATS)
    if "plain" not in times:
        raise ValueError("nothing to compare with: the plain side cannot be measured")
    return times


def ceiling_of(precision: str, seconds: float, operations: float, moved: float) -> str:
    """Return `share_of_ceiling` for the device and precision of a measurement."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    device = torch.device("cuda" if CUDA else "cpu")
    return share_of_ceiling(seconds, operations, moved, device, dtype)


def memory(args: Any) -> Iterator[BenchmarkRow]:
    """Measure the peak memory of a step."""
    for batch in map(int, args.batches.split(",")):
        plain = Spread.of([peak_memory(plain_step, batch)])
        for precision in PRECISIONS:
            ours = Spread.of([peak_memory(our_step, batch, "--precision", precision)])
            yield BenchmarkRow(f"memory of a step, batch {batch}, {precision}", "MiB", plain, ours)
