"""Bytes of image files as other software writes them."""

import struct
import zlib

import numpy as np

from data.files import png_files

COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}  # colour types of PNG by number of channels
# Adam7: first row and column, and steps, of each of the seven passes.
PASSES = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
PASSES.append((1, 0, 2, 1))


def png16(
    array: np.ndarray, *, interlaced: bool = False, more: tuple[tuple[bytes, bytes], ...] = ()
) -> bytes:
    """Encode (H, W, C) uint16 as PNG, with further chunks before the pixels."""
    height, width, channels = array.shape
    parts = [array[y::dy, x::dx] for y, x, dy, dx in PASSES] if interlaced else [array]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for part in parts for row in part)
    header = png_files.HEADER.pack(width, height, 16, COLOURS[channels], 0, 0, int(interlaced))
    chunks = [(b"IHDR", header), *more, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return png_files.SIGNATURE + b"".join(png_files.chunk(*part) for part in chunks)


def exif(*tags: tuple[int, int, int, bytes]) -> bytes:
    """Return an EXIF block of tags (number, type, count, four bytes)."""
    entries = [struct.pack("<HHI4s", *tag) for tag in tags]
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    return b"Exif\0\0" + head + b"".join(entries) + struct.pack("<I", 0)


def turned(value: int = 6) -> tuple[int, int, int, bytes]:
    """Return the EXIF tag of an orientation."""
    return (0x0112, 3, 1, struct.pack("<HH", value, 0))


def jpeg_with(jpeg: bytes, *segments: tuple[int, bytes]) -> bytes:
    """Put segments (marker, content) behind the start of a JPEG file."""
    parts = [
        struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
        for marker, content in segments
    ]
    return jpeg[:2] + b"".join(parts) + jpeg[2:]


def png_with(png: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """Put chunks behind the header of a PNG file."""
    end = len(png_files.SIGNATURE) + 25
    return png[:end] + b"".join(png_files.chunk(*part) for part in chunks) + png[end:]
