"""From an image to a tensor: functions without state, which workers can run.

PIL does all resizing (bicubic), so that pixels equal those of the original implementation.
"""

import math
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data.channels import to_channels
from data.files.image_files import load_image
from data.files.image_types import HighDepthImage, ImageArray, ImageLike

BICUBIC = Image.Resampling.BICUBIC
FILTERS = {"bicubic": BICUBIC, "nearest": Image.Resampling.NEAREST}  # of --filter_A, --filter_B
PREPROCESS = ("resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "fixed", "none")
load_picture = load_image  # both for datasets of users; load_picture is the former name
FLIP = Image.Transpose.FLIP_LEFT_RIGHT


@dataclass(frozen=True)
class Geometry:
    """Resizes, crops and flips images (§6.2).

    `draw` draws the crop and the flip once per item, so that A and B share them.
    """

    preprocess: str  # one of PREPROCESS
    load_size: int  # pixels
    crop_size: int  # pixels
    flip: bool = True  # False: `crop_and_flip` never flips
    method: Image.Resampling = BICUBIC
    aspect_ratio: float = 1.0  # width by height of all images after `fixed`

    @classmethod
    def from_options(cls, opt: Any, method: Image.Resampling = BICUBIC) -> "Geometry":
        """Return the geometry of the options."""
        ratio = getattr(opt, "aspect_ratio", 1.0)
        return cls(opt.preprocess, opt.load_size, opt.crop_size, not opt.no_flip, method, ratio)

    def draw(self, size: tuple[int, int]) -> dict[str, Any]:
        """Draw {"crop_pos": (x, y) of the corner, "flip": bool} from Python's `random`.

        `size` is the original (width, height).
        """
        width, height = self.resized_size(size) if self._crops else size
        x = random.randint(0, max(0, width - self.crop_size))
        y = random.randint(0, max(0, height - self.crop_size))
        return {"crop_pos": (x, y), "flip": random.random() > 0.5}

    def resize(self, image: ImageLike, method: Image.Resampling | None = None) -> ImageLike:
        """Resize an image with `method`, by default the geometry's; ValueError for an unknown
        `preprocess`.
        """
        if self.preprocess not in PREPROCESS:
            raise ValueError(f"--preprocess {self.preprocess}: known are {', '.join(PREPROCESS)}")
        size = self.resized_size(image.size)
        method = self.method if method is None else method  # NEAREST is 0
        return image if image.size == size else image.resize(size, method)

    def crop_and_flip(self, image: ImageLike, params: dict[str, Any]) -> ImageLike:
        """Crop and flip a resized image; ValueError if it is smaller than the crop."""
        image = self._crop(image, params["crop_pos"])
        return image.transpose(FLIP) if self.flip and params["flip"] else image

    def center_crop(self, image: ImageLike) -> ImageLike:
        """Crop the middle of a resized image; ValueError if it is smaller than the crop."""
        x, y = (max(0, (n - self.crop_size) // 2) for n in image.size)
        return self._crop(image, (x, y))

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (width, height) that an image of `size` has after `resize` and a crop."""
        return (self.crop_size, self.crop_size) if self._crops else self.resized_size(size)

    @property
    def size_flag(self) -> str:
        """The flag that the smaller side comes from, without dashes; "" if it is the image's."""
        if self.preprocess == "scale_width" and self.load_size <= self.crop_size:
            return "load_size"
        return "" if self.preprocess == "none" else "crop_size"

    @property
    def any_size(self) -> bool:
        """Whether images of all sizes and ratios come out alike, so that a pair may differ."""
        return self.preprocess in ("resize_and_crop", "fixed")

    @property
    def _crops(self) -> bool:
        return self.preprocess.endswith("crop")

    def resized_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (width, height) that `resize` gives an image of `size`."""
        width, height = size
        if self.preprocess == "resize_and_crop":
            return self.load_size, self.load_size
        if self.preprocess == "fixed":
            return self.crop_size, max(1, round(self.crop_size / self.aspect_ratio))
        if self.preprocess.startswith("scale_width"):
            return self.load_size, max(self.load_size * height // width, self.crop_size)
        return size

    def _crop(self, image: ImageLike, corner: tuple[int, int]) -> ImageLike:
        x, y, size = *corner, self.crop_size
        if not self._crops:
            return image
        if min(image.size) < size:
            raise ValueError(
                f"{image.width}x{image.height} pixels are smaller than --crop_size {size}; use a "
                f"smaller --crop_size (and --load_size), or --preprocess resize_and_crop"
            )
        return image.crop((x, y, x + size, y + size))


def pil_filter(method: Any) -> Image.Resampling:
    """Return PIL's filter for a PIL filter, its number, or torchvision's InterpolationMode."""
    name = getattr(method, "value", method)
    return Image.Resampling[name.upper()] if isinstance(name, str) else Image.Resampling(name)


def pixels(image: ImageLike) -> ImageArray:
    """Return an image's pixels, (H, W, C)."""
    if isinstance(image, ImageArray):
        return image
    dtype = np.int32 if image.mode == "I" else np.uint8  # I: class numbers
    return ImageArray(np.array(image, dtype=dtype).reshape(image.height, image.width, -1))


def in_range(image: ImageLike, value_range: tuple[float, float] | None = None) -> ImageLike:
    """Return an image with its values clipped to `value_range`, by default to its type's range.

    This comes before resizing, which would spread a value beyond the range, such as that of
    missing data, to its neighbours. ValueError if a value is NaN or infinite.
    """
    if isinstance(image, HighDepthImage):
        return image.clipped(*value_range or image.range)
    if value_range is None or isinstance(image, ImageArray):
        return image
    low, high = math.ceil(value_range[0]), math.floor(value_range[1])
    return image.point([min(max(value, low), high) for value in range(256)] * len(image.getbands()))


def to_tensor(image: ImageLike, value_range: tuple[float, float] | None = None) -> Tensor:
    """Return (C, H, W) float32 in [-1, 1]; the ends of the type's range become -1 and 1.

    `value_range` (low, high) replaces the range of the type, but not that of `in_range`. Values
    beyond the range are clipped. ValueError if a value is NaN or infinite.
    """
    image = pixels(image)
    tensor = torch.from_numpy(image.array())
    if tensor.dtype == torch.uint8 and value_range is None:
        return tensor.div(127.5).sub_(1).permute(2, 0, 1)  # rounded like (x / 255 - 0.5) / 0.5
    low, high = image.range if image.ranged else value_range or image.range
    tensor = tensor.float().sub(low).div_((high - low) / 2).sub_(1)
    if not torch.isfinite(tensor.sum()):
        raise ValueError("holds NaN or infinite values")
    return tensor.clamp_(-1, 1).permute(2, 0, 1)


def preprocess_single(
    image: ImageLike,
    *,
    geometry: Geometry,
    channels: int,
    value_range: tuple[float, float] | None = None,
    alpha: str = "ignore",
) -> Tensor:
    """Return an image as input of G, resized and center-cropped: (channels, H, W) in [-1, 1].

    ValueError says why the image cannot be used.
    """
    image = in_range(to_channels(image, channels, alpha), value_range)
    image = geometry.center_crop(geometry.resize(image))
    return to_tensor(image, value_range)
