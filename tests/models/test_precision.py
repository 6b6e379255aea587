"""--precision bf16: autocast around the step and the translation, weights in float32."""

import copy

import pytest
import torch
from conftest import TINY, random_batch, step
from torch import nn

from models.networks import define_D, define_G
from models.test_time import round_weights

MODELS = {
    "pix2pix": [],
    "pix2pix wgangp": ["--gan_mode", "wgangp"],
    "cycle_gan": ["--model", "cycle_gan", "--netG", "resnet_6blocks"],
    "template": ["--model", "template"],
}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 1, 3))


def bf16() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16)


@pytest.mark.parametrize("net", [define_G(3, 3, 4, "unet_64"), define_D(3, 4, "basic")])
def test_networks_return_the_type_of_their_input(net):
    x = torch.randn(2, 3, 64, 64)
    exact = net(x)
    with bf16():
        y = net(x)
    assert y.dtype == torch.float32
    assert 0 < (y - exact).abs().max() < 0.05 * exact.abs().max()
    assert net.double()(x.double()).dtype == torch.float64


@pytest.mark.parametrize("name", MODELS)
def test_a_step_computes_in_bf16_and_keeps_float32(make, name):
    kinds = set()

    def record(module: nn.Module, _: object, output: torch.Tensor) -> None:
        kinds.add(output.dtype)

    exact, model = (make(*MODELS[name], "--precision", p) for p in ("fp32", "bf16"))
    for net in model.nets.values():
        for module in net.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                module.register_forward_hook(record)
    for one in (exact, model):
        torch.manual_seed(0)
        step(one, random_batch())
    penalty = {torch.float32} if "wgangp" in name else set()
    assert kinds == {torch.bfloat16} | penalty
    assert {value.dtype for value in model.visuals.values()} == {torch.float32}
    for net, wanted in zip(model.nets.values(), exact.nets.values(), strict=True):
        for p, q in zip(net.parameters(), wanted.parameters(), strict=True):
            assert p.dtype == torch.float32 and (p.grad is None or p.grad.dtype == torch.float32)
            if p.dim() > 1 and p.grad is not None:
                alike = torch.cosine_similarity(p.grad.flatten(), q.grad.flatten(), 0)
                assert alike > 0.9, name
    losses = exact.get_current_losses()
    assert model.get_current_losses() == pytest.approx(losses, rel=0.1, abs=0.05)


def test_a_step_sees_the_weights_that_an_update_has_changed(make):
    """A cache of autocast would keep D's weights of before its step."""
    model = make("--precision", "bf16", "--no_dropout")
    model.set_input(random_batch())
    with model.autocast():
        model.forward()
        before = model.loss_G().item()
        model.update_D()
        assert model.loss_G().item() != before


def test_fp32_changes_nothing(make):
    model = make("--precision", "fp32")
    x = torch.randn(1, 3, 64, 64)
    with model.autocast():
        y = model.nets["D"](torch.cat([x, x], 1))
    assert torch.equal(y, model.nets["D"](torch.cat([x, x], 1)))


def test_rounding_the_weights_once_changes_no_result_of_bf16():
    net, x = network(), torch.randn(2, 3, 16, 16)
    with torch.no_grad(), bf16():
        before = net(x)
        round_weights(net)
        assert torch.equal(net(x), before)
    kinds = [p.dtype for p in net.parameters()]
    assert kinds == [*[torch.bfloat16] * 2, *[torch.float32] * 2, *[torch.bfloat16] * 2]


def test_test_py_translates_in_bf16_as_in_fp32_but_for_rounding(command, pairs):
    flags = ["--dataroot", pairs, "--name", "r"]
    assert command("train", *TINY, *flags).status == 0
    from translator import Translator

    exact = Translator.load("checkpoints/r", gpu_ids=-1)
    fast = Translator.load("checkpoints/r", gpu_ids=-1, precision="bf16")
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    one, other = exact.translate(x), fast.translate(copy.deepcopy(x))
    assert other.dtype == torch.float32 and 0 < (one - other).abs().max() < 0.1
