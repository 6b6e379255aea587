"""A training without data: a model, and batches of random images, label maps or holes."""

import tempfile
from collections.abc import Sequence
from typing import Any

import torch

from models import create_model
from models.base_model import BaseModel
from options.train_options import TrainOptions
from scripts.dev.measure import quarter_hole
from training.cuda_graphs import enable_cuda_graphs
from util.device import tune_malloc
from util.label_maps import instance_edges

CLASSES = 35  # as of Cityscapes
BLOCK = 32  # pixels a side of an area of one class


def options_of(flags: Sequence[str], folder: str) -> Any:
    """Return the options of a training in a folder without data, whatever `flags` say of it."""
    place = ["--dataroot", folder, "--checkpoints_dir", folder]
    opt = TrainOptions().read([*flags, *place])
    if getattr(opt, "label_nc", 0) is None:
        opt.label_nc = CLASSES
    return opt


def model_of(flags: Sequence[str]) -> BaseModel:
    """Return a model that trains as in train.py: on a GPU with CUDA graphs."""
    tune_malloc()
    with tempfile.TemporaryDirectory() as folder:
        opt = options_of(flags, folder)
        model = create_model(opt)
        model.setup(opt)
    enable_cuda_graphs(model, opt)
    return model


def random_batch(opt: Any, size: tuple[int, int] | None = None) -> dict[str, Any]:
    """Return a batch of --batch_size, of `size` (width, height) or of the crop.

    Two images of noise; or label maps of random blocks with their edges, and images; or images
    with a hole of a fourth of their area. ValueError for another --dataset_mode.
    """
    (width, height), count = size or (opt.crop_size, opt.crop_size), opt.batch_size

    def noise(channels: int) -> torch.Tensor:
        return torch.rand(count, channels, height, width) * 2 - 1

    if opt.dataset_mode == "inpaint":
        mask = quarter_hole(count, height, width)
        sketch = torch.zeros_like(mask)
        return {"A": noise(3), "mask": mask, "sketch": sketch, "A_paths": ["random"] * count}
    if opt.dataset_mode == "labels":
        small = torch.randint(opt.label_nc, (count, 1, height // BLOCK, width // BLOCK))
        label = small.repeat_interleave(BLOCK, 2).repeat_interleave(BLOCK, 3)
        maps = {"label": label, "instance": label, "edges": instance_edges(label)}
        return {**maps, "image": noise(3), "label_paths": ["random"] * count}
    if opt.dataset_mode not in ("aligned", "unaligned"):
        raise ValueError(f"--dataset_mode {opt.dataset_mode}: cannot be measured without data")
    channels = opt.input_nc, opt.output_nc
    A, B = channels if opt.direction == "AtoB" else channels[::-1]
    paths = {f"{side}_paths": ["random"] * count for side in "AB"}
    return {"A": noise(A), "B": noise(B), **paths}
