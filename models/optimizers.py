"""Networks and optimizers as the options say."""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from models import networks


def _spare_dynamo() -> None:
    """Keep optimizers from importing the machinery of torch.compile, seconds for nothing here.

    Their methods import it when first called, unless the function within says it has seen to it.
    """
    for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
        function = getattr(getattr(Optimizer, name), "__wrapped__", None)
        if function is not None:
            setattr(function, "__dynamo_disable", function)


def load_optimizer(optimizer: Optimizer, saved: dict[str, Any], *, keep_rate: bool) -> None:
    """Load the running means; momenta, and rates if `keep_rate`, stay as the options have them."""
    groups = optimizer.state_dict()["param_groups"]
    if [len(g["params"]) for g in groups] != [len(g["params"]) for g in saved["param_groups"]]:
        raise ValueError("an optimizer has other parameters")
    for group, old in zip(groups, saved["param_groups"], strict=True) if not keep_rate else ():
        rate, now = float(old["lr"]), group["lr"]
        group["lr"] = torch.full_like(now, rate) if isinstance(now, Tensor) else rate
    optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})
    # Fused Adam takes a weight and its means in the order in which they lie in memory, which is
    # another on a GPU than on a CPU.
    for weight, means in optimizer.state.items():
        for name, value in means.items():
            if value.shape == weight.shape and value.stride() != weight.stride():
                means[name] = torch.empty_like(weight).copy_(value)


class Builder:
    """What models build themselves with."""

    opt: Any
    device: torch.device

    def make_generator(
        self, input_nc: int | None = None, output_nc: int | None = None
    ) -> networks.Generator:
        """Build a generator as the options say, or with other numbers of channels."""
        opt = self.opt
        build = partial(
            networks.define_G,
            input_nc or opt.input_nc,
            output_nc or opt.output_nc,
            opt.ngf,
            opt.netG,
            opt.norm,
            use_dropout=not opt.no_dropout,
            init_type=opt.init_type,
            init_gain=opt.init_gain,
            upsample=opt.upsample,
        )
        if opt.isTrain:
            return build()
        with torch.device("meta"):  # the weights will be loaded: drawing some takes time
            return build().to_empty(device="cpu")

    def make_discriminator(self, input_nc: int) -> networks.Discriminator:
        """Build a discriminator as the options say; ValueError if the crop is too small for it."""
        opt = self.opt
        netD = networks.define_D(
            input_nc, opt.ndf, opt.netD, opt.n_layers_D, opt.norm, opt.init_type, opt.init_gain
        )
        if opt.preprocess.endswith("crop") and opt.crop_size < netD.min_size:
            raise ValueError(networks.too_deep(netD, opt.crop_size))
        return netD

    def make_optimizer(self, *nets: nn.Module) -> Optimizer:
        """Build the Adam that trains these networks together."""
        _spare_dynamo()
        parameters = [p for net in nets for p in net.parameters()]
        betas, kind = (self.opt.beta1, 0.999), self.device.type
        # A graph sees only what is in a tensor on its device.
        lr = torch.tensor(self.opt.lr, device=self.device) if kind == "cuda" else self.opt.lr
        return torch.optim.Adam(
            parameters, lr, betas, fused=kind in ("cpu", "cuda"), capturable=kind == "cuda"
        )

    def check_weights(self, *flags: str) -> None:
        """Raise a ValueError for an option that is no weight of a loss: a number from 0."""
        for flag in flags:
            if not 0 <= getattr(self.opt, flag) < math.inf:
                raise ValueError(f"--{flag} {getattr(self.opt, flag)}: must be a number from 0")
