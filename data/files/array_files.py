"""Files of plain numbers: arrays of NumPy, and PPM or PGM of 16 bits."""

import re
from typing import BinaryIO

import numpy as np

from data.files.pixel_limit import check_pixels

NPY_MAGIC = np.lib.format.MAGIC_PREFIX
SPACE = rb"(?:\s|#[^\n]*\n)+"  # comments included
PNM = re.compile(rb"P([56])" + SPACE.join([b"", *[rb"(\d+)"] * 3]) + rb"\s")
PNM_HEADER = 4096  # bytes in which a header ends, comments included


def read_npy(file: BinaryIO, max_pixels: float) -> np.ndarray:
    """Read an array that numpy.save wrote, without pickled objects, else ValueError."""
    file.seek(0)
    try:
        array = np.load(file, allow_pickle=False)
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise ValueError("holds Python objects, not numbers; save an array of numbers") from None
    if array.ndim > 1:
        check_pixels((array.shape[1], array.shape[0]), max_pixels)
    if array.dtype.kind == "c":
        raise ValueError(
            f"holds complex numbers ({array.dtype}); save their absolute value, or both parts as "
            f"two channels"
        )
    return array.astype(np.uint8) * 255 if array.dtype == bool else array  # a mask


def read_pnm16(file: BinaryIO, max_pixels: float) -> tuple[np.ndarray, int] | None:
    """Read a PGM or PPM file of 16 bits, (H, W) or (H, W, 3), and its white; None for 8 bits."""
    file.seek(0)
    match = PNM.match(file.read(PNM_HEADER))
    if not match or int(match[4]) < 256:
        return None
    width, height, white = int(match[2]), int(match[3]), int(match[4])
    if white > 65535:
        raise ValueError(f"damaged: its white is {white}")
    check_pixels((width, height), max_pixels)
    shape = (height, width) if match[1] == b"5" else (height, width, 3)
    file.seek(match.end())
    content = file.read(2 * int(np.prod(shape)))
    return np.frombuffer(content, ">u2").reshape(shape).astype(np.uint16), white
