"""An archive that would fill the disk or the memory is refused before it does."""

import errno
import io
import shutil
import tarfile
import zipfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
from support.archives import content_of, noise, tar_of, zip_of

from scripts.downloads import unpack as unpacking
from scripts.downloads.unpack import in_words, unpack

ZEROS = bytes(300_000)


def zip_bomb(files: dict[str, bytes]) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return memory.getvalue()


def one_of_several(files: dict[str, bytes]) -> bytes:
    """A tar whose members are small, but not together."""
    return tar_of({f"{i}.png": bytes(len(content) // 10) for i in range(10) for content in [ZEROS]})


def sparse(files: dict[str, bytes]) -> bytes:
    """A tar with a file of holes, which takes no bytes in the archive."""
    member = tarfile.TarInfo("1.png")
    member.type, member.size = tarfile.GNUTYPE_SPARSE, 0
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"%011o\0" % len(ZEROS)  # the size with its holes
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(1024)


def behind_the_end(files: dict[str, bytes]) -> bytes:
    """A gzip file that goes on after its tar has ended."""
    import gzip

    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("1.png"))
    return gzip.compress(memory.getvalue() + ZEROS)


BOMBS = [zip_bomb, tar_of, one_of_several, sparse, behind_the_end]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small bombs count."""
    monkeypatch.setattr(unpacking, "SMALL", 100_000)


def refused(path: Path, *words: str, kind: type = ValueError) -> None:
    before = content_of(path.parent)
    with pytest.raises(kind) as error:
        unpack(path, path.parent / "set")
    message = str(error.value)
    assert [word for word in words if word not in message] == [] and "\n" not in message, message
    assert content_of(path.parent) == before


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("pack", BOMBS)
def test_a_bomb_is_refused_and_leaves_nothing(tmp_path: Path, pack: Callable) -> None:
    path = tmp_path / "archive.part"
    path.write_bytes(pack({"1.png": ZEROS}))
    refused(path, "would unpack to more than 1", "nothing was unpacked")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("pack", [zip_of, tar_of])
def test_images_of_any_size_are_unpacked(tmp_path: Path, pack: Callable) -> None:
    path = tmp_path / "archive.part"
    files = {"1.png": noise(), "2.png": noise(seed=1) + ZEROS}
    path.write_bytes(pack(files))
    unpack(path, tmp_path / "set")
    assert content_of(tmp_path / "set") == files


@pytest.mark.parametrize("pack", [zip_bomb, tar_of])
def test_a_file_that_announces_an_absurd_size_is_not_begun(tmp_path: Path, pack, monkeypatch):
    """Without a limit for the tests: 4 GB from 4 MB."""
    path = tmp_path / "archive.part"
    if pack is zip_bomb:
        content = bytearray(zip_bomb({"1.png": ZEROS}))
        for signature, offset in ((b"PK\3\4", 22), (b"PK\1\2", 24)):  # of both headers
            at = content.index(signature) + offset
            content[at : at + 4] = (2**32 - 2).to_bytes(4, "little")
    else:
        member = tarfile.TarInfo("1.png")
        member.size = 2**40
        content = member.tobuf()
    path.write_bytes(content)
    refused(path, "would unpack to more than 268 MB")


def test_more_files_than_a_set_has_are_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(unpacking, "MOST_FILES", 3)
    path = tmp_path / "archive.part"
    path.write_bytes(zip_of({f"{i}.png": b"" for i in range(4)}))
    refused(path, "or 3 files")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_name_that_would_fill_the_memory_is_not_read(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("x")
    member.type, member.size = kind, 2**30
    path = tmp_path / "archive.part"
    path.write_bytes(member.tobuf())
    refused(path, "holds a name of 1.1 GB")


@pytest.mark.parametrize("pack", [zip_of, tar_of])
def test_a_disk_without_the_room_is_named_before_it_is_full(tmp_path, monkeypatch, pack) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**6, 0, 150_000))
    path = tmp_path / "archive.part"
    path.write_bytes(pack({"1.png": noise()}))
    refused(path, "needs more than the 150 kB that are free on the disk", kind=OSError)
    with pytest.raises(OSError) as error:
        unpack(path, tmp_path / "set")
    assert error.value.errno == errno.ENOSPC  # the download is kept


def test_sizes_in_words() -> None:
    sizes = (0, 999, 1000, 12_345, 2**28, 1.5e9, 2e12)
    words = ["0 bytes", "999 bytes", "1.0 kB", "12 kB", "268 MB", "1.5 GB", "2000 GB"]
    assert [in_words(size) for size in sizes] == words
