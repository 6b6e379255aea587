"""Colour images as lightness (A) and colour (B)."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from data.base_dataset import BaseDataset, prefix_errors
from data.builtin_facades import is_builtin
from data.channels import eight_bits, to_channels
from data.checks.missing_folder import missing_folder
from data.files.image_files import in_mode, load_image_or_array, split_pair
from data.files.image_types import ImageArray, ImageLike
from data.image_folder import make_dataset
from data.transforms import Geometry, pixels
from util.color import rgb_to_lab


class ColorizationDataset(BaseDataset):
    """Images of `dataroot/phase` in CIE Lab: A is L, B is ab.

    From the built-in A|B images it uses the photo half.
    """

    only_8_bits = ("A", "B")

    @staticmethod
    def modify_commandline_options(
        parser: argparse.ArgumentParser, is_train: bool
    ) -> argparse.ArgumentParser:
        parser.set_defaults(input_nc=1, output_nc=2)
        return parser

    def __init__(self, opt: Any):
        super().__init__(opt)
        for flag, channels, name in (("input_nc", 1, "L"), ("output_nc", 2, "a and b")):
            if getattr(opt, flag) != channels:
                raise ValueError(
                    f"--{flag} {getattr(opt, flag)}: --dataset_mode colorization returns {name}; "
                    f"use --{flag} {channels}"
                )
        if opt.alpha != "ignore":
            raise ValueError(f"--alpha {opt.alpha}: colorization ignores alpha; leave it out")
        for flag in ("range_A", "range_B"):
            if getattr(opt, flag) != "auto":
                raise ValueError(f"--{flag}: L, a and b come from RGB of 8 bits; leave it out")
        folder = Path(opt.dataroot) / opt.phase
        if not folder.is_dir():
            raise missing_folder(opt, f"{opt.phase}/ with images")
        self.image_paths = make_dataset(folder, opt.max_dataset_size)
        self.stitched = is_builtin(opt.dataroot)

    def __len__(self) -> int:
        return len(self.image_paths)

    def files_by_side(self) -> dict[str, list[str]]:
        return {"A": self.image_paths, "B": self.image_paths}

    def has_range(self, side: str) -> bool:
        return False  # L, a and b have ranges of their own

    def paths(self, index: int) -> dict[str, str]:
        return {"A_paths": self.image_paths[index], "B_paths": self.image_paths[index]}

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return A = L/50 − 1, (1, H, W), and B = ab/110, (2, H, W), the file, and A_size."""
        path = self.image_paths[index]
        (image,), size = self.load_resized(path, lambda: [self.read(path)], "A")
        with prefix_errors(path):
            rgb = self.geometry.crop_and_flip(image, self.geometry.draw(size))
        L, ab = lab_of(rgb)
        return {"A": L, "B": ab, "A_size": size, **self.paths(index)}

    @classmethod
    def single_preprocessor(
        cls, opt: Any, ranges: dict[str, tuple[float, float]]
    ) -> Callable[[ImageLike], Tensor]:
        """Return the function from an image to its L/50 − 1, (1, H, W)."""
        geometry = Geometry.from_options(opt)

        def lightness(image: ImageLike) -> Tensor:
            return lab_of(pixels(geometry.center_crop(geometry.resize(to_channels(image, 3)))))[0]

        return lightness

    def read(self, path: str) -> Image.Image:
        """Read a file's image in RGB."""
        if self.stitched:
            return split_pair(path)[0]
        with prefix_errors(path):
            return in_mode(eight_bits(load_image_or_array(path, self.max_pixels)), "RGB")


def lab_of(rgb: ImageArray) -> tuple[Tensor, Tensor]:
    """Return L/50 − 1, (1, H, W), and ab/110, (2, H, W), of an RGB image."""
    low, high = rgb.range
    array = (torch.from_numpy(rgb.array()).permute(2, 0, 1).double() - low) / (high - low)
    lab = rgb_to_lab(array).float()
    return lab[:1] / 50 - 1, lab[1:] / 110
