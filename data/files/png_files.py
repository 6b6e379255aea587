"""PNG files as chunks; 16 bits a channel, which PIL alone would cut to 8, without loss."""

import importlib.util
import io
import re
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from data.files.pixel_limit import check_pixels

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")  # the chunks that pixels depend on
KINDS = {0: "L", 2: "RGB", 4: "LA", 6: "RGBA"}  # by the colour type of the header
HEADER = struct.Struct(">IIBBBBB")  # width, height, bits, colour type, three methods


class Chunk(NamedTuple):
    """A chunk of a PNG file."""

    name: bytes
    data: bytes
    whole: bytes  # with its length, name and checksum
    right: bool  # whether the checksum is right


def chunks(content: bytes) -> Iterator[Chunk]:
    """Yield the chunks of a PNG file, up to one that is cut off or no chunk."""
    offset = len(SIGNATURE)
    while offset + 12 <= len(content):
        (size,) = struct.unpack_from(">I", content, offset)
        whole = content[offset : offset + 12 + size]
        name, data = whole[4:8], whole[8:-4]
        if not re.fullmatch(rb"[A-Za-z]{4}", name) or len(whole) < 12 + size:
            return
        checksum = zlib.crc32(memoryview(whole)[4:-4])
        yield Chunk(name, data, whole, checksum == int.from_bytes(whole[-4:], "big"))
        offset += len(whole)


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    checksum = zlib.crc32(data, zlib.crc32(name))
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)


def is_16_bit(start: bytes) -> bool:
    """Return whether the first 32 bytes of a file are those of a PNG file with 16-bit channels."""
    return start.startswith(SIGNATURE) and start[12:16] == b"IHDR" and start[24] == 16


def exif_in(content: bytes) -> bytes | None:
    """Return the EXIF bytes of a PNG file, if it has any."""
    if b"eXIf" not in content:  # the usual case, without a look at each chunk
        return None
    return next((part.data for part in chunks(content) if part.name == b"eXIf"), None)


def read_png16(content: bytes, max_pixels: float) -> tuple[np.ndarray, str]:
    """Return the pixels (H, W, C) uint16 of a PNG file as stored, and which channels they are.

    ValueError says what is damaged: no decoder gets bytes with a wrong checksum.
    """
    parts = whole_chunks(content)
    width, height, _, colour, *methods = HEADER.unpack(parts[0].data)
    check_pixels((width, height), max_pixels)
    kind = KINDS[colour]
    plain = SIGNATURE + b"".join(part.whole for part in parts)
    if kind == "L":
        array = np.asarray(Image.open(io.BytesIO(plain)))
    elif kind == "LA":  # as many bytes a pixel as RGBA in 8 bits
        header = chunk(b"IHDR", HEADER.pack(width, height, 8, 6, *methods))
        plain = plain.replace(parts[0].whole, header, 1)
        array = np.array(Image.open(io.BytesIO(plain))).view(">u2")
    elif (
        importlib.util.find_spec("imagecodecs")
        and b"tRNS" not in {part.name for part in parts}
        and not methods[-1]  # of interlaced files it warns on standard error
    ):
        import imagecodecs  # as fast as one pass of PIL

        array = imagecodecs.png_decode(plain)
    else:  # PIL keeps one byte of each value: the high one, then the low one
        array = _one_byte(plain, f"{kind};16B").astype(np.uint16) << 8
        array |= _one_byte(plain, f"{kind};16L")
    return array.reshape(height, width, len(kind)).astype(np.uint16, copy=False), kind


def whole_chunks(content: bytes) -> list[Chunk]:
    """Return the chunks of a 16-bit PNG file that pixels depend on; ValueError for damage."""
    parts: list[Chunk] = []
    for part in chunks(content):
        if part.name in PIXELS:
            if not part.right:
                raise ValueError(f"damaged: wrong checksum of {part.name.decode()}")
            parts.append(part)
        if part.name == b"IEND":
            break
    names = [part.name for part in parts]
    if b"IDAT" not in names or names[-1] != b"IEND":
        raise ValueError("damaged: it ends early, or between two chunks")
    if names[0] != b"IHDR" or names.count(b"IHDR") != 1 or not _is_header(parts[0].data):
        raise ValueError("damaged: its header is not one of PNG")
    return parts


def _is_header(data: bytes) -> bool:
    if len(data) != HEADER.size:
        return False
    width, height, bits, colour, packing, filtering, interlace = HEADER.unpack(data)
    right = (bits, packing, filtering) == (16, 0, 0) and interlace in (0, 1) and colour in KINDS
    return right and width > 0 and height > 0


def _one_byte(content: bytes, layout: str) -> np.ndarray:
    """Decode with one of PIL's raw modes, which keeps one of the two bytes of each value."""
    with Image.open(io.BytesIO(content)) as file:
        file.tile = [(*file.tile[0][:3], layout)]
        return np.asarray(file)
