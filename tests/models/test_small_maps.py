"""Convolutions of small maps as matrix products: the functions of torch, in training in bf16."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models import small_maps
from models.small_maps import CHANNELS_A_PIXEL, DownConv2d, UpConv2d, conv2d, conv_transpose2d

PLAIN = {conv2d: F.conv2d, conv_transpose2d: F.conv_transpose2d}
SHAPES = [  # images, height, width, pixels of the kernel, stride, padding
    (1, 2, 2, 4, 2, 1),
    (2, 4, 6, 4, 2, 1),
    (2, 5, 7, 4, 2, 1),
    (3, 1, 1, 3, 1, 1),
    (2, 4, 3, 3, 1, 1),
]


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take products for maps of any size and numbers of any type."""
    monkeypatch.setattr(small_maps, "use_product", lambda *_: True)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("function", PLAIN)
@pytest.mark.usefixtures("always")
def test_outputs_and_gradients_are_those_of_the_convolution(function, with_bias, shape) -> None:
    n, height, width, size, stride, padding = shape
    torch.manual_seed(0)
    x = torch.randn(n, 3, height, width, dtype=torch.float64, requires_grad=True)
    channels = (5, 3) if function is conv2d else (3, 5)
    weight = torch.randn(*channels, size, size, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(5, dtype=torch.float64, requires_grad=True) if with_bias else None
    inputs = [tensor for tensor in (x, weight, bias) if tensor is not None]
    found, expected = (
        of(x, weight, bias, stride=stride, padding=padding) for of in (function, PLAIN[function])
    )
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    out = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad(found, inputs, out),
        torch.autograd.grad(expected, inputs, out),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def errors_of(layer: torch.nn.Module, x: Tensor, exact: list[Tensor]) -> list[float]:
    """Return the relative errors of a layer's output and gradients in bf16."""
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    found = [y, *torch.autograd.grad(y, [x, layer.weight], torch.ones_like(y))]
    return [((a.double() - b).norm() / b.norm()).item() for a, b in zip(found, exact, strict=True)]


@pytest.mark.parametrize("kind", [DownConv2d, UpConv2d])
def test_products_in_bf16_are_about_as_exact_as_convolutions(kind, monkeypatch) -> None:
    torch.manual_seed(0)
    layer = kind(64, 64, bias=False)
    x = torch.randn(2, 64, 2, 2, requires_grad=True)
    in_64 = kind(64, 64, bias=False).double()
    in_64.load_state_dict(layer.state_dict())
    wide = x.detach().double().requires_grad_()
    y = in_64(wide)
    exact = [y, *torch.autograd.grad(y, [wide, in_64.weight], torch.ones_like(y))]
    by_products = errors_of(layer, x, exact)
    monkeypatch.setattr(small_maps, "use_product", lambda *_: False)
    by_convolutions = errors_of(layer, x, exact)
    for ours, theirs in zip(by_products, by_convolutions, strict=True):
        assert ours < 1.5 * theirs < 0.01


def test_only_training_in_bf16_takes_products(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    unfold = F.unfold
    monkeypatch.setattr(F, "unfold", lambda *a, **k: taken.append(1) or unfold(*a, **k))
    layer = DownConv2d(16, 16)
    pixels = 16 // CHANNELS_A_PIXEL
    few, more = torch.randn(pixels, 16, 2, 2), torch.randn(pixels + 1, 16, 2, 2)
    layer(few)
    with torch.autocast("cpu", torch.bfloat16):
        layer(more)
        with torch.no_grad():
            layer(few)
        assert not taken
        layer(few)
    assert taken
