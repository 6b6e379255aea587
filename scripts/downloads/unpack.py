"""Unpack an untrusted archive; it can write only inside its target folder."""

import errno
import gzip
import lzma
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from data.image_folder import is_image_file
from util.errors import one_line
from util.files import in_words

_DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError),
    *(EOFError, NotImplementedError, RuntimeError),  # zip: unknown method, password
    *(NotADirectoryError, IsADirectoryError, FileExistsError),  # one path as file and as folder
)

# An archive may unpack to this many bytes, or to this multiple of its own size: photos hardly
# shrink, raw pixels of label maps shrink about 30 times, and a bomb 1000 times.
SMALL, RATIO = 2**28, 100
MOST_FILES = 5_000_000
# Types of a .tar's members that hold long names and the like of the next one.
WORDS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
WORDS += (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
MOST_WORDS = 2**20  # bytes


def unpack(archive: Path, target: Path) -> None:
    """Unpack a .zip or .tar.gz to the folder `target`, which appears only when it is complete.

    If the archive contains a single folder, that folder becomes `target`. ValueError if the archive
    is damaged, has no image, holds links, devices or paths outside itself, or is far larger
    unpacked; OSError if the disk lacks the room.
    """
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    content = scratch / "content"
    content.mkdir()
    try:
        (_unzip if zipfile.is_zipfile(archive) else _untar)(archive, content)
        entries = [path for path in content.iterdir() if not is_of_macos(path.name)]
        if not entries:
            raise ValueError("the archive is empty")
        root = entries[0] if len(entries) == 1 and entries[0].is_dir() else content
        if not any(is_image_file(path.name) for path in root.rglob("*")):
            raise ValueError("the archive holds no images")
        root.rename(target)
    except _DAMAGED as error:
        reason = one_line(error)
        raise ValueError(f"damaged or incomplete archive ({reason})") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def is_of_macos(name: str) -> bool:
    """Return whether macOS adds a file or folder of this name to what it packs."""
    return name in ("__MACOSX", ".DS_Store") or name.startswith("._")


def _untar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive, tarinfo=Member) as tar:
        members, room = [], Room(archive, folder)
        for member in tar:  # one after another, so that the first that is too large ends this
            members.append(member)
            room.take(member.size)
            check_name(member.name)
            if not (member.isreg() or member.isdir()):
                kind = "a link" if member.issym() or member.islnk() else "a device"
                raise ValueError(f"the archive holds {kind}, {member.name}; nothing was unpacked")
        # Early 3.10 and 3.11 releases lack filters; the checks above suffice there.
        safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        tar.extractall(folder, members, **safe)
        while block := tar.fileobj.read(1 << 20):  # to the end, where gzip checks its checksum
            room.take(len(block), files=0)


def _unzip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        room = Room(archive, folder)
        for info in file.infolist():
            room.take(info.file_size)  # zipfile unpacks no more than this
            check_name(info.filename)
            mode = info.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ValueError(
                    f"the archive holds a link or a device, {info.filename}; nothing was unpacked"
                )
        file.extractall(folder)


class Member(tarfile.TarInfo):
    """A member of a .tar whose name, and other words about it, fit into the memory."""

    @classmethod
    def frombuf(cls, *header: Any, **more: Any) -> tarfile.TarInfo:
        """Read a header; ValueError before a text of any length would be read into the memory."""
        member = super().frombuf(*header, **more)
        if member.type in WORDS and member.size > MOST_WORDS:
            raise ValueError(
                f"the archive holds a name of {in_words(member.size)}; nothing was unpacked"
            )
        return member


class Room:
    """The bytes and files that an archive may still unpack."""

    def __init__(self, archive: Path, folder: Path):
        self.packed = archive.stat().st_size
        self.most = max(SMALL, RATIO * self.packed)
        self.free = shutil.disk_usage(folder).free
        self.taken = self.files = 0

    def take(self, size: int, files: int = 1) -> None:
        """Count `size` bytes of further files; ValueError or OSError if that is too much."""
        self.taken, self.files = self.taken + size, self.files + files
        if self.taken > self.most or self.files > MOST_FILES:
            raise ValueError(
                f"the archive of {in_words(self.packed)} would unpack to more than "
                f"{in_words(self.most)} or {MOST_FILES} files, as no set of images does; nothing "
                f"was unpacked"
            )
        if self.taken > self.free:
            raise OSError(
                errno.ENOSPC,
                f"the archive needs more than the {in_words(self.free)} that are free on the disk",
            )


def check_name(name: str) -> None:
    """Raise a ValueError if a member of this name would be written outside the folder."""
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if path.is_absolute() or path.drive or path.root or ".." in path.parts:
            raise ValueError(f"the archive would write to {name}; nothing was unpacked")
