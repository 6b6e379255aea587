"""The largest image that is read: --max_pixels for the user's own files, in place of PIL's limit.

PIL's limit against decompression bombs stays for images of others, such as uploads.
"""

import contextlib
import threading
from collections.abc import Iterator

from PIL import Image

MAX_PIXELS = 10**9  # width times height of an image; the default of --max_pixels
LARGE, LEAST = 10**8, 1 / 20_000  # pixels, and the bytes that a file of so many has for each


class TooLargeError(ValueError):
    """Raised for an image with more pixels than the limit."""


def check_pixels(size: tuple[int, int], most: float, stored: int | None = None) -> None:
    """Raise `TooLargeError` if an image of (width, height) has more than `most` pixels.

    ValueError if a file of `stored` bytes is too short for so many, as if its header were damaged.
    """
    width, height = size
    count = width * height
    if count > most:
        raise TooLargeError(
            f"{width}x{height} are {count} pixels, more than --max_pixels {most:.0f}; raise it, or "
            f"make the image smaller"
        )
    if stored is not None and count > LARGE and stored < count * LEAST:
        raise ValueError(f"damaged: {width}x{height} pixels in {stored} bytes")


_lock = threading.Lock()
_readers, _limit = 0, Image.MAX_IMAGE_PIXELS


@contextlib.contextmanager
def without_pil_limit() -> Iterator[None]:
    """Lift PIL's limit within the block; several threads may be in it at once."""
    global _readers, _limit
    with _lock:
        if not _readers:
            _limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        _readers += 1
    try:
        yield
    finally:
        with _lock:
            _readers -= 1
            if not _readers:
                Image.MAX_IMAGE_PIXELS = _limit
