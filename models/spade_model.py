"""SPADE (GauGAN): images from maps of classes, by spatially-adaptive normalization.

Source: Park et al., arXiv:1903.07291, below "SPADE §…".
"""

import argparse
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from models.building import build, build_adam, check_crop, norm_of_D
from models.data_parallel import global_batch_size
from models.losses import DiscriminatorOutput, feature_matching
from models.semantic import SemanticModel
from models.spade_networks import (
    HALVINGS,
    LATENT,
    ImageEncoder,
    MultiscaleDiscriminator,
    SPADEGenerator,
)
from util.flag_types import number

NORM_G = re.compile(r"(spectral)?spade(syncbatch|batch|instance)([1357])x\3")


def norm_of_G(text: str) -> tuple[bool, str, int]:
    """Read --norm_G, as in spectralspadesyncbatch3x3: spectral norm, the norm in a SPADE layer,
    the kernel of its convolutions. ValueError if it is none.
    """
    match = NORM_G.fullmatch(text)
    if not match:
        raise argparse.ArgumentTypeError(
            "must be like spectralspadesyncbatch3x3: with or without spectral, then spade, then "
            "syncbatch, batch or instance, then 1x1, 3x3, 5x5 or 7x7"
        )
    return bool(match[1]), match[2].replace("syncbatch", "sync_batch"), int(match[3])


def known_norm_G(text: str) -> str:
    norm_of_G(text)
    return text


