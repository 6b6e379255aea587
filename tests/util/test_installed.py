"""A Python that lacks the packages, or is too old, is told in one line."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from util import installed

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "command",
    [["train.py"], ["test.py"], ["-m", "scripts.evaluate"], ["datasets/combine_A_and_B.py"]],
    ids=" ".join,
)
def test_missing_packages_are_one_line(command: list[str]) -> None:
    bare = [sys.executable, "-S", *command]  # -S: no folder of installed packages
    done = subprocess.run(bare, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert all(name in done.stderr for name in (*installed.PACKAGES, "uv run", "requirements.txt"))


def test_the_packages_are_those_that_a_start_imports() -> None:
    code = "import sys, train, test; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    loaded = done.stdout.split()
    optional = {"torchvision", "matplotlib"}
    assert set(installed.PACKAGES) <= set(loaded) and not optional & set(loaded)


def test_an_old_python_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 8, 10, "final", 0))
    assert "3.10 or newer is needed" in installed.what_is_missing()
    assert "is 3.8.10" in installed.what_is_missing()


@pytest.mark.parametrize(
    "name", ["train.py", "test.py", "scripts/__init__.py", "util/__init__.py", "util/installed.py"]
)
def test_an_old_python_can_read_what_comes_before(name: str) -> None:
    ast.parse((ROOT / name).read_text(encoding="utf-8"), feature_version=(3, 8))


@pytest.mark.parametrize(
    ("argv0", "said"),
    [("train.py", "train.py: interrupted\n"), ("-m", "-m: interrupted\n"), ("mine.py", None)],
)
def test_ctrl_c_during_the_imports(argv0: str, said: str | None) -> None:
    code = f"import sys; sys.argv = [{argv0!r}]; import util.installed; raise KeyboardInterrupt"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert done.stderr == said if said else "Traceback" in done.stderr
