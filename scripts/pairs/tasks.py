"""The tasks of make_pairs: from an image to a pair (A, B)."""

import math
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from data.files.image_files import halves, load_image

BICUBIC = Image.Resampling.BICUBIC
Pair = tuple[Image.Image, Image.Image]


def edges(photo: Image.Image, settings: Any, rng: np.random.Generator) -> Pair:
    """Black Canny edges on white -> photo (cf. edges2shoes, arXiv:1611.07004 §6.2)."""
    from skimage.feature import canny

    grey = np.asarray(photo.convert("L"), np.float64) / 255
    lines = canny(grey, sigma=settings.sigma)
    return Image.fromarray(np.uint8(255 * ~lines)).convert("RGB"), photo


def grayscale(photo: Image.Image, settings: Any, rng: np.random.Generator) -> Pair:
    """Grey -> photo."""
    return photo.convert("L").convert("RGB"), photo


def inpaint(photo: Image.Image, settings: Any, rng: np.random.Generator) -> Pair:
    """A photo with white holes -> the whole photo."""
    holed = photo.copy()
    holed.paste((255, 255, 255), mask=MASKS[settings.mask](photo.size, rng))
    return holed, photo


def superres(photo: Image.Image, settings: Any, rng: np.random.Generator) -> Pair:
    """A photo shrunk by `factor` and enlarged again -> the sharp photo."""
    small = [max(n // settings.factor, 1) for n in photo.size]
    return photo.resize(small, BICUBIC).resize(photo.size, BICUBIC), photo


def box_mask(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return one to three boxes, each a fifth to a half of the image's sides: 255 is a hole."""
    mask = Image.new("L", size)
    for _ in range(rng.integers(1, 4)):
        w, h = (max(int(n * rng.uniform(0.2, 0.5)), 1) for n in size)
        x, y = rng.integers(0, size[0] - w + 1), rng.integers(0, size[1] - h + 1)
        ImageDraw.Draw(mask).rectangle((x, y, x + w - 1, y + h - 1), fill=255)
    return mask


def freeform_mask(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return brush strokes of changing direction (after arXiv:1806.03589): 255 is a hole."""
    mask = Image.new("L", size)
    draw = ImageDraw.Draw(mask)
    unit = min(size)
    for _ in range(rng.integers(2, 6)):
        x, y = (rng.uniform(0, n) for n in size)
        width = max(int(unit * rng.uniform(0.05, 0.12)), 1)
        angle = rng.uniform(0, 2 * math.pi)
        for _ in range(rng.integers(3, 9)):
            angle += rng.uniform(0.3, 1.2) * rng.choice([-1, 1])
            length = unit * rng.uniform(0.1, 0.3)
            end = (x + length * math.cos(angle), y + length * math.sin(angle))
            draw.line((x, y, *end), fill=255, width=width)
            r = width / 2
            draw.ellipse((end[0] - r, end[1] - r, end[0] + r, end[1] + r), fill=255)
            x, y = (min(max(p, 0), n) for p, n in zip(end, size, strict=True))
    return mask


MASKS: dict[str, Callable[[tuple[int, int], np.random.Generator], Image.Image]] = {
    "freeform": freeform_mask,
    "box": box_mask,
}
TASKS: dict[str, Callable[[Image.Image, Any, np.random.Generator], Pair]] = {
    "edges": edges,
    "grayscale": grayscale,
    "inpaint": inpaint,
    "superres": superres,
}


def squared(image: Image.Image, size: int | None) -> Image.Image:
    """Return the central square of an image, resized to `size`; None keeps the image."""
    if size is None:
        return image
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.resize((size, size), BICUBIC, box=(left, top, left + side, top + side))


def joined(A_path: Path | str, B_path: Path | str, size: int | None = None) -> Image.Image:
    """Return two files, after `squared`, as one image A|B; ValueError if the sizes differ."""
    A, B = squared(load_image(A_path), size), squared(load_image(B_path), size)
    if A.size != B.size:
        raise ValueError(
            f"{B_path}: is {B.width}x{B.height}, {A_path} is {A.width}x{A.height}; "
            f"`scripts.make_pairs --task combine --size N` makes them equal"
        )
    return stitched(A, B)


def stitched(A: Image.Image, B: Image.Image) -> Image.Image:
    """Return A and B, of equal size, side by side."""
    pair = Image.new("RGB", (2 * A.width, A.height))
    pair.paste(A, (0, 0))
    pair.paste(B, (A.width, 0))
    return pair


def make_image(files: list[str], settings: Any) -> Image.Image:
    """Return the image that a task makes of its files; ValueError names one that cannot be used.

    `settings` are the flags of the command.
    """
    size = settings.size
    if settings.task == "combine":
        return joined(files[0], files[1], size)
    image = load_image(files[0])
    if settings.pairs:
        return stitched(*(squared(half, size) for half in halves(image, files[0])))
    if settings.half:
        image = halves(image, files[0])["AB".index(settings.half)]
    photo = squared(image, size)
    if settings.task == "resize":
        return photo
    path_hash = zlib.crc32(os.fsencode(Path(files[0]).relative_to(settings.source)))
    return stitched(
        *TASKS[settings.task](photo, settings, np.random.default_rng([settings.seed, path_hash]))
    )
