"""From a picture file to a tensor: pure functions that every worker process can run.

All geometry is PIL's own (bicubic), so that pixels equal those of published training code.
"""

import random
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from data.image_types import DeepPicture, Pixels, is_deep, read_deep

BICUBIC = Image.Resampling.BICUBIC
PREPROCESS = ("resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none")
CHANNEL_MODES = {1: "L", 3: "RGB"}
MANY = (".npy", ".tif", ".tiff")  # files that may hold any number of channels
ORIENTATION = 0x0112  # the EXIF tag
FLIP = Image.Transpose.FLIP_LEFT_RIGHT
Picture = Image.Image | Pixels


class BadPicture(ValueError):
    """A file that cannot be read as a picture."""


def load_picture(path: str | Path) -> Image.Image:
    """Read a picture as upright RGB (its EXIF orientation applied).

    ValueError names the file if it cannot be read or holds more than 8 bits a channel.
    """
    try:
        with Image.open(path) as file:
            deep = is_deep(file)
            picture = upright_rgb(file)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadPicture(f"{path}: cannot be read as a picture ({reason(error)})") from None
    if deep:
        raise ValueError(f"{path}: has more than 8 bits a channel, which would be cut; convert it")
    return picture


def upright_rgb(file: Image.Image) -> Image.Image:
    """Return an open picture in RGB, turned as its EXIF orientation says."""
    turned = file.getexif().get(ORIENTATION, 1) != 1
    return _in_mode(ImageOps.exif_transpose(file) if turned else file, "RGB")


def load_any(path: str | Path) -> Picture:
    """Read a picture as `load_picture` does, or, of more bits or channels, without loss."""
    try:
        deep = read_deep(path)
    except (OSError, SyntaxError, ValueError, RuntimeError, Image.DecompressionBombError) as error:
        raise BadPicture(f"{path}: cannot be read as a picture ({reason(error)})") from None
    return deep or load_picture(path)


def split_pair(path: str | Path) -> tuple[Picture, Picture]:
    """Return the left and the right half of a picture; ValueError if its width is odd."""
    pair = load_any(path)
    if pair.width % 2:
        raise ValueError(
            f"{path}: {pair.width} pixels wide; an A|B picture has two halves of equal width. "
            f"Unstitched pictures go into two folders, such as trainA/ and trainB/"
        )
    half = pair.width // 2
    return pair.crop((0, 0, half, pair.height)), pair.crop((half, 0, pair.width, pair.height))


def read_pair(A_path: str | Path, B_path: str | Path) -> tuple[Picture, Picture]:
    """Return A and B from two files, or, if both are the same, from its halves."""
    return split_pair(A_path) if A_path == B_path else (load_any(A_path), load_any(B_path))


def reason(error: Exception) -> str:
    """Return in a few words why a picture cannot be read."""
    if isinstance(error, UnidentifiedImageError):
        return "unknown format"
    return getattr(error, "strerror", None) or str(error)


def check_channels(channels: int, flag: str, files: Iterable[str] = ()) -> None:
    """Raise a ValueError that names `flag` unless pictures, or these files, can have so many."""
    if channels not in CHANNEL_MODES and not any(f.lower().endswith(MANY) for f in files):
        raise ValueError(f"--{flag} {channels}: pictures have 1 (grey) or 3 (RGB) channels")


def to_channels(image: Picture, channels: int) -> Picture:
    """Convert to exactly `channels` channels: 3 is RGB, 1 is grey (ITU-R 601 luma)."""
    if isinstance(image, DeepPicture):
        return image.with_channels(channels)
    if channels not in CHANNEL_MODES:
        raise ValueError(f"has 3 channels, not the {channels} of --input_nc or --output_nc")
    return _in_mode(image, CHANNEL_MODES[channels])


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    image.load()
    return image if image.mode == mode else image.convert(mode)  # which would copy it


