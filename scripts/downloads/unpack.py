"""Unpack an archive from the internet without letting it write where it likes."""

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
    *(EOFError, NotImplementedError, RuntimeError),  # the last two of zip: methods, passwords
    *(NotADirectoryError, IsADirectoryError, FileExistsError),  # a file that is a folder too
)


def unpack(archive: Path, target: Path) -> None:
    """Unpack a .zip or .tar.gz as the folder `target`, which appears whole or not at all.

    An only folder in the archive becomes `target` itself. ValueError if it is damaged, without an
    image, or holds anything but files and folders inside itself.
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
        raise ValueError(f"not a whole archive ({reason})") from None
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
        # Old Pythons have no filters; what these refuse beyond the above is no danger here.
        safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        tar.extractall(folder, members, **safe)
        while tar.fileobj.read(1 << 20):  # to the end, where gzip keeps its checksum
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
    """Raise a ValueError if unpacking a member of this name would leave the folder."""
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if path.is_absolute() or path.drive or path.root or ".." in path.parts:
            raise ValueError(f"the archive wants to write to {name}; nothing was unpacked")
