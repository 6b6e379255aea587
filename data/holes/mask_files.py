"""Masks in files, and in the alpha channel of images: white, or transparent, is the hole.

A mask is bool (H, W), True in the hole.
"""

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from data.base_dataset import prefix_errors
from data.files.image_files import load_unconverted
from data.files.image_types import HighDepthImage, ImageLike
from data.files.pixel_limit import MAX_PIXELS
from data.image_folder import by_stem, make_dataset

THRESHOLD = 128  # of 0 to 255: from here on, a pixel of a mask is in the hole
GREY = 32, 223  # values that are neither black nor white
MOST_GREY = 0.05  # share of the pixels, more than smooth edges of lines have
MOST_HOLE = 0.6  # share of the hole, from which on a mask looks inverted
WHITES = 1, 255, 65535  # of masks in numbers of any type
FIX = f"paint the hole white, from {THRESHOLD} of 255, and the rest black"


def load_mask(
    path: str | Path, max_pixels: float = MAX_PIXELS, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Read a mask; ValueError names a file that is no mask of black and white, or one that has
    another (width, height) than its image.
    """
    return load_map(path, mask_of, max_pixels, size)


def load_map(
    path: str | Path,
    convert: Callable[[ImageLike], np.ndarray],
    max_pixels: float,
    size: tuple[int, int] | None,
) -> np.ndarray:
    """Read a mask or a sketch with `convert`, of the (width, height) `size` if that is given;
    ValueError names the file.
    """
    with prefix_errors(str(path)):
        array = convert(load_unconverted(path, max_pixels))
        if size:
            check_same_size(array, size)
        return array


def mask_of(image: ImageLike) -> np.ndarray:
    """Return the mask that an image shows; ValueError says what is wrong with it."""
    if not isinstance(image, HighDepthImage):
        check_colours(image)
        values, high = np.asarray(image.convert("RGB").convert("L")), 255.0
    elif image.kind or image.looks_channels_first:
        values, high = image.with_channels(1).array()[..., 0], image.high
    else:
        raise ValueError(f"has {image.channels} channels; a mask is grey or RGB")
    if not np.isfinite(values).all():
        raise ValueError("holds NaN or infinite values")
    return checked(values.astype(float) * 255 / white_of(float(values.max()), high))


def check_colours(image: Image.Image) -> None:
    """Raise a ValueError for a mask of one colour, of which only the alpha channel varies."""
    if not image.has_transparency_data:
        return
    *colours, alpha = image.convert("RGBA").getextrema()
    if alpha[0] < alpha[1] and all(low == high for low, high in colours):
        raise ValueError(
            f"the mask is of one colour, only its alpha channel varies; {FIX}, without transparency"
        )


def white_of(largest: float, high: float = 255.0) -> float:
    """Return the white of a mask by its largest value: 1, 255, 65535 or the type's `high`, the
    first that is large enough. Floats, of `high` 1, may be bytes too.
    """
    whites = [white for white in (*WHITES, high) if white <= high or high == 1]
    return min((white for white in whites if largest <= white), default=high)


def share_within(values: np.ndarray, low: float, high: float) -> float:
    """Return the share of the values in [low, high]."""
    return float(((values >= low) & (values <= high)).mean())


def checked(values: np.ndarray) -> np.ndarray:
    """Return the mask of values (H, W) in 0..255; ValueError if they are grey, or all alike."""
    grey = share_within(values, *GREY)
    if grey > MOST_GREY:
        raise ValueError(
            f"{grey:.0%} of the mask are grey values, {GREY[0]} to {GREY[1]} (at most "
            f"{MOST_GREY:.0%} may be); make it black and white, the hole from {THRESHOLD} of 255 "
            f"on, and save it as PNG, since JPEG blurs it"
        )
    mask = values >= THRESHOLD
    check_hole(mask)
    return mask


def check_hole(mask: np.ndarray) -> None:
    """Raise a ValueError for a mask without a hole, or without anything else."""
    if not mask.any():
        raise ValueError(f"the mask is empty, there is nothing to fill; {FIX}")
    if mask.all():
        raise ValueError(f"the mask is full, there is nothing to fill the hole from; {FIX}")


def check_same_size(mask: np.ndarray, size: tuple[int, int]) -> None:
    """Raise a ValueError if a mask or a sketch has another (width, height) than its image."""
    height, width = mask.shape
    if (width, height) != size:
        turned = ", upright as the EXIF orientations of both say" * ((height, width) == size)
        raise ValueError(
            f"has {width}x{height} pixels, its image {size[0]}x{size[1]}{turned}; both need one "
            f"size"
        )


def alpha_mask(image: ImageLike) -> np.ndarray | None:
    """Return where an image of 8 bits is transparent; None if it is nowhere.

    ValueError if it is everywhere.
    """
    if not isinstance(image, Image.Image) or not image.has_transparency_data:
        return None
    mask = np.asarray(image.convert("RGBA").getchannel("A")) < THRESHOLD
    if not mask.any():
        return None
    if mask.all():
        raise ValueError("is transparent everywhere, there is nothing to fill the hole from")
    return mask


def as_image(mask: np.ndarray) -> Image.Image:
    """Return a mask as an image, 255 in the hole."""
    return Image.fromarray(np.where(mask, 255, 0).astype(np.uint8))


def shares_of_some(
    paths: Sequence[str], load: Callable[[str], np.ndarray], seconds: float = 1.0
) -> list[float]:
    """Return the share of the hole, or of the lines, in a random subset of masks or sketches, as
    many as `load` reads in `seconds`.
    """
    deadline, shares = time.monotonic() + seconds, []
    for path in random.Random(0).sample(paths, len(paths)):
        shares.append(float(load(path).mean()))
        if time.monotonic() > deadline:
            break
    return shares


class MaskFolder:
    """The masks of a folder, by the stem of their images."""

    def __init__(self, folder: str | Path, flag: str):
        """ValueError names `flag` if the folder holds no images."""
        self.folder = Path(folder)
        self.paths = make_dataset(folder, flag=flag)
        self.by_stem = {stem: paths[0] for stem, paths in by_stem(self.folder, self.paths).items()}

    def of(self, stem: str) -> str | None:
        """Return the mask of the image with a stem, the path without its ending; None without."""
        return self.by_stem.get(stem)

    def any(self, number: int) -> str:
        """Return one of the masks, by a random number from 0."""
        return self.paths[number % len(self.paths)]
