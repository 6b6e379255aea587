"""--checkpoint_activations: the same step, with less memory."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.pix2pixHD_networks import GlobalGenerator, LocalEnhancer
from models.spade_networks import SPADEGenerator

NETS = {
    "spade": lambda: SPADEGenerator(4, ngf=2),
    "spade of a style": lambda: SPADEGenerator(4, ngf=2, use_vae=True, upsampling="most"),
    "global": lambda: GlobalGenerator(4, ngf=2, n_downs=2, n_blocks=2),
    "global, batch norm": lambda: GlobalGenerator(
        4, ngf=2, n_downs=2, n_blocks=2, norm_layer=nn.BatchNorm2d
    ),
    "local": lambda: LocalEnhancer(4, ngf=2, n_downs=2, n_blocks=1, n_enhancers=2),
}


def step(name: str, recompute: bool) -> dict[str, Tensor]:
    """Return the image, the gradients and the buffers after a forward and a backward pass."""
    torch.manual_seed(1)
    net = NETS[name]().double()
    net.recompute = recompute
    x = torch.rand(1, 4, *2 * (max(64, net.stride),), dtype=torch.float64)
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
