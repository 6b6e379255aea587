"""Image arrays, and files that PIL would cut: high bit depth, many channels, .npy."""

from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from PIL import Image

from data.files import array_files, png_files, tiff_files
from data.files.metadata import orientation_in, upright_array

HIGH_DEPTH_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
KINDS = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # of arrays, by their number of channels
LUMA = np.float32([19595, 38470, 7471]) / 65536  # ITU-R 601, as PIL rounds it


class ImageArray:
    """An image (H, W, C), uint8 or floats; its values `low` and `high` become -1 and 1.

    `ranged` says that the values have been clipped to `low` and `high`, whatever the type's range.
    """

    def __init__(
        self, array: np.ndarray, low: float = 0.0, high: float = 255.0, ranged: bool = False
    ):
        self._array, self.low, self.high, self.ranged = array, low, high, ranged

    def array(self) -> np.ndarray:
        """Return the pixels, (H, W, C)."""
        return self._array

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self._array.shape[1], self._array.shape[0]

    width = property(lambda self: self.size[0])
    height = property(lambda self: self.size[1])

    @property
    def range(self) -> tuple[float, float]:
        """(low, high), the values that become -1 and 1."""
        return self.low, self.high

    def crop(self, box: tuple[int, int, int, int]) -> "ImageArray":
        left, top, right, bottom = box
        return self.with_pixels(self._array[top:bottom, left:right])

    def transpose(self, how: Any) -> "ImageArray":
        """Return the mirror image; `how` exists for PIL's signature and is ignored."""
        # torch flips uint8 arrays 20 times faster than NumPy.
        return self.with_pixels(torch.from_numpy(self._array).flip(1).numpy())

    def with_pixels(self, array: np.ndarray) -> "ImageArray":
        """Return new pixels with the same value range and stored type."""
        return ImageArray(array, self.low, self.high, self.ranged)


ImageLike = Image.Image | ImageArray


class StoredType(NamedTuple):
    """How a file stores its values, so that results can use the same type."""

    ending: str  # .png, .tif or .npy; .nii.gz of volumes
    dtype: str
    nodata: float | None = None  # the value of pixels without data
    channels: int | None = None  # where files of any number are read
    units: tuple[str, ...] | None = None  # of the bands of rasters, if the files say them
    band_names: tuple[str, ...] | None = None


def range_of_type(dtype: Any) -> tuple[float, float]:
    """Return the values of a number type that become -1 and 1: its limits, or 0 and 1 of floats."""
    if np.dtype(dtype).kind not in "ui":
        return 0.0, 1.0
    limits = np.iinfo(dtype)
    return float(limits.min), float(limits.max)


# Types whose values float32 cannot hold.
WIDE = ("int32", "uint32", "int64", "uint64", "float64")