def random_params(
    size: tuple[int, int], *, preprocess: str, load_size: int, crop_size: int
) -> dict[str, Any]:
    """Draw what both pictures of a pair share: the crop's corner and whether to mirror.

    `size` is (width, height) of the file. Drawn from Python's `random`.
    """
    width, height = size
    if preprocess == "resize_and_crop":
        width = height = load_size
    elif preprocess == "scale_width_and_crop":
        width, height = load_size, max(load_size * height // width, crop_size)
    x = random.randint(0, max(0, width - crop_size))
    y = random.randint(0, max(0, height - crop_size))
    return {"crop_pos": (x, y), "flip": random.random() > 0.5}


def apply_geometry(
    image: Picture,
    *,
    preprocess: str,
    load_size: int,
    crop_size: int,
    params: dict[str, Any],
    flip: bool = True,
    method: Image.Resampling = BICUBIC,
) -> Picture:
    """Resize, crop and mirror as `preprocess` says; `flip=False` never mirrors.

    ValueError if the picture is smaller than the crop.
    """
    sizes = {"preprocess": preprocess, "crop_size": crop_size}
    return cut(resized(image, load_size=load_size, method=method, **sizes), params, flip, **sizes)


def resized(
    image: Picture,
    *,
    preprocess: str,
    load_size: int,
    crop_size: int,
    method: Image.Resampling = BICUBIC,
) -> Picture:
    """Resize as `preprocess` says: what is the same each time."""
    if preprocess not in PREPROCESS:
        raise ValueError(f"--preprocess {preprocess}: known are {', '.join(PREPROCESS)}")
    if preprocess == "resize_and_crop":
        return image.resize((load_size, load_size), method)
    if preprocess.startswith("scale_width"):
        return _scale_width(image, load_size, crop_size, method)
    return image


def cut(
    image: Picture, params: dict[str, Any], flip: bool = True, *, preprocess: str, crop_size: int
) -> Picture:
    """Crop and mirror a resized picture: what is drawn anew each time."""
    if preprocess.endswith("crop"):
        image = _crop(image, params["crop_pos"], crop_size)
    return image.transpose(FLIP) if flip and params["flip"] else image


def _scale_width(
    image: Picture, width: int, least_height: int, method: Image.Resampling
) -> Picture:
    height = max(width * image.height // image.width, least_height)
    return image if image.size == (width, height) else image.resize((width, height), method)


def pil_filter(method: Any) -> Image.Resampling:
    """Return PIL's filter for a filter, its number, or torchvision's InterpolationMode."""
    name = getattr(method, "value", method)
    return Image.Resampling[name.upper()] if isinstance(name, str) else Image.Resampling(name)


def _crop(image: Picture, corner: tuple[int, int], size: int) -> Picture:
    if min(image.size) < size:
        raise ValueError(
            f"{image.width}x{image.height} pixels are smaller than --crop_size {size}; use a "
            f"smaller --crop_size (and --load_size), or --preprocess resize_and_crop"
        )
    x, y = corner
    return image.crop((x, y, x + size, y + size))


def pixels(image: Picture) -> Pixels:
    """Return a picture's pixels, (H, W, C)."""
    if isinstance(image, Pixels):
        return image
    return Pixels(np.array(image, dtype=np.uint8).reshape(image.height, image.width, -1))


def to_tensor(image: Picture) -> Tensor:
    """Return (C, H, W) float32: 0 and 255, or the ends of a deep picture's range, are -1 and 1."""
    image = pixels(image)
    tensor = torch.from_numpy(image.array())
    if tensor.dtype == torch.uint8:
        tensor = tensor.div(127.5).sub_(1)  # rounds as (x / 255 - 0.5) / 0.5 does
    else:
        tensor = tensor.sub(image.low).div_((image.high - image.low) / 2).sub_(1)
    return tensor.permute(2, 0, 1)


def _transform(
    image: Image.Image,
    *,
    grayscale: bool,
    convert: bool,
    params: dict[str, Any] | None,
    flip: bool,
    method: Image.Resampling,
    **sizes: Any,
) -> Image.Image | Tensor:
    params = params or random_params(image.size, **sizes)
    image = to_channels(image, 1) if grayscale else image
    image = apply_geometry(image, params=params, flip=flip, method=method, **sizes)
    return to_tensor(image) if convert else image


def make_transform(
    *,
    preprocess: str,
    load_size: int,
    crop_size: int,
    flip: bool = True,
    params: dict[str, Any] | None = None,
    grayscale: bool = False,
    convert: bool = True,
    method: Image.Resampling = BICUBIC,
) -> Callable[[Image.Image], Tensor]:
    """Return a picklable function from a PIL picture to a (C, H, W) tensor in [-1, 1].

    Without `params` it draws new ones for each picture; `convert=False` leaves a PIL picture.
    """
    sizes = {"preprocess": preprocess, "load_size": load_size, "crop_size": crop_size}
    choices = {"flip": flip, "params": params, "grayscale": grayscale, "convert": convert}
    return partial(_transform, **sizes, **choices, method=method)
