"""Batches of label maps for the benchmark: drawn, or of COCO-Stuff."""

import tempfile
from typing import Any

import torch

from data import create_dataset
from options.train_options import TrainOptions
from util.label_maps import instance_edges

CLASSES = 183  # of COCO-Stuff, with the one of unknown pixels
SIZE = 256  # pixels a side
SPADE_FLAGS = ("--model", "spade", "--no_vgg_loss", "--label_nc", "182", "--contain_dontcare_label")
SPADE_FLAGS += ("--load_size", str(SIZE), "--crop_size", str(SIZE))


def label_batch(batch: int, dataroot: str = "none") -> dict[str, Any]:
    """Return label maps, edges of instances and images: those in a folder, or drawn ones."""
    if dataroot == "none":
        return drawn(batch)
    flags = ["--dataroot", dataroot, "--batch_size", str(batch), "--gpu_ids", "-1", "--no_flip"]
    flags += ["--serial_batches", "--num_threads", "0"]
    with tempfile.TemporaryDirectory() as folder:
        opt = TrainOptions().read([*SPADE_FLAGS, *flags, "--checkpoints_dir", folder])
        return next(iter(create_dataset(opt)))


def drawn(batch: int, areas: int = 12, ripple: float = 6.0) -> dict[str, Any]:
    """Draw label maps of areas with uneven edges, each an instance, and images of noise.

    They have 3% as many distinct windows of 3×3 pixels as pixels, and 10% of 5×5: no fewer than
    the maps of COCO-Stuff at this size.
    """
    torch.manual_seed(0)
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    waves = torch.nn.functional.interpolate(
        torch.randn(batch, 2, SIZE // 8, SIZE // 8), size=(SIZE, SIZE), mode="bicubic"
    )
    places = torch.stack([y, x]) + ripple * waves  # (batch, 2, SIZE, SIZE) in pixels
    centres = torch.rand(batch, areas, 2) * SIZE
    nearest = torch.cdist(places.flatten(2).transpose(1, 2), centres).argmin(2)
    instance = nearest.view(batch, 1, SIZE, SIZE)
    label = torch.randint(CLASSES, (batch, areas)).gather(1, nearest).view_as(instance)
    image = torch.rand(batch, 3, SIZE, SIZE) * 2 - 1
    tensors = {"label": label, "edges": instance_edges(instance), "image": image}
    return {**tensors, "label_paths": ["drawn"] * batch}
