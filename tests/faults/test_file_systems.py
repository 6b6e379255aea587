"""File systems that offer less than a local disk: network drives, FUSE, foreign folders."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import TINY
from support.failing_calls import fails, lockf_fails

from util.files import atomic_write, make_folder

Command = Callable[..., SimpleNamespace]
FLAGS = [*TINY, "--name", "r", "--no_html", "--num_threads", "0"]


def of_folder(descriptor: int) -> bool:
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


def opens_folder(path: Any, *more: Any) -> bool:
    return Path(path).is_dir()


def write(path: Path, content: bytes) -> None:
    with atomic_write(path) as file:
        file.write(content)


# After the rename, nothing may fail -------------------------------------------------------

FOLDER_SYNC = [
    *(("fsync", number, of_folder) for number in (errno.EINVAL, errno.ENOTSUP, errno.EIO)),
    *(("open", number, opens_folder) for number in (errno.EACCES, errno.EIO, errno.EPERM)),
    ("fsync", errno.EBADF, of_folder),
]


@pytest.mark.parametrize(
    ("call", "number", "when"),
    FOLDER_SYNC,
    ids=[f"{c} {errno.errorcode[n]}" for c, n, _ in FOLDER_SYNC],
)
def test_a_folder_that_cannot_be_synced_keeps_the_new_file(
    tmp_path: Path, monkeypatch, call: str, number: int, when: Callable[..., bool]
) -> None:
    write(tmp_path / "x", b"old")
    with monkeypatch.context() as patch:
        fails(call, number, patch, when)
        write(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"new" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_fsync_keeps_the_new_file(tmp_path, monkeypatch, number) -> None:
    fails("fsync", number, monkeypatch)
    write(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"new"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
def test_a_file_whose_data_are_lost_is_not_renamed(tmp_path, monkeypatch, number) -> None:
    write(tmp_path / "x", b"old")
    fails("fsync", number, monkeypatch, lambda descriptor: not of_folder(descriptor))
    with pytest.raises(OSError) as error:
        write(tmp_path / "x", b"new")
    assert error.value.errno == number
    assert (tmp_path / "x").read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_a_training_on_a_drive_without_fsync_and_locks_saves(command, pairs, monkeypatch) -> None:
    lockf_fails(errno.ENOLCK, monkeypatch, lambda descriptor: True)
    fails("fsync", errno.EINVAL, monkeypatch)
    fails("open", errno.EACCES, monkeypatch, opens_folder)
    for call in ("chmod", "fchmod", "link", "symlink", "utime", "chown"):
        fails(call, errno.EPERM, monkeypatch)
    result = command("train", *FLAGS, "--dataroot", pairs, "--val_freq", "1")
    assert result.status == 0, result.err
    for name in ("latest_state", "latest_net_G", "best_net_G"):
        torch.load(f"checkpoints/r/{name}.pth", weights_only=True)
    assert command("test", "--name", "r", "--gpu_ids", "-1", "--num_threads", "0").status == 0


# The rename ------------------------------------------------------------------------------


def test_the_new_file_is_the_one_that_was_written(tmp_path: Path) -> None:
    """A copy would show half of the content to a reader, and lose it in a crash."""
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        with atomic_write(path) as file:
            file.write(b"new")
            written = os.fstat(file.fileno()).st_ino
            assert path.read_bytes() == b"old"
        assert reader.read() == b"old"
    assert path.stat().st_ino == written and path.read_bytes() == b"new"


def test_a_rename_that_fails_leaves_the_old_file_alone(tmp_path: Path, monkeypatch) -> None:
    write(tmp_path / "x", b"old")
    fails("replace", errno.EIO, monkeypatch)
    with pytest.raises(OSError, match="Input/output error"):
        write(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_the_file_is_synced_then_renamed_then_its_folder_is_synced(tmp_path, monkeypatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        where = os.fstat(descriptor)
        if of_folder(descriptor):
            assert where.st_ino == tmp_path.stat().st_ino
        done.append("folder" if of_folder(descriptor) else f"{where.st_size} bytes")
        fsync(descriptor)

    def noted_replace(*paths: Any) -> None:
        done.append("rename")
        replace(*paths)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    write(tmp_path / "x", b"12345")
    assert done == ["5 bytes", "rename", "folder"]


def test_two_containers_with_equal_process_ids_do_not_share_a_temporary_file(tmp_path) -> None:
    with atomic_write(tmp_path / "x") as one, atomic_write(tmp_path / "x") as other:
        one.write(b"one")
        other.write(b"another")
        assert one.name != other.name
    assert (tmp_path / "x").read_bytes() == b"one"


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="no files without a name")
def test_a_folder_from_which_an_open_file_cannot_be_removed_is_writable(tmp_path, monkeypatch):
    nameless = os.O_TMPFILE
    fails("open", errno.ENOTSUP, monkeypatch, lambda _, flags, *__: flags & nameless == nameless)
    fails("unlink", errno.EBUSY, monkeypatch)
    assert make_folder(tmp_path / "a", "--results_dir") == tmp_path / "a"
