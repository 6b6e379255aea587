"""Atomic writes, and the folders of runs."""

import contextlib
import errno
import hashlib
import json
import math
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from util.names import utf8

ROOT = Path(__file__).resolve().parent.parent  # the repository

# What is found in place of an image or of weights, by its first bytes in lower case.
KINDS = {
    b"<!doctype": "a web page; download the file itself",
    b"<html": "a web page; download the file itself",
    b"version https://git-lfs": "a pointer of Git LFS; run `git lfs pull`",
    b"\x1f\x8b": "a file packed by gzip; unpack it",
}

# What a file system answers to a call that it does not offer.
UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of the disk name the file that is written in the block."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`, and rename it to `path` once it is on the disk.

    After an error or a crash, `path` holds either all of the old or all of the new content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Processes of several containers have equal numbers, and may share a folder.
    name = shortened(path.name)  # a file system takes 255 bytes
    temporary = path.with_name(f".{name}.{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        with naming(path), temporary.open("xb") as file:
            yield file
            file.flush()
            _sync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    # The content is there. Network drives and Windows lack this; it protects from power failures.
    with contextlib.suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name survives a power failure
        finally:
            os.close(folder)


def _sync(descriptor: int) -> None:
    """Wait until a file is on the disk, if its file system can say so; else OSError."""
    try:
        os.fsync(descriptor)
    except OSError as error:  # ENOSPC, EDQUOT and EIO mean that data are lost
        if error.errno not in UNSUPPORTED:
            raise


def known_kind(start: bytes) -> str | None:
    """Say what a file is that begins with these bytes, and what to do; None if that is unknown."""
    text = start.lstrip().lower()
    return next((kind for sign, kind in KINDS.items() if text.startswith(sign)), None)


def run_folder(opt: Any) -> Path:
    """Return the folder of a run: CHECKPOINTS_DIR/NAME."""
    return Path(opt.checkpoints_dir) / opt.name


def make_folder(folder: str | Path, flag: str) -> Path:
    """Make an output folder; ValueError names `flag` if the folder is not writable."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, probe = tempfile.mkstemp(prefix=".probe", dir=folder)
    except OSError as error:
        raise ValueError(
            f"{flag}: {folder} cannot be written ({error.strerror}); choose another folder"
        ) from None
    os.close(descriptor)
    with contextlib.suppress(OSError):
        os.unlink(probe)
    return folder


def folder_size(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    files = (Path(root) / name for root, _, names in os.walk(folder) for name in names)
    return sum(file.lstat().st_size for file in files)


def in_words(size: int) -> str:
    """Return a number of bytes as text."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if size >= 10 or unit == "bytes" else f"{size:.1f} {unit}"


def short_stem(path: str, most: int = 200) -> str:
    """Return the file's stem, at most `most` bytes; a longer one is cut and ends in its hash."""
    return shortened(
        Path(path).name if os.path.isdir(path) else Path(path).stem.removesuffix(".nii"), most
    )


def shortened(stem: str, most: int = 200) -> str:
    """Return a file's stem, at most `most` bytes; a longer one is cut and ends in its hash."""
    if len(stem.encode("utf-8", "surrogateescape")) <= most:
        return stem
    digest = hashlib.sha256(stem.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    cut = stem.encode("utf-8", "ignore")[: most - 9].decode("utf-8", "ignore")
    return f"{cut}_{digest}"


def write_options(opt: Any, folder: Path, stem: str) -> None:
    """Write the options as STEM.json, and as a table in STEM.txt if `opt` has a text()."""
    values = {
        k: str(v) if isinstance(v, float) and not math.isfinite(v) else v
        for k, v in sorted(vars(opt).items())
    }
    texts = {"json": json.dumps(values, indent=1, default=str)}
    if hasattr(opt, "text"):
        texts["txt"] = opt.text()
    for ending, text in texts.items():
        with atomic_write(folder / f"{stem}.{ending}") as file:
            file.write(utf8(f"{text}\n"))
