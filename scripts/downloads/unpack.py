"""Unpack an untrusted archive; it can write only inside its target folder."""

import gzip
import lzma
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

from data.image_folder import is_image_file
from util.errors import one_line

_DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError),
    *(EOFError, NotImplementedError, RuntimeError),  # zip: unknown method, password
    *(NotADirectoryError, IsADirectoryError, FileExistsError),  # one path as file and as folder
)


def unpack(archive: Path, target: Path) -> None:
    """Unpack a .zip or .tar.gz to the folder `target`, which appears only when it is complete.

    If the archive contains a single folder, that folder becomes `target`. ValueError if the archive
    is damaged, has no image, or holds links, devices or paths outside itself.
    """
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    content = scratch / "content"
    content.mkdir()
    try:
        (_unzip if zipfile.is_zipfile(archive) else _untar)(archive, content)
        inside = [p for p in content.iterdir() if p.name != "__MACOSX"]
        if not inside:
            raise ValueError("the archive is empty")
        only = inside[0] if len(inside) == 1 and inside[0].is_dir() else content
        if not any(is_image_file(path.name) for path in only.rglob("*")):
            raise ValueError("the archive holds no images")
        only.rename(target)
    except _DAMAGED as error:
        reason = one_line(error)
        raise ValueError(f"damaged or incomplete archive ({reason})") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _untar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
        for member in members:
            check_name(member.name)
            if not (member.isreg() or member.isdir()):
                kind = "a link" if member.issym() or member.islnk() else "a device"
                raise ValueError(f"the archive holds {kind}, {member.name}; nothing was unpacked")
        # Early 3.10 and 3.11 releases lack filters; the checks above suffice there.
        safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        tar.extractall(folder, members, **safe)
        while tar.fileobj.read(1 << 20):  # read to the end, where gzip checks its checksum
            pass


def _unzip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            check_name(info.filename)
            mode = info.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ValueError(
                    f"the archive holds a link or a device, {info.filename}; nothing was unpacked"
                )
        file.extractall(folder)


def check_name(name: str) -> None:
    """Raise a ValueError if a member of this name would be written outside the folder."""
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if path.is_absolute() or path.drive or path.root or ".." in path.parts:
            raise ValueError(f"the archive would write to {name}; nothing was unpacked")
