"""Convert images to arrays and files; users import these functions."""

import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from util.files import naming


def tensor2im(image: Tensor | np.ndarray, imtype: type = np.uint8) -> np.ndarray:
    """Return the first image of (N, C, H, W) or (C, H, W) in [-1, 1] as (H, W, C) in 0..255.

    The result is (x + 1) / 2 · 255, truncated, with C = 1 or 3. An array (H, W, C) is only cast,
    and a tensor of uint8 in 0..255 is returned as it is.
    """
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu()
        if image.dtype == torch.uint8:
            return image.reshape(-1, *image.shape[-3:])[0].permute(1, 2, 0).numpy()
        array = (image if image.dtype == torch.float64 else image.float()).numpy()
    elif image.ndim < 4:
        return image.astype(imtype)
    else:
        array = image
    array = array[0] if array.ndim == 4 else array
    if array.shape[0] not in (1, 3):  # show the first 1 or 3 channels
        array = array[: 3 if array.shape[0] > 3 else 1]
    array = (array.transpose(1, 2, 0) + 1) / 2 * 255
    return np.clip(np.nan_to_num(array, copy=False), 0, 255).astype(imtype)


def as_pil(array: np.ndarray) -> Image.Image:
    """Return (H, W, 3) or (H, W), or grey as (H, W, 1), of uint8 as an image of PIL."""
    return Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array)


def save_image(
    array: np.ndarray,
    path: str | Path,
    aspect_ratio: float = 1.0,
    method: Image.Resampling = Image.Resampling.BICUBIC,
) -> None:
    """Write (H, W, 3) as RGB, (H, W, 1) or (H, W) as grey, in 0..255.

    An `aspect_ratio` above 1 widens the image with the filter `method`, below 1 it heightens it.
    """
    image = as_pil(array)
    width, height = image.size
    if aspect_ratio > 1:
        image = image.resize((int(width * aspect_ratio), height), method)
    elif aspect_ratio < 1:
        image = image.resize((width, int(height / aspect_ratio)), method)
    with naming(Path(path)):
        image.save(path, compress_level=1, compress_type=zlib.Z_RLE)  # PNG: docs/performance.md


def mkdirs(paths: str | Path | Iterable[str | Path]) -> None:
    """Make one folder or several, with their parents."""
    for path in [paths] if isinstance(paths, str | Path) else paths:
        Path(path).mkdir(parents=True, exist_ok=True)