class HighDepthImage(ImageArray):
    """An image of high bit depth as float32, which holds 16-bit integers exactly, or as float64.

    `kind` says which channels it has: one of L, LA, RGB, RGBA, CMYK, with a small "a" where alpha
    has scaled the colours; "" for other bands, which are never converted.
    """

    def __init__(
        self,
        array: np.ndarray,
        stored_type: StoredType,
        low: float,
        high: float,
        kind: str = "",
    ):
        super().__init__(array, low, high)
        self.stored_type, self.kind = stored_type, kind

    @classmethod
    def of(
        cls, array: np.ndarray, ending: str, kind: str | None = None, white: float | None = None
    ) -> "HighDepthImage":
        """Make an image from (H, W) or (H, W, C); its range is the integer type's, or 0..1.

        `kind` defaults to that of the number of channels, `white` to the type's largest value.
        """
        array = array[..., None] if array.ndim == 2 else array
        low, high = range_of_type(array.dtype)
        high = white or high
        kind = KINDS.get(array.shape[2], "") if kind is None else kind
        stored_type = StoredType(ending, str(array.dtype))
        wide = array.dtype.name in WIDE
        values = np.ascontiguousarray(array, np.float64 if wide else np.float32)
        return cls(values, stored_type, low, float(high), kind)

    def with_pixels(self, array: np.ndarray) -> "HighDepthImage":
        kind = self.kind if array.shape[2] == self.channels else KINDS.get(array.shape[2], "")
        image = HighDepthImage(array, self.stored_type, self.low, self.high, kind)
        image.ranged = self.ranged
        return image

    def clipped(self, low: float, high: float) -> "HighDepthImage":
        """Return the values within low and high, which become -1 and 1, as float32.

        ValueError if a value is NaN or infinite.
        """
        if not np.isfinite(self._array).all():
            raise ValueError("holds NaN or infinite values")
        values = self._array.clip(low, high)
        if values.dtype == np.float64:  # a large offset would cost float32 its precision
            values, low, high = (values - low).astype(np.float32), 0.0, high - low
        image = self.with_pixels(values)
        image.low, image.high, image.ranged = low, high, True
        return image

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self._array.shape[2]

    @property
    def looks_channels_first(self) -> bool:
        """Return whether an array has fewer rows than an image, and more channels."""
        rows, columns, channels = self._array.shape
        is_npy = self.stored_type.ending == ".npy"
        return is_npy and channels > max(16, 2 * rows) and columns > 2 * rows

    def resize(self, size: tuple[int, int], method: Any) -> "HighDepthImage":
        """Resize each channel with PIL, as a float image."""
        array = np.asarray(self._array, np.float32)
        planes = (Image.fromarray(array[..., c]) for c in range(self.channels))
        return self.with_pixels(np.stack([np.asarray(p.resize(size, method)) for p in planes], -1))

    def with_channels(self, count: int) -> "HighDepthImage":
        """Return `count` channels, converted to grey or RGB as PIL converts images of 8 bits.

        ValueError for other numbers than the image has.
        """
        have = self.channels
        if have == count:
            return self
        if self.looks_channels_first:
            shape = self._array.shape
            raise ValueError(
                f"is an array {shape}, which looks like (C, H, W): save it as (H, W, C), by "
                f"array.transpose(1, 2, 0)"
            )
        if count not in (1, 3) or not self.kind:
            raise ValueError(
                f"has {have} channels, not the {count} of --input_nc or --output_nc: use {have} "
                f"there, or files with {count}"
            )
        colours = self._colours()
        if colours.shape[2] == 3 and count == 1:
            colours = (colours @ LUMA)[..., None]
            if self.stored_type.dtype.startswith(("uint", "int")):
                colours = np.rint(colours)
        return self.with_pixels(colours.repeat(count, 2) if colours.shape[2] < count else colours)

    def on_background(self, level: float) -> "HighDepthImage":
        """Return the colours on a grey background of `level` in [0, 1], without alpha."""
        if not self.kind.endswith(("A", "a")):
            return self
        alpha = self._array[..., -1:] / self.high
        return self.with_pixels(self._colours() * alpha + (1 - alpha) * level * self.high)

    def _colours(self) -> np.ndarray:
        """Return the grey or RGB values, (H, W, 1 or 3), without alpha."""
        if self.kind == "CMYK":
            scaled = self._array / self.high
            return (1 - scaled[..., :3]) * (1 - scaled[..., 3:]) * self.high
        colours = self._array[..., : 3 if self.kind.startswith("RGB") else 1]
        if self.kind.endswith("a"):
            alpha = self._array[..., -1:] / self.high
            colours = np.divide(colours, alpha, out=np.zeros_like(colours), where=alpha > 0)
            colours = colours.clip(0, self.high)
        return colours


def read_high_depth(
    source: str | Path | BinaryIO, max_pixels: float = float("inf")
) -> HighDepthImage | None:
    """Read a file that PIL would cut without loss; None if PIL can read it without loss.

    The content decides about the format. ValueError says why the file cannot be read, or which
    package is missing; a decoder may raise anything else.
    """
    if isinstance(source, str | Path):
        with open(source, "rb") as file:
            return read_high_depth(file, max_pixels)
    source.seek(0)
    start = source.read(32)
    kind, white = None, None
    if start.startswith(array_files.NPY_MAGIC):
        ending, array = ".npy", array_files.read_npy(source, max_pixels)
    elif png_files.is_16_bit(start):
        source.seek(0)
        content = source.read()
        ending, (array, kind) = ".png", png_files.read_png16(content, max_pixels)
        array = upright_array(array, orientation_in(png_files.exif_in(content)))
    elif start.startswith(tiff_files.MAGIC) and (tiff := tiff_files.read_tiff(source, max_pixels)):
        ending, array, kind, white = ".tif", tiff.array, tiff.kind, 2**tiff.bits - 1
    elif start[:2] in (b"P5", b"P6") and (pnm := array_files.read_pnm16(source, max_pixels)):
        ending, (array, white) = ".png", pnm
    else:
        return None
    if array.dtype.kind not in "uif" or array.ndim not in (2, 3) or not array.size:
        raise ValueError(f"holds {array.dtype} {array.shape}; expected (H, W) or (H, W, C)")
    return HighDepthImage.of(array, ending, kind, white if array.dtype.kind == "u" else None)


def has_high_depth(file: Image.Image) -> bool:
    """Return whether an open image has more than 8 bits per channel."""
    # PIL opens 16-bit RGB as "RGB" and drops half the bits; only the decoder's mode shows it.
    decoders = getattr(file, "tile", [])
    return file.mode in HIGH_DEPTH_MODES or any(";16" in str(decoder[-1]) for decoder in decoders)
