"""Cached images of a small data set in the memory of the GPU, cropped, flipped and scaled there."""

from collections.abc import Collection
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.files.image_types import ImageArray
from data.image_cache import CachedImages, ImageCache
from data.transforms import to_tensor

SHARE = 0.1  # of the GPU's free memory, at most


class DeviceImage(ImageArray):
    """An 8-bit image (H, W, C) whose pixels are on a device."""

    def __init__(self, pixels: Tensor, low: float, high: float, ranged: bool):
        super().__init__(None, low, high, ranged)
        self.pixels = pixels

    def array(self) -> np.ndarray:
        return self.pixels.cpu().numpy()

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[1], self.pixels.shape[0]

    def crop(self, box: tuple[int, int, int, int]) -> "DeviceImage":
        left, top, right, bottom = box
        return self.with_pixels(self.pixels[top:bottom, left:right])

    def transpose(self, how: Any) -> "DeviceImage":
        return self.with_pixels(self.pixels.flip(1))

    def with_pixels(self, pixels: Tensor) -> "DeviceImage":
        return DeviceImage(pixels, self.low, self.high, self.ranged)

    def to_tensor(self, value_range: tuple[float, float] | None) -> Tensor:
        """Return (C, H, W) float32 in [-1, 1] on the device, to the last bit as on the CPU."""
        arguments = self.pixels.device, self.low, self.high, self.ranged, value_range
        return numbers_of_values(*arguments)[self.pixels.int()].permute(2, 0, 1)


@cache
def numbers_of_values(
    device: torch.device,
    low: float,
    high: float,
    ranged: bool,
    value_range: tuple[float, float] | None,
) -> Tensor:
    """Return what each of the 256 values becomes."""
    values = np.arange(256, dtype=np.uint8).reshape(256, 1, 1)
    return to_tensor(ImageArray(values, low, high, ranged), value_range).flatten().to(device)


class DeviceCache:
    """The images of an `ImageCache` on a device; it stores no more."""

    def __init__(self, kept: dict[str, CachedImages]):
        self.kept = kept

    def get(self, file: str) -> CachedImages | None:
        """Return the cached images of a file, or None."""
        return self.kept.get(file)

    def put(self, file: str, kept: CachedImages) -> None:
        """Store nothing."""


def on_device(
    images: ImageCache | None, files: Collection[str], device: torch.device
) -> DeviceCache | None:
    """Copy the cached images of these files to a device.

    None if one is not cached or has more than 8 bits, or if they would take more than a tenth of
    a GPU's free memory.
    """
    cached = {file: images.get(file) for file in files} if images else {}
    if not cached or None in cached.values():
        return None
    arrays = [image.array() for file_images, _ in cached.values() for image in file_images]
    if any(array.dtype != np.uint8 for array in arrays):
        return None
    needed = sum(array.nbytes for array in arrays)
    if device.type == "cuda" and needed > SHARE * torch.cuda.mem_get_info(device)[0]:
        return None

    def moved(image: ImageArray) -> DeviceImage:
        pixels = torch.from_numpy(image.array()).to(device, copy=True)
        return DeviceImage(pixels, image.low, image.high, image.ranged)

    return DeviceCache(
        {f: ([*map(moved, file_images)], size) for f, (file_images, size) in cached.items()}
    )
