"""`python scripts/NAME.py`, from any folder, is `python -m scripts.NAME`."""

import subprocess
import sys
from pathlib import Path

import pytest

from util.files import ROOT

NAMES = sorted(path.stem for path in (ROOT / "scripts").glob("[!_]*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_help(tmp_path: Path, name: str) -> None:
    line = [sys.executable, ROOT / "scripts" / f"{name}.py", "--help"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and f"scripts.{name}" in done.stdout and not done.stderr
