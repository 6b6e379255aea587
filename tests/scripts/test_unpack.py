"""An archive is unpacked whole or not at all, and never outside its folder."""

import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import refusal
from support.archives import content_of, member, noise, tar_of, zip_of

from scripts.downloads.unpack import unpack

IMAGES = {"train/1.jpg": b"one", "train/2.jpg": b"two", "test/1.jpg": b"three"}
UNPACKED = {**IMAGES, "train": None, "test": None}
OUTSIDE = ["/tmp/out.txt", "../out.txt", "set/../../out.txt", "a/..", "..\\out.txt", "a\\..\\b"]
WINDOWS = ["C:\\x", "C:x", "\\x", "\\\\host\\share\\x", "c:/x", "//host/share/x"]

formats = pytest.mark.parametrize("pack", [tar_of, zip_of], ids=["tar.gz", "zip"])


def below(folder: str, files: dict[str, bytes] = IMAGES) -> dict[str, bytes]:
    """Return the files with a folder in front of their names."""
    return {f"{folder}/{name}": content for name, content in files.items()}


@pytest.fixture(params=["filters", "no filters"])
def python(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python with tarfile's filters, and one from before them."""
    if request.param == "no filters":
        trusting = staticmethod(lambda member, path: member)
        monkeypatch.setattr(tarfile.TarFile, "extraction_filter", trusting, raising=False)
        monkeypatch.delattr(tarfile, "data_filter", raising=False)


@pytest.fixture
def archive(tmp_path: Path) -> Callable[[bytes], Path]:
    """Write an archive into an inner folder, so that there is an outside."""

    def write(content: bytes) -> Path:
        (tmp_path / "inner").mkdir()
        path = tmp_path / "inner" / "archive.part"
        path.write_bytes(content)
        return path

    return write


def refused(path: Path, *words: str) -> None:
    """Expect a refusal that leaves everything as it was."""
    outside = path.parent.parent
    before = content_of(outside)
    refusal(lambda: unpack(path, path.parent / "set"), *words)
    assert content_of(outside) == before


@pytest.fixture
def no_extraction(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail when anything is extracted, to prove that our own look comes first."""

    def extractall(*args: object, **kwargs: object) -> None:
        raise AssertionError("extraction began")

    monkeypatch.setattr(tarfile.TarFile, "extractall", extractall)
    monkeypatch.setattr(zipfile.ZipFile, "extractall", extractall)


@formats
@pytest.mark.parametrize("top", ["facades", "./facades", "another name", "set"])
def test_an_only_folder_becomes_the_target(
    archive: Callable, pack: Callable, top: str, python: None
) -> None:
    path = archive(pack(below(top)))
    unpack(path, path.parent / "set")
    assert content_of(path.parent / "set") == UNPACKED
    assert {p.name for p in path.parent.iterdir()} == {"archive.part", "set"}


@formats
def test_without_a_top_folder_the_target_holds_all(
    archive: Callable, pack: Callable, python: None
) -> None:
    path = archive(pack(IMAGES))
    unpack(path, path.parent / "set")
    assert content_of(path.parent / "set") == UNPACKED
    assert {p.name for p in path.parent.iterdir()} == {"archive.part", "set"}


@pytest.mark.parametrize("more", [below("__MACOSX"), {"._facades": b"x", ".DS_Store": b"x"}])
def test_what_a_mac_adds_does_not_hide_the_only_folder(archive: Callable, more: dict) -> None:
    path = archive(zip_of(below("facades") | more))
    unpack(path, path.parent / "set")
    assert content_of(path.parent / "set") == UNPACKED


@formats
def test_an_only_file_stays_in_the_target(archive: Callable, pack: Callable) -> None:
    path = archive(pack({"1.jpg": b"one"}))
    unpack(path, path.parent / "set")
    assert content_of(path.parent / "set") == {"1.jpg": b"one"}


def test_names_with_dots_are_no_danger(archive: Callable) -> None:
    files = {"..a/b..jpg": b"1", "...": b"2", "été/ü.jpg": b"3"}
    path = archive(tar_of(files))
    unpack(path, path.parent / "set")
    folders = {"..a": None, "été": None}
    assert content_of(path.parent / "set") == files | folders


@formats
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("name", OUTSIDE + WINDOWS)
def test_a_name_that_leads_outside_is_refused_before_extraction(
    archive: Callable, pack: Callable, name: str, first: bool, no_extraction: None
) -> None:
    files = {name: b"bad"} | IMAGES if first else IMAGES | {name: b"bad"}
    refused(archive(pack(files)), f"the archive would write to {name}", "nothing was unpacked")


KINDS = {"symlink": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE, "fifo": tarfile.FIFOTYPE}
DEVICES = {"character device": tarfile.CHRTYPE, "block device": tarfile.BLKTYPE}


@pytest.mark.parametrize("kind", KINDS | DEVICES)
@pytest.mark.parametrize("to", ["train/1.jpg", "../../out", "/etc/passwd"])
def test_a_link_or_device_in_a_tar_is_refused_before_extraction(
    archive: Callable, kind: str, to: str, no_extraction: None
) -> None:
    special = member("train/special", (KINDS | DEVICES)[kind], to if "link" in kind else "")
    said = "a link" if "link" in kind else "a device"
    refused(archive(tar_of(IMAGES, special)), said, "train/special", "nothing was unpacked")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK])
def test_a_link_or_device_in_a_zip_is_refused_before_extraction(
    archive: Callable, kind: int, no_extraction: None
) -> None:
    special = zipfile.ZipInfo("train/special")
    special.external_attr = (kind | 0o777) << 16
    words = ["a link or a device", "train/special", "nothing was unpacked"]
    refused(archive(zip_of(IMAGES, special)), *words)


def test_a_link_followed_by_a_file_through_it_writes_nothing(
    archive: Callable, tmp_path: Path, python: None
) -> None:
    (tmp_path / "outside").mkdir()
    link = member("set", tarfile.SYMTYPE, str(tmp_path / "outside"))
    refused(archive(tar_of({}, link, member("set/evil"))), "a link", "set")


@formats
@pytest.mark.parametrize("part", [0.02, 0.5, 0.9, 0.999])
def test_a_truncated_archive_is_refused(
    archive: Callable, pack: Callable, part: float, python: None
) -> None:
    whole = pack(below("set", {f"{i}.jpg": noise(3000, seed=i) for i in range(20)}))
    refused(archive(whole[: int(part * len(whole))]), "damaged or incomplete archive")


def test_a_tar_that_lacks_only_the_end_of_its_gzip_is_refused(archive: Callable) -> None:
    refused(archive(tar_of(IMAGES)[:-4]), "damaged or incomplete archive")


@formats
@pytest.mark.parametrize("part", [0.1, 0.3, 0.5, 0.9])
def test_an_archive_with_a_wrong_byte_is_refused(
    archive: Callable, pack: Callable, part: float
) -> None:
    # level 0 and ZIP_STORED: the byte is part of an image, and only the checksum tells
    files = {f"{i}.jpg": noise(3000, seed=i) for i in range(20)}
    content = bytearray(pack(files, **({"level": 0} if pack is tar_of else {})))
    content[int(part * len(content))] ^= 1
    refused(archive(bytes(content)), "damaged or incomplete archive")


@pytest.mark.parametrize("at", [30, 2000, 10_000, 20_000])
def test_a_damaged_compressed_tar_is_refused(archive: Callable, at: int) -> None:
    files = {f"{i}.txt": noise(900, seed=i).hex().encode() * 5 for i in range(20)}
    content = bytearray(tar_of(files))
    assert at + 40 < len(content)
    content[at : at + 40] = bytes(40)
    refused(archive(bytes(content)), "damaged or incomplete archive")


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>\n<p>Sign in</p>\n" * 50, noise()])
def test_what_is_no_archive_is_refused_on_one_line(archive: Callable, content: bytes) -> None:
    refused(archive(content), "damaged or incomplete archive")


@formats
def test_an_empty_archive_is_refused(archive: Callable, pack: Callable) -> None:
    refused(archive(pack({})), "archive", "empty")


def test_a_zip_that_wants_a_password_is_refused(archive: Callable) -> None:
    content = bytearray(zip_of(IMAGES))
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = content.find(signature)
        struct.pack_into("<H", content, at + flags, 1)
    refused(archive(bytes(content)), "archive")


@formats
@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a")])
def test_a_file_and_a_folder_of_one_name_are_refused(
    archive: Callable, pack: Callable, names: tuple[str, str], python: None
) -> None:
    refused(archive(pack(dict.fromkeys(names, b"x"))), "archive")


@formats
@pytest.mark.parametrize("file", [True, False])
def test_an_existing_target_is_not_touched(archive: Callable, pack: Callable, file: bool) -> None:
    path = archive(pack(below("set")))
    target = path.parent / "set"
    if file:
        target.write_bytes(b"mine")
    else:
        target.mkdir()
        (target / "mine").write_bytes(b"mine")
    before = content_of(path.parent)
    with pytest.raises((OSError, ValueError)):
        unpack(path, target)
    assert content_of(path.parent) == before


@formats
def test_a_full_disk_leaves_the_archive_alone(
    archive: Callable, pack: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive(pack(IMAGES))
    before = content_of(path.parent)

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"{'tarfile' if pack is tar_of else 'shutil'}.copyfileobj", full)
    with pytest.raises(OSError, match="No space left"):
        unpack(path, path.parent / "set")
    assert content_of(path.parent) == before
