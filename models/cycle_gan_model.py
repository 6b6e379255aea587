"""CycleGAN: translation between two sets of images without pairs (arXiv:1703.10593)."""

import argparse
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from models import networks
from models.base_model import BaseModel
from models.building import check_loss_weights
from util.image_pool import ImagePool


class CycleGANModel(BaseModel):
    """G_A: A → B and G_B: B → A, each fooling a D, and each undoing the other.

    min_G max_D  L_GAN(G_A, D_A) + L_GAN(G_B, D_B)
                 + λ_A · E‖G_B(G_A(A)) − A‖₁ + λ_B · E‖G_A(G_B(B)) − B‖₁  (eq. 3)
    and, with λ_identity, the identity loss of §5.2. D_A judges images of B, D_B those of A.
    `--direction BtoA` swaps the dataset's A and B.
    """

    loss_names = ("D_A", "G_A", "cycle_A", "idt_A", "D_B", "G_B", "cycle_B", "idt_B")
    visual_names = ("real_A", "fake_B", "rec_A", "idt_B", "real_B", "fake_A", "rec_B", "idt_A")
    pooled = ("pooled_fake_A", "pooled_fake_B")
    graphed = ("update_G", "update_D")

    @staticmethod
    def modify_commandline_options(
        parser: argparse.ArgumentParser, is_train: bool
    ) -> argparse.ArgumentParser:
        parser.set_defaults(no_dropout=True, dataset_mode="unaligned")
        if is_train:
            add = partial(parser.add_argument, role="training")
            add("--lambda_A", type=float, default=10.0, help="weight of the cycle loss A → B → A")
            add("--lambda_B", type=float, default=10.0, help="weight of the cycle loss B → A → B")
            add(
                "--lambda_identity",
                type=float,
                default=0.5,
                help="identity-loss weight, relative to the cycle loss",
            )
        return parser

    def __init__(self, opt: Any):
        super().__init__(opt)
        self.netG_A = self.nets["G_A"] = self.make_generator()
        self.netG_B = self.nets["G_B"] = self.make_generator(opt.output_nc, opt.input_nc)
        if not self.isTrain:
            if opt.model_suffix == "_B":  # test B → A: netG_A reads G_B's file
                self.nets = {"G_B": self.netG_A, "G_A": self.netG_B}
            return
        check_loss_weights(opt, "lambda_A", "lambda_B", "lambda_identity")
        if opt.lambda_identity and opt.input_nc != opt.output_nc:
            raise ValueError(
                f"--lambda_identity {opt.lambda_identity}: needs --input_nc {opt.input_nc} and "
                f"--output_nc {opt.output_nc} to be equal; use --lambda_identity 0"
            )
        self.netD_A = self.nets["D_A"] = self.make_discriminator(opt.output_nc)
        self.netD_B = self.nets["D_B"] = self.make_discriminator(opt.input_nc)
        self.augment = self.make_augment()
        self.criterionGAN = networks.GANLoss(opt.gan_mode)
        self.pools["fake_B_pool"] = ImagePool(opt.pool_size, opt.seed)
        self.pools["fake_A_pool"] = ImagePool(opt.pool_size, opt.seed + 1)
        self.optimizers["G"] = self.make_optimizer(self.netG_A, self.netG_B)
        self.optimizers["D"] = self.make_optimizer(self.netD_A, self.netD_B)
        self.updates = {"G": self.loss_G, "D": self.loss_D}

    def generator(self) -> nn.Module:
        return self.netG_A

    def set_input(self, batch: dict[str, Any]) -> None:
        source, target = self.sides()
        # Training needs both sides; at test time one side is enough.
        needs_A = self.isTrain or source in batch or target not in batch
        self.real_A = self.to_device(batch, source) if needs_A else None
        self.real_B = self.to_device(batch, target) if self.isTrain or target in batch else None
        self.image_paths = batch.get(f"{source}_paths") or batch[f"{target}_paths"]

    def forward(self) -> None:
        self.visuals = {}
        if self.real_A is not None:  # all (N, C, H, W) in [-1, 1]
            self.fake_B = self.netG_A(self.real_A)
            self.rec_A = self.netG_B(self.fake_B)
            self.visuals |= {"real_A": self.real_A, "fake_B": self.fake_B, "rec_A": self.rec_A}
        if self.real_B is not None:
            self.fake_A = self.netG_B(self.real_B)
            self.rec_B = self.netG_A(self.fake_A)
            self.visuals |= {"real_B": self.real_B, "fake_A": self.fake_A, "rec_B": self.rec_B}
        if self.isTrain:  # what each D is shown as a fake
            self.pooled_fake_A, self.pooled_fake_B = self.fake_A.detach(), self.fake_B.detach()

    def optimize_parameters(self) -> None:
        self.update_G()  # both G fool their D, and undo each other
        self.query_pool()  # older fakes for both D
        self.update_D()  # real -> 1, fakes of before G's step -> 0

    def update_G(self) -> None:
        """One step of both generators, through discriminators that stay as they are."""
        self.forward()
        self.update("G", self.loss_G)

    def update_D(self) -> None:
        """One step of both discriminators."""
        self.update("D", self.loss_D)

    def query_pool(self) -> None:
        """Put older fakes among those that each D is shown (§4)."""
        self.pooled_fake_B = self.pools["fake_B_pool"].query(self.pooled_fake_B)
        self.pooled_fake_A = self.pools["fake_A_pool"].query(self.pooled_fake_A)

    def loss_G(self) -> Tensor:
        """GAN, cycle and identity losses of both generators (eq. 3, §5.2)."""
        opt = self.opt
        terms = {
            "G_A": self.generator_gan_loss(self.netD_A, self.fake_B),
            "cycle_A": opt.lambda_A * F.l1_loss(self.rec_A, self.real_A),
            "G_B": self.generator_gan_loss(self.netD_B, self.fake_A),
            "cycle_B": opt.lambda_B * F.l1_loss(self.rec_B, self.real_B),
        }
        terms["idt_A"] = terms["idt_B"] = self.real_A.new_zeros(())
        if opt.lambda_identity:
            idt_A, idt_B = self.netG_A(self.real_B), self.netG_B(self.real_A)
            self.visuals |= {"idt_A": idt_A, "idt_B": idt_B}
            weight = opt.lambda_identity
            terms["idt_A"] = weight * opt.lambda_B * F.l1_loss(idt_A, self.real_B)
            terms["idt_B"] = weight * opt.lambda_A * F.l1_loss(idt_B, self.real_A)
        self.losses |= terms
        return sum(terms.values())

    def loss_D(self) -> Tensor:
        """Each D's loss on real images and on a history of fakes, halved as in §7.1."""
        self.losses["D_A"] = self.discriminator_loss(self.netD_A, self.real_B, self.pooled_fake_B)
        self.losses["D_B"] = self.discriminator_loss(self.netD_B, self.real_A, self.pooled_fake_A)
        return self.losses["D_A"] + self.losses["D_B"]

    def generator_gan_loss(self, netD: nn.Module, fake: Tensor) -> Tensor:
        """G's side of the GAN loss."""
        (fake,) = self.augment(fake)
        return self.criterionGAN(netD(fake), target_is_real=True, for_discriminator=False)

    def discriminator_loss(self, netD: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """D's side of it, `fake` without gradients."""
        real, fake = self.augment(real, fake)
        on_real = self.criterionGAN(netD(real), target_is_real=True)
        on_fake = self.criterionGAN(netD(fake), target_is_real=False)
        loss = (on_real + on_fake) * 0.5
        if self.opt.gan_mode == "wgangp":
            loss = loss + networks.gradient_penalty(netD, real, fake)
        return loss

    def reals(self) -> list[tuple[nn.Module, Tensor]]:
        return [(self.netD_A, self.real_B), (self.netD_B, self.real_A)]

    def validation_loss(self) -> Tensor:
        """The L1 distance of both cycles, since there is no target."""
        return F.l1_loss(self.rec_A, self.real_A) + F.l1_loss(self.rec_B, self.real_B)
