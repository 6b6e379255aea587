"""Pictures that are in no data set: a file, a PIL picture or an array, in any depth."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from data.deep import DEEP_MODES, DeepPicture
from data.transforms import Picture, load_any

Source = str | Path | Image.Image | np.ndarray


def picture_of(source: Source) -> Picture:
    """Return the picture in a file, of PIL, or in an array (H, W) or (H, W, C).

    Arrays of uint8 are 0..255, of uint16 0..65535, of floats 0..1, unless the run has ranges of its
    own. ValueError says what is wrong.
    """
    if isinstance(source, str | Path):
        return load_any(source)
    if isinstance(source, Image.Image):
        upright = ImageOps.exif_transpose(source)
        if upright.mode not in DEEP_MODES:
            return upright
        source = np.asarray(upright)
        if upright.mode == "I":  # how PIL gives many pictures of 16 bits
            source = source.clip(0, 65535).astype(np.uint16)
    if not isinstance(source, np.ndarray):
        raise ValueError(
            f"expected a file, a PIL picture, an array or a tensor, got {_kind(source)}"
        )
    if source.ndim not in (2, 3) or not source.size or source.dtype.kind not in "uif":
        raise ValueError(
            f"expected an array (H, W) or (H, W, C) of uint8, uint16 or floats, got {_kind(source)}"
        )
    if source.dtype == np.uint8 and (source.ndim == 2 or source.shape[2] in (1, 3, 4)):
        squeezed = source[..., 0] if source.ndim == 3 and source.shape[2] == 1 else source
        return Image.fromarray(np.ascontiguousarray(squeezed))
    return DeepPicture.of(source, ".npy")


def _kind(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"{value.dtype} of the shape {tuple(shape)}"
