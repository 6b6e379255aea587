"""Outputs of high bit depth: in the values of the targets' files, and written as such files."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from data.files import png_files
from data.files.image_types import StoredType
from util.files import atomic_write


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
    write_array(high_depth_values(image, stored_type, low, high), path)


def write_array(array: np.ndarray, path: Path) -> None:
    """Write (H, W, C) as .tif or .npy, or uint8 or uint16 as .png, by the ending of the path."""
    if path.suffix == ".tif":
        tifffile = require_tifffile(path)
        with atomic_write(path) as file:
            if array.shape[2] == 1:
                tifffile.imwrite(file, array[..., 0])
            else:
                colour = "rgb" if array.shape[2] == 3 else "minisblack"
                tifffile.imwrite(file, array, photometric=colour, planarconfig="contig")
        return
    with atomic_write(path) as file:
        if path.suffix == ".npy":
            np.save(file, array, allow_pickle=False)
        else:
            file.write(png_of(array))


def require_tifffile(path: Path) -> Any:
    """Return the package that writes TIFF; ValueError if it is not installed."""
    try:
        import tifffile
    except ImportError:
        raise ValueError(f"{path}: needs tifffile; run `pip install tifffile`") from None
    return tifffile


def png_of(array: np.ndarray) -> bytes:
    """Encode (H, W, 1 to 4) uint8 or uint16 as a PNG file; PIL can do so only for 8 bits and grey
    images of 16.
    """
    height, width, channels = array.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    big_endian = array.dtype.newbyteorder(">")
    rows = b"".join(b"\0" + row.astype(big_endian).tobytes() for row in array)
    header = png_files.HEADER.pack(width, height, 8 * array.itemsize, colour, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return png_files.SIGNATURE + b"".join(png_files.chunk(*part) for part in parts)
