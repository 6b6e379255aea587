"""For model files written for the "CycleGAN and pix2pix" repository: see docs/migrating.md."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.base_model import BaseModel, normal_tensor
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

    @staticmethod
    def check_options(opt: Any) -> None:
        if not opt.isTrain and "batch_size" not in opt.given:
            opt.batch_size = 1  # code of that repository may show the first image of a batch alone

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
        self.optimize_parameters = within(self.autocast, self.optimize_parameters)

    @property
    def losses(self) -> dict[str, Tensor]:  # type: ignore[override]
        """The losses that have been computed so far, by name."""
        found = {name: getattr(self, f"loss_{name}", None) for name in self.loss_names}
        return {name: torch.as_tensor(loss) for name, loss in found.items() if loss is not None}

    @losses.setter
    def losses(self, values: dict[str, Tensor]) -> None:
        """Do nothing: the attributes `loss_NAME` are the losses."""

    def generator(self) -> nn.Module:
        return next(net for name, net in self.nets.items() if name.startswith("G"))

    def set_requires_grad(self, nets: nn.Module | Sequence[nn.Module], requires_grad: bool) -> None:
        """Let the parameters of `nets` collect gradients, or not."""
        for net in [nets] if isinstance(nets, nn.Module) else nets:
            net.requires_grad_(requires_grad)

    def get_current_visuals(self) -> dict[str, Tensor]:
        with torch.inference_mode():  # it may run a network on the images of a test
            self.compute_visuals()
        visuals = {name: getattr(self, name) for name in self.visual_names}
        return {name: as_images(value) for name, value in visuals.items()}


def as_images(value: Tensor | np.ndarray) -> Tensor:
    """Return images (N, C, H, W) in [-1, 1] of themselves, or of an array (H, W, C) in 0..255, as
    of one image converted from Lab.
    """
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    return normal_tensor(value)
