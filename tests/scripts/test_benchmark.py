"""What the benchmark measures with; the measurements themselves are no tests."""

import json
import os
import re
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from conftest import refusal

from scripts.dev import (
    attention,
    benchmark,
    ceiling,
    measure,
    plain_pix2pix,
    plain_spade,
    profile_step,
    step_cost,
    training_steps,
)
from scripts.dev.measure import BenchmarkRow, Spread
from scripts.dev.training_steps import our_step, plain_step


def test_a_spread_is_the_median_and_both_ends():
    assert Spread.of([3, 1, 2, 10]) == (2.5, 1, 10)


@pytest.mark.parametrize(("unit", "ratio"), [("s", 2), ("MiB", 2), ("images/s", 0.5)])
def test_a_ratio_above_one_is_better(unit, ratio):
    assert BenchmarkRow("x", unit, Spread(4, 3, 5), Spread(2, 1, 3)).ratio == ratio


def test_steps_are_timed_in_turn_and_warm_up_does_not_count(monkeypatch):
    calls, seconds = [], iter([50, 60, 1, 2, 3, 5])
    monkeypatch.setattr(measure, "timed", lambda step: step() or next(seconds))
    steps = {name: lambda name=name: calls.append(name) for name in ("plain", "ours")}
    found = measure.side_by_side(steps, rounds=2)
    assert calls == ["plain", "ours"] * 3
    assert found == {"plain": (2, 1, 3), "ours": (3.5, 2, 5)}


@pytest.mark.slow
def test_the_attention_is_measured_beside_the_plain_one(capsys):
    attention.main(["--sizes", "64,520", "--rounds", "1"])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if "×" in line]
    assert [row[1] for row in rows] == ["forward", "forward and backward"] * 2
    plain, ours, ratio, memory = zip(*(row[2:6] for row in rows), strict=True)
    assert all(plain[:2]) and plain[2:] == ("", "") and ratio[2:] == ("", "")  # too large at once
    assert all(float(seconds.removesuffix(" s")) >= 0 for seconds in ours)
    assert 0 < float(memory[0].split(" GB")[0]) < float(memory[2].split(" GB")[0])


