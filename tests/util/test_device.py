"""Devices and seeds."""

import logging
import random
import warnings

import numpy as np
import pytest
import torch

from options.train_options import TrainOptions
from util.device import pick_device
from util.seeding import seed_everything

CPU = torch.device("cpu")


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Let torch see `count` CUDA devices and no other accelerator."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


# Devices ---------------------------------------------------------------------------------


def test_without_a_gpu_one_line_says_that_the_cpu_runs(monkeypatch, caplog):
    gpus(monkeypatch, 0)
    caplog.set_level(logging.DEBUG)
    assert pick_device(TrainOptions().read([]).gpu_ids) == CPU
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert "CPU" in record.message and "--gpu_ids -1" in record.message
    assert "\n" not in record.message


TOO_OLD = "The NVIDIA driver on your system is too old (found version 12040). Please update …"
NO_DRIVER = "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU …"
NO_GPU = "No CUDA GPUs are available"


@pytest.mark.parametrize(
    ("said", "hidden", "reason"),
    [
        (NO_DRIVER, None, "it finds no NVIDIA driver"),
        (NO_DRIVER, "0", "it finds no NVIDIA driver"),
        (TOO_OLD, None, "the NVIDIA driver supports 12.4 at most (docs/install.md)"),
        (NO_GPU, "", "CUDA_VISIBLE_DEVICES='' hides all GPUs"),
        (NO_GPU, "-1", "CUDA_VISIBLE_DEVICES='-1' hides all GPUs"),
        (NO_GPU, None, "the NVIDIA driver finds no GPU"),
        ("CUDA unknown error\n - restart", None, "CUDA unknown error - restart"),
        (None, None, "it finds no GPU"),
    ],
)
def test_the_line_names_torchs_cuda_and_the_likely_reason(
    monkeypatch, caplog, said, hidden, reason
):
    def init() -> None:
        if said:
            raise RuntimeError(said)

    gpus(monkeypatch, 0)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "init", init)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert pick_device([0]) == CPU
    assert caplog.messages == [
        f"no GPU found: torch is built for CUDA 13.0, but {reason}; running on the CPU "
        "(--gpu_ids -1 chooses it)"
    ]


@pytest.mark.parametrize(
    ("hip", "words"), [(None, "built without CUDA (docs/install.md"), ("6.4", "built for ROCm 6.4")]
)
def test_the_line_names_a_torch_without_cuda(monkeypatch, caplog, hip, words):
    gpus(monkeypatch, 0)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr(torch.cuda, "init", lambda: pytest.fail("nothing to start"))
    assert pick_device([0]) == CPU
    (line,) = caplog.messages
    assert words in line and line.endswith("running on the CPU (--gpu_ids -1 chooses it)")


def test_torchs_own_warning_is_not_shown_beside_the_line(monkeypatch, recwarn):
    gpus(monkeypatch, 0)

    def is_available() -> bool:
        warnings.warn(f"CUDA initialization: {TOO_OLD}", stacklevel=2)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    assert pick_device([0]) == CPU and not recwarn.list


@pytest.mark.parametrize("count", [0, 2])
def test_the_cpu_asked_for_is_silent(monkeypatch, caplog, count):
    gpus(monkeypatch, count)
    caplog.set_level(logging.DEBUG)
    assert pick_device(TrainOptions().read(["--gpu_ids", "-1"]).gpu_ids) == CPU
    assert not caplog.records


@pytest.mark.parametrize("gpu_ids", ["2", "0,5"])
def test_a_gpu_that_is_not_there_is_an_error(monkeypatch, gpu_ids):
    gpus(monkeypatch, 2)
    with pytest.raises(ValueError, match=rf"^--gpu_ids {gpu_ids[-1]}: .*\b2\b"):
        pick_device(TrainOptions().read(["--gpu_ids", gpu_ids]).gpu_ids)


def test_the_first_gpu_asked_for_is_used(monkeypatch):
    gpus(monkeypatch, 2)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    current = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    assert pick_device([1, 0]) == torch.device("cuda", 1)
    assert current == [torch.device("cuda", 1)]  # whose streams are then the current ones


# Seeds -----------------------------------------------------------------------------------


def draws() -> list[float]:
    return [random.random(), float(np.random.rand()), float(torch.rand(()))]


@pytest.mark.parametrize("seed", [0, 7, 2**40 + 7])
def test_the_same_seed_repeats_all_randomness(seed):
    seed_everything(seed)
    first = draws()
    assert all(a != b for a, b in zip(first, draws(), strict=True))
    seed_everything(seed)
    assert draws() == first
    seed_everything(seed + 1)
    assert all(a != b for a, b in zip(first, draws(), strict=True))
