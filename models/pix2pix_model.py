"""pix2pix: image-to-image translation with conditional GANs (arXiv:1611.07004)."""

import argparse
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models import networks
from models.base_model import BaseModel
from models.layers import frozen
from util.device import full_precision
from util.image_pool import ImagePool


class Pix2PixModel(BaseModel):
    """min_G max_D  E[log D(A, B)] + E[log(1 − D(A, G(A)))] + λ · E‖B − G(A)‖₁  (eq. 4).

    real_A is the input, real_B the target, fake_B = G(real_A); `--direction BtoA` swaps the
    dataset's A and B.
    """

    @staticmethod
    def modify_commandline_options(
        parser: argparse.ArgumentParser, is_train: bool
    ) -> argparse.ArgumentParser:
        parser.set_defaults(norm="batch", netG="unet_256", dataset_mode="aligned")
        if is_train:
            parser.set_defaults(pool_size=0, gan_mode="vanilla")
            parser.add_argument("--lambda_L1", type=float, default=100.0, help="weight of the L1")
        return parser

    def __init__(self, opt: Any):
        super().__init__(opt)
        if self.isTrain and not 0 <= opt.lambda_L1 < math.inf:
            raise ValueError(f"--lambda_L1 {opt.lambda_L1}: must be a number from 0")
        self.nets["G"] = self.make_generator()
        if not self.isTrain:
            return
        # D is conditional: it sees input and output together.
        self.nets["D"] = networks.define_D(
            opt.input_nc + opt.output_nc,
            opt.ndf,
            opt.netD,
            opt.n_layers_D,
            opt.norm,
            opt.init_type,
            opt.init_gain,
        )
        if opt.preprocess.endswith("crop") and opt.crop_size < self.netD.min_size:
            raise ValueError(networks.too_deep(self.netD, opt.crop_size))
        self.criterionGAN = networks.GANLoss(opt.gan_mode)
        self.fake_AB_pool = ImagePool(opt.pool_size, opt.seed)
        for name, net in self.nets.items():
            self.optimizers[name] = self.make_optimizer(net)

    @property
    def netG(self) -> torch.nn.Module:
        """The generator."""
        return self.nets["G"]

    @property
    def netD(self) -> torch.nn.Module:
        """The discriminator, when training."""
        return self.nets["D"]

    def set_input(self, batch: dict[str, Any]) -> None:
        source, target = ("A", "B") if self.opt.direction == "AtoB" else ("B", "A")
        self.real_A = self.take(batch, source)  # (N, input_nc, H, W) in [-1, 1]
        self.image_paths = batch[f"{source}_paths"]
        self.targets = {}
        if self.isTrain or target in batch:  # at test time a target is only shown
            self.real_B = self.take(batch, target)  # (N, output_nc, H, W) in [-1, 1]
            self.targets = {"real_B": self.real_B}

    def forward(self) -> None:
        self.fake_B = self.netG(self.real_A)  # (N, output_nc, H, W) in [-1, 1]
        self.visuals = {"real_A": self.real_A, "fake_B": self.fake_B, **self.targets}

    def optimize_parameters(self) -> None:
        self.forward()  # fake_B = G(real_A)
        self.update(self.optimizers["D"], self.loss_D())  # D sees fake_B detached
        with frozen(self.netD):
            self.update(self.optimizers["G"], self.loss_G())

    def loss_D(self) -> Tensor:
        """Half of D's loss on fakes and reals: halved to slow D down relative to G (§3.3)."""
        real_AB = torch.cat([self.real_A, self.real_B], 1)
        fake_AB = self.fake_AB_pool.query(torch.cat([self.real_A, self.fake_B], 1))
        self.losses["D_fake"] = self.criterionGAN(self.netD(fake_AB), target_is_real=False)
        self.losses["D_real"] = self.criterionGAN(self.netD(real_AB), target_is_real=True)
        loss = (self.losses["D_fake"] + self.losses["D_real"]) * 0.5
        if self.opt.gan_mode == "wgangp":
            with full_precision():
                loss = loss + networks.gradient_penalty(self.netD, real_AB, fake_AB)
        return loss

    def loss_G(self) -> Tensor:
        """G fools the updated D, and stays near the target (eq. 4)."""
        fake_AB = torch.cat([self.real_A, self.fake_B], 1)
        self.losses["G_GAN"] = self.criterionGAN(
            self.netD(fake_AB), target_is_real=True, for_discriminator=False
        )
        self.losses["G_L1"] = F.l1_loss(self.fake_B, self.real_B) * self.opt.lambda_L1
        return self.losses["G_GAN"] + self.losses["G_L1"]

    def get_current_losses(self) -> dict[str, float]:
        losses = super().get_current_losses()
        return {name: losses[name] for name in ("G_GAN", "G_L1", "D_real", "D_fake")}

    def validation_loss(self) -> Tensor:
        """The L1 distance to the target."""
        return F.l1_loss(self.fake_B, self.real_B)
