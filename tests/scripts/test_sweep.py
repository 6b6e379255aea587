"""scripts/sweep.py: its file, its trainings, going on, its table, what it refuses."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean, stdev
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import TINY, draw_pairs
from support.measured_files import numbers, write_nifti

from options.config_files import PRESETS, read_yaml
from scripts import sweep
from scripts.sweeps import train_runs
from scripts.sweeps.plan import read_plan
from scripts.sweeps.train_runs import finished
from util.checkpoint import load

ROOT = Path(__file__).resolve().parents[2]
FLAGS = dict(zip([flag.removeprefix("--") for flag in TINY[::2]], TINY[1::2], strict=True))
PLAN = {
    "runs": {
        "L1": {"config": str(PRESETS / "loss_L1.yaml")},
        "cGAN": str(PRESETS / "loss_cGAN.yaml"),
    },
    "seeds": [0, 1],
    "flags": {**FLAGS, "dataroot": "data", "no_html": True},
    "evaluate": {"metrics": ["L1", "SSIM"], "gpu_ids": -1, "num_threads": 1},
}


def written(plan: dict[str, Any], name: str = "plan.yaml") -> Path:
    Path(name).write_text(yaml.safe_dump(plan, sort_keys=False))
    return Path(name)


@pytest.fixture
def run(command, caplog, in_this_process):
    """Run the script on a plan, with images in data/; return its status and lines."""
    draw_pairs(Path("data"), count=2)

    def run(plan: dict[str, Any] = PLAN, *flags: Any, name: str = "plan.yaml") -> Any:
        caplog.clear()
        result = command("scripts.sweep", written(plan, name), *flags)
        return result.status, [*caplog.messages, result.err.strip()]

    return run


@pytest.mark.slow
def test_a_sweep_trains_every_row_with_every_seed_and_goes_on_where_it_was(run, monkeypatch):
    status, lines = run()
    assert status == 0, lines
    states = {p.parent.name: load(p) for p in Path("checkpoints/plan").glob("*/latest_state.pth")}
    assert {name: state["options"]["seed"] for name, state in states.items()} == {
        f"{label}_seed{seed}": seed for label in ("L1", "cGAN") for seed in (0, 1)
    }
    for name, state in states.items():
        assert state["options"]["ngf"] == 4 and state["options"]["dataroot"] == "data"
        assert ("D" in state["networks"]) == name.startswith("cGAN")

    rows = [re.split(r" *\| *", line)[1:-1] for line in lines if line.startswith("| ")]
    costs = ["images/s (higher is better)", "peak GB (lower is better)"]
    assert rows[0] == ["", "L1 (lower is better)", "SSIM (higher is better)", *costs]
    numbers = json.loads(Path("results/plan/sweep.json").read_text())
    for label, *cells in rows[1:]:
        for cell in cells[2:]:
            assert float(cell.split()[0]) > 0
        for metric, cell in zip(("L1", "SSIM"), cells[:2], strict=True):
            values = []
            for seed in (0, 1):
                told = f"results/plan/{label}_seed{seed}/test_latest"
                values.append(measured_again(told, metric))
            assert numbers["values"][label][metric] == pytest.approx(values)
            assert cell == f"{fmean(values):.4f} ± {stdev(values):.4f}"
        state = states[f"{label}_seed0"]["progress"]
        assert numbers["values"][label]["images/s"][0] == state["total"] / state["seconds"]
    assert "\n".join(line for line in lines if line.startswith("|")) in Path(
        "results/plan/sweep.md"
    ).read_text(encoding="utf-8")
    page = Path("results/plan/index.html").read_text(encoding="utf-8")
    assert rows[1][1] in page and page.count("<section") == 2
    assert "output of cGAN, seed 0" in page and "cGAN, seed 1" not in page.split("<main")[1]

    def no_training(*args):
        raise AssertionError("trained again")

    monkeypatch.setattr(train_runs, "start", no_training)
    status, again = run()
    assert status == 0 and "4 of 4 trainings are already done" in again
    assert [line for line in again if line.startswith("|")] == [
        line for line in lines if line.startswith("|")
    ]


def measured_again(folder: str, metric: str) -> float:
    """Return the mean of a metric over the images that a test left, as the page has them."""
    from scripts.evaluation.compare import ImageSet, measure

    images = Path(folder) / "images"
    files = {
        kind: {p.name[: -len(kind) - 5]: p for p in images.glob(f"*_{kind}.png")}
        for kind in ("fake_B", "real_B")
    }
    assert len(files["fake_B"]) == 2
    result = measure(ImageSet("x", files["fake_B"], files["real_B"]), [metric], 1)
    return fmean(result.each[metric].values())


def test_flags_behind_the_file_win_over_it_and_a_rows_own_over_the_common_ones(command):
    rows = {"wide": {"ngf": 6}, "plain": {}}
    path = written({"runs": rows, "flags": {"ngf": 4, "no_flip": True, "netG": "unet_128"}})
    plan = read_plan(path, Path("checkpoints"), ["--netG", "unet_64", "--batch_size", "2"])
    assert plan.seeds == [0] and [run.label for run in plan.runs] == ["wide", "plain"]
    found = read_yaml("checkpoints/plan/wide.yaml")
    assert found == {"ngf": "6", "no_flip": "true", "netG": "unet_128"}
    assert plan.runs[0].flags[2:6] == ("--netG", "unet_64", "--batch_size", "2")
    assert plan.runs[0].last_epoch == 10  # of the built-in images' preset


def test_a_preset_of_all_rows_is_read(command):
    preset = Path("preset.yaml")
    preset.write_text("ngf: 5\nndf: 6\nlambda_L1: 7\n")
    rows = {"a": {}, "b": {"ngf": 8}}
    path = written({"runs": rows, "flags": {"config": str(preset), "ndf": 9}})
    read_plan(path, Path("checkpoints"))
    assert read_yaml("checkpoints/plan/a.yaml") == {"ngf": "5", "ndf": "9", "lambda_L1": "7"}
    assert read_yaml("checkpoints/plan/b.yaml") == {"ngf": "8", "ndf": "9", "lambda_L1": "7"}


def test_a_training_that_fails_leaves_the_others_and_is_named(run):
    plan = {**PLAN, "seeds": [0], "evaluate": {"metrics": "L1", "gpu_ids": -1}}
    plan["runs"] = {"burst": {"lr": "1e30", "print_freq": 1}, "L1": PLAN["runs"]["L1"]}
    status, lines = run(plan)
    assert status == 1 and "1 trainings failed: plan/burst_seed0" in lines[-1]
    assert any(line.startswith("plan/burst_seed0: failed: ") for line in lines)
    assert [line.split()[1] for line in lines if line.startswith("| ")][1:] == ["L1"]
    assert "one seed: 0" in lines


def test_data_that_are_not_there_end_the_sweep_at_its_first_training(run):
    status, lines = run({**PLAN, "flags": {**PLAN["flags"], "dataroot": "nowhere"}})
    assert status == 2 and "plan/L1_seed0: --dataroot nowhere" in lines[-1]
    assert len(list(Path("checkpoints/plan").glob("*.log"))) == 1


def test_a_row_whose_data_are_not_there_is_left_out_if_others_could_be_trained(run):
    rows = {"L1": PLAN["runs"]["L1"], "away": {"dataroot": "nowhere"}}
    status, lines = run(changed(runs=rows, seeds=[0]))
    assert status == 1 and "1 trainings failed: plan/away_seed0" in lines[-1]
    assert any(line.startswith("plan/away_seed0: failed: --dataroot nowhere") for line in lines)
    assert [line.split()[1] for line in lines if line.startswith("| ")][1:] == ["L1"]


def test_other_flags_than_those_of_a_training_that_is_there_are_refused(run):
    plan = {**PLAN, "runs": {"L1": PLAN["runs"]["L1"]}, "seeds": [0]}
    assert run(plan)[0] == 0
    status, lines = run(plan, "--lr", "0.001")
    assert status == 2 and "checkpoints/plan/L1_seed0: was trained with other flags" in lines[-1]
    assert "--lr 0.0002 -> 0.001" in lines[-1]
    assert run(plan, "--num_threads", "1")[0] == 0


@pytest.mark.parametrize(
    "flags",
    [["--print_freq", "1"], ["--use_tensorboard"], ["--display_winsize", "99", "--keep", "3"]],
)
def test_flags_of_displays_and_saving_are_not_other_ones(run, monkeypatch, flags):
    plan = {**PLAN, "runs": {"L1": PLAN["runs"]["L1"]}, "seeds": [0]}
    assert run(plan)[0] == 0
    monkeypatch.setattr(train_runs, "start", lambda *args: pytest.fail("trained again"))
    status, lines = run(plan, *flags)
    assert status == 0 and "1 of 1 trainings are already done" in lines, lines


def test_a_training_of_before_a_flag_had_its_default(run):
    plan = {**PLAN, "runs": {"L1": PLAN["runs"]["L1"]}, "seeds": [0]}
    assert run(plan)[0] == 0
    path = Path("checkpoints/plan/L1_seed0/train_opt.json")
    options = json.loads(path.read_text())
    assert options.pop("upsample") == "transpose"
    path.write_text(json.dumps({**options, "of_an_earlier_version": 3}))
    assert run(plan)[0] == 0
    status, lines = run(plan, "--upsample", "resize")
    assert status == 2 and "--upsample transpose -> resize" in lines[-1]


def changed(**more: Any) -> dict[str, Any]:
    return {**PLAN, **more}


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (changed(run={}), ["plan.yaml: run: unknown", "did you mean runs?"]),
        (changed(runs={}), ["plan.yaml: runs: must contain lines"]),
        (changed(runs=["a"]), ["plan.yaml: runs: must contain lines"]),
        (changed(runs={"a/b": {}}), ["plan.yaml: runs: 'a/b'", "folder"]),
        (changed(runs={"a": "none.yaml"}), ["plan.yaml: runs: a: none.yaml: No such file"]),
        (changed(runs={"a": {"ngf": {"x": 1}}}), ["plan.yaml: runs: a: ngf: must be a single"]),
        (changed(runs={"a": {"ngff": 1}}), ["plan.yaml: runs: a: ngff: unknown", "mean ngf?"]),
        (changed(runs={"a": {"ngf": "x"}}), ["plan.yaml: runs: a: --ngf", "not a whole number"]),
        (changed(evaluate={"epoch": "best"}), ["L1: evaluate: epoch: best needs val_freq"]),
        (changed(evaluate={"epoch": "bst"}), ["evaluate: epoch: bst: will not be saved"]),
        (changed(evaluate={"epoch": 7}), ["evaluate: epoch: 7: will not be saved"]),
        (changed(seeds=3), ["plan.yaml: seeds: must be a list such as [0, 1]"]),
        (changed(seeds=["x"]), ["plan.yaml: seeds: must be a list such as [0, 1]"]),
        (changed(seeds=[]), ["plan.yaml: seeds: must be a list such as [0, 1]"]),
        (changed(runs={"a": {"seed": 3}}), ["plan.yaml: runs: a: seed: comes from", "`seeds:"]),
        (changed(flags={"name": "a"}), ["plan.yaml: flags: name: is the name of the sweep's"]),
        (changed(flags=[1]), ["plan.yaml: flags: must contain lines"]),
        (changed(evaluate={"metrics": "L2"}), ["plan.yaml: evaluate: --metrics L2: known are"]),
        (changed(evaluate={"metric": "L1"}), ["plan.yaml: evaluate: --metric: unknown flag"]),
        (changed(evaluate={"out": "x"}), ["plan.yaml: evaluate: out: is set by the sweep"]),
        (changed(evaluate={"use_ema": True}), ["evaluate: use_ema: no run keeps an EMA; add `ema"]),
    ],
)
def test_a_wrong_file_is_refused_before_anything_is_trained(run, monkeypatch, plan, words):
    monkeypatch.setattr(sweep, "train_all", lambda *args: pytest.fail("trained"))
    status, lines = run(plan)
    assert status == 2 and all(word in lines[-1] for word in words), lines[-1]
    assert "\n" not in lines[-1] and "/tmp" not in lines[-1]


def test_an_evaluation_may_have_flags_of_the_models_of_its_rows(command):
    draw_pairs(Path("data"), count=2)
    rows = {"a": {"model": "inpaint"}, "b": {"model": "inpaint", "ngf": 8}}
    plan = changed(runs=rows, evaluate={"mask_dir": "masks", "gpu_ids": -1})
    plan["flags"] = {"dataroot": "data", "no_html": True}
    places = {"checkpoints_dir": Path("checkpoints"), "results_dir": Path("results")}
    args = SimpleNamespace(file="plan.yaml", **places)
    how = sweep.how_to_evaluate(read_plan(written(plan), Path("checkpoints")), args)
    assert how.test_flags == ["--mask_dir=masks"]
    rows["c"] = {"model": "pix2pix"}
    with pytest.raises(ValueError, match=r"evaluate: --mask_dir: .* \(in the row c\)"):
        sweep.how_to_evaluate(read_plan(written(plan), Path("checkpoints")), args)


def test_a_sweep_may_be_of_measurements(command):
    for side in "AB":
        for phase in ("train", "test"):
            write_nifti(Path(f"data/{phase}{side}/p0.nii"), numbers().astype(np.int16))
    flags = {"dataroot": "data", "dataset_mode": "measurements", "no_html": True}
    plan = changed(runs={"a": {"crop_size": 64, "netG": "unet_64"}}, flags=flags)
    places = {"checkpoints_dir": Path("checkpoints"), "results_dir": Path("results")}
    args = SimpleNamespace(file="plan.yaml", **places)
    plan["evaluate"] = {"metrics": ["MAE"], "gpu_ids": -1}
    assert sweep.how_to_evaluate(read_plan(written(plan), Path("checkpoints")), args)


def test_flags_of_a_model_or_a_dataset_may_follow_the_file():
    for flags in (["--label_dir", "x"], ["--mask_dir", "x"], ["--checkpoint_activations"]):
        assert sweep.parse(["plan.yaml", *flags])[1] == flags
    with pytest.raises(ValueError, match="--job: unknown flag; did you mean --jobs?"):
        sweep.parse(["plan.yaml", "--job", "2"])


def test_wrong_flags_are_refused(command):
    assert "file" in command("scripts.sweep").err
    result = command("scripts.sweep", "nothing.yaml")
    assert result.status == 2 and "nothing.yaml: No such file" in result.err
    result = command("scripts.sweep", written(PLAN), "--nix", "3")
    assert result.status == 2 and "--nix: unknown flag" in result.err
    for flags in (["--seed=3"], ["--config", "a.yaml"], ["--name", "a"]):
        result = command("scripts.sweep", written(PLAN), *flags)
        assert result.status == 2 and f"error: {flags[0].partition('=')[0]}: " in result.err
    Path("bad.yaml").write_text("runs: [")
    assert "bad.yaml: not valid YAML" in command("scripts.sweep", "bad.yaml").err


def test_the_sweeps_that_come_with_the_project_are_valid(command):
    Path("options").symlink_to(ROOT / "options")
    for path in (ROOT / "scripts" / "sweeps").glob("*.yaml"):
        plan = read_plan(path, Path("checkpoints"))
        assert len(plan.runs) > len(plan.seeds) >= 1
        assert all(run.last_epoch > 1 for run in plan.runs)


@pytest.mark.slow
def test_each_row_is_measured_with_its_ema_if_it_keeps_one(run):
    rows = {"raw": {"ema": 0}, "averaged": {"ema": 0.5}}
    evaluate = {**PLAN["evaluate"], "metrics": ["L1"], "use_ema": True}
    status, lines = run(changed(runs=rows, seeds=[0], evaluate=evaluate))
    assert status == 0, lines
    folders = {path.parent.name: path.name for path in Path("results/plan").glob("*/test_latest*")}
    assert folders == {"raw_seed0": "test_latest", "averaged_seed0": "test_latest_ema"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_sweep_saves_and_goes_on(tmp_path, monkeypatch, number):
    monkeypatch.chdir(tmp_path)
    draw_pairs(Path("data"), count=2)
    plan = changed(flags={**PLAN["flags"], "n_epochs": 200, "print_freq": 1}, seeds=[0])
    command = [sys.executable, "-m", "scripts.sweep", written(plan), "--jobs", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    logs = [Path(f"checkpoints/plan/{label}_seed0.log") for label in PLAN["runs"]]
    end = time.monotonic() + 120
    while not all(path.exists() and "(epoch: 3," in path.read_text() for path in logs):
        assert time.monotonic() < end, [path.read_text() for path in logs if path.exists()]
        time.sleep(0.2)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert "stopped; run the same command to resume" in err and "Traceback" not in err
    runs = read_plan(Path("plan.yaml"), Path("checkpoints")).runs
    assert not any(finished(run) for run in runs)
    assert all(load(run.folder / "latest_state.pth")["progress"]["epoch"] >= 3 for run in runs)
