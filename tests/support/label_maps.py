"""Label maps that tests draw."""

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = [(0, 48, 255), (255, 159, 1), (192, 255, 63), (174, 0, 1), (10, 10, 10)]


def label_map(seed: int, size: int = 96) -> np.ndarray:
    """Paint rectangles, more of the first colours than of the last."""
    generator = np.random.default_rng(seed)
    image = np.empty((size, size, 3), np.uint8)
    image[:] = COLOURS[0]
    for k in range(1, len(COLOURS)):
        for _ in range(len(COLOURS) - k):
            y, x = generator.integers(0, size - 24, 2)
            image[y : y + 24, x : x + 24] = COLOURS[k]
    return image


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


SPADE = ("--model", "spade", "--netG", "spade", "--no_vgg_loss")
HD = ("--model", "pix2pixHD", "--netG", "global", "--no_vgg_loss")
HD += ("--n_downsample_global", "1", "--n_blocks_global", "1")