@pytest.mark.slow
def test_each_row_of_a_sweep_has_its_time_and_its_peak(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "{paper: {}, switches: {diffaug: color, lambda_r1: 0.1, ema: 0.9}}"
    flags = "{netG: unet_64, ngf: 4, ndf: 4, crop_size: 64, gpu_ids: -1}"
    Path("sweep.yaml").write_text(f"runs: {rows}\nseeds: [0, 1]\nflags: {flags}\n")
    step_cost.main(["sweep.yaml", "--rounds", "1", "--ngf", "8"])
    *_, first, second = (line.split(" | ") for line in capsys.readouterr().out.splitlines())
    assert first[0] == "| paper" and first[2] == "1.00" and second[0] == "| switches"
    times = [float(row[1].split()[0]) for row in (first, second)]
    assert float(second[2]) == pytest.approx(times[1] / times[0], abs=0.02)
    peaks = [float(row[3].removesuffix(" |")) for row in (first, second)]
    assert 0 < peaks[0] < peaks[1]  # the EMA and the second derivatives


def test_a_row_that_cannot_be_timed_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("sweep.yaml").write_text("runs: {a: {model: colorization}}\n")
    refusal(lambda: step_cost.main(["sweep.yaml"]), "sweep.yaml: a: ", "dataset_mode colorization")


def sleeper(seconds: float) -> measure.Step:
    return partial(time.sleep, seconds)


@pytest.mark.slow
def test_a_measurement_is_the_mean_of_its_repeats():
    makers = {"short": (sleeper, (0.05,)), "long": (sleeper, (0.2,))}
    found = measure.in_turn(makers, rounds=2, repeats=4)
    assert 0.05 <= found["short"].least < 0.2 <= found["long"].least < 0.8


def impossible() -> measure.Step:
    raise RuntimeError("out of\nluck")


def breaking() -> measure.Step:
    calls = iter([None])
    return lambda: next(calls)


def ending() -> measure.Step:
    os._exit(1)


@pytest.mark.slow
def test_a_step_that_cannot_be_made_is_left_out(capsys):
    makers = {"odd": (impossible, ()), "short": (sleeper, (0.01,)), "gone": (ending, ())}
    assert list(measure.in_turn(makers, rounds=1)) == ["short"]
    assert capsys.readouterr().err.splitlines() == [
        "left out: odd: out of luck",
        "left out: gone: its process has ended",
    ]


@pytest.mark.slow
def test_a_step_that_fails_later_is_named():
    makers = {"short": (sleeper, (0.01,)), "weak": (breaking, ())}
    refusal(lambda: measure.in_turn(makers, rounds=1), "weak: ", "StopIteration")


def test_without_the_plain_side_nothing_is_compared(monkeypatch):
    monkeypatch.setattr(training_steps, "in_turn", lambda *_, **__: {"fp32": Spread(1, 1, 1)})
    refusal(lambda: training_steps.timed_beside_plain({}, 1), "nothing to compare with")


def test_a_section_that_fails_leaves_the_others(pairs, tmp_path, capsys, monkeypatch):
    def broken(args):
        yield BenchmarkRow("a", "s", Spread(2, 2, 2), Spread(1, 1, 1))
        raise RuntimeError("no memory left")

    def sound(args):
        yield BenchmarkRow("b", "s", Spread(3, 3, 3), Spread(1, 1, 1))

    monkeypatch.setattr(benchmark, "SECTIONS", {"step": broken, "data": sound})
    file = tmp_path / "numbers.json"
    flags = ["--dataroot", str(pairs), "--json", str(file)]
    refusal(lambda: benchmark.main([*flags, "--sections", "step,data"]), "--sections step: ")
    out, err = capsys.readouterr()
    assert [line.split(" | ")[0] for line in out.splitlines()[4:]] == ["| a", "| b"]
    assert err == "section step: no memory left\n"
    assert [row["what"] for row in json.loads(file.read_text())["rows"]] == ["a", "b"]


def test_a_folder_without_pairs_is_refused_at_once(tmp_path):
    refusal(lambda: benchmark.main(["--dataroot", str(tmp_path)]), "--dataroot", "train/")


def test_kernels_and_operations_have_their_kinds():
    kinds = {
        "sm90_xmma_wgrad_implicit_gemm_bf16": "convolutions and matrix products",
        "void cudnn::bn_fw_tr_1C11_kernel_NCHW": "normalization",
        "multi_tensor_apply_kernel<FusedAdamMathFunctor>": "optimizer",
        "vectorized_elementwise_kernel<4, LeakyReLU>": "elementwise",
        "void at::native::CatArrayBatchedCopy": "copies",
        "Memcpy HtoD (Pinned -> Device)": "copies",
        "aten::_fused_adam_": "optimizer",
        "aten::as_strided": profile_step.OTHERS,
    }
    assert {name: profile_step.kind_of(name) for name in kinds} == kinds


def test_work_is_that_of_the_operations():
    a, b = torch.ones(10, 20), torch.ones(20, 30)
    step = lambda: (a @ b).t()  # noqa: E731  (a view moves nothing)
    assert ceiling.operations_of(step) == 2 * 10 * 20 * 30
    assert ceiling.bytes_of(step) == 4 * (10 * 20 + 20 * 30 + 10 * 30)


def test_rates_are_positive_and_bf16_is_another_type():
    cpu = torch.device("cpu")
    assert ceiling.matmul_rate(cpu, torch.float32, 64) > 1e6
    assert ceiling.copy_rate(cpu, 2**16) > 1e6


def test_a_command_is_timed_to_its_end_or_to_a_line(tmp_path):
    run = [sys.executable, "-c", "import time; print('a', flush=True); time.sleep(60)"]
    assert measure.seconds_of(run, tmp_path, "a") < 30
    assert measure.seconds_of([sys.executable, "-c", ""], tmp_path) < 30
    failing = [sys.executable, "-c", "raise SystemExit('bad luck')"]
    for until in ("", "never"):
        refusal(lambda until=until: measure.seconds_of(failing, tmp_path, until), "bad luck")


def hundred_megabytes() -> measure.Step:
    kept = torch.ones(25 * 2**20)  # floats of 4 bytes
    return lambda: (kept * 2).sum()


@pytest.mark.slow
def test_peak_memory_is_that_of_the_step():
    assert 195 < measure.peak_memory(hundred_megabytes) < 260


@pytest.mark.slow
def test_the_table_and_the_numbers_are_written(pairs, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "numbers.json"
    flags = ["--sections", "data", "--rounds", "2", "--dataroot", str(pairs), "--json", str(file)]
    benchmark.main(flags)
    lines = capsys.readouterr().out.splitlines()
    assert "PyTorch" in lines[0] and len(lines) == 6
    assert lines[4].startswith("| pairs to batches of one, first epoch, one core | images/s |")
    rows = json.loads(file.read_text())["rows"]
    assert [row["unit"] for row in rows] == ["images/s"] * 2
    assert not Path("checkpoints").exists() and not Path("datasets").exists()


def test_an_unknown_section_is_refused():
    refusal(lambda: benchmark.main(["--sections", "step,odd"]), "--sections odd", "cyclegan")


def small_plain(batch: int, *kind: str) -> measure.Step:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("Generator", "Discriminator"):
            patch.setattr(plain_spade, name, partial(getattr(plain_spade, name), width=8))
        for name in ("unet", "patchgan"):
            patch.setattr(plain_pix2pix, name, partial(getattr(plain_pix2pix, name), width=8))
        return plain_step(batch, *kind)


def small_ours(batch: int, *flags: str) -> measure.Step:
    size = ("--cnum", "4", "--crop_size", "64") if "inpaint" in flags else ("--ngf", "8")
    return our_step(batch, *size, "--ndf", "8", *flags)


@pytest.mark.slow
@pytest.mark.parametrize(
    "section", ["step", "spade", "inpaint", "memory", "training", "test", "start"]
)
def test_every_section_measures(section, pairs, capsys, monkeypatch):
    monkeypatch.setattr(training_steps, "plain_step", small_plain)
    monkeypatch.setattr(training_steps, "our_step", small_ours)
    monkeypatch.setattr(benchmark, "side_by_side", partial(measure.side_by_side, warm_up=0))
    flags = ["--sections", section, "--rounds", "1", "--batches", "1", "--images", "2"]
    benchmark.main([*flags, "--dataroot", str(pairs)])
    rows = capsys.readouterr().out.splitlines()[4:]
    assert rows and all(row.count("|") == 7 for row in rows)
    assert ("images a second: " in rows[0]) == (section == "test")  # with the shares of its time


@pytest.mark.slow
def test_a_step_is_profiled(capsys):
    flags = [
        "--netG",
        "unet_64",
        "--ngf",
        "4",
        "--ndf",
        "4",
        "--crop_size",
        "64",
        "--gpu_ids",
        "-1",
    ]
    profile_step.main(["--steps", "2", "--rows", "100", *flags])
    out = capsys.readouterr().out
    kinds, operations = (part.splitlines()[1:] for part in out.split("\n\n")[1:])
    assert any(row.startswith("| optimizer | 2.0 | ") for row in kinds)  # G's and D's
    rows = [line.split(" | ") for line in operations[1:]]
    counts = {row[0].removeprefix("| "): float(row[1]) for row in rows}
    assert counts["aten::convolution_backward"] == 12 + 3 * 5  # G, and D three times
    total = float(re.search(r"([\d.]+) ms a step", out)[1])
    assert 0 < max(float(row[2]) for row in rows) < total
