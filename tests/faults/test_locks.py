"""A run folder is locked where the file system can, and no lock costs a run."""

import errno
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from support.failing_calls import lockf_fails

from training import run_lock
from training.run_lock import lock_run_folder


def to_the_lock(descriptor: int) -> bool:
    return Path(os.readlink(f"/proc/self/fd/{descriptor}")).name == ".lock"


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks at /proc")
@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EACCES])
def test_a_lock_that_somebody_holds_refuses_the_run(tmp_path, monkeypatch, number: int) -> None:
    """Linux says EAGAIN, SMB and other systems EACCES; another file can be locked then."""
    (tmp_path / ".lock").write_text('{"process": 7, "machine": "other"}')
    lockf_fails(number, monkeypatch, to_the_lock)
    with pytest.raises(ValueError, match="is in use by process 7 on other; wait"):
        with lock_run_folder(tmp_path):
            pass
    assert (tmp_path / ".lock").read_text() == '{"process": 7, "machine": "other"}'


NO_LOCKS = [errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL]


@pytest.mark.parametrize("number", [*NO_LOCKS, errno.EACCES, errno.EAGAIN, errno.EIO, errno.EPERM])
def test_a_drive_without_locks_trains_after_a_warning(
    tmp_path: Path, monkeypatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    """NFS says EACCES without permission, and EAGAIN without a lock server: of every file."""
    lockf_fails(number, monkeypatch, lambda descriptor: True)
    with lock_run_folder(tmp_path, {"job": "5"}):
        assert f"{tmp_path} cannot be locked ({os.strerror(number)})" in caplog.text
    assert '"job": "5"' in (tmp_path / ".lock").read_text()  # a restart resumes by it


def test_a_lock_file_of_another_user_is_no_obstacle(tmp_path, monkeypatch, caplog) -> None:
    true = Path.open

    def forbidden(path: Path, *how: Any, **more: Any) -> Any:
        if path.name == ".lock":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return true(path, *how, **more)

    monkeypatch.setattr(Path, "open", forbidden)
    with lock_run_folder(tmp_path):
        assert "cannot be locked (Permission denied)" in caplog.text


def test_a_disk_without_room_for_the_lock_is_named(tmp_path, monkeypatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(run_lock.json, "dump", full)
    with pytest.raises(ValueError, match=r"^--checkpoints_dir: .*/.lock cannot be written \(No sp"):
        with lock_run_folder(tmp_path):
            pass


def test_a_drive_that_disappears_does_not_hide_the_error_of_the_run(tmp_path, monkeypatch) -> None:
    folder = tmp_path / "drive" / "r"
    with pytest.raises(ZeroDivisionError), lock_run_folder(folder):
        folder.rename(tmp_path / "gone")
        raise ZeroDivisionError


def test_windows_locks_a_byte_that_no_reader_needs(tmp_path: Path, monkeypatch) -> None:
    """Its locks keep others from reading, and begin where the file is: at its end, in mode a."""
    locked: list[tuple[int, int, int]] = []

    class Windows:
        LK_NBLCK = 2

        @staticmethod
        def locking(descriptor: int, how: int, count: int) -> None:
            locked.append((os.lseek(descriptor, 0, os.SEEK_CUR), how, count))

    monkeypatch.setitem(sys.modules, "msvcrt", Windows)
    for content in ("", '{"process": 7}'):
        (tmp_path / ".lock").write_text(content)
        with (tmp_path / ".lock").open("a+") as file, monkeypatch.context() as patch:
            patch.setattr(os, "name", "nt")
            run_lock._lock(file.fileno())
    assert locked == [(run_lock.FAR, 2, 1)] * 2
