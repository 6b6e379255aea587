"""Weights & Biases: an offline run read back; servers that hang, and a process that dies."""

import io
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.servers import (
    LOSSES,
    be_patient,
    deaf_server,
    free_port,
    show_step,
    start_run,
    time_displays,
    visuals,
    wait_for,
    wandb_history,
    wandb_records,
    wandb_without_account,
    warnings,
)

from util.displays import wandb_display, wandb_process
from util.displays.val_log import Scores
from util.util import tensor2im
from util.visualizer import Visualizer

pytestmark = pytest.mark.slow  # servers, browsers: seconds each

FLAGS = ["--use_wandb", "--wandb_project_name", "tests"]


def cores(children: list[subprocess.Popen]) -> list[Path]:
    """Return the processes that the client has started for itself, where the system tells."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_text()
        except OSError:
            continue
        if any("wandb-core" in line and f"--pid\0{child.pid}\0" in line for child in children):
            found.append(path)
    return found


@pytest.fixture(autouse=True)
def children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen]]:
    """The processes that a test starts; nobody has an account, and none outlives the test."""
    started: list[subprocess.Popen] = []

    class Child(subprocess.Popen):
        def __init__(self, *args: Any, **kwargs: Any):
            super().__init__(*args, **kwargs)
            started.append(self)

    monkeypatch.setattr(wandb_display.subprocess, "Popen", Child)
    wandb_without_account(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    yield started
    for child in started:
        child.kill()
        child.wait()
    wait_for(lambda: not cores(started), "the end of the client's own process")


@pytest.mark.parametrize("mode", ["offline", None], ids=["as asked", "for want of a key"])
def test_an_offline_run_holds_losses_images_and_options(
    mode: str | None, tmp_path: Path, children, caplog, monkeypatch, capfd
) -> None:
    be_patient(monkeypatch)
    if mode:
        monkeypatch.setenv("WANDB_MODE", mode)
    visualizer = start_run(tmp_path, *FLAGS, "--lr", "0.125")
    shown = visuals([(3, 6, 8), (1, 5, 7), (3, 6, 8)])
    visualizer.print_current_losses(1, 2, {"G_GAN": 0.75, "D": 0.5}, 0.5, 0.25)
    visualizer.display_current_results(shown, 1, False, 2)
    visualizer.print_scores(Scores(1, {"L1": 0.125}))
    visualizer.print_current_losses(2, 1, {"G_GAN": 0.25, "D": float("nan")}, 0.5, 0.25)
    visualizer.close()
    assert warnings(caplog) == [] and capfd.readouterr() == ("", "")
    (child,) = children
    assert child.returncode == 0
    rows = wandb_history(tmp_path)
    assert list(rows) == [2, 3, 4]
    assert (rows[3]["val/L1"], rows[3]["epoch"]) == (0.125, 1)
    assert (rows[2]["G_GAN"], rows[2]["D"], rows[2]["epoch"]) == (0.75, 0.5, 1)
    assert rows[4]["G_GAN"] == 0.25 and np.isnan(rows[4]["D"]) and rows[4]["epoch"] == 2
    (folder,) = tmp_path.glob("wandb/offline-run-*")
    assert f"wandb sync {folder}" in caplog.text
    for label, wanted in shown.items():
        image = Image.open(folder / "files" / rows[2][f"{label}.path"]).convert("RGB")
        wanted = tensor2im(wanted)
        np.testing.assert_array_equal(image, np.broadcast_to(wanted, (*wanted.shape[:2], 3)))
    (run,) = [r.run for r in wandb_records(tmp_path) if r.HasField("run")]
    assert (run.project, run.display_name) == ("tests", "r")
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["lr"] == 0.125 and config["max_dataset_size"] == "inf"


@pytest.mark.parametrize("server", ["deaf", "absent"])
def test_a_server_that_hangs_or_is_absent_costs_two_seconds_and_one_warning(
    server: str, tmp_path: Path, children, caplog, monkeypatch
) -> None:
    times = time_displays(monkeypatch)
    with deaf_server() if server == "deaf" else nullcontext(free_port()) as port:
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
        visualizer = start_run(tmp_path, *FLAGS)
        for n in (1, 2, 3):
            show_step(visualizer, n)
        wait_for(lambda: children, "the child")
        visualizer.close()
        assert times.are_bounded()
        assert len(warnings(caplog)) == 1 and "Weights & Biases: " in warnings(caplog)[0]


def go_on_until_given_up(visualizer: Visualizer, children: list[subprocess.Popen]) -> None:
    """Show more steps when the process has ended."""
    wait_for(lambda: children and children[0].poll() is not None, "the end of the process")
    wait_for(lambda: show_step(visualizer, 2) or visualizer.live[0].given_up, "the warning")
    show_step(visualizer, 3)
    visualizer.close()


def test_a_process_that_fails_gives_one_warning_with_its_last_words(
    tmp_path: Path, children, caplog, monkeypatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "sideways")
    times = time_displays(monkeypatch)
    visualizer = start_run(tmp_path, *FLAGS)
    show_step(visualizer, 1)
    go_on_until_given_up(visualizer, children)
    assert times.are_bounded(close=0)
    assert len(warnings(caplog)) == 1 and "\n" not in warnings(caplog)[0]
    for words in ("Weights & Biases: ", "sideways", "the run continues without it"):
        assert words in warnings(caplog)[0]


def test_a_process_that_is_killed_gives_one_warning(
    tmp_path: Path, children, caplog, monkeypatch
) -> None:
    times = time_displays(monkeypatch)
    visualizer = start_run(tmp_path, *FLAGS)
    show_step(visualizer, 1)
    wait_for(lambda: children, "the child")[0].kill()
    go_on_until_given_up(visualizer, children)
    assert times.are_bounded(close=0)
    ending = "ended with status -9; the run continues without it"
    assert warnings(caplog) == [f"Weights & Biases: {ending}"]


def test_a_process_that_fails_while_it_finishes_is_warned_of(
    tmp_path: Path, children, caplog, monkeypatch
) -> None:
    be_patient(monkeypatch)
    monkeypatch.setenv("WANDB_MODE", "sideways")
    visualizer = start_run(tmp_path, *FLAGS)
    visualizer.print_current_losses(1, 1, LOSSES, 0.5, 0.25)
    visualizer.close()
    assert children[0].returncode == 1
    assert len(warnings(caplog)) == 1 and "sideways" in warnings(caplog)[0]


def test_an_upload_without_end_ends_after_its_limit(tmp_path: Path) -> None:
    (tmp_path / "wandb.py").write_text(
        "import time\n"
        "Settings = dict\n"
        "login = lambda prompt: True\n"
        "class run:\n"
        "    dir = url = 'somewhere/files'\n"
        "    finish = staticmethod(lambda: time.sleep(600))\n"
        "init = lambda **kwargs: run\n"
    )
    folders = [str(tmp_path), str(Path(wandb_process.__file__).parent)]
    start = (
        f"import sys; sys.path[:0] = {folders!r}\n"
        "import wandb_process; wandb_process.LINGER = 0.2; wandb_process.main(sys.stdin.buffer)"
    )
    messages = io.BytesIO()
    pickle.dump({"project": "p"}, messages)
    done = subprocess.run([sys.executable, "-c", start], input=messages.getvalue(), timeout=60)
    assert done.returncode == 1 and wandb_process.LINGER <= 60
