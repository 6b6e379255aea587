"""pix2pixHD: large images from maps of classes.

Source: Wang et al., arXiv:1711.11585, below "pix2pixHD §…".
"""

import argparse
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from models.building import build
from models.instance_features import FeatureBank, InstanceEncoder
from models.losses import feature_matching
from models.networks import get_norm_layer
from models.pix2pixHD_networks import GlobalGenerator, LocalEnhancer
from models.semantic import SemanticModel
from util.flag_types import number
from util.image_pool import ImagePool

NO_IMAGES = "--use_encoded_image: needs an image beside each label map"


class Pix2PixHDModel(SemanticModel):
    """min_G (max_D Σ_scales GAN) + λ · feature matching + λ · perceptual loss (pix2pixHD eq. 5).

    G and then D learn from the same images. `--netG local` adds an enhancer around the generator
    of half the size, which --init_from may have trained before. Under --instance_feat an encoder
    E gives the mean features of each instance, and the look of an output is that of its features
    (§3.4).
    """

    loss_names = ("G_GAN", "G_GAN_Feat", "G_VGG", "D_real", "D_fake")
    grows = True  # --init_from a run of fewer enhancers or scales keeps what fits
    pooled = ("fake_AB",)
    generators = ("global", "local")
    graphed = ("forward", "update_G", "update_D")

    @staticmethod
    def modify_commandline_options(
        parser: argparse.ArgumentParser, is_train: bool
    ) -> argparse.ArgumentParser:
        parser = SemanticModel.modify_commandline_options(parser, is_train)
        parser.set_defaults(netG="global")
        with parser.section("networks of pix2pixHD", role="network"):
            add, count = partial(parser.add_argument, carry=True), number(int, 1)
            add(
                "--n_downsample_global",
                type=count,
                default=4,
                help="halvings in the global generator",
            )
            add("--n_blocks_global", type=count, default=9, help="residual blocks after them")
            add("--n_local_enhancers", type=count, default=1, help="enhancers of --netG local")
            add("--n_blocks_local", type=count, default=3, help="residual blocks of an enhancer")
            add(
                "--instance_feat", action="store_true", help="an encoder gives instances their look"
            )
            add("--feat_num", type=count, default=3, help="numbers of an instance's look")
            add("--n_downsample_E", type=count, default=4, help="halvings in the encoder")
            add("--nef", type=count, default=16, help="width of the encoder")
        if is_train:
            parser.set_defaults(pool_size=0)
            parser.add_argument(
                "--niter_fix_global",
                type=number(int, 0),
                default=0,
                role="training",
                help="first epochs in which only the last enhancer of --netG local learns",
            )
        else:
            with parser.section("testing of pix2pixHD", role="network"):
                parser.add_argument(
                    "--use_encoded_image",
                    action="store_true",
                    help="instances look as in the image that is there, not as in the training",
                )
        return parser

    def __init__(self, opt: Any):
        super().__init__(opt)
        if opt.instance_feat and opt.no_instance:
            raise ValueError("--instance_feat: needs instance maps; leave out --no_instance")
        self.encodes_images = opt.instance_feat and getattr(opt, "use_encoded_image", False)
        self.norm_layer = get_norm_layer(opt.norm)
        self.make_synthesis()
        if opt.instance_feat:
            shape = opt.output_nc, opt.feat_num, opt.nef, opt.n_downsample_E, self.norm_layer
            self.nets["E"] = build(opt, lambda: InstanceEncoder(*shape))
            if not self.encodes_images:
                self.nets["features"] = FeatureBank(self.classes, opt.feat_num)
        if not self.isTrain:
            return
        self.nets["D"] = self.make_discriminator(self.semantic_nc + opt.output_nc)
        self.nets["D"].recompute = opt.checkpoint_activations
        trained = [self.nets[name] for name in ("G", "E") if name in self.nets]
        self.optimizers["G"] = self.make_optimizer(*trained)
        self.optimizers["D"] = self.make_optimizer(self.nets["D"])
        self.updates = {"G": self.loss_G, "D": self.loss_D}
        self.pools["fake_AB_pool"] = ImagePool(opt.pool_size, opt.seed)

    def make_netG(self) -> nn.Module:
        opt = self.opt
        input_nc = self.semantic_nc + opt.instance_feat * opt.feat_num
        sizes = opt.ngf, opt.n_downsample_global, opt.n_blocks_global
        if opt.netG == "global":
            return GlobalGenerator(input_nc, opt.output_nc, *sizes, self.norm_layer)
        enhancers = opt.n_local_enhancers, opt.n_blocks_local
        return LocalEnhancer(input_nc, opt.output_nc, *sizes, *enhancers, self.norm_layer)

    def set_input(self, batch: dict[str, Any]) -> None:
        super().set_input(batch)
        if self.opt.instance_feat:
            self.instances = self.to_device(batch, "instance")

    def forward(self) -> None:
        super().forward()
        if self.isTrain:
            self.fake_AB = self.discriminator_input(self.fake_B).detach()  # for D

    def synthesize(self) -> None:
        """fake_B = G(labels), with the features of each instance under --instance_feat."""
        labels = self.for_G()
        if self.opt.instance_feat:
            labels = torch.cat([self.labels, self.features()], 1)
        self.fake_B = self.synthesis(labels)  # (N, output_nc, H, W) in [-1, 1]

    def translate(self, real: Tensor) -> Tensor:
        """As `BaseModel.translate`; under --instance_feat the last channel of `real` holds the
        instances, which look as ones of the training.
        """
        if self.opt.instance_feat:
            if self.encodes_images:
                raise ValueError(f"{NO_IMAGES}; leave it out to draw features of the training")
            labels, instances = real[:, :-1], real[:, -1:].long()
            real = torch.cat([labels, self.nets["features"].draw(labels, instances)], 1)
        return super().translate(real)

    def features(self) -> Tensor:
        """Return the features of each pixel's instance, (N, feat_num, H, W).

        They are those of the real image, or, at test time, of instances of the training.
        """
        testing = torch.is_inference_mode_enabled()
        if testing and self.encodes_images and self.real_B is None:
            raise ValueError(NO_IMAGES)
        if testing and not self.encodes_images:
            return self.nets["features"].draw(self.labels, self.instances)
        features = self.nets["E"](self.real_B, self.instances)
        if torch.is_grad_enabled():
            self.nets["features"].keep(features.detach(), self.labels, self.instances)
        return features

    def optimize_parameters(self) -> None:
        self.forward()
        self.query_pool()  # older fakes for D (--pool_size)
        self.update_G()
        self.update_D()

    def query_pool(self) -> None:
        self.fake_AB = self.pools["fake_AB_pool"].query(self.fake_AB)

    def update_G(self) -> None:
        """One step of G, and of E, through a D that stays as it is."""
        self.update("G", self.loss_G)

    def update_D(self) -> None:
        """One step of D, with the fakes of before G's step."""
        self.update("D", self.loss_D)

    def loss_G(self) -> Tensor:
        """G fools D at every scale, and gives D the features of the real image."""
        opt, D = self.opt, self.nets["D"]
        if self.augment.policy:
            fake, real = map(D, self.augmented(self.fake_B, self.real_B))
        else:
            fake, real = (D(image, self.semantics) for image in (self.fake_B, self.real_B))
        gan = self.criterionGAN(fake, target_is_real=True, for_discriminator=False)
        terms = {"G_GAN": opt.num_D * gan}  # a sum over the scales
        if self.lambda_feat:
            weight = self.lambda_feat * 4 / (opt.n_layers_D + 1)
            terms["G_GAN_Feat"] = weight * feature_matching(fake, real)
        if self.lambda_vgg:
            terms["G_VGG"] = self.lambda_vgg * self.perceptual(self.fake_B, self.real_B)
        self.losses.update(terms)
        return sum(terms.values())

    def loss_D(self) -> Tensor:
        """Half of D's loss on fakes and reals, summed over the scales."""
        D, scales = self.nets["D"], self.opt.num_D
        if self.augment.policy:
            seen = self.fake_AB, self.discriminator_input(self.real_B)
            fake, real = map(D, self.augment(*seen))
        else:
            if self.opt.pool_size:  # labels of other images, too
                fake = D(self.fake_AB)
            else:
                fake = D(self.fake_AB[:, self.semantic_nc :], self.semantics)
            real = D(self.real_B, self.semantics)
        D_fake = scales * self.criterionGAN(fake, target_is_real=False)
        D_real = scales * self.criterionGAN(real, target_is_real=True)
        self.losses.update(D_real=D_real, D_fake=D_fake)
        return (D_fake + D_real) * 0.5

    # The first epochs of a local enhancer (--niter_fix_global) -------------------------

    def setup(self, opt: Any) -> None:
        super().setup(opt)
        if self.isTrain and opt.niter_fix_global:
            self.epochs_done = (self.first_epoch or opt.epoch_count) - 1
            self.fix_global()

    def update_learning_rate(self, metric: float | None = None) -> None:
        super().update_learning_rate(metric)
        if self.opt.niter_fix_global:
            self.epochs_done += 1
            self.fix_global()

    def fix_global(self) -> None:
        """Let only the last enhancer learn in the first epochs, and then all of G."""
        fixed = self.epochs_done < self.opt.niter_fix_global and self.opt.netG == "local"
        last = f"model{self.opt.n_local_enhancers}_"
        for name, parameter in self.nets["G"].named_parameters():
            parameter.requires_grad_(not fixed or name.startswith(last))
