"""How a training of several processes starts, is killed, and goes on in another number of them."""

import logging
import re
import subprocess
import time
from pathlib import Path

import pytest
from conftest import TINY, draw_pairs
from support.torchruns import ROOT, Started, draw_houses, ours, script, torchrun, train_in_two

from train import main
from util.displays.loss_log import parse_line

pytestmark = pytest.mark.slow

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set of five images."""
    folder = tmp_path_factory.mktemp("runs")
    draw_houses(folder / "data", 5)
    return folder


def test_a_killed_process_ends_all_with_one_line(work):
    run = Started(work, "killed", agents=[["--standalone"]])
    run.under_way()
    victim, started = run.worker(0), time.monotonic()
    subprocess.run(["kill", "-9", str(victim)], check=True)
    statuses, said = run.end()
    (line,) = ours(said)
    assert time.monotonic() - started < 60 and statuses == [1]
    assert re.match(
        rf"train.py: process \d of 0..1 \(pid {victim}\) was killed, .*the last checkpoint", line
    )
    assert "Traceback" not in said.split("failed (exitcode")[0]  # torchrun's own comes after


def test_the_readme_line_trains(work, tmp_path):
    (line,) = re.findall(r"^torchrun --nproc_per_node=4 (.*)$", README, re.MULTILINE)
    draw_pairs(tmp_path / "datasets/facades")
    flags = [*line.split()[1:], *TINY]
    done = torchrun(2, ROOT / "train.py", *flags, "--max_dataset_size", 3, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines().count("3 training images") == 1
    assert (tmp_path / "checkpoints/facades_4/latest_net_G.pth").is_file()


def test_a_run_goes_on_in_another_number_of_processes(work, caplog):
    flags = ["--norm", "instance", "--no_dropout", "--pool_size", "0", "--n_epochs_decay", "0"]
    main(script(work, "one", *flags, "--n_epochs", 3)[1:])
    train_in_two(work, "some", *flags, "--n_epochs", 1)
    caplog.set_level(logging.INFO)
    main(script(work, "some", *flags, "--n_epochs", 2, "--continue_train")[1:])
    assert "from 2 to 1" in caplog.text
    done = train_in_two(work, "some", *flags, "--n_epochs", 3, "--continue_train")
    assert "from 1 to 2" in done.stdout
    logs = [(work / "runs" / name / "loss_log.txt").read_text() for name in ("one", "some")]
    one, some = ([e for line in log.splitlines() if (e := parse_line(line))] for log in logs)
    assert [e[:2] for e in one] == [e[:2] for e in some] and len(one) == 9
    for a, b in zip(one, some, strict=True):
        assert all(abs(a.losses[name] - b.losses[name]) <= 0.002 for name in a.losses)


def test_no_thread_that_could_abort_the_end_is_left(tmp_path):
    """Of PyTorch's engine, which takes Python's lock when it frees a tensor, and of our watch."""
    (tmp_path / "alone.py").write_text(
        "import os, threading\n"
        "from pathlib import Path\n"
        "from util import distributed\n"
        "from util.distributed import launch\n"
        "def engine():\n"
        "    names = [p.read_text() for p in Path('/proc/self/task').glob('*/comm')]\n"
        "    return sum('gloo_runloop' in name for name in names)\n"
        "with launch.process_group():\n"
        "    before = engine()\n"
        "found = f'{before} {engine()} {threading.active_count()}'\n"
        "Path(os.environ['RANK']).write_text(found)\n"
    )
    done = torchrun(2, tmp_path / "alone.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = [[int(n) for n in (tmp_path / rank).read_text().split()] for rank in "01"]
    if found[0][0] == 0:
        pytest.skip("this system does not name its threads")
    assert all(before and (after, ours) == (0, 1) for before, after, ours in found)


def test_the_end_of_a_failure_waits_for_nothing(tmp_path):
    (tmp_path / "stuck.py").write_text(
        "import os, time\n"
        "from util import distributed\n"
        "from util.distributed import launch\n"
        "from util.command import run_command\n"
        "class Stuck:\n"
        "    def __del__(self):\n"  # as a GPU's work is that waits for a process that is gone
        "        time.sleep(200)\n"
        "stuck = Stuck()\n"
        "def main(argv):\n"
        "    with launch.process_group():\n"
        "        if os.environ['RANK'] == '1':\n"
        "            raise ValueError('a mistake')\n"
        "        distributed.barrier()\n"
        "raise SystemExit(run_command(main))\n"
    )
    started = time.monotonic()
    done = torchrun(2, tmp_path / "stuck.py", cwd=tmp_path)
    assert time.monotonic() - started < 60 and "(exitcode: 2)" in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("stuck.py: ")]
    assert line.startswith("stuck.py: error: a mistake")


def test_test_py_is_not_for_torchrun(tmp_path):
    done = torchrun(2, ROOT / "test.py", "--name", "nobody", cwd=tmp_path)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("test.py: ")]
    assert done.returncode and "--num_shards" in line and "(exitcode: 2)" in done.stderr
