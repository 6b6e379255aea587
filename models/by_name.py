"""For model files written for the "CycleGAN and pix2pix" repository: see docs/migrating.md."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.base_model import BaseModel
from models.precision import within
from util.image_pool import ImagePool


class NamedModel(BaseModel):
    """A model that lists names, `model_names`, `loss_names`, `visual_names`, and keeps what they
    name in the attributes `netNAME`, `loss_NAME` and `NAME`; its optimizers are a list.

    It takes its steps itself. A model written again is clearer with the dicts of `BaseModel`.
    """

    def __init__(self, opt: Any):
        super().__init__(opt)
        self.gpu_ids: list[int] = opt.gpu_ids
        self.model_names: list[str] = []
        self.loss_names: list[str] = []
        self.visual_names: list[str] = []
        self.optimizers: Any = []

    def collect(self) -> None:
        """Fill the dicts of `BaseModel` from the lists of names, once."""
        if self.nets:
            return
        for name in self.model_names:
            if not hasattr(self, f"net{name}"):
                raise ValueError(
                    f"--model {self.opt.model}: model_names lists {name}, no net{name}"
                )
        self.nets = {name: getattr(self, f"net{name}") for name in self.model_names}
        self.optimizers = {str(i): optimizer for i, optimizer in enumerate(self.optimizers)}
        self.pools = {k: value for k, value in vars(self).items() if isinstance(value, ImagePool)}

    def setup(self, opt: Any) -> None:
        self.collect()
        super().setup(opt)
        optimize = within(self.autocast, self.optimize_parameters)

        def optimize_parameters() -> None:
            optimize()
            losses = {name: getattr(self, f"loss_{name}") for name in self.loss_names}
            self.losses = {name: torch.as_tensor(value) for name, value in losses.items()}

        self.optimize_parameters = optimize_parameters

    def generator(self) -> nn.Module:
        return next(net for name, net in self.nets.items() if name.startswith("G"))

    def set_requires_grad(self, nets: nn.Module | Sequence[nn.Module], requires_grad: bool) -> None:
        """Let the parameters of `nets` collect gradients, or not."""
        for net in [nets] if isinstance(nets, nn.Module) else nets:
            net.requires_grad_(requires_grad)

    def get_current_visuals(self) -> dict[str, Tensor]:
        self.compute_visuals()
        return {name: getattr(self, name) for name in self.visual_names}
