"""What SPADE and pix2pixHD share: a map of classes goes in, and several discriminators judge."""

import argparse
from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.base_model import BaseModel
from models.building import build, check_loss_weights
from models.label_convolution import dense
from models.label_windows import LabelMap, one_hot, semantic_map
from models.losses import GANLoss
from models.perceptual_loss import FeatureLoss, add_perceptual_flags, build_perceptual
from util.flag_types import number
from util.label_flags import add_class_flags
from util.palette import in_colours, shown_colours


class SemanticModel(BaseModel):
    """A model whose input is a map of classes, with the edges between instances if there are any.

    A subclass builds `nets`, and writes `synthesize` and the losses. `labels` (N, 1 or 2, H, W)
    holds the class numbers and the edges, `semantics` (N, S, H, W) the same one-hot, or a
    `LabelMap` that stands for it, `real_B` (N, 3, H, W) in [-1, 1] the image, `fake_B` what G makes
    of the labels. Of a data set other than `labels`, such as aligned, its input images take the
    place of both (--label_nc 0).
    """

    generators: Sequence[str]  # the values of --netG

    @staticmethod
    def modify_commandline_options(
        parser: argparse.ArgumentParser, is_train: bool
    ) -> argparse.ArgumentParser:
        parser.set_defaults(dataset_mode="labels", netD="multiscale")
        add_class_flags(parser)
        if is_train:
            add = partial(parser.add_argument, role="training")
            weight = number(float, 0)
            add("--lambda_feat", type=weight, default=10.0, help="weight of feature matching in D")
            add("--lambda_vgg", type=weight, default=10.0, help="weight of the perceptual loss")
            add("--no_ganFeat_loss", action="store_true", help="no feature matching")
            add("--no_vgg_loss", action="store_true", help="no perceptual loss")
            add_perceptual_flags(add)
            parser.add_argument(
                "--checkpoint_activations",
                action="store_true",
                role="speed",
                help="less memory and more time: compute again what the backward passes need",
            )
        return parser

    def __init__(self, opt: Any):
        super().__init__(opt)
        if opt.netG not in self.generators:
            choices = " and ".join(self.generators)
            raise ValueError(f"--netG {opt.netG}: --model {opt.model} has {choices}; leave it out")
        self.has_labels = opt.dataset_mode == "labels"
        if not self.has_labels and opt.label_nc:
            raise ValueError(
                f"--label_nc {opt.label_nc}: needs --dataset_mode labels; the inputs of "
                f"{opt.dataset_mode} are images, --label_nc 0"
            )
        if self.has_labels and opt.label_nc is None:
            raise ValueError(
                "--dataset_mode labels: the run was not trained on label maps; leave it out"
            )
        self.classes = opt.label_nc + opt.contain_dontcare_label if self.has_labels else 0
        self.has_edges = self.has_labels and not opt.no_instance
        self.semantic_nc = self.classes + self.has_edges if self.has_labels else opt.input_nc
        self.eval_at_test = True  # SPADE is tested with running statistics
        if self.isTrain:
            if opt.gan_mode == "wgangp":
                raise ValueError(f"--gan_mode wgangp: --model {opt.model} has several scales of D")
            if opt.netD != "multiscale":
                raise ValueError(f"--netD {opt.netD}: --model {opt.model} has multiscale alone")
            check_loss_weights(opt, "lambda_feat", "lambda_vgg")
            self.augment = self.make_augment(image=slice(-opt.output_nc, None))
            self.lambda_feat = 0.0 if opt.no_ganFeat_loss else opt.lambda_feat
            self.lambda_vgg = 0.0 if opt.no_vgg_loss else opt.lambda_vgg
            self.criterionGAN = GANLoss(opt.gan_mode)
            if self.lambda_vgg:
                if opt.output_nc not in (1, 3):
                    raise ValueError(
                        f"--output_nc {opt.output_nc}: the perceptual loss needs images of 1 or 3 "
                        f"channels; --no_vgg_loss trains without it"
                    )
                self.perceptual = self.make_perceptual()

    def make_synthesis(self) -> None:
        """Build G, and the module that runs it on label maps."""
        self.nets["G"] = build(self.opt, self.make_netG)
        self.nets["G"].recompute = self.isTrain and self.opt.checkpoint_activations
        self.synthesis = FromLabels(self.nets["G"], self.classes)

    def make_perceptual(self) -> FeatureLoss:
        """Build the perceptual loss; ValueError if its weights are not there."""
        try:
            chosen = self.opt.perceptual, self.opt.vgg_weights
            loss = build_perceptual(*chosen, imagenet=False).to(self.device)
        except ValueError as error:
            raise ValueError(f"{error}; --no_vgg_loss trains without them") from None
        loss.recompute = self.opt.checkpoint_activations
        return loss

    @abstractmethod
    def make_netG(self) -> nn.Module:
        """Build the generator as the options say; ValueError for an unknown one."""

    def generator(self) -> "FromLabels":
        return self.synthesis

    def set_input(self, batch: dict[str, Any]) -> None:
        source, target = ("label", "image") if self.has_labels else self.sides()
        self.real_B = None  # at test time an image is only shown
        if self.isTrain or target in batch:
            self.real_B = self.to_device(batch, target)
        parts = [self.to_device(batch, source)]
        self.image_paths = batch[f"{source}_paths"]
        parts += [self.to_device(batch, "edges")] if self.has_edges else []
        dtype = torch.float32 if self.real_B is None else self.real_B.dtype
        self.labels = torch.cat([part.to(dtype) for part in parts], 1)
        self.semantics = semantic_map(self.labels, self.classes)

    def for_G(self) -> Tensor | LabelMap:
        """Return what `generator` takes of the labels."""
        return self.semantics if isinstance(self.semantics, LabelMap) else self.labels

    @abstractmethod
    def synthesize(self) -> None:
        """fake_B = G(labels)."""

    def forward(self) -> None:
        self.synthesize()
        self.visuals = {"fake_B": self.fake_B}
        if self.real_B is not None:
            self.visuals["real_B"] = self.real_B

    def discriminator_input(self, image: Tensor) -> Tensor:
        """Return what D sees of an image: joined to the semantic map."""
        return torch.cat([dense(self.semantics), image.to(self.labels.dtype)], 1)

    def augmented(self, *images: Tensor) -> tuple[Tensor, ...]:
        """Return what D sees of images, changed by --diffaug."""
        return self.augment(*map(self.discriminator_input, images))

    def reals(self) -> list[tuple[nn.Module, Tensor]]:
        return [(self.nets["D"], self.discriminator_input(self.real_B))]

    def get_current_visuals(self) -> dict[str, Tensor]:
        real_A = self.labels
        if self.has_labels:
            real_A = in_colours(real_A[:, :1].long(), shown_colours(self.opt))
        return {"real_A": real_A, **super().get_current_visuals()}

    @classmethod
    def targets_of(cls, batch: dict[str, Any], opt: Any) -> Tensor | None:
        return (
            batch.get("image") if opt.dataset_mode == "labels" else super().targets_of(batch, opt)
        )

    def metric_pair(self) -> tuple[Tensor, Tensor]:
        return self.fake_B, self.real_B


