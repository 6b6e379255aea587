"""Image arrays, and files that PIL would cut: high bit depth, many channels, .npy."""

import struct
import warnings
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from util.files import atomic_write

HIGH_DEPTH_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")


class ImageArray:
    """An image (H, W, C), uint8 or float32; its values `low` and `high` become -1 and 1."""

    def __init__(self, array: np.ndarray, low: float = 0.0, high: float = 255.0):
        self._array, self.low, self.high = array, low, high

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
        return ImageArray(array, self.low, self.high)


ImageLike = Image.Image | ImageArray


class StoredType(NamedTuple):
    """How a file stores its values, so that results can use the same type."""

    ending: str  # .png, .tif or .npy
    dtype: str


def range_of_type(dtype: Any) -> tuple[float, float]:
    """Return the values of a number type that become -1 and 1: its limits, or 0 and 1 of floats."""
    if np.dtype(dtype).kind not in "ui":
        return 0.0, 1.0
    limits = np.iinfo(dtype)
    return float(limits.min), float(limits.max)


class HighDepthImage(ImageArray):
    """An image of high bit depth as float32, which holds 16-bit integers exactly."""

    def __init__(self, array: np.ndarray, stored_type: StoredType, low: float, high: float):
        super().__init__(array, low, high)
        self.stored_type = stored_type

    @classmethod
    def of(cls, array: np.ndarray, ending: str) -> "HighDepthImage":
        """Make an image from (H, W) or (H, W, C); its range is the integer type's, or 0..1."""
        array = array[..., None] if array.ndim == 2 else array
        low, high = range_of_type(array.dtype)
        return cls(np.float32(array), StoredType(ending, str(array.dtype)), low, high)

    def with_pixels(self, array: np.ndarray) -> "HighDepthImage":
        return HighDepthImage(array, self.stored_type, self.low, self.high)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self._array.shape[2]

    def resize(self, size: tuple[int, int], method: Any) -> "HighDepthImage":
        """Resize each channel with PIL, as a float image."""
        planes = (Image.fromarray(self._array[..., c]) for c in range(self.channels))
        return self.with_pixels(np.stack([np.asarray(p.resize(size, method)) for p in planes], -1))

    def with_channels(self, count: int) -> "HighDepthImage":
        """Return `count` channels: unchanged, grey repeated, or without alpha; else ValueError."""
        have = self.channels
        if have == count:
            return self
        if have == 1:
            return self.with_pixels(self._array.repeat(count, 2))
        if have != count + 1:
            raise ValueError(f"has {have} channels, not the {count} of --input_nc or --output_nc")
        return self.with_pixels(self._array[..., :count])


def read_high_depth(path: str | Path) -> HighDepthImage | None:
    """Read a high-bit-depth image without loss; None if PIL can read the file without loss.

    ValueError says why the file cannot be read, or which package is missing.
    """
    ending = Path(path).suffix.lower()
    if ending == ".npy":
        array = _read_npy(path)
    elif ending in (".tif", ".tiff"):
        array = _read_tiff(path)
    elif ending == ".png":
        array = _read_png(path)
    else:
        array = None
    if array is None:
        return None
    if array.dtype.kind not in "uif" or array.ndim not in (2, 3) or not array.size:
        raise ValueError(f"holds {array.dtype} {array.shape}; expected (H, W) or (H, W, C)")
    return HighDepthImage.of(array, ".tif" if ending == ".tiff" else ending)


def has_high_depth(file: Image.Image) -> bool:
    """Return whether an open image has more than 8 bits per channel."""
    # PIL opens 16-bit RGB as "RGB" and drops half the bits; only the decoder's mode shows it.
    decoders = getattr(file, "tile", [])
    return file.mode in HIGH_DEPTH_MODES or any(";16" in str(decoder[-1]) for decoder in decoders)


def _read_npy(path: str | Path) -> np.ndarray:
    with open(path, "rb") as file:
        if file.read(6) != np.lib.format.MAGIC_PREFIX:
            raise ValueError("is not a file of numpy.save")
    return np.load(path, allow_pickle=False)


def _read_png(path: str | Path) -> np.ndarray | None:
    with Image.open(path) as file:
        if not has_high_depth(file):
            return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torchvision announces a move
        from torchvision.io import ImageReadMode, decode_image  # PIL halves 16-bit RGB

        return decode_image(str(path), ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy()


def _read_tiff(path: str | Path) -> np.ndarray | None:
    try:
        with Image.open(path) as file:
            if not has_high_depth(file) and getattr(file, "n_frames", 1) == 1:
                return None
    except Image.UnidentifiedImageError:  # a TIFF variant unknown to PIL
        pass
    try:
        import tifffile
    except ImportError:
        raise ValueError("is a TIFF file that needs tifffile; run `pip install tifffile`") from None
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        array = series.asarray()
    if array.ndim == 3 and not series.axes.endswith("S"):  # pages or planes, (C, H, W)
        array = array.transpose(1, 2, 0)
    return array


def high_depth_values(
    image: np.ndarray, stored_type: StoredType, low: float, high: float
) -> np.ndarray:
    """Convert (C, H, W) in [-1, 1] to (H, W, C) in [low, high] of the stored type."""
    array = (image.astype(np.float64) + 1) / 2 * (high - low) + low
    dtype = np.dtype(stored_type.dtype)
    if dtype.kind in "ui":
        limits = np.iinfo(dtype)
        array = np.clip(np.rint(array), limits.min, limits.max)
    return array.transpose(1, 2, 0).astype(dtype)


def write_high_depth(
    image: np.ndarray, stored_type: StoredType, low: float, high: float, path: Path
) -> None:
    """Write (C, H, W) in [-1, 1] as a file of `stored_type` with values in [low, high]."""
    array = high_depth_values(image, stored_type, low, high)
    if stored_type.ending == ".tif":
        import tifffile

        if array.shape[2] == 1:
            tifffile.imwrite(path, array[..., 0])
        else:
            colour = "rgb" if array.shape[2] == 3 else "minisblack"
            tifffile.imwrite(path, array, photometric=colour, planarconfig="contig")
        return
    with atomic_write(path) as file:
        if stored_type.ending == ".npy":
            np.save(file, array, allow_pickle=False)
        else:
            file.write(png_of(array))


def png_of(array: np.ndarray) -> bytes:
    """Encode (H, W, 1 or 3) uint16 as a PNG file; PIL can do so only for grey images."""
    height, width, channels = array.shape
    colour = {1: 0, 3: 2}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    chunks = []
    for name, content in parts:
        crc = zlib.crc32(name + content)
        chunks += [struct.pack(">I", len(content)), name, content, struct.pack(">I", crc)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
