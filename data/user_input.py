"""Convert a user's input: a file, a PIL image or an array, of any bit depth."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data.image_files import load_image_or_array
from data.image_types import HIGH_DEPTH_MODES, HighDepthImage, ImageLike
from data.metadata import orientation, upright
from data.pixel_limit import MAX_PIXELS

Source = str | Path | Image.Image | np.ndarray


def as_image(
    source: Source,
    run_range: tuple[float, float] | None = None,
    max_pixels: float = MAX_PIXELS,
    load: Callable[[str | Path, float], ImageLike] = load_image_or_array,
) -> ImageLike:
    """Return the image of a file, a PIL image, or an array (H, W) or (H, W, C).

    Arrays are uint8 in 0..255, uint16 in 0..65535, or floats in 0..1; those for a run of high bit
    depth are any numbers, of which `run_range` (low, high) becomes [-1, 1]. `load` reads a file.
    ValueError says what is wrong.
    """
    ranged = run_range is not None
    if isinstance(source, str | Path):
        return load(source, max_pixels)
    if isinstance(source, Image.Image):
        if not source.width * source.height:
            raise ValueError(f"has no pixels: {source.width}x{source.height}")
        source.load()
        image = upright(source, orientation(source))
        if image.mode not in HIGH_DEPTH_MODES:
            return image
        source = np.asarray(image)
        if image.mode == "I":  # PIL's mode for many 16-bit images
            source = source.clip(0, 65535).astype(np.uint16)
    if not isinstance(source, np.ndarray):
        raise ValueError(f"expected a file, a PIL image, an array or a tensor, got {_kind(source)}")
    numbers = source.dtype.kind in "uif" if ranged else _has_a_range(source.dtype)
    if source.ndim not in (2, 3) or not source.size or not numbers:
        raise ValueError(
            f"expected an array (H, W) or (H, W, C) of uint8, uint16 or floats, got {_kind(source)}"
        )
    if source.ndim == 3 and source.shape[0] in (1, 3) and source.shape[2] > 4:
        raise ValueError(f"expected an array (H, W, C), got {source.shape}: use (H, W, C)")
    low, high = float(source.min()), float(source.max())
    if not np.isfinite([low, high]).all():
        raise ValueError("holds NaN or infinite values")
    if source.dtype.kind == "f" and not ranged and (low < 0 or high > 1.001):
        raise ValueError(f"expected floats in 0..1, got {low:g} to {high:g}")
    if source.dtype == np.uint8 and (source.ndim == 2 or source.shape[2] in (1, 3, 4)):
        squeezed = source[..., 0] if source.ndim == 3 and source.shape[2] == 1 else source
        return Image.fromarray(np.ascontiguousarray(squeezed))
    image = HighDepthImage.of(source, ".npy")
    if run_range:
        image.low, image.high = run_range
    return image


def _has_a_range(dtype: np.dtype) -> bool:
    """Return whether the type has a value range without a run."""
    return dtype.kind == "f" or dtype in (np.uint8, np.uint16)


def _kind(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"{value.dtype} of the shape {tuple(shape)}"
