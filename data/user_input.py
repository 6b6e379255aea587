"""Convert a user's input: a file, a PIL image or an array, of any bit depth."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from data.base_dataset import prefix_errors
from data.files.image_files import load_image_or_array
from data.files.image_types import HIGH_DEPTH_MODES, HighDepthImage, ImageLike
from data.files.metadata import orientation, upright
from data.files.pixel_limit import MAX_PIXELS
from data.image_parts import refuse_parts

Source = str | Path | Image.Image | np.ndarray
Load = Callable[[str | Path, float], ImageLike]  # a file and the most pixels -> its image


def as_image(
    source: Source,
    run_range: tuple[float, float] | None = None,
    max_pixels: float = MAX_PIXELS,
    load: Load = load_image_or_array,
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
        if image.mode == "I" and not ranged:  # PIL's mode for many 16-bit images
            source = source.clip(0, 65535).astype(np.uint16)
    if not isinstance(source, np.ndarray):
        raise ValueError(f"expected a file, a PIL image, an array or a tensor, got {_kind(source)}")
    source = source.astype(source.dtype.newbyteorder("="), copy=False)
    valid_type = source.dtype.kind in "uif" if ranged else _has_a_range(source.dtype)
    if source.ndim not in (2, 3) or not source.size or not valid_type:
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


class ImageInput:
    """The images that a run's generator takes, (input_nc, H, W) in [-1, 1]."""

    parts: tuple[str, ...] = ()  # what `prepare` takes beside an image

    def __init__(
        self,
        opt: Any,
        preprocess: Callable[[ImageLike], Tensor],
        value_range: tuple[float, float] | None,
        load: Load,
    ):
        """`value_range` is that of the arrays of a run of high bit depth; `load` reads a file."""
        self.channels, self.max_pixels = opt.input_nc, opt.max_pixels
        self.preprocess, self.value_range, self.load = preprocess, value_range, load

    def prepare(self, image: Source, name: str = "the image", **parts: Any) -> Tensor:
        """Return an image as input of the generator; it takes no parts.

        ValueError says what is wrong, prefixed by the file or, without a file, by `name`.
        """
        with prefix_errors(named(image, name)):
            refuse_parts(parts, self.parts, "translates images")
            loaded = as_image(image, self.value_range, self.max_pixels, self.load)
            return self.preprocess(loaded)

    def check_one(self, image: Tensor, name: str, **parts: Any) -> None:
        """Raise a ValueError for the shape of a tensor that is no single image."""
        refuse_parts(parts, self.parts, "translates images")
        check_shape(image, self.channels, name)

    def check(self, real: Tensor, names: Sequence[str] | None) -> Tensor:
        """Return images (N, input_nc, H, W) if they are floats in [-1, 1], else ValueError."""
        if not isinstance(real, Tensor) or real.dim() != 4 or real.shape[1] != self.channels:
            shape = tuple(getattr(real, "shape", ())) or type(real).__name__
            raise ValueError(f"expected a tensor (N, {self.channels}, H, W), got {shape}")
        if not real.is_floating_point() or not real.numel():
            raise ValueError(
                f"expected floats in [-1, 1] and at least one pixel, got {real.dtype} of the shape "
                f"{tuple(real.shape)}"
            )
        largest = real.detach().abs().amax((1, 2, 3)).tolist()
        for name, value in zip(names or numbered(real), largest, strict=True):
            if not value <= 1.5:  # rejects NaN; resizing may overshoot 1 a little
                raise ValueError(f"image {name}: expected a tensor in [-1, 1], got {value:g}")
        return real


def named(source: Any, name: str) -> str:
    """Return what errors call a source: its file, else `name`."""
    return str(source) if isinstance(source, str | Path) else name


def check_shape(image: Tensor, channels: int, name: str) -> None:
    """Raise a ValueError unless a tensor is (channels, H, W)."""
    if image.dim() != 3 or len(image) != channels:
        raise ValueError(f"{name}: expected a tensor ({channels}, H, W), got {tuple(image.shape)}")


def numbered(images: Tensor) -> list[str]:
    """Return the names of images that have none."""
    return list(map(str, range(len(images))))


def _has_a_range(dtype: np.dtype) -> bool:
    """Return whether the type has a value range without a run."""
    return dtype.kind == "f" or dtype in (np.uint8, np.uint16)


def _kind(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"{value.dtype} of the shape {tuple(shape)}"
