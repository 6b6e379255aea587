"""--checkpoint_activations: the same step, with less memory."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models import pix2pixHD_networks, spade_networks
from models.pix2pixHD_networks import GlobalGenerator, LocalEnhancer
from models.spade_networks import SPADEGenerator

NETS = {
    "spade": lambda: SPADEGenerator(4, ngf=2),
    "spade of a style": lambda: SPADEGenerator(4, ngf=2, use_vae=True, upsampling="more"),
    "global": lambda: GlobalGenerator(4, ngf=2, n_downs=2, n_blocks=2),
    "global, batch norm": lambda: GlobalGenerator(
        4, ngf=2, n_downs=2, n_blocks=2, norm_layer=nn.BatchNorm2d
    ),
    "local": lambda: LocalEnhancer(4, ngf=2, n_downs=2, n_blocks=1, n_enhancers=2),
}

DISCRIMINATORS = {
    "spade": partial(spade_networks.MultiscaleDiscriminator, 4, 8),
    "pix2pixHD": partial(pix2pixHD_networks.MultiscaleDiscriminator, 4, 8),
    "pix2pixHD, batch norm": partial(
        pix2pixHD_networks.MultiscaleDiscriminator, 4, 8, norm_layer=nn.BatchNorm2d
    ),
    "predictions alone": partial(
        pix2pixHD_networks.MultiscaleDiscriminator, 4, 8, spectral=True, features=False
    ),
}


def step(name: str, recompute: bool) -> dict[str, Tensor]:
    """Return the image, the gradients and the buffers after a forward and a backward pass."""
    torch.manual_seed(1)
    net = NETS[name]().double()
    net.recompute = recompute
    x = torch.rand(2, 4, *2 * (max(32, net.stride),), dtype=torch.float64)
    torch.set_default_dtype(torch.float64)  # of the style
    try:
        image = net(x)
    finally:
        torch.set_default_dtype(torch.float32)
    image.square().mean().backward()
    found = {f"{key}.grad": p.grad for key, p in net.named_parameters() if p.grad is not None}
    return {**found, **dict(net.named_buffers()), "image": image.detach()}


@pytest.mark.parametrize("name", NETS)
def test_image_gradients_and_buffers_are_equal(name: str) -> None:
    kept, again = step(name, recompute=False), step(name, recompute=True)
    assert kept.keys() == again.keys()
    for key in kept:
        assert torch.equal(kept[key], again[key]), key


def judged(name: str, recompute: bool) -> dict[str, Tensor]:
    """Return all that D gives, the gradients and the buffers after two passes."""
    torch.manual_seed(1)
    net = DISCRIMINATORS[name]().double()
    net.recompute = recompute
    found = {}
    for n in range(2):
        x = torch.rand(2, 4, 64, 80, dtype=torch.float64, requires_grad=True)
        features = [layer for scale in net(x) for layer in scale]
        sum(layer.square().mean() for layer in features).backward()
        found |= {f"{n} layer {i}": layer.detach() for i, layer in enumerate(features)}
        found[f"{n} image"] = x.grad
    found |= {f"{key}.grad": p.grad for key, p in net.named_parameters()}
    return {**found, **dict(net.named_buffers())}


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_what_D_gives_and_learns_is_equal(name: str) -> None:
    kept, again = judged(name, recompute=False), judged(name, recompute=True)
    assert kept.keys() == again.keys()
    for key in kept:
        assert torch.equal(kept[key], again[key]), key


def judged_twice(recompute: bool) -> dict[str, Tensor]:
    """Return the gradients and the buffers of D after a backward pass through two runs."""
    torch.manual_seed(1)
    net = pix2pixHD_networks.MultiscaleDiscriminator(4, 8, spectral=True).double()
    net.recompute = recompute
    fake, real = torch.rand(2, 1, 4, 64, 80, dtype=torch.float64)
    values = [layer for x in (fake, real) for scale in net(x) for layer in scale]
    sum(value.square().mean() for value in values).backward()
    gradients = {f"{key}.grad": p.grad for key, p in net.named_parameters()}
    return {**gradients, **dict(net.named_buffers())}


def test_each_of_two_runs_is_computed_again_with_its_own_spectral_norms() -> None:
    kept, again = judged_twice(recompute=False), judged_twice(recompute=True)
    for key in kept:
        assert torch.equal(kept[key], again[key]), key


def saved_bytes(net: nn.Module, *inputs: Any) -> int:
    """Return the bytes that a forward pass keeps for the backward pass."""
    sizes: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        sizes[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        net(*inputs)
    return sum(sizes.values())


@pytest.mark.parametrize("name", ["spade", "global", "local"])
def test_less_is_kept(name: str) -> None:
    net, x = NETS[name](), torch.rand(1, 4, 128, 128)
    kept = saved_bytes(net, x)
    net.recompute = True
    assert saved_bytes(net, x) < kept / 2


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_less_is_kept_of_D(name: str) -> None:
    net, x = DISCRIMINATORS[name](), torch.rand(2, 4, 128, 128)
    kept = saved_bytes(net, x)
    net.recompute = True
    assert saved_bytes(net, x) < 0.7 * kept
