"""Devices, precision, seeds."""

import copy
import logging
import random

import numpy as np
import pytest
import torch
from torch import nn

from options.train_options import TrainOptions
from util.device import full_precision, pick_device, place, round_weights
from util.seeding import seed_everything

CPU = torch.device("cpu")


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Let torch see `count` CUDA devices and no other accelerator."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 1, 3))


# Precision -------------------------------------------------------------------------------


def test_bf16_gives_float32_near_the_full_result_and_gradients():
    exact, x = network(), torch.randn(2, 3, 16, 16)
    net = place(copy.deepcopy(exact), CPU, "bf16")
    y, wanted = net(x), exact(x)
    assert y.dtype == torch.float32
    difference = (y - wanted).abs().max()
    assert 0 < difference < 0.05 * wanted.abs().max()

    y.square().mean().backward()
    wanted.square().mean().backward()
    for p, q in zip(net.parameters(), exact.parameters(), strict=True):
        assert p.dtype == p.grad.dtype == torch.float32
        if p.dim() > 1:
            assert torch.cosine_similarity(p.grad.flatten(), q.grad.flatten(), 0) > 0.99


def test_full_precision_gives_the_fp32_result_until_it_ends():
    exact, x = network(), torch.randn(2, 3, 16, 16)
    net = place(copy.deepcopy(exact), CPU, "bf16")
    with pytest.raises(KeyError), full_precision():
        assert torch.equal(net(x), exact(x))
        raise KeyError
    assert not torch.equal(net(x), exact(x))


def test_fp32_changes_nothing():
    exact, x = network(), torch.randn(2, 3, 16, 16)
    assert torch.equal(place(copy.deepcopy(exact), CPU)(x), exact(x))


def test_precision_leaves_the_keys_alone():
    exact = network()
    keys = list(exact.state_dict())
    assert list(place(exact, CPU, "bf16").state_dict()) == keys


def test_a_copy_of_a_bf16_network_runs_on_its_own_weights():
    net, x = place(network(), CPU, "bf16"), torch.randn(2, 3, 16, 16)
    twin = copy.deepcopy(net)
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
    assert twin(x).abs().max() > 0


def test_rounding_the_weights_once_changes_no_result_of_bf16():
    net, x = place(network(), CPU, "bf16"), torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        before = net(x)
        round_weights(net)
        assert torch.equal(net(x), before)
    kinds = [p.dtype for p in net.parameters()]
    assert kinds == [*[torch.bfloat16] * 2, *[torch.float32] * 2, *[torch.bfloat16] * 2]


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
