"""A cache of resized images that all worker processes and local ranks share."""

import logging
import mmap
import os
import pickle
import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.files.image_types import ImageArray
from util import distributed
from util.memory import free_memory

log = logging.getLogger(__name__)

# Bytes per image file, and of all; the cache is a sparse file, so unused bytes take no room.
SLOT, LARGEST = 2**26, 2**43
# HEAD: number of images, original width and height. EACH: an image's shape, type and range.
HEAD, EACH = struct.Struct("<Iii"), struct.Struct("<iiisdd")
# A capital letter says that the values are clipped to their range.
TYPES = {b"u": np.dtype("uint8"), b"f": np.dtype("float32"), b"F": np.dtype("float32")}
TYPES[b"i"] = np.dtype("int32")  # class and instance numbers
FREE = 0.25  # fraction of the memory that --cache auto leaves free
RESERVE_ON_DISK = 4 * 2**30  # bytes that --cache disk leaves free, for checkpoints
CACHES = ("auto", "ram", "disk", "none")
# The images, and the (width, height) of their file.
CachedImages = tuple[list[ImageArray], tuple[int, int]]


class ImageCache:
    """Stores the resized images of each file, for all processes.

    The cache's file is unlinked, so it vanishes with the last process, even after a crash.
    """

    def __init__(self, files: Sequence[str], folder: Path | None = None, reserve: float = 0.0):
        """Create the cache in `folder`, or in memory if None.

        `put` stores nothing while less than the fraction `reserve` of the memory is free. OSError
        if the file cannot be created.
        """
        self.slots = {file: i for i, file in enumerate(files)}
        self.slot = min(SLOT, LARGEST // max(1, len(files)) // 4096 * 4096)
        self.reserve, self.on_disk = reserve, folder is not None
        if folder is None:
            self.descriptor = os.memfd_create("images")
        else:
            with tempfile.TemporaryFile(dir=folder) as file:
                self.descriptor = os.dup(file.fileno())
        os.truncate(self.descriptor, len(files) * self.slot)
        self._map()

    def __getstate__(self) -> dict[str, Any]:
        path = f"/proc/{os.getpid()}/fd/{self.descriptor}"
        return {**vars(self), "bytes": None, "descriptor": path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.descriptor = os.open(state["descriptor"], os.O_RDWR)
        self._map()

    def _map(self) -> None:
        self.bytes = mmap.mmap(self.descriptor, len(self.slots) * self.slot)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)

    def get(self, file: str) -> CachedImages | None:
        """Return the cached images of a file, or None."""
        if file not in self.slots:
            return None
        offset = self.slots[file] * self.slot
        count, *size = HEAD.unpack_from(self.bytes, offset)
        offset += HEAD.size
        images = []
        for _ in range(count):
            *shape, code, low, high = EACH.unpack_from(self.bytes, offset)
            offset += EACH.size
            elements = shape[0] * shape[1] * shape[2]
            array = np.frombuffer(self.bytes, TYPES[code], elements, offset).reshape(shape)
            offset += array.nbytes
            images.append(ImageArray(array, low, high, ranged=code.isupper()))
        return (images, tuple(size)) if images else None

    def put(self, file: str, kept: CachedImages) -> None:
        """Store the images of a file; do nothing if the cache is full."""
        images, size = kept
        arrays = [np.ascontiguousarray(image.array()) for image in images]
        needed = HEAD.size + sum(EACH.size + array.nbytes for array in arrays)
        if file not in self.slots or needed > self.slot:
            return
        if self.reserve and free_memory() < self.reserve:
            return
        if self.on_disk and free_on_disk(self.descriptor) < RESERVE_ON_DISK:
            log.warning(
                "--cache disk: no room for more images: the rest of the disk is for checkpoints"
            )
            self.slots = {}
            return
        start = end = self.slots[file] * self.slot
        end += HEAD.size
        try:
            for image, array in zip(images, arrays, strict=True):
                kind = array.dtype.kind
                code = (kind.upper() if image.ranged else kind).encode()
                end = _write(self.descriptor, end, EACH.pack(*array.shape, code, *image.range))
                end = _write(self.descriptor, end, array.data.cast("B"))
            # The head comes last: without it, `get` finds no images.
            _write(self.descriptor, start, HEAD.pack(len(arrays), *size))
        except OSError as error:
            log.warning("--cache: no room for more images (%s)", error.strerror)
            self.slots = {}


def can_cache() -> bool:
    """Return whether this system has what a cache needs."""
    return hasattr(os, "memfd_create")


def free_on_disk(descriptor: int) -> int:
    """Return the bytes that are free on the disk of an open file."""
    state = os.fstatvfs(descriptor)
    return state.f_bavail * state.f_frsize


def _write(descriptor: int, at: int, content: bytes | memoryview) -> int:
    while content:
        written = os.pwrite(descriptor, content, at)
        content, at = content[written:], at + written
    return at


def shared_cache(files: Sequence[str], where: str, folder: Path) -> ImageCache | None:
    """Return one cache for all ranks of a machine: rank 0 of each machine opens it."""
    local_rank = distributed.local_rank()
    cache = None if local_rank else open_cache(files, where, folder)
    pickles = distributed.all_gather(None if local_rank else pickle.dumps(cache))
    if not local_rank:
        return cache
    try:
        return pickle.loads(pickles[distributed.rank() - local_rank])
    except OSError:  # /proc of another process may be forbidden
        return open_cache(files, where, folder)


def open_cache(files: Sequence[str], where: str, folder: Path) -> ImageCache | None:
    """Return the cache for `--cache`, one of `CACHES`; None without a cache.

    `auto` stores nothing while less than a quarter of the memory is free. ValueError if `ram` or
    `disk` is not possible.
    """
    if where not in CACHES:
        raise ValueError(f"--cache {where}: unknown; known are {', '.join(CACHES)}")
    if where == "none" or not files:
        return None
    try:
        if not can_cache():
            raise OSError(0, "it needs Linux")
        if where == "disk":
            folder.mkdir(parents=True, exist_ok=True)
            return ImageCache(files, folder)
        return ImageCache(files, None, FREE if where == "auto" else 0.0)
    except OSError as error:
        if where == "auto":
            log.info("--cache auto: not possible here (%s); images are read again", error.strerror)
            return None
        raise ValueError(
            f"--cache {where}: not possible here ({error.strerror}); use --cache none"
        ) from None
