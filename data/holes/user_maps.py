"""Convert a user's mask or sketch: a file, a PIL image, an array or a tensor, of any numbers."""

from collections.abc import Callable

import numpy as np
from PIL import Image
from torch import Tensor

from data.files.image_files import load_unconverted
from data.files.image_types import HIGH_DEPTH_MODES, ImageLike
from data.files.metadata import orientation, upright
from data.files.pixel_limit import MAX_PIXELS
from data.holes.mask_files import white_of
from data.user_input import Source, as_image

OVERSHOOT = 0.5  # beyond the ends of 0..1 and -1..1, as after bicubic resizing
Reader = Callable[[ImageLike], np.ndarray]  # an image -> its mask, or its lines, bool (H, W)


def map_of(
    source: Source | Tensor, read: Reader, *, name: str = "a map", max_pixels: float = MAX_PIXELS
) -> np.ndarray:
    """Return a mask or a sketch as bools (H, W); `read` finds it in an image.

    Arrays and tensors are (H, W), (1, H, W), (H, W, 1) or (H, W, 3). Bools, and integers of 0 and 1
    alone, are the result itself; others are images in 0..1, -1..1, 0..255 or 0..65535. ValueError
    says what is wrong.
    """
    if isinstance(source, Image.Image) and source.mode in HIGH_DEPTH_MODES:
        source = np.asarray(upright(source, orientation(source)))
    elif isinstance(source, Tensor):
        source = source.detach().cpu()
        source = (source.float() if source.is_floating_point() else source).numpy()
    if isinstance(source, np.ndarray):
        source = flat(source, name)
        whole_numbers = source.dtype.kind in "bui" and source.ndim == 2
        if whole_numbers and source.min() >= 0 and source.max() <= 1:
            return source > 0
        source = in_bytes(source)
    return read(as_image(source, max_pixels=max_pixels, load=load_unconverted))


def flat(array: np.ndarray, name: str) -> np.ndarray:
    """Return an array without an axis of one channel; ValueError for another shape."""
    shape = array.shape
    if array.ndim == 3 and 1 in (shape[0], shape[2]):
        array = array[0] if shape[0] == 1 else array[..., 0]
    if not array.size or not (array.ndim == 2 or (array.ndim == 3 and shape[2] in (3, 4))):
        raise ValueError(f"expected {name} (H, W), (1, H, W) or (H, W, 3), got {shape}")
    return array


def in_bytes(array: np.ndarray) -> np.ndarray:
    """Return numbers in 0..1, -1..1, 0..255 or 0..65535, whatever their type, as uint8 in 0..255.

    Floats may lie beyond these ends by `OVERSHOOT`.
    """
    if array.dtype.kind not in "buif":
        return array  # `as_image` says what is wrong
    values = array.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise ValueError("holds NaN or infinite values")
    white, signed = white_of(high - OVERSHOOT, 65535.0), low < -OVERSHOOT
    if high > white + OVERSHOOT or low < -OVERSHOOT - signed or (signed and white > 1):
        raise ValueError(
            f"expected numbers in 0..1, -1..1, 0..255 or 0..65535, got {low:g} to {high:g}"
        )
    values = (values + 1) / 2 if signed else values / white
    return np.rint(values.clip(0, 1) * 255).astype(np.uint8)
