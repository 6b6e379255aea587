"""Devices and seeds."""

import logging
import random

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
    assert pick_device([1, 0]) == torch.device("cuda", 1)


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
