"""Colorization: from lightness to colour, as pix2pix in CIE Lab (cf. §4.5 of arXiv:1611.07004)."""

import argparse
from typing import Any

import torch
from torch import Tensor

from models.pix2pix_model import Pix2PixModel
from util.color import lab_to_rgb


class ColorizationModel(Pix2PixModel):
    """pix2pix with real_A = L (N, 1, H, W) and real_B = ab (N, 2, H, W), both in [-1, 1]."""

    @staticmethod
    def modify_commandline_options(
        parser: argparse.ArgumentParser, is_train: bool
    ) -> argparse.ArgumentParser:
        parser = Pix2PixModel.modify_commandline_options(parser, is_train)
        parser.set_defaults(dataset_mode="colorization")
        return parser

    def __init__(self, opt: Any):
        if opt.dataset_mode == "single":
            raise ValueError(
                "--dataset_mode single: gives grey images, and --model colorization needs L; leave "
                "it out, and put the photos into a folder test/ in --dataroot"
            )
        if opt.direction != "AtoB":
            raise ValueError("--direction BtoA: colorization goes from L to ab only; leave it out")
        if (opt.input_nc, opt.output_nc) != (1, 2):
            raise ValueError(
                f"--input_nc {opt.input_nc} --output_nc {opt.output_nc}: colorization goes from 1 "
                f"channel (L) to 2 (ab), as --dataset_mode colorization gives them"
            )
        if "color" in (getattr(opt, "diffaug", None) or ()):
            raise ValueError("--diffaug color: for RGB and grey images; D sees ab, leave it out")
        super().__init__(opt)

    def get_current_visuals(self) -> dict[str, Tensor]:
        """Return real_A (N, 1, H, W) and the images that L makes with each ab, (N, 3, H, W)."""
        images = {"real_A": self.real_A}
        if "real_B" in self.visuals:
            images["real_B_rgb"] = to_rgb(self.real_A, self.real_B)
        return {**images, "fake_B_rgb": to_rgb(self.real_A, self.fake_B)}

    def to_image(self, real: Tensor, fake: Tensor) -> Tensor:
        return to_rgb(real, fake)

    @classmethod
    def targets_of(cls, batch: dict[str, Any], opt: Any) -> Tensor:
        return to_rgb(batch["A"], batch["B"])

    def metric_pair(self) -> tuple[Tensor, Tensor]:
        """The images that L makes with each ab."""
        visuals = self.get_current_visuals()
        return visuals["fake_B_rgb"], visuals["real_B_rgb"]


def to_rgb(L: Tensor, ab: Tensor) -> Tensor:
    """Return the image (N, 3, H, W) in [-1, 1] of L and ab in [-1, 1], in float64 on the CPU."""
    lab = torch.cat([(L + 1) * 50, ab * 110], 1)
    return lab_to_rgb(lab.detach().cpu().double()) * 2 - 1