class SpadeModel(SemanticModel):
    """min_G max_D of the hinge loss, with feature matching and a perceptual loss (SPADE §3.1).

    G's step comes first; then G makes its image anew, and D learns from it. The two have
    learning rates of their own (TTUR, arXiv:1706.08500), half and twice --lr. Under --use_vae an
    encoder E gives the z of each image, and the style of an output is that of its z.
    """

    loss_names = ("KLD", "GAN", "GAN_Feat", "VGG", "D_Fake", "D_real")
    generators = ("spade",)
    graphed = ("forward", "update_G", "generate_again", "update_D")

    @staticmethod
    def modify_commandline_options(
        parser: argparse.ArgumentParser, is_train: bool
    ) -> argparse.ArgumentParser:
        parser = SemanticModel.modify_commandline_options(parser, is_train)
        parser.set_defaults(netG="spade", norm_D="spectralinstance", n_layers_D=4)
        parser.set_defaults(init_type="xavier")
        with parser.section("networks of spade", role="network"):
            add = partial(parser.add_argument, carry=True)
            add(
                "--norm_G",
                type=known_norm_G,
                default="spectralspadesyncbatch3x3",
                help="norms of G: spectral of its weights, then the norm in its SPADE layers "
                "(syncbatch, batch or instance) and their kernel",
            )
            add(
                "--num_upsampling_layers",
                choices=[*HALVINGS],
                default="normal",
                help="doublings in G: normal 5, more 6, most 7",
            )
            add("--use_vae", action="store_true", help="an encoder gives the style of an image")
            add("--z_dim", type=number(int, 1), default=LATENT, help="numbers of a style")
        if is_train:
            parser.set_defaults(gan_mode="hinge", n_epochs=50, n_epochs_decay=0, pool_size=0)
            parser.set_defaults(beta1=None, beta2=None)
            add = partial(parser.add_argument, role="training")
            add("--no_TTUR", action="store_true", help="one learning rate, --lr, for G and D")
            add("--lambda_kld", type=number(float, 0), default=0.05, help="weight of z's KL")
        return parser

    def __init__(self, opt: Any):
        super().__init__(opt)
        self.make_synthesis()
        self.images_in_step = 0  # known within `train_on`
        if opt.use_vae and self.isTrain:
            widths = opt.ngf, opt.crop_size, opt.z_dim, opt.output_nc
            self.nets["E"] = build(opt, lambda: ImageEncoder(*widths))
        if not self.isTrain:
            return
        self.nets["D"] = build(opt, self.make_netD)
        self.nets["D"].recompute = opt.checkpoint_activations
        check_crop(self.nets["D"], opt)
        self.make_optimizers()
        self.updates = {"G": self.loss_G, "D": self.loss_D}

    def make_optimizers(self) -> None:
        """Build the Adam of G (and E), and that of D; under TTUR, D learns four times as fast."""
        opt, ttur = self.opt, not self.opt.no_TTUR
        usual = (0.0, 0.9) if ttur else (0.5, 0.999)
        betas = tuple(
            default if beta is None else beta
            for beta, default in zip((opt.beta1, opt.beta2), usual, strict=True)
        )
        of_G = [net for name, net in self.nets.items() if name != "D"]
        for name, nets, factor, lr in (
            ("G", of_G, 0.5, opt.lr_G),
            ("D", [self.nets["D"]], 2.0, opt.lr_D),
        ):
            rate = opt.lr * (factor if ttur else 1.0) if lr is None else lr
            self.optimizers[name] = build_adam(nets, rate, betas, self.device)

    def make_netG(self) -> SPADEGenerator:
        opt = self.opt
        spectral, norm, kernel = norm_of_G(opt.norm_G)
        # The first feature map has the size of the training, also in a test at another size.
        sizes = vars(opt) if self.isTrain else {**vars(opt), **getattr(opt, "saved", {})}
        width = max(1, sizes["crop_size"] // 2 ** HALVINGS[opt.num_upsampling_layers])
        ratio = sizes["aspect_ratio"] if sizes["preprocess"] == "fixed" else 1.0
        return SPADEGenerator(
            self.semantic_nc,
            opt.output_nc,
            opt.ngf,
            opt.num_upsampling_layers,
            norm,
            kernel,
            spectral,
            use_vae=opt.use_vae,
            z_dim=opt.z_dim,
            first_size=(max(1, round(width / ratio)), width),
        )

    def train_on(self, batches: Sequence[dict[str, Any]]) -> None:
        self.images_in_step = sum(map(global_batch_size, batches))
        super().train_on(batches)
        self.images_in_step = 0

    def set_input(self, batch: dict[str, Any]) -> None:
        super().set_input(batch)
        self.images_in_batch = global_batch_size(batch)

    def make_netD(self) -> MultiscaleDiscriminator:
        """Build the discriminators as the options say."""
        opt = self.opt
        norm_layer, spectral = norm_of_D(opt)
        channels, scales = self.semantic_nc + opt.output_nc, (opt.n_layers_D, opt.num_D)
        return MultiscaleDiscriminator(channels, opt.ndf, *scales, norm_layer, spectral=spectral)

    def synthesize(self) -> None:
        """fake_B = G(labels), of the style z of real_B under --use_vae."""
        z = None
        if "E" in self.nets and not torch.is_inference_mode_enabled():
            self.mean, self.log_variance = self.nets["E"](self.real_B)
            noise = torch.randn_like(self.mean)
            z = noise * (0.5 * self.log_variance).exp() + self.mean
        self.fake_B = self.synthesis(self.for_G(), z)  # (N, 3, H, W) in [-1, 1]

    def optimize_parameters(self) -> None:
        self.forward()
        self.update_G()
        self.generate_again()
        self.update_D()

    def update_G(self) -> None:
        """One step of G, and of E, through a D that stays as it is."""
        self.update("G", self.loss_G)

    def generate_again(self) -> None:
        """fake_B of the G that has just learnt."""
        with torch.no_grad(), self.autocast():
            self.synthesize()

    def update_D(self) -> None:
        """One step of D."""
        self.update("D", self.loss_D)

    def judge(self) -> tuple[DiscriminatorOutput, DiscriminatorOutput]:
        """Return what D makes of the fake and of the real images, as one batch."""
        images = self.fake_B.to(self.real_B.dtype), self.real_B
        if self.augment.policy:
            scales = self.nets["D"](torch.cat(self.augmented(*images)))
        else:
            scales = self.nets["D"](torch.cat(images), self.semantics)
        halves = [[layer.chunk(2) for layer in layers] for layers in scales]
        fake, real = ([[pair[i] for pair in layers] for layers in halves] for i in (0, 1))
        return fake, real

    def loss_G(self) -> Tensor:
        """G fools D, and gives D the features of the real image."""
        fake, real = self.judge()
        terms = {}
        if "E" in self.nets:
            terms["KLD"] = self.opt.lambda_kld * self.kl_divergence()
        terms["GAN"] = self.criterionGAN(fake, target_is_real=True, for_discriminator=False)
        if self.lambda_feat:
            terms["GAN_Feat"] = self.lambda_feat * feature_matching(fake, real)
        if self.lambda_vgg:
            terms["VGG"] = self.lambda_vgg * self.perceptual(self.fake_B, self.real_B)
        self.losses.update(terms)
        return sum(terms.values())

    def loss_D(self) -> Tensor:
        """D tells fakes from real images."""
        fake, real = self.judge()
        D_fake = self.criterionGAN(fake, target_is_real=False)
        D_real = self.criterionGAN(real, target_is_real=True)
        self.losses.update(D_Fake=D_fake, D_real=D_real)
        return D_fake + D_real

    def kl_divergence(self) -> Tensor:
        """Return Σ KL(N(mean, variance) ‖ N(0, 1)) over the images of the step, on all ranks.

        As the other losses are means over them, it is the mean over this batch times their number.
        """
        mean, log_variance = self.mean, self.log_variance
        divergences = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1)
        return divergences.mean() * (self.images_in_step or self.images_in_batch)
