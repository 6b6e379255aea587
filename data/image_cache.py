"""Prepared images in one file that all processes of a loader share."""

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

from data.image_types import ImageArray
from util import distributed

log = logging.getLogger(__name__)

SLOT = 2**26  # bytes; the file is sparse, so that only what is written takes room
# How many images, the file's width and height; then each image's shape, type and range.
HEAD, EACH = struct.Struct("<Iii"), struct.Struct("<iiisdd")
TYPES = {b"u": np.dtype("uint8"), b"f": np.dtype("float32")}
FREE = 0.25  # the share of the memory that --cache auto leaves
CACHES = ("auto", "ram", "disk", "none")
# The images, and the (width, height) of their file.
CachedImages = tuple[list[ImageArray], tuple[int, int]]


class ImageCache:
    """Keeps the images of a file, once some process has prepared them, for all processes.

    The cache's own file has no name, so that it is gone with its last process, however that ends.
    """

    def __init__(self, files: Sequence[str], folder: Path | None = None, reserve: float = 0.0):
        """It lies in `folder`, or in memory of which it leaves the share `reserve` free.

        OSError if it cannot be made.
        """
        self.slots = {file: i for i, file in enumerate(files)}
        self.reserve = reserve
        if folder is None:
            self.descriptor = os.memfd_create("images")
        else:
            with tempfile.TemporaryFile(dir=folder) as file:
                self.descriptor = os.dup(file.fileno())
        os.truncate(self.descriptor, len(files) * SLOT)
        self._map()

    def __getstate__(self) -> dict[str, Any]:
        there = f"/proc/{os.getpid()}/fd/{self.descriptor}"
        return {"slots": self.slots, "reserve": self.reserve, "descriptor": there}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.slots, self.reserve = state["slots"], state["reserve"]
        self.descriptor = os.open(state["descriptor"], os.O_RDWR)
        self._map()

    def _map(self) -> None:
        self.bytes = mmap.mmap(self.descriptor, len(self.slots) * SLOT)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)

    def get(self, file: str) -> CachedImages | None:
        """Return what is kept of a file."""
        if file not in self.slots:
            return None
        at = self.slots[file] * SLOT
        count, *size = HEAD.unpack_from(self.bytes, at)
        at += HEAD.size
        found = []
        for _ in range(count):
            *shape, code, low, high = EACH.unpack_from(self.bytes, at)
            at += EACH.size
            number = shape[0] * shape[1] * shape[2]
            array = np.frombuffer(self.bytes, TYPES[code], number, at).reshape(shape)
            at += array.nbytes
            found.append(ImageArray(array, low, high))
        return (found, tuple(size)) if found else None

    def put(self, file: str, kept: CachedImages) -> None:
        """Keep images of a file, if there is room."""
        images, size = kept
        arrays = [np.ascontiguousarray(image.array()) for image in images]
        needed = HEAD.size + sum(EACH.size + array.nbytes for array in arrays)
        if file not in self.slots or needed > SLOT:
            return
        if self.reserve and free_memory() < self.reserve:
            return
        at = end = self.slots[file] * SLOT
        end += HEAD.size
        try:
            for image, array in zip(images, arrays, strict=True):
                code = array.dtype.kind.encode()
                end = _write(self.descriptor, end, EACH.pack(*array.shape, code, *image.range))
                end = _write(self.descriptor, end, array.data.cast("B"))
            # The head last: until it is there, so is nothing.
            _write(self.descriptor, at, HEAD.pack(len(arrays), *size))
        except OSError as error:
            log.warning("--cache: no room for more images (%s)", error.strerror)
            self.slots = {}


def _write(descriptor: int, at: int, content: bytes | memoryview) -> int:
    while content:
        written = os.pwrite(descriptor, content, at)
        content, at = content[written:], at + written
    return at


def shared_cache(files: Sequence[str], where: str, folder: Path) -> ImageCache | None:
    """Return `open_cache`; of several launch, all on a machine share that of its first."""
    here = distributed.local_rank()
    cache = None if here else open_cache(files, where, folder)
    everyones = distributed.all_gather(None if here else pickle.dumps(cache))
    if not here:
        return cache
    try:
        return pickle.loads(everyones[distributed.rank() - here])
    except OSError:  # the system does not let one process look into another
        return open_cache(files, where, folder)


def open_cache(files: Sequence[str], where: str, folder: Path) -> ImageCache | None:
    """Return the cache that `--cache` (one of `CACHES`) asks for; None if there is none.

    Of `auto`, nothing is kept while less than a quarter of the memory is free. ValueError if what
    was asked for by name cannot be had.
    """
    if where not in CACHES:
        raise ValueError(f"--cache {where}: unknown; known are {', '.join(CACHES)}")
    if where == "none" or not files:
        return None
    try:
        if not hasattr(os, "memfd_create"):
            raise OSError(0, "it wants Linux")
        if where == "disk":
            folder.mkdir(parents=True, exist_ok=True)
            return ImageCache(files, folder)
        return ImageCache(files, None, FREE if where == "auto" else 0.0)
    except OSError as error:
        if where == "auto":
            return None
        raise ValueError(
            f"--cache {where}: cannot be had here ({error.strerror}); use --cache none"
        ) from None


def free_memory(root: Path = Path("/")) -> float:
    """Return the share of the memory that is free, of the machine or of the container; 0 where
    the system does not tell.
    """
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        values = {name: int(rest.split()[0]) for name, _, rest in (x.partition(":") for x in lines)}
        free = values["MemAvailable"] / values["MemTotal"]
    except (OSError, ValueError, KeyError, IndexError):
        return 0.0
    try:
        group = root / "sys/fs/cgroup"
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
        stat = dict(x.split() for x in (group / "memory.stat").read_text().splitlines())
        used -= int(stat.get("inactive_file", 0))  # files that were read, dropped when needed
    except (OSError, ValueError):  # no limit, or another kind of container
        return free
    return min(free, 1 - used / limit)
