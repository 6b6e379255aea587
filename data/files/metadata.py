"""What a file says beside its pixels: the orientation is read by itself, the rest is dropped."""

import struct
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH

from data.files import png_files

ORIENTATION = 0x0112  # the EXIF tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by orientation, what turns an image upright
JPEG = b"\xff\xd8"
PLAINABLE = (JPEG, png_files.SIGNATURE[:4], b"II*\0", b"MM\0*")  # JPEG, PNG, TIFF
JPEG_ADOBE = 0xEE  # the application segment that pixels depend on
# TIFF tags of metadata that are read when the pixels are: XMP, IPTC, Photoshop, EXIF, ICC, GPS.
TIFF_METADATA = (700, 33723, 34377, 34665, 34675, 34853, 40965)


def orientation(file: Image.Image) -> int | None:
    """Return the EXIF orientation of an open image, 1 to 8; None for one that cannot be read."""
    try:
        # The base class's method: that of PNG files would decode the pixels.
        value = Image.Image.getexif(file).get(ORIENTATION, 1)
    except Exception:  # PIL raises nearly anything on odd tags
        value = orientation_in(file.info.get("exif"))
    return value if isinstance(value, int) and 1 <= value <= 8 else 1 if value == 0 else None


def upright_size(file: Image.Image) -> tuple[int, int]:
    """Return the (width, height) that an open image has once it is turned, without decoding it."""
    turned = (orientation(file) or 1) > 4
    if file.format == "TIFF":  # of which newer versions of PIL tell the upright size
        size = file.tag_v2[IMAGEWIDTH], file.tag_v2[IMAGELENGTH]
    else:
        size = file.size
    return size[::-1] if turned else size


def upright(image: Image.Image, value: int | None) -> Image.Image:
    """Return an image turned upright as its orientation says, without that orientation."""
    if value not in TURNS:
        return image
    turned = image.transpose(TURNS[value])
    for kind in ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"):
        turned.info.pop(kind, None)  # PIL reads the orientation from each of them
    return turned


def upright_array(array: np.ndarray, value: object) -> np.ndarray:
    """Turn (H, W) or (H, W, C) upright as its orientation says."""
    if value in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if value in (2, 3, 6, 7):
        array = array[:, ::-1]
    if value in (3, 4, 7, 8):
        array = array[::-1]
    return array


def orientation_in(exif: object) -> int | None:
    """Return the orientation in EXIF bytes, whatever the other tags hold; None without one."""
    if not isinstance(exif, bytes):
        return None
    exif = exif.removeprefix(b"Exif\0\0")
    byte_order = {b"II": "<", b"MM": ">"}.get(exif[:2], "")
    try:
        (start,) = struct.unpack_from(f"{byte_order}I", exif, 4)
        (count,) = struct.unpack_from(f"{byte_order}H", exif, start)
        for offset in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, number, value = struct.unpack_from(f"{byte_order}HHIH", exif, offset)
            if (tag, kind) == (ORIENTATION, 3) and number:
                return value
    except struct.error:  # the block ends early
        pass
    return None


class Plain(NamedTuple):
    """An image file without its metadata, and the EXIF bytes that it had."""

    content: bytes
    exif: bytes | None = None


def without_metadata(content: bytes) -> Plain:
    """Return a file that starts as one of `PLAINABLE` without its metadata."""
    if content.startswith(JPEG):
        return _plain_jpeg(content)
    return _plain_tiff(content) if content[:2] in (b"II", b"MM") else _plain_png(content)


def _plain_png(content: bytes) -> Plain:
    chunks = [part.whole for part in png_files.chunks(content) if part.name in png_files.PIXELS]
    return Plain(b"".join([png_files.SIGNATURE, *chunks]), png_files.exif_in(content))


def _plain_jpeg(content: bytes) -> Plain:
    segments, exif, offset = [content[:2]], None, 2
    while content[offset : offset + 1] == b"\xff" and offset + 4 <= len(content):
        marker, size = content[offset + 1], int.from_bytes(content[offset + 2 : offset + 4], "big")
        segment = content[offset : offset + 2 + size]
        if marker == 0xFF:  # a fill byte
            offset += 1
            continue
        if marker == 0xDA:  # the pixels start
            break
        if marker == 0xE1 and segment[4:10] == b"Exif\0\0":
            exif = exif or segment[4:]
        if not (0xE0 <= marker <= 0xEF or marker == 0xFE) or marker == JPEG_ADOBE:
            segments.append(segment)
        offset += 2 + size
    return Plain(b"".join([*segments, content[offset:]]), exif)


def _plain_tiff(content: bytes) -> Plain:
    byte_order, plain = "<" if content[:2] == b"II" else ">", bytearray(content)
    try:
        (start,) = struct.unpack_from(f"{byte_order}I", content, 4)
        (count,) = struct.unpack_from(f"{byte_order}H", content, start)
        for offset in range(start + 2, start + 2 + 12 * count, 12):
            (tag,) = struct.unpack_from(f"{byte_order}H", content, offset)
            if tag in TIFF_METADATA:  # becomes a private tag that holds one byte
                struct.pack_into(f"{byte_order}HHII", plain, offset, 65000, 1, 1, 0)
    except struct.error:
        pass
    return Plain(bytes(plain))
