"""Gradients of every fast path are those of float64 in the default layout, but for rounding."""

import copy

import pytest
import torch
from torch import nn

from scripts.dev import gradients

pytestmark = pytest.mark.slow  # servers, browsers: seconds each

CPU = torch.device("cpu")
# How far rounding alone may go: the relative error, and the share of equal signs.
LIMITS = {"fp32": (2e-5, 0.995), "tf32": (0.12, 0.97), "bf16": (0.25, 0.9)}


@pytest.mark.parametrize("name", gradients.NETWORKS)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_gradients_agree_with_float64(monkeypatch, name, device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU here")
    monkeypatch.setattr(gradients, "NETWORKS", (name,))
    found = list(gradients.choices(torch.device(device)))
    assert len(found) == 3 * 2 * 2 * (3 if device == "cuda" else 2)
    for *choice, precision, agreement in found:
        error, signs = LIMITS[precision]
        assert agreement.error < error and agreement.signs > signs, (choice, precision, agreement)


def test_a_layer_with_a_wrong_gradient_is_found():
    class Wrong(torch.autograd.Function):
        """The identity, whose gradient is that of the transposed image."""

        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient.transpose(2, 3)

    class Layer(nn.Module):
        def forward(self, x):
            return Wrong.apply(x)

    net, x = gradients.network("unet_64", "batch"), gradients.images("unet_64", 1)
    exact = gradients.gradients(copy.deepcopy(net).double(), x.double())
    net.model.model[1] = nn.Sequential(net.model.model[1], Layer())
    found = gradients.agreement(gradients.gradients(net, x), exact)
    assert found.error > 0.25 and found.signs < 0.9


def test_the_table_is_printed(monkeypatch, capsys):
    monkeypatch.setattr(gradients, "NETWORKS", ("basic",))
    gradients.main(["--device", "cpu"])
    machine, empty, *lines = capsys.readouterr().out.splitlines()
    assert "PyTorch" in machine and not empty
    assert len(lines) == 2 + 24 and "| basic | instance | 1 | channels_last | fp32 |" in lines[12]
