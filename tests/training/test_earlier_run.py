"""A forgotten --continue_train costs no run: the earlier one is moved aside, whole."""

import hashlib
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import TINY
from support.training_faults import on_two_pairs

from training import earlier_run
from training.earlier_run import free_name, own_run_folder
from training.run_lock import LaunchInfo
from training.trainer import Trainer
from util.errors import RunStopped

RUN = Path("checkpoints/r")
FLAGS = [*TINY, "--ngf", "2", "--ndf", "2", "--no_html", "--max_dataset_size", "2"]
ALONE = [LaunchInfo("", "", 0)]


@pytest.fixture
def train(command: Callable[..., SimpleNamespace], caplog: pytest.LogCaptureFixture) -> Any:
    """Train on two pairs: `train(*flags)`."""
    return on_two_pairs(command, caplog, *FLAGS, "--name", "r")


def content(folder: Path) -> dict[str, str]:
    """Return the hashes of all files but the lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    digest = lambda path: hashlib.sha256(path.read_bytes()).hexdigest()  # noqa: E731
    return {str(path.relative_to(folder)): digest(path) for path in files}


def aside() -> list[Path]:
    return sorted(Path("checkpoints").glob("r.before-*"))


def test_the_same_command_again_keeps_both_runs(train) -> None:
    assert train("--val_freq", "1", "--save_epoch_freq", "1").status == 0
    before = content(RUN)
    result = train("--seed", "1")
    assert result.status == 0
    (kept,) = aside()
    assert content(kept) == before
    assert re.fullmatch(r"r\.before-\d{4}-\d\d-\d\d-\d{6}", kept.name)
    assert not list(RUN.glob("best_*")) and not (RUN / "val_log.csv").exists()
    (line,) = [line for line in result.out.splitlines() if kept.name in line]
    assert "MB" in line or "kB" in line
    assert f"--name {kept.name} --continue_train" in line and "--overwrite" in line


def test_the_line_that_is_printed_resumes_the_earlier_run(train, command) -> None:
    assert train().status == 0
    result = train("--seed", "1")
    words = shlex.split(re.search(r"to resume it: (.*) \(", result.out)[1])
    assert command("train", *words[words.index("--name") :], "--n_epochs", "2").status == 0
    (kept,) = aside()
    assert torch.load(kept / "latest_state.pth", weights_only=True)["progress"]["epoch"] == 3


@pytest.mark.parametrize("flags", [["--continue_train", "--n_epochs", "2"], ["--overwrite"]])
def test_a_resume_and_overwrite_move_nothing(train, flags) -> None:
    assert train().status == 0 and train(*flags).status == 0
    assert not aside()


def test_both_flags_contradict_each_other(train) -> None:
    assert train().status == 0
    before = content(RUN)
    result = train("--continue_train", "--overwrite")
    assert result.status == 2 and "--overwrite: would delete what" in result.err
    assert content(RUN) == before and not aside()


def test_a_run_that_has_saved_nothing_is_trained_in_its_place(train) -> None:
    RUN.mkdir(parents=True)
    (RUN / "loss_log.txt").write_text("older\n")
    assert train().status == 0 and not aside()


@pytest.mark.parametrize(
    "flags", [["--dataroot", "none"], ["--netG", "unet_999"], ["--input_nc", "4"]]
)
def test_a_command_that_cannot_train_leaves_the_run_where_it_is(train, flags, caplog) -> None:
    assert train().status == 0
    caplog.clear()
    before = content(RUN)
    assert train(*flags).status == 2
    assert content(RUN) == before and not aside()
    assert "earlier run" not in caplog.text


def test_a_run_that_has_begun_stays_beside_the_earlier_one(train, monkeypatch) -> None:
    assert train().status == 0
    before = content(RUN)

    def stop(self: Trainer) -> None:
        (RUN / "latest_net_G.pth").write_bytes(b"of an odd model")
        raise RunStopped("odd", 1)

    monkeypatch.setattr(Trainer, "run", stop)
    assert train().status == 1
    assert content(aside()[0]) == before and (RUN / "latest_net_G.pth").exists()


def test_names_of_one_second_differ(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(time, "strftime", lambda form: "2026-11-28-140507")
    names = []
    for _ in range(3):
        path = free_name(tmp_path / "r")
        path.mkdir()
        names.append(path.name)
    assert names == [f"r.before-2026-11-28-140507{end}" for end in ("", "-2", "-3")]


def owned(folder: Path, launches: list[LaunchInfo] = ALONE) -> Any:
    opt = SimpleNamespace(
        checkpoints_dir=folder.parent, name=folder.name, continue_train=False, overwrite=False
    )
    return own_run_folder(opt, launches)


def test_the_new_folder_is_locked_and_the_old_one_is_free(tmp_path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "latest_net_G.pth").touch()
    with owned(tmp_path / "r"):
        (old,) = tmp_path.glob("r.before-*")
        assert in_use(tmp_path / "r") and not in_use(old)


def in_use(folder: Path) -> bool:
    """Return whether another process finds the folder locked."""
    code = (
        "import sys; from pathlib import Path; from training.run_lock import lock_run_folder\n"
        "with lock_run_folder(Path(sys.argv[1])): pass"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code, folder], cwd=root, capture_output=True)
    assert done.returncode == 0 or b"is in use" in done.stderr
    return done.returncode != 0


def test_a_restart_of_the_same_launch_moves_nothing(tmp_path) -> None:
    folder = tmp_path / "r"
    with owned(folder, [LaunchInfo("7", "agent", 0)]):
        (folder / "best_net_G.pth").touch()  # the best weights may come before the first state
    with owned(folder, [LaunchInfo("7", "agent", 1)]):
        pass
    assert not list(tmp_path.glob("r.before-*"))
    with owned(folder, [LaunchInfo("8", "other", 0)]):
        assert list(tmp_path.glob("r.before-*"))


def test_a_restart_of_a_launch_that_has_put_the_earlier_run_back_moves_it_again(tmp_path) -> None:
    folder = tmp_path / "r"
    folder.mkdir()
    (folder / "latest_net_G.pth").write_bytes(b"earlier")
    with pytest.raises(MemoryError), owned(folder, [LaunchInfo("7", "agent", 0)]):
        raise MemoryError
    assert (folder / "latest_net_G.pth").read_bytes() == b"earlier"
    with owned(folder, [LaunchInfo("7", "agent", 1)]):
        assert not (folder / "latest_net_G.pth").exists()
        (old,) = tmp_path.glob("r.before-*")
        assert (old / "latest_net_G.pth").read_bytes() == b"earlier"


def test_without_an_id_only_the_agent_tells_a_restart(tmp_path) -> None:
    folder = tmp_path / "r"
    with owned(folder, [LaunchInfo("none", "agent", 0)]):
        (folder / "latest_net_G.pth").write_bytes(b"earlier")
    with owned(folder, [LaunchInfo("none", "agent", 1)]):
        assert (folder / "latest_net_G.pth").exists()
    with owned(folder, [LaunchInfo("none", "other", 1)]):  # attempt 0 came to nothing
        assert not (folder / "latest_net_G.pth").exists()


def test_of_a_link_the_folder_is_moved_on_its_own_disk(tmp_path) -> None:
    real = tmp_path / "large disk" / "r"
    real.mkdir(parents=True)
    (real / "latest_net_G.pth").touch()
    (tmp_path / "r").symlink_to(real)
    with owned(tmp_path / "r"):
        (tmp_path / "r" / "new_net_G.pth").touch()
    assert (tmp_path / "r").is_symlink() and [p.name for p in real.glob("*.pth")] == [
        "new_net_G.pth"
    ]
    assert list(real.parent.glob("r.before-*/latest_net_G.pth"))


def test_a_folder_that_cannot_be_renamed_is_named(tmp_path, monkeypatch) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "latest_net_G.pth").touch()

    def busy(self: Path, target: Path) -> None:
        raise OSError(16, os.strerror(16))

    monkeypatch.setattr(Path, "rename", busy)
    launch = [LaunchInfo("7", "agent", 0)], [LaunchInfo("7", "agent", 1)]
    for launches in (ALONE, *launch):  # nor does a restart take it for its own
        with pytest.raises(
            ValueError, match=r"--name r: .*\(Device or .* busy\); use another --na"
        ):
            with owned(tmp_path / "r", launches=launches):
                pass
    assert (tmp_path / "r" / "latest_net_G.pth").exists()


@pytest.mark.skipif(os.name != "posix", reason="forks")
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_while_it_is_moved_leaves_it_whole(tmp_path, monkeypatch, moment: str) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "latest_net_G.pth").write_bytes(b"whole")
    rename = Path.rename

    def killed(self: Path, target: Path) -> None:
        if moment == "after":
            rename(self, target)
        os._exit(9)

    monkeypatch.setattr(Path, "rename", killed)
    child = os.fork()
    if not child:
        with owned(tmp_path / "r"):
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    monkeypatch.undo()
    (found,) = tmp_path.rglob("latest_net_G.pth")
    assert found.read_bytes() == b"whole"
    with owned(tmp_path / "r"):
        pass
    assert len(list(tmp_path.glob("r.before-*"))) == 1
    (found,) = tmp_path.rglob("latest_net_G.pth")
    assert found.read_bytes() == b"whole"


def test_windows_moves_it_without_an_open_file(tmp_path, monkeypatch) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "latest_net_G.pth").touch()
    rename, seen = Path.rename, []

    def look(self: Path, target: Path) -> None:
        seen.append(in_use(self))
        rename(self, target)

    monkeypatch.setattr(Path, "rename", look)
    monkeypatch.setattr(earlier_run, "WINDOWS", True)
    with owned(tmp_path / "r"):
        (tmp_path / "r" / "new_net_G.pth").touch()
    assert seen == [False] and list(tmp_path.glob("r.before-*"))


def test_a_mistake_leaves_no_new_folder(train) -> None:
    result = train("--dataset_mode", "single")
    assert result.status == 2 and "--dataset_mode single: has no images B" in result.err
    assert not Path("checkpoints").exists()


def test_a_file_is_no_dataroot(command, tmp_path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"")
    result = command("train", *FLAGS, "--dataroot", file)
    assert result.status == 2 and f"--dataroot {file}: is a file; give the folder" in result.err
