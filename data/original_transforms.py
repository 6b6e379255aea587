"""The functions of transforms that datasets written for the original repository import."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from data.channels import to_channels
from data.files.image_types import HIGH_DEPTH_MODES, HighDepthImage
from data.transforms import Geometry, pil_filter, to_tensor


def get_params(opt: Any, size: tuple[int, int]) -> dict[str, Any]:
    """Draw the crop and the flip that all images of an item share; `size` is (width, height)."""
    return Geometry.from_options(opt).draw(size)


def get_transform(
    opt: Any,
    params: dict[str, Any] | None = None,
    grayscale: bool = False,
    method: Any = Image.Resampling.BICUBIC,
    convert: bool = True,
) -> Callable[[Image.Image], Tensor]:
    """Return a picklable function from a PIL image to a (C, H, W) tensor in [-1, 1].

    Without `params` it draws new ones for each image; with `convert=False` it returns a PIL image.
    `method` is PIL's resampling filter or torchvision's interpolation mode.
    """
    geometry = Geometry.from_options(opt, pil_filter(method))
    return partial(
        _transform, geometry=geometry, params=params, grayscale=grayscale, convert=convert
    )


def _transform(
    image: Image.Image,
    *,
    geometry: Geometry,
    params: dict[str, Any] | None,
    grayscale: bool,
    convert: bool,
) -> Image.Image | Tensor:
    params = params or geometry.draw(image.size)
    if image.mode == "1":
        image = image.convert("L")
    elif convert and image.mode in HIGH_DEPTH_MODES:  # floats in 0..1, or 16 bits, also as I
        array = np.array(image, dtype=np.float32 if image.mode == "F" else np.uint16)
        image = HighDepthImage.of(array, ".png")
    image = to_channels(image, 1) if grayscale else image
    image = geometry.crop_and_flip(geometry.resize(image), params)
    return to_tensor(image) if convert else image