class FromLabels(nn.Module):
    """A generator that takes label maps of any size.

    They are padded by the nearest label to multiples of the generator's stride, at least to its
    `min_size`, and its image is cropped back.
    """

    def __init__(self, net: nn.Module, classes: int):
        super().__init__()
        self.net, self.classes = net, classes

    def forward(self, labels: Tensor | LabelMap, more: Tensor | None = None) -> Tensor:
        """Class numbers and edges, (N, 1 or 2, H, W) floats -> (N, output_nc, H, W) in [-1, 1].

        `more` goes to the generator as it is. A `LabelMap` keeps what is computed of it.
        """
        height, width = labels.shape[-2:]
        stride, min_size = self.net.stride, getattr(self.net, "min_size", 1)
        if self.net.training and labels.shape[0] == 1:
            min_size = max(min_size, 2 * stride)  # no norm learns from features of one pixel
        h, w = (max(-(-side // stride) * stride, min_size) for side in (height, width))
        top, left = (h - height) // 2, (w - width) // 2
        if (h, w) != (height, width):
            padding = (left, w - width - left, top, h - height - top)
            pad = LabelMap.padded if isinstance(labels, LabelMap) else F.pad
            labels = pad(labels, padding, mode="replicate")
        if isinstance(labels, Tensor):
            takes_maps = getattr(self.net, "takes_label_maps", False)
            semantics = (semantic_map if takes_maps else one_hot)(labels, self.classes)
        else:
            semantics = labels
        image = self.net(semantics, *([] if more is None else [more]))
        return image[..., top : top + height, left : left + width].to(labels.dtype)
