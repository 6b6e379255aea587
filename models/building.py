"""Networks and optimizers as the options say."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from models import networks


def build_generator(opt: Any, input_nc: int, output_nc: int) -> networks.Generator:
    """Build a generator; at test time without initial weights, since they will be loaded."""
    device = "cpu" if opt.isTrain else "meta"
    with torch.device(device):
        net = networks.define_G(
            input_nc,
            output_nc,
            opt.ngf,
            opt.netG,
            opt.norm,
            use_dropout=not opt.no_dropout,
            init_type=opt.init_type,
            init_gain=opt.init_gain,
            upsample=opt.upsample,
        )
    return net if opt.isTrain else net.to_empty(device="cpu")


def build_discriminator(opt: Any, input_nc: int) -> networks.Discriminator:
    """Build a discriminator; ValueError if the crop is too small for it."""
    netD = networks.define_D(
        input_nc, opt.ndf, opt.netD, opt.n_layers_D, opt.norm, opt.init_type, opt.init_gain
    )
    if opt.preprocess.endswith("crop") and opt.crop_size < netD.min_size:
        raise ValueError(networks.too_deep(netD, opt.crop_size))
    return netD


def check_loss_weights(opt: Any, *flags: str) -> None:
    """Raise a ValueError for an option that is no weight of a loss: a number from 0."""
    for flag in flags:
        if not 0 <= getattr(opt, flag) < math.inf:
            raise ValueError(f"--{flag} {getattr(opt, flag)}: must be a number from 0")


def _spare_dynamo() -> None:
    """Avoid torch.optim's import of torch._dynamo, which costs seconds at start.

    Their methods import it when first called, unless the function within says it has seen to it.
    """
    for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
        function = getattr(getattr(Optimizer, name), "__wrapped__", None)
        if function is not None:
            setattr(function, "__dynamo_disable", function)


def build_adam(
    nets: Iterable[nn.Module], lr: float, beta1: float, device: torch.device
) -> Optimizer:
    """Build the Adam that trains these networks together, with betas (beta1, 0.999)."""
    _spare_dynamo()
    parameters = [p for net in nets for p in net.parameters()]
    cuda = device.type == "cuda"
    # A CUDA graph sees only what is in a tensor on its device.
    rate = torch.tensor(lr, device=device) if cuda else lr
    fused = device.type in ("cpu", "cuda")
    return torch.optim.Adam(parameters, rate, (beta1, 0.999), fused=fused, capturable=cuda)


def load_optimizer(optimizer: Optimizer, saved: dict[str, Any], *, keep_rate: bool) -> None:
    """Load the running means; momenta, and rates if `keep_rate`, stay as the options have them."""
    groups = optimizer.state_dict()["param_groups"]
    if [len(g["params"]) for g in groups] != [len(g["params"]) for g in saved["param_groups"]]:
        raise ValueError("an optimizer has other parameters")
    for group, old in zip(groups, saved["param_groups"], strict=True) if not keep_rate else ():
        rate, now = float(old["lr"]), group["lr"]
        group["lr"] = torch.full_like(now, rate) if isinstance(now, Tensor) else rate
    optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})
    # Fused Adam pairs a weight with its means by memory order, which differs between GPU and CPU.
    for weight, means in optimizer.state.items():
        for name, value in means.items():
            if value.shape == weight.shape and value.stride() != weight.stride():
                means[name] = torch.empty_like(weight).copy_(value)
