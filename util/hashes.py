"""Hashes of files and images, which tell whether two are the same."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

CHUNK = 2**20  # bytes


def hash_files(paths: Iterable[str | Path]) -> str:
    """Return the first 16 hex digits of the SHA-256 of the files' contents, in their order; a
    folder counts as its files.

    "" if there are no files, or if one of them cannot be read.
    """
    whole, count = hashlib.sha256(), 0
    for path in _with_those_in_folders(paths):
        file_hash = hashlib.sha256()
        try:
            with open(path, "rb", buffering=0) as file:
                while chunk := file.read(CHUNK):
                    file_hash.update(chunk)
        except (OSError, ValueError):  # no such file, or a name that no file can have
            return ""
        whole.update(file_hash.digest())
        count += 1
    return whole.hexdigest()[:16] if count else ""


def _with_those_in_folders(paths: Iterable[str | Path]) -> Iterator[str | Path]:
    for path in paths:
        if os.path.isdir(path):
            yield from sorted(file for file in Path(path).rglob("*") if file.is_file())
        else:
            yield path


def hash_pixels(image: np.ndarray) -> str:
    """Return the SHA-256 of the size and the pixels of an image, (H, W, C) uint8."""
    pixels = np.ascontiguousarray(image)
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()
