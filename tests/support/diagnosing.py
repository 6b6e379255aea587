"""A fixture of the tests of the doctor, which name this file in `pytest_plugins`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from scripts import doctor
from util.command import run_command

SMALL = ("--load_size", "48", "--crop_size", "32")  # so that small images get no remark


@pytest.fixture
def diagnose(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture,
) -> Callable[..., tuple[int, str]]:
    """Run the doctor in an empty folder: status and all that it says."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def run(root: Path, *flags: object) -> tuple[int, str]:
        caplog.clear()
        words = ["--dataroot", root, "--num_threads", "1", *SMALL, *flags]
        status = run_command(doctor.main, [*map(str, words)])
        said = [record.getMessage() for record in caplog.records]
        return status, "\n".join([*said, capsys.readouterr().err])

    return run
