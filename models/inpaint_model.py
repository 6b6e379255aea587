"""DeepFillv2: images whose holes are filled.

Source: Yu et al., "Free-Form Image Inpainting with Gated Convolution", arXiv:1806.03589.
"""

import argparse
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from models.base_model import BaseModel
from models.building import build, check_loss_weights
from models.inpaint_networks import (
    ATTENTIONS,
    HoleFiller,
    InpaintGenerator,
    SNPatchDiscriminator,
    pasted,
)
from models.losses import GANLoss
from util.flag_types import number


class InpaintModel(BaseModel):
    """min_G max_D of the hinge loss, and λ · (E‖B − stage 1‖₁ + E‖B − stage 2‖₁) (§3.4).

    real_A is the image with its hole, real_B the whole one; fake_B is stage 2 in the hole and
    real_A around it. D sees whole images with the mask, and with the sketch under --guided.
    """

    loss_names = ("G_GAN", "G_L1_stage_1", "G_L1", "D_real", "D_fake")
    visual_names = ("real_A", "stage_1", "fake_B", "real_B")
    graphed = ("forward", "update_D", "update_G")
    fills_holes = True  # translator.py gives `translate` masks

    @staticmethod
    def modify_commandline_options(
        parser: argparse.ArgumentParser, is_train: bool
    ) -> argparse.ArgumentParser:
        parser.set_defaults(dataset_mode="inpaint", netG="inpaint", netD="sn_patch", norm="none")
        # kaiming: gates of 1/2 halve the features of each layer, of which little would be left.
        parser.set_defaults(no_dropout=True, init_type="kaiming")
        with parser.section("networks of inpaint", role="network"):
            add = partial(parser.add_argument, carry=True)
            add(
                "--cnum",
                type=number(int, 4),
                default=48,
                help="width of G, a multiple of 4: a fourth to twice as many channels a layer",
            )
            add(
                "--attention",
                choices=[*ATTENTIONS],
                default="contextual",
                help="contextual: G also looks for patches in the rest of the image; none: not",
            )
            add("--guided", action="store_true", help="lines of a sketch steer what G fills in")
            add(
                "--hole_noise",
                type=number(float, 0),
                default=0.0,
                help="standard deviation of noise in the hole of the input, by which --seed gives "
                "other fillings; 0, as published, gives always the same",
            )
        if is_train:
            parser.set_defaults(gan_mode="hinge", pool_size=0, batch_size=16, lr=1e-4)
            weight = partial(parser.add_argument, type=number(float, 0), role="training")
            weight("--lambda_L1", default=1.0, help="weight of the pixel loss of each stage")
        return parser

    @staticmethod
    def check_options(opt: Any) -> None:
        check_choices(opt)

    def __init__(self, opt: Any):
        super().__init__(opt)
        make = partial(InpaintGenerator, opt.cnum, opt.attention, opt.guided, opt.hole_noise)
        self.nets["G"] = build(opt, make)
        if not self.isTrain:
            return
        check_loss_weights(opt, "lambda_L1")
        self.nets["D"] = build(opt, lambda: SNPatchDiscriminator(4 + opt.guided, opt.ndf))
        self.augment = self.make_augment(image=slice(0, 3))
        self.criterionGAN = GANLoss(opt.gan_mode)
        for name, net in (("D", self.nets["D"]), ("G", self.nets["G"])):
            self.optimizers[name] = self.make_optimizer(net)
        self.updates = {"D": self.loss_D, "G": self.loss_G}

    def set_input(self, batch: dict[str, Any]) -> None:
        self.image_paths = batch["A_paths"]
        self.real_B = self.to_device(batch, "A")  # (N, 3, H, W) in [-1, 1]
        self.mask = self.to_device(batch, "mask")  # (N, 1, H, W), 1 in the hole
        self.sketch = self.to_device(batch, "sketch") if self.opt.guided else None

    def forward(self) -> None:
        self.stage_1, self.stage_2 = self.nets["G"](self.real_B, self.mask, self.sketch)
        self.fake_B = pasted(self.stage_2, self.real_B, self.mask)
        self.visuals = {"stage_1": self.stage_1, "fake_B": self.fake_B, "real_B": self.real_B}

    def optimize_parameters(self) -> None:
        self.forward()  # fake_B is G's image in the hole
        self.update_D()  # whole image -> 1, detached filled image -> -1
        self.update_G()  # fool the updated D, stay near the whole image in both stages

    def update_D(self) -> None:
        """One step of D."""
        self.update("D", self.loss_D)

    def update_G(self) -> None:
        """One step of G, through a D that stays as it is."""
        self.update("G", self.loss_G)

    def judge(self, *images: Tensor) -> tuple[Tensor, ...]:
        """Return what D makes of images with this batch's masks, all in one batch."""
        seen = self.augment(*map(self.discriminator_input, images))
        return self.nets["D"](torch.cat(seen)).chunk(len(images))

    def discriminator_input(self, image: Tensor) -> Tensor:
        """Return what D sees of an image: joined to the mask, and to the sketch in the hole."""
        sketch = [] if self.sketch is None else [self.sketch * self.mask]
        return torch.cat([image, self.mask, *sketch], 1)

    def reals(self) -> list[tuple[nn.Module, Tensor]]:
        return [(self.nets["D"], self.discriminator_input(self.real_B))]

    def loss_D(self) -> Tensor:
        """D tells filled images from whole ones."""
        real, fake = self.judge(self.real_B, self.fake_B.detach())
        D_real = self.criterionGAN(real, target_is_real=True)
        D_fake = self.criterionGAN(fake, target_is_real=False)
        self.losses.update(D_real=D_real, D_fake=D_fake)
        return (D_real + D_fake) * 0.5

    def loss_G(self) -> Tensor:
        """G fools D, and gives the whole image in both stages, around the hole too."""
        (fake,) = self.judge(self.fake_B)
        terms = {
            "G_GAN": self.criterionGAN(fake, target_is_real=True, for_discriminator=False),
            "G_L1_stage_1": self.opt.lambda_L1 * (self.stage_1 - self.real_B).abs().mean(),
            "G_L1": self.opt.lambda_L1 * (self.stage_2 - self.real_B).abs().mean(),
        }
        self.losses.update(terms)
        return sum(terms.values())

    def generator(self) -> HoleFiller:
        return HoleFiller(self.nets["G"])

    def to_image(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the filled image as (N, 3, H, W) of uint8: around the hole the image's bytes."""
        return in_bytes(fake, real[:, :3], real[:, 3:4])

    def get_current_visuals(self) -> dict[str, Tensor]:
        """Return the image with a white hole, stage 1, the filled image and the whole one, as
        (N, 3, H, W) of uint8. The lines of a sketch are black in the hole.

        The hole is where the first and the last differ: in a white or black pixel by 1.
        """
        real, mask = self.real_B, self.mask
        whole = in_bytes(real, real, torch.zeros_like(mask))
        lines = torch.zeros_like(mask) if self.sketch is None else self.sketch
        hole = torch.where(lines > 0, 0, 255).byte().expand_as(whole).clone()
        hole[:, :1] ^= (whole == hole).all(1, keepdim=True).byte()
        return {
            "real_A": torch.where(mask > 0, hole, whole),
            "stage_1": in_bytes(self.stage_1, real, torch.ones_like(mask)),
            "fake_B": in_bytes(self.fake_B, real, mask),
            "real_B": whole,
        }

    @classmethod
    def targets_of(cls, batch: dict[str, Any], opt: Any) -> Tensor:
        whole = batch["A"]
        return in_bytes(whole, whole, torch.zeros_like(whole[:, :1]))

    def metric_pair(self) -> tuple[Tensor, Tensor]:
        """Return the filled and the whole image as test.py writes them, uint8."""
        everything_stays = torch.zeros_like(self.mask)
        whole = in_bytes(self.real_B, self.real_B, everything_stays)
        return in_bytes(self.fake_B, self.real_B, self.mask), whole

    def metric_hole(self) -> Tensor:
        return self.mask


def check_choices(opt: Any) -> None:
    """Raise a ValueError for a choice that this model does not have."""
    for flag, choice in (("netG", "inpaint"), ("netD", "sn_patch")):
        if getattr(opt, flag) != choice:
            raise ValueError(
                f"--{flag} {getattr(opt, flag)}: --model inpaint has {choice} alone; leave it out"
            )
    if opt.dataset_mode in ("aligned", "colorization", "labels", "single", "unaligned"):
        raise ValueError(
            f"--dataset_mode {opt.dataset_mode}: has no masks; --model inpaint needs "
            f"--dataset_mode inpaint"
        )
    if opt.direction != "AtoB":
        raise ValueError(f"--direction {opt.direction}: does nothing for --model inpaint")
    if opt.isTrain and opt.gan_mode == "wgangp":
        raise ValueError("--gan_mode wgangp: --model inpaint has no gradient penalty; use hinge")


def in_bytes(filling: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """Return a filling in the hole of an image, as (N, C, H, W) of uint8.

    What an image of 8 bits became, byte / 127.5 − 1, is rounded back to its bytes; other numbers
    are truncated, as in all results.
    """
    filled = ((filling.float() + 1) / 2 * 255).clamp(0, 255).byte()
    original = ((image.float() + 1) * 127.5).round().clamp(0, 255).byte()
    return torch.where(mask > 0, filled, original)
