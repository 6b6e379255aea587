"""Images with holes: folders, batches and flags of small networks."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from conftest import draw
from PIL import Image

from data.inpaint_dataset import InpaintDataset
from models import create_model
from options.train_options import TrainOptions

SMALL = ["--model", "inpaint", "--netG", "inpaint", "--cnum", "4", "--ndf", "4"]
# After `TINY`, in place of its sizes and networks.
INPAINT = [*SMALL, "--batch_size", "2", "--load_size", "36", "--crop_size", "32"]


def draw_photos(root: Path, count: int = 3, size: tuple[int, int] = (48, 40)) -> Path:
    """Write `count` images into root/train, root/val and root/test."""
    for n, phase in enumerate(("train", "val", "test")):
        (root / phase).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            draw(size, seed=100 * n + i).save(root / phase / f"{i}.png")
    return root


def save_mask(
    path: Path, size: tuple[int, int] = (48, 40), box: tuple[int, int, int, int] = (8, 6, 20, 30)
) -> np.ndarray:
    """Write a mask with a white box, (left, top, right, bottom), and return it as bools."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros(size[::-1], bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    Image.fromarray(np.uint8(255 * mask)).save(path)
    return mask


def hole_options(root: Path, *flags: Any, kind: type = TrainOptions) -> Any:
    """Return the options of a small run on the photos of `draw_photos`."""
    small = ["--load_size", "36", "--crop_size", "32", "--num_threads", "0", "--gpu_ids", "-1"]
    small += ["--batch_size", "1", "--model", "inpaint"]
    return kind().read(["--dataroot", str(root), *small, *map(str, flags)])


def hole_dataset(root: Path, *flags: Any, kind: type = TrainOptions) -> InpaintDataset:
    """Return the images with holes that these flags read."""
    return InpaintDataset(hole_options(root, *flags, kind=kind))


def hole_batch(
    seed: int = 0, *, size: int = 1, side: int = 32, guided: bool = False
) -> dict[str, Any]:
    """Make a batch of images of bytes, each with a hole of its own."""
    torch.manual_seed(100 + seed)
    mask = torch.zeros(size, 1, side, side)
    for i in range(size):
        mask[i, :, 4 + 3 * i + seed % 3 :][:, : side // 2, side // 4 : side // 2 + 5 * i + 1] = 1
    found = {"A": torch.randint(0, 256, (size, 3, side, side)) / 127.5 - 1, "mask": mask}
    if guided:
        found["sketch"] = (torch.rand(size, 1, side, side) > 0.9).float()
    return {**found, "A_paths": [f"{seed}_{i}.png" for i in range(size)]}


def saved_run(folder: Path, *flags: str) -> Path:
    """Save an untrained model as a run."""
    place = ["--checkpoints_dir", str(folder), "--name", "run", "--dataroot", str(folder)]
    opt = TrainOptions().read([*place, *SMALL, "--crop_size", "32", "--gpu_ids", "-1", *flags])
    torch.manual_seed(0)
    model = create_model(opt)
    model.setup(opt)
    model.save_networks("latest")
    return folder / "run"
