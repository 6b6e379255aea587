"""A model to copy: save it as `models/foo_model.py`, rename the class, write your own losses.

This one is plain regression: G learns min E‖B − G(A)‖₁, without a GAN.
"""

import argparse
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from models.base_model import BaseModel


class TemplateModel(BaseModel):
    """fake_B = G(real_A), trained with an L1 loss to real_B."""

    graphed = ("update_G",)  # methods that a GPU may replay as CUDA graphs

    @staticmethod
    def modify_commandline_options(
        parser: argparse.ArgumentParser, is_train: bool
    ) -> argparse.ArgumentParser:
        # Defaults that suit this model, and flags of its own.
        parser.set_defaults(dataset_mode="aligned", netG="unet_256", norm="batch")
        if is_train:
            add = parser.add_argument
            add(
                "--lambda_regression",
                type=float,
                default=1.0,
                role="training",
                help="weight of the loss",
            )
        return parser

    def __init__(self, opt: Any):
        super().__init__(opt)
        # Networks by name: G is saved as latest_net_G.pth.
        self.nets["G"] = self.make_generator()
        if self.isTrain:
            self.optimizers["G"] = self.make_optimizer(self.nets["G"])
            self.updates["G"] = self.loss_G  # what --grad_accum calls for each batch

    def set_input(self, batch: dict[str, Any]) -> None:
        source, target = self.sides()  # "A" and "B", or the other way round
        self.real_A = self.to_device(batch, source)  # (N, input_nc, H, W) in [-1, 1]
        self.real_B = self.to_device(batch, target)  # (N, output_nc, H, W) in [-1, 1]
        self.image_paths = batch[f"{source}_paths"]

    def forward(self) -> None:
        self.fake_B = self.nets["G"](self.real_A)
        self.visuals = {"real_A": self.real_A, "fake_B": self.fake_B, "real_B": self.real_B}

    def loss_G(self) -> Tensor:
        """The regression loss; `losses` are printed and plotted."""
        self.losses["G"] = F.l1_loss(self.fake_B, self.real_B) * self.opt.lambda_regression
        return self.losses["G"]

    def optimize_parameters(self) -> None:
        self.update_G()

    def update_G(self) -> None:
        """One step of G."""
        self.forward()
        self.update("G", self.loss_G)

    def metric_pair(self) -> tuple[Tensor, Tensor]:
        """What a validation compares (--val_freq)."""
        return self.fake_B, self.real_B
