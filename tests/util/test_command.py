"""The commands that are printed work where the user is, as the user started this one."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import TINY, draw_pairs, draw_sets

from options.train_options import TrainOptions
from training import commands
from util.command import python, run_line, script, torchrun, words_of

Command = Callable[..., SimpleNamespace]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let this process be started by the given words, in the given folder."""

    def start(*words: str | Path, where: Path = ROOT) -> None:
        monkeypatch.chdir(where)
        monkeypatch.setattr(sys, "orig_argv", [str(word) for word in words])
        monkeypatch.setattr(sys, "argv", [str(word) for word in words[1:]])

    return start


def test_in_the_projects_folder_a_line_is_short(typed) -> None:
    typed("python", "train.py")
    assert run_line("test.py", "--name", "r") == "python test.py --name r"
    line = run_line("scripts.doctor", "--dataroot", Path("my data"))
    assert line == "python -m scripts.doctor --dataroot 'my data'"


@pytest.mark.parametrize("start", ["python3", "python3.11", ".venv/bin/python", "/opt/bin/python"])
def test_python_is_named_as_it_was_typed(typed, start: str) -> None:
    typed(start, "train.py")
    assert run_line("test.py") == f"{start} test.py"
    assert python() == [start]


def test_a_program_of_another_name_is_not_repeated(typed) -> None:
    typed("pytest", "tests")
    assert python() == ["python"]


