"""Networks and optimizers as the options say."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import spectral_norm
from torch.optim import Optimizer

from models import networks
from models.pix2pixHD_networks import MultiscaleDiscriminator


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


def build(opt: Any, make: Callable[[], nn.Module]) -> nn.Module:
    """Make a network and draw its initial weights, or none at test time: they will be loaded."""
    with torch.device("cpu" if opt.isTrain else "meta"):
        net = make()
    if opt.isTrain:
        return networks.init_net(net, opt.init_type, opt.init_gain)
    return net.to_empty(device="cpu")


def norm_of_D(opt: Any) -> tuple[Callable[[int], nn.Module] | None, bool]:
    """Return the norm layer of --norm_D, None for none, and whether weights are normalised too."""
    name = opt.norm_D or opt.norm
    kind = name.removeprefix("spectral")
    layer = networks.get_norm_layer(kind) if kind not in ("", "none") else None
    return layer, kind != name


def build_discriminator(opt: Any, input_nc: int) -> nn.Module:
    """Build a discriminator; ValueError if the crop is too small for it."""
    norm_layer, spectral = norm_of_D(opt)
    if opt.netD == "multiscale":
        if opt.isTrain and opt.gan_mode == "wgangp":
            raise ValueError("--gan_mode wgangp: needs one discriminator, not --netD multiscale")
        scales = {"n_layers": opt.n_layers_D, "num_D": opt.num_D}
        norm = {"norm_layer": norm_layer, "spectral": spectral}
        netD = build(opt, lambda: MultiscaleDiscriminator(input_nc, opt.ndf, **scales, **norm))
    else:
        kind = (opt.norm_D or opt.norm).removeprefix("spectral") or "none"
        netD = networks.define_D(
            input_nc, opt.ndf, opt.netD, opt.n_layers_D, kind, opt.init_type, opt.init_gain
        )
        if spectral:
            use_spectral_norm(netD, bias=norm_layer is None)
    check_crop(netD, opt)
    return netD


def use_spectral_norm(net: nn.Module, *, bias: bool) -> None:
    """Normalise the weights of all convolutions but the first and the last, which get a `bias` if
    they lack one (arXiv:1802.05957).
    """
    for conv in [module for module in net.modules() if isinstance(module, nn.Conv2d)][1:-1]:
        spectral_norm(conv)
        if bias and conv.bias is None:
            conv.bias = nn.Parameter(torch.zeros(conv.out_channels))


def check_crop(netD: nn.Module, opt: Any) -> None:
    """Raise a ValueError if the crop is too small for a discriminator."""
    if opt.preprocess.endswith("crop") and opt.crop_size < netD.min_size:
        raise ValueError(networks.too_deep(netD, opt.crop_size))


def check_loss_weights(opt: Any, *flags: str) -> None:
    """Raise a ValueError for an option that is no weight of a loss: a number from 0."""
    for flag in flags:
        if not 0 <= getattr(opt, flag) < math.inf:
            raise ValueError(f"--{flag} {getattr(opt, flag)}: must be a number from 0")


def _spare_dynamo() -> None:
    """Avoid torch.optim's import of torch._dynamo, which costs seconds at start.

    Optimizer's decorated methods import it on their first call, unless the function within has the
    attribute `__dynamo_disable`.
    """
    for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
        function = getattr(getattr(Optimizer, name), "__wrapped__", None)
        if function is not None:
            setattr(function, "__dynamo_disable", function)


def rate_of(named: dict[str, nn.Module], nets: Iterable[nn.Module], opt: Any) -> float:
    """Return the learning rate of networks: --lr_D if their names begin with D, else --lr_G; by
    default --lr.
    """
    names = [name for name, net in named.items() if any(net is other for other in nets)]
    rate = opt.lr_D if names and all(name.startswith("D") for name in names) else opt.lr_G
    return opt.lr if rate is None else rate


def build_optimizer(
    named: dict[str, nn.Module], nets: Iterable[nn.Module], opt: Any, device: torch.device
) -> Optimizer:
    """Build the Adam that trains some of a model's networks together, as the options say."""
    return build_adam(nets, rate_of(named, nets, opt), (opt.beta1, opt.beta2), device)


def build_adam(
    nets: Iterable[nn.Module], lr: float, betas: tuple[float, float], device: torch.device
) -> Optimizer:
    """Build the Adam that trains these networks together."""
    _spare_dynamo()
    parameters = [p for net in nets for p in net.parameters()]
    cuda = device.type == "cuda"
    # A CUDA graph sees only what is in a tensor on its device.
    rate = torch.tensor(lr, device=device) if cuda else lr
    fused = device.type in ("cpu", "cuda")
    return torch.optim.Adam(parameters, rate, betas, fused=fused, capturable=cuda)


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
