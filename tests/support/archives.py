"""What the tests of the downloader share: archives, good and bad; the content of folders."""

import io
import random
import tarfile
import zipfile
from pathlib import Path

BIG = 200_000  # bytes: a few blocks of a download


def noise(size: int = BIG, seed: int = 0) -> bytes:
    """Return bytes that do not compress."""
    return random.Random(seed).randbytes(size)


def member(name: str, kind: bytes = tarfile.REGTYPE, to: str = "") -> tarfile.TarInfo:
    """Return an entry of a tar that is no plain file."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


def tar_of(files: dict[str, bytes], *members: tarfile.TarInfo, level: int = 9) -> bytes:
    """Return a .tar.gz of files, and of members that have no content."""
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:gz", compresslevel=level) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in members:
            tar.addfile(info)
    return memory.getvalue()


def zip_of(files: dict[str, bytes], *members: zipfile.ZipInfo) -> bytes:
    """Return a .zip of files, and of members that have no content; a/ is a folder."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
        for info in members:
            file.writestr(info, b"elsewhere")
    return memory.getvalue()


def content_of(folder: Path) -> dict[str, bytes | None]:
    """Return the files below a folder, by path; None stands for a folder."""
    paths = sorted(folder.rglob("*"))
    return {str(p.relative_to(folder)): None if p.is_dir() else p.read_bytes() for p in paths}
