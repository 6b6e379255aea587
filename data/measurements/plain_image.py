"""Images and arrays without a place: PNG, JPEG, .npy and others that aligned pairs may have."""

from functools import cached_property
from pathlib import Path

import numpy as np

from data.files.image_files import image_size, in_mode, load_unconverted
from data.files.image_types import WIDE, HighDepthImage, StoredType
from data.measurements.grid import Box, Grid, decoded, part_of

GREY = ("1", "L", "LA", "La")  # modes of PIL that become one channel; the others become RGB


class PlainImage(Grid):
    """The channels of an image without alpha, or of an array (H, W) or (H, W, C)."""

    count = 1

    def __init__(self, path: str | Path):
        self.path = str(path)
        self.size = image_size(self.path)

    @cached_property
    def stored(self) -> StoredType:
        """How the file stores its values."""
        image = load_unconverted(self.path)
        deep = isinstance(image, HighDepthImage)
        return image.stored_type if deep else StoredType(".png", "uint8")

    @property
    def dtype(self) -> str:
        """The type of the values."""
        return self.stored.dtype

    @property
    def ending(self) -> str:
        """The ending of the file of an output."""
        return self.stored.ending

    @cached_property
    def channels(self) -> int:
        """The number of channels; known once the file has been read."""
        return decoded.get(self.path, self._all).shape[2]

    def read(self, number: int = 0, box: Box | None = None) -> np.ndarray:
        array = part_of(decoded.get(self.path, self._all), box)
        return array.astype(np.float64 if self.dtype in WIDE else np.float32)

    def _all(self) -> np.ndarray:
        image = load_unconverted(self.path)
        if isinstance(image, HighDepthImage):
            alpha = image.stored_type.ending == ".png" and image.kind in ("LA", "RGBA")
            return image.array()[..., :-1] if alpha else image.array()
        array = np.asarray(in_mode(image, "L" if image.mode in GREY else "RGB"))
        return array[..., None] if array.ndim == 2 else array
