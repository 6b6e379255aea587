"""pix2pix: image-to-image translation with conditional GANs (arXiv:1611.07004)."""

import argparse
from functools import partial
from typing import Any

import torch
from torch import Tensor

from models import networks
from models.base_model import BaseModel
from models.building import check_loss_weights
from models.losses import PIXEL_LOSSES, feature_matching
from models.perceptual_loss import add_perceptual_flags, build_perceptual
from util.image_pool import ImagePool


class Pix2PixModel(BaseModel):
    """min_G max_D  E[log D(A, B)] + E[log(1 − D(A, G(A)))] + λ · E‖B − G(A)‖₁  (eq. 4).

    A is the paper's x and B its y; its z is dropout. As in §3.3, G maximises log D in place of
    minimising log(1 − D). real_A is the input, real_B the target, fake_B = G(real_A);
    `--direction BtoA` swaps the dataset's A and B. The flags below switch off or change one term
    each, as the paper's tables do; the presets in `options/presets` hold one row of a table each.
    """

    loss_names = ("G_GAN", "G_GAN_Feat", "G_L1", "G_L2", "G_VGG", "D_real", "D_fake")
    pooled = ("fake_AB",)
    graphed = ("forward", "update_D", "update_G")
    # (N, 1, H, W), 0 at pixels without data (--nodata mask), where fake_B and real_B are 0
    valid: Tensor | None = None

    @staticmethod
    def modify_commandline_options(
        parser: argparse.ArgumentParser, is_train: bool
    ) -> argparse.ArgumentParser:
        parser.set_defaults(norm="batch", netG="unet_256", dataset_mode="aligned")
        if is_train:
            add = partial(parser.add_argument, role="training")
            parser.set_defaults(pool_size=0, gan_mode="vanilla")
            add("--lambda_L1", type=float, default=100.0, help="weight of the pixel loss")
            add(
                "--pixel_loss",
                choices=[*PIXEL_LOSSES],
                default="l1",
                help="distance of output and target",
            )
            add("--lambda_GAN", type=float, default=1.0, help="weight of the GAN loss; 0: no D")
            add("--no_conditional_D", action="store_true", help="D sees only the output (eq. 2)")
            add("--lambda_vgg", type=float, default=0.0, help="weight of a perceptual loss")
            add(
                "--lambda_feat",
                type=float,
                default=0.0,
                help="weight of feature matching in D; needs --netD multiscale",
            )
            add_perceptual_flags(add)
        return parser

    def __init__(self, opt: Any):
        super().__init__(opt)
        self.nets["G"] = self.make_generator()
        if not self.isTrain:
            return
        check_loss_weights(opt, "lambda_L1", "lambda_GAN", "lambda_vgg", "lambda_feat")
        self.optimizers["G"] = self.make_optimizer(self.netG)
        if opt.lambda_GAN:
            # D sees input and output together, unless it is not conditional.
            channels = opt.output_nc if opt.no_conditional_D else opt.input_nc + opt.output_nc
            self.nets["D"] = self.make_discriminator(channels)
            self.augment = self.make_augment(image=slice(-opt.output_nc, None))
            self.optimizers["D"] = self.make_optimizer(self.netD)
            self.updates["D"] = self.loss_D
            self.criterionGAN = networks.GANLoss(opt.gan_mode)
            self.pools["fake_AB_pool"] = ImagePool(opt.pool_size, opt.seed)
        elif (opt.pixel_loss == "none" or not opt.lambda_L1) and not opt.lambda_vgg:
            raise ValueError(
                f"--lambda_GAN 0 --pixel_loss {opt.pixel_loss} --lambda_L1 {opt.lambda_L1:g}: "
                f"leaves G nothing to learn from"
            )
        self.updates["G"] = self.loss_G
        if opt.lambda_vgg:
            if opt.output_nc not in (1, 3):
                raise ValueError("--lambda_vgg: needs images of 1 or 3 channels (--output_nc)")
            self.perceptual = build_perceptual(opt.perceptual, opt.vgg_weights).to(self.device)

    @property
    def netG(self) -> torch.nn.Module:
        """The generator."""
        return self.nets["G"]

    @property
    def netD(self) -> torch.nn.Module:
        """The discriminator; AttributeError when testing, and under --lambda_GAN 0."""
        if "D" not in self.nets:
            raise AttributeError("this model has no D: it only tests, or --lambda_GAN is 0")
        return self.nets["D"]

    def set_input(self, batch: dict[str, Any]) -> None:
        source, target = self.sides()
        self.real_A = self.to_device(batch, source)  # (N, input_nc, H, W) in [-1, 1]
        self.image_paths = batch[f"{source}_paths"]
        self.real_B = None  # at test time a target is only shown
        if self.isTrain or target in batch:
            self.real_B = self.to_device(batch, target)  # (N, output_nc, H, W) in [-1, 1]
        self.valid = self.to_device(batch, "valid") if "valid" in batch else None

    def forward(self) -> None:
        self.fake_B = self.netG(self.real_A)  # (N, output_nc, H, W) in [-1, 1]
        if self.valid is not None:
            self.fake_B = self.fake_B * self.valid
        self.visuals = {"real_A": self.real_A, "fake_B": self.fake_B}
        if self.real_B is not None:
            self.visuals["real_B"] = self.real_B
        if self.isTrain and self.opt.lambda_GAN:
            self.fake_AB = self.discriminator_input(self.fake_B).detach()  # the fake for D

    def optimize_parameters(self) -> None:
        self.forward()  # fake_B = G(real_A)
        if self.opt.lambda_GAN:
            self.query_pool()  # older fakes for D (--pool_size)
            self.update_D()  # real pair -> 1, detached fake pair -> 0
        self.update_G()  # fool the updated D, stay near B

    def query_pool(self) -> None:
        self.fake_AB = self.pools["fake_AB_pool"].query(self.fake_AB)

    def update_D(self) -> None:
        """One step of D."""
        self.update("D", self.loss_D)

    def update_G(self) -> None:
        """One step of G, through a D that stays as it is."""
        self.update("G", self.loss_G)

    def discriminator_input(self, B: Tensor) -> Tensor:
        """Return what D sees of an output or a target: joined to the input, if conditional."""
        return B if self.opt.no_conditional_D else torch.cat([self.real_A, B], 1)

    def augmented(self, *seen: Tensor) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """Return what D sees as --diffaug changes it, and `valid`, moved with it."""
        if self.valid is None:
            return self.augment(*seen), None
        moved = self.augment(*(torch.cat([self.valid, image], 1) for image in seen))
        return tuple(image[:, 1:] for image in moved), moved[0][:, :1]

    def loss_D(self) -> Tensor:
        """Half of D's loss on fakes and reals: halved to slow D down relative to G (§3.3)."""
        (real, fake), valid = self.augmented(self.discriminator_input(self.real_B), self.fake_AB)
        D_fake = self.criterionGAN(self.netD(fake), target_is_real=False, valid=valid)
        D_real = self.criterionGAN(self.netD(real), target_is_real=True, valid=valid)
        self.losses.update(D_real=D_real, D_fake=D_fake)
        loss = (D_fake + D_real) * 0.5
        if self.opt.gan_mode == "wgangp":
            loss = loss + networks.gradient_penalty(self.netD, real, fake)
        return loss

    def loss_G(self) -> Tensor:
        """G fools the updated D, and stays near the target (eq. 4)."""
        opt, terms = self.opt, {}
        if opt.lambda_GAN:
            images = [self.fake_B, self.real_B] if opt.lambda_feat else [self.fake_B]
            (fake, *real), valid = self.augmented(*map(self.discriminator_input, images))
            prediction = self.netD(fake)
            terms["G_GAN"] = opt.lambda_GAN * self.criterionGAN(
                prediction, target_is_real=True, for_discriminator=False, valid=valid
            )
            if opt.lambda_feat:
                weight = opt.lambda_feat * 4 / (opt.n_layers_D + 1)  # as pix2pixHD weights layers
                terms["G_GAN_Feat"] = weight * feature_matching(prediction, self.netD(*real))
        if pixel_loss := PIXEL_LOSSES[opt.pixel_loss]:
            name, distance = pixel_loss
            terms[name] = opt.lambda_L1 * distance(self.fake_B, self.real_B)
        if opt.lambda_vgg:
            terms["G_VGG"] = opt.lambda_vgg * self.perceptual(self.fake_B, self.real_B)
        self.losses.update(terms)
        return sum(terms.values())

    def reals(self) -> list[tuple[torch.nn.Module, Tensor]]:
        return [(self.netD, self.discriminator_input(self.real_B))]

    def metric_pair(self) -> tuple[Tensor, Tensor]:
        if self.valid is None or not self.valid.any():
            return self.fake_B, self.real_B
        # What surrounds the pixels with data, such as padding, is equal in both.
        rows, columns = (self.valid.amax(dims).nonzero() for dims in ((0, 1, 3), (0, 1, 2)))
        ys, xs = (slice(int(index.min()), int(index.max()) + 1) for index in (rows, columns))
        return self.fake_B[..., ys, xs], self.real_B[..., ys, xs]
