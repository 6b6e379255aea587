"""Folders of label maps that tests write."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from conftest import draw
from PIL import Image
from support.label_maps import COLOURS

SIZE = (24, 20)  # (width, height)


def classes(seed: int, numbers: Sequence[int], size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return numbers (H, W) uint8 in stripes, the first at a place of its own by `seed`."""
    width, height = size
    across = (np.arange(width) * len(numbers) // width + seed) % len(numbers)
    return np.broadcast_to(np.uint8(numbers)[across], (height, width)).copy()


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def photo(path: Path, seed: int, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(size, seed).save(path)
    return path


def draw_labels(
    root: Path, numbers: Sequence[int] = (0, 1, 2), *, instances: bool = True, count: int = 3
) -> Path:
    """Write PHASE_label, PHASE_img and PHASE_inst for train, val and test."""
    for n, phase in enumerate(("train", "val", "test")):
        for i in range(count):
            save(root / f"{phase}_label" / f"{i}.png", classes(i, numbers))
            photo(root / f"{phase}_img" / f"{i}.jpg", 10 * n + i)
            if instances:
                of_16_bits = classes(i, (1, 2)).astype(np.uint16) * 500
                save(root / f"{phase}_inst" / f"{i}.png", of_16_bits)
    return root


def coloured(seed: int, size: tuple[int, int] = (96, 96)) -> np.ndarray:
    """Return classes as colours, (H, W, 3), in stripes of all `COLOURS`."""
    return np.uint8(COLOURS)[classes(seed, range(len(COLOURS)), size)]


def draw_coloured(root: Path, *, ending: str = ".png", stitched: bool = True) -> Path:
    """Write A|B images, photo and labels, or trainA (labels) and trainB, and so on."""
    for n, phase in enumerate(("train", "val", "test")):
        for i in range(3):
            labels, image = coloured(i), np.asarray(draw((96, 96), 10 * n + i))
            if stitched:
                path = root / phase / f"{i}{ending}"
                path.parent.mkdir(parents=True, exist_ok=True)
                how = {"quality": 90} if ending == ".jpg" else {}
                Image.fromarray(np.concatenate([image, labels], 1)).save(path, **how)
            else:
                save(root / f"{phase}A" / f"{i}.png", labels)
                save(root / f"{phase}B" / f"{i}.png", image)
    return root


def draw_label_folders(
    root: Path,
    *,
    phases: tuple[str, ...] = ("train", "val", "test"),
    classes: int = 4,
    count: int = 2,
    size: int = 72,
    instances: bool = True,
    images: bool = True,
) -> Path:
    """Write PHASE_label, PHASE_img and PHASE_inst with `count` files each: rectangles of classes,
    which are also the instances, and images whose colours follow the classes.
    """
    table = np.random.default_rng(0).integers(0, 256, (classes, 3), dtype=np.uint8)
    for n, phase in enumerate(phases):
        for i in range(count):
            generator = np.random.default_rng(100 * n + i)
            labels = np.full((size, size), i % classes, np.uint8)
            ids = np.zeros((size, size), np.uint16)
            for k in range(2 * classes):
                y, x = generator.integers(0, size - size // 3, 2)
                area = np.s_[y : y + size // 3, x : x + size // 3]
                labels[area], ids[area] = k % classes, 300 + k
            kinds = {"label": labels}
            kinds |= {"img": table[labels]} if images else {}
            kinds |= {"inst": ids} if instances else {}
            for kind, array in kinds.items():
                folder = root / f"{phase}_{kind}"
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(folder / f"{i}.png", compress_level=1)
    return root
