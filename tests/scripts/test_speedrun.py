"""scripts/speedrun.sh: from images to a page with numbers, in one command."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TINY, draw_pairs

from util.files import ROOT

SPEEDRUN = ROOT / "scripts" / "speedrun.sh"
SMALL = [*TINY, "--netG", "unet_64", "--n_epochs", "1", "--n_epochs_decay", "1"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def speedrun(*flags: object) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHON": sys.executable, "METRICS": "L1 FD-EffLite0"}
    command = ["bash", str(SPEEDRUN), *map(str, flags)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_a_page_with_numbers_is_there_at_the_end_and_a_second_call_resumes():
    pairs = draw_pairs(Path("pairs"), count=5)
    flags = [*SMALL, "--dataroot", pairs, "--name", "mine", "--checkpoints_dir", "my runs"]
    first = speedrun(*flags)
    assert first.returncode == 0, first.stderr
    said = [line for line in first.stdout.splitlines() if line.startswith("speedrun.sh: ")]
    seconds = [int(re.fullmatch(r"speedrun.sh: .* (\d+) s", line)[1]) for line in said[-3:]]
    assert seconds[2] >= max(seconds[:2]) and "download" not in first.stdout
    assert Path("my runs/mine/latest_net_G_ema.pth").exists()
    (page,) = Path("results").glob("**/*evaluation/index.html")
    assert "FD-EffLite0" in page.read_text()

    again = speedrun(*flags, "--n_epochs_decay", 2)
    assert again.returncode == 0, again.stderr
    assert "epoch 3/3 took" in again.stdout + again.stderr
    assert "epoch 2/3 took" not in again.stdout + again.stderr


@pytest.mark.slow
def test_a_wrong_flag_ends_it(pairs):
    done = speedrun("--dataroot", pairs, "--lambda_L", "3")
    assert done.returncode == 2 and "--lambda_L" in done.stderr and "in all" not in done.stdout
