"""Images with holes outside a dataset, from files, PIL images, arrays and tensors."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data.base_dataset import prefix_errors
from data.channels import eight_bits
from data.files.image_files import in_mode
from data.files.image_types import ImageLike
from data.holes.mask_files import (
    MOST_HOLE,
    alpha_mask,
    as_image,
    check_hole,
    check_same_size,
    mask_of,
)
from data.holes.sketches import lines_of
from data.holes.user_maps import Reader, map_of
from data.image_parts import Parts, refuse_parts
from data.transforms import FILTERS, Geometry, to_tensor
from data.user_input import Source, check_shape, named, numbered
from data.user_input import as_image as image_of
from util.inpainting import check_size

log = logging.getLogger(__name__)


class HoleInput:
    """The images that a run of --model inpaint takes: RGB in [-1, 1], the mask, 1 in the hole, and
    with --guided the sketch, 1 on lines.
    """

    def __init__(self, opt: Any):
        self.guided, self.channels, self.max_pixels = opt.guided, 4 + opt.guided, opt.max_pixels
        self.parts = ("mask", "sketch") if opt.guided else ("mask",)
        self.geometry = Geometry.from_options(opt)

    def prepare(self, image: Source, name: str = "the image", **parts: Source) -> Tensor:
        """Return an image, its mask and its sketch as `channels`, (channels, H, W).

        The parts are `mask`, by default where the image is transparent, and `sketch`, by default
        without lines, of any kind that `map_of` takes. ValueError says what is wrong, prefixed by
        the file, else by `name`.
        """
        name = named(image, name)
        with prefix_errors(name):
            refuse_parts(parts, self.parts, "fills holes" + " without --guided" * (not self.guided))
            pil_image = eight_bits(image_of(image, max_pixels=self.max_pixels))
            mask = alpha_mask(pil_image) if "mask" not in parts else None
            if mask is None and "mask" not in parts:
                raise ValueError("give its mask (--mask), or make it transparent in the hole")
        if mask is None:
            mask = self._map(parts, "mask", mask_of, image=name, size=pil_image.size)
        maps = [mask]
        if self.guided and "sketch" in parts:
            maps.append(self._map(parts, "sketch", lines_of, image=name, size=pil_image.size))
        with prefix_errors(name):
            check_hole(maps[0])
            if (share := maps[0].mean()) > MOST_HOLE:
                log.warning(
                    "%s: %.0f%% of the image is the hole; invert the mask if black is to be filled",
                    *(name, 100 * share),
                )
            tensors = [to_tensor(self.fitted(in_mode(pil_image, "RGB")))]
            tensors += [(to_tensor(self.fitted(as_image(array))) > 0).float() for array in maps]
            check_size(*tensors[0].shape[:0:-1], self.geometry.size_flag)
            if tensors[1].min() == tensors[1].max():
                left = "only" if tensors[1].any() else "nothing of"
                raise ValueError(
                    f"--preprocess {self.geometry.preprocess} leaves {left} the hole; "
                    f"--preprocess none keeps the whole image"
                )
        missing = self.channels - 3 - len(maps)
        return torch.cat([*tensors, *[torch.zeros_like(tensors[1])] * missing])

    def fitted(self, image: Image.Image) -> ImageLike:
        """Return an image, or a map of mode L, at the size that the network gets."""
        method = FILTERS["nearest"] if image.mode == "L" else None
        return self.geometry.center_crop(self.geometry.resize(image, method))

    def _map(
        self, parts: Parts, part: str, read: Reader, *, image: str, size: tuple[int, int]
    ) -> np.ndarray:
        """Return the mask or the sketch of an image of (width, height) as bools (H, W)."""
        with prefix_errors(named(parts[part], f"{image}: {part}")):
            array = map_of(parts[part], read, name=f"a {part}", max_pixels=self.max_pixels)
            check_same_size(array, size)
            return array

    def check_one(self, image: Tensor, name: str, **parts: Any) -> None:
        """Raise a ValueError for the shape of a tensor that is no single image with its hole."""
        if parts:
            raise ValueError(
                f"{name}: a tensor holds its {next(iter(parts))} as a channel: "
                f"t(t.prepare(image, mask=mask)) makes one"
            )
        check_shape(image, self.channels, name)

    def check(self, real: Tensor, names: Sequence[str] | None) -> Tensor:
        """Return images with their holes (N, channels, H, W) if their values are right."""
        if not isinstance(real, Tensor) or real.dim() != 4 or real.shape[1] != self.channels:
            shape = tuple(getattr(real, "shape", ())) or type(real).__name__
            raise ValueError(
                f"expected a tensor (N, {self.channels}, H, W), image and mask"
                f"{' and sketch' * self.guided}, got {shape}"
            )
        if not real.is_floating_point() or not real.numel():
            raise ValueError(f"expected floats, got {real.dtype} of the shape {tuple(real.shape)}")
        for name, one in zip(names or numbered(real), real.detach(), strict=True):
            with prefix_errors(f"image {name}"):
                if not one[:3].abs().max() <= 1.5:  # rejects NaN; resizing may overshoot 1 a little
                    raise ValueError("expected values in [-1, 1]")
                if not ((one[3:] == 0) | (one[3:] == 1)).all():
                    raise ValueError("mask and sketch are 0 or 1")
                check_size(*one.shape[:0:-1])
        return real