def test_a_script_is_named_from_another_folder(typed, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(ROOT)
    for given in ("link/train.py", ROOT / "train.py", os.path.relpath(ROOT / "train.py", tmp_path)):
        typed("python", given, where=tmp_path)
        assert script("test.py") == str(Path(given).with_name("test.py"))
        assert Path(script("test.py")).samefile(ROOT / "test.py")


def test_another_train_py_in_the_users_folder_is_not_meant(typed, tmp_path: Path) -> None:
    (tmp_path / "test.py").write_text("")
    typed("python", "train.py", where=tmp_path)
    assert script("test.py") == str(ROOT / "test.py")


def test_a_module_is_found_from_another_folder(typed, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "bin").mkdir()
    typed("bin/python", ROOT / "train.py", where=tmp_path)
    line = run_line("scripts.doctor", "--dataroot", Path("data"), "--dataset_mode", "single")
    start = f"cd {ROOT} && {tmp_path}/bin/python -m scripts.doctor"
    assert line == f"{start} --dataroot {tmp_path}/data --dataset_mode single"
    monkeypatch.setenv("PYTHONPATH", f"/elsewhere{os.pathsep}{ROOT}")
    line = run_line("scripts.doctor", "--dataroot", Path("data"))
    assert line == "bin/python -m scripts.doctor --dataroot data"


def test_torchrun_is_that_of_this_python(typed, tmp_path: Path, monkeypatch) -> None:
    typed("python", "train.py")
    assert torchrun() == ["torchrun"]
    (tmp_path / "torchrun").touch()
    typed(tmp_path / "python", "train.py")
    assert torchrun() == [f"{tmp_path}/torchrun"]
    monkeypatch.setenv("UV", "/bin/uv")
    assert torchrun() == ["uv", "run", "torchrun"] and python() == ["uv", "run"]


def test_the_line_for_several_gpus_names_the_script(typed, tmp_path: Path) -> None:
    typed("python", ROOT / "train.py", where=tmp_path)
    given = ["--gpu_ids", "0,1", "--name", "two words"]
    line = commands.torchrun_line(SimpleNamespace(gpu_ids=[0, 1], batch_size=1), given)
    words = ["torchrun", "--nproc_per_node=2", f"{ROOT}/train.py", *given, "--batch_size", "2"]
    assert shlex.split(line) == words


def flags_in(line: str, module: str) -> list[str]:
    """Return the flags of a printed command that runs a module."""
    return shlex.split(line.partition(f" -m {module} ")[2])


@pytest.mark.parametrize(
    ("mode", "draw", "flags"),
    [
        ("aligned", draw_pairs, []),
        ("unaligned", draw_sets, ["--model", "cycle_gan"]),
        ("colorization", draw_pairs, ["--model", "colorization"]),
    ],
)
def test_the_hint_at_doctor_fits_the_dataset(
    command: Command, caplog, tmp_path: Path, mode: str, draw: Callable, flags: list[str]
) -> None:
    """It finds the one bad image and nothing else, such as missing partners."""
    root = draw(tmp_path / "it's data")
    bad = next(root.glob("train*/*0.png"))
    bad.write_bytes(b"no image")
    result = command("train", *TINY, "--dataroot", os.path.relpath(root), *flags)
    hint = re.search(r"; (\S.*) checks all images", result.err)[1]
    caplog.clear()
    assert command("scripts.doctor", *flags_in(hint, "scripts.doctor")).status == 1
    found = [message for message in caplog.messages if message.startswith("BAD")]
    assert len(found) == 1 and bad.name in found[0]


def test_the_hint_at_doctor_knows_no_dataset_of_the_user(command, drop, pairs) -> None:
    drop("data/own_dataset.py", "from data.aligned_dataset import AlignedDataset as OwnDataset\n")
    (pairs / "train/0.png").write_bytes(b"no image")
    result = command("train", *TINY, "--dataroot", pairs, "--dataset_mode", "own")
    assert "--dataset_mode single checks all images" in result.err


@pytest.mark.parametrize(
    ("folders", "flags"),
    [
        (["train", "test"], []),
        (["trainA", "trainB", "testA", "testB"], []),
        (["train", "val"], ["--phase", "val"]),
        (["train"], ["--phase", "train"]),
        (["trainA", "trainB", "testA"], ["--phase", "train"]),
        ([], []),
    ],
)
def test_the_line_for_results_chooses_images_that_are_there(
    typed, tmp_path: Path, folders: list[str], flags: list[str]
) -> None:
    typed("python", "train.py")
    for name in folders:
        (tmp_path / name).mkdir()
    places = {"checkpoints_dir": "./checkpoints", "dataroot": str(tmp_path)}
    kind = {"dataset_mode": "aligned", "direction": "AtoB"}
    opt = SimpleNamespace(name="r", phase="train", **places, **kind)
    assert commands.results_line(opt) == shlex.join(["python", "test.py", "--name", "r", *flags])


@pytest.mark.parametrize("folder", ["testA", "testA1"])
def test_a_test_of_measurements_needs_no_targets(typed, tmp_path: Path, folder: str) -> None:
    typed("python", "train.py")
    for name in ("trainA", "trainB", folder):
        (tmp_path / name).mkdir()
    places = {"checkpoints_dir": "./checkpoints", "dataroot": str(tmp_path)}
    kind = {"dataset_mode": "measurements", "direction": "AtoB"}
    opt = SimpleNamespace(name="r", phase="train", **places, **kind)
    assert commands.results_line(opt) == shlex.join(["python", "test.py", "--name", "r"])


@pytest.mark.slow
def test_the_printed_lines_run_in_the_users_folder(tmp_path: Path) -> None:
    root = draw_pairs(tmp_path / "it's data")
    (tmp_path / "link").symlink_to(ROOT)

    def run(line: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=120
        )

    flags = [*TINY, "--dataroot", root.name, "--checkpoints_dir", "my runs", "--no_html"]
    start = shlex.join([sys.executable, "link/train.py", *flags])
    done = run(start)
    line = done.stdout.partition("see results with: ")[2].splitlines()[0]
    assert " link/test.py " in line and run(line).returncode == 0
    assert len(list((tmp_path / "results").rglob("*fake_B.png"))) == 3
    (root / "train/0.png").write_bytes(b"no image")
    hint = re.search(r"; (\S.*) checks all images", run(start).stderr)[1]
    done = run(hint)
    assert done.returncode == 1 and "1 bad, 0 remarks" in done.stdout, done.stderr


def test_in_a_notebook_nothing_is_parsed_by_default(monkeypatch) -> None:
    line = ["-f", "/run/jupyter/kernel-1.json"]
    for launcher in ("/lib/ipykernel_launcher.py", "/lib/colab_kernel_launcher.py"):
        monkeypatch.setattr(sys, "argv", [launcher, *line])
        assert words_of(None) == [] and words_of(("--lr", 1)) == ["--lr", "1"]
        assert TrainOptions().parse().name == "experiment_name"
    monkeypatch.setattr(sys, "argv", ["train.py", "--name", "mine"])
    assert words_of(None) == ["--name", "mine"] and TrainOptions().parse().name == "mine"
