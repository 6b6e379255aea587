"""Images with holes to fill: other holes in each epoch of a training, fixed ones at test time."""

import contextlib
import random
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data.base_dataset import BaseDataset, prefix_errors, trains
from data.builtin_facades import is_builtin
from data.channels import eight_bits, to_channels
from data.checks.missing_folder import look_stitched
from data.files.image_files import in_mode, load_image_or_array, sizes_of, split_pair
from data.files.image_types import ImageLike
from data.holes.folders import (
    MASK,
    SKETCH,
    image_files,
    image_folder,
    mask_folder,
    partners,
    unread_folders,
    without_image,
)
from data.holes.mask_files import MOST_HOLE, alpha_mask, as_image, load_mask, shares_of_some
from data.holes.random_holes import MASKS
from data.holes.sketches import edges_of, load_sketch, require_edges
from data.image_folder import one_by_stem
from data.transforms import FILTERS, pixels, to_tensor
from util.inpainting import check_size
from util.seeding import image_seed

NEAREST = FILTERS["nearest"]


class InpaintDataset(BaseDataset):
    """The images in `dataroot/phase`, or at test time in `dataroot`, each with a hole.

    In training the holes are drawn (--masks), or taken from --mask_dir: the file of the image's
    stem, else any. In validation and test they are those in `phase_mask/` or --mask_dir by the
    same stem, where the image is transparent, or any of --mask_dir or drawn, by --seed and the
    image's stem alone. Of the built-in A|B images it uses the photo.
    """

    only_8_bits = ("A", SKETCH)

    @staticmethod
    def modify_commandline_options(parser: Any, is_train: bool) -> Any:
        add = parser.add_argument
        add(
            "--masks",
            choices=[*MASKS],
            default="both",
            role="data",
            carry=True,
            help="holes that are drawn: a box, brush strokes, or both",
        )
        add(
            "--mask_dir",
            role="data",
            carry=True,
            help="folder of masks, white is the hole: the one of the image's stem, else any",
        )
        return parser

    def __init__(self, opt: Any):
        super().__init__(opt)
        for side in "AB":
            if getattr(opt, f"range_{side}") != "auto":
                raise ValueError(f"--range_{side}: images to fill have 8 bits, from 0 to 255")
        for flag in ("input_nc", "output_nc"):
            if getattr(opt, flag) != 3:
                raise ValueError(
                    f"--{flag} {getattr(opt, flag)}: images to fill are RGB; leave it out, grey "
                    f"images become RGB"
                )
        self.guided, self.training = getattr(opt, "guided", False), trains(opt)
        # Where only the targets are wanted, no masks are read.
        draws = self.training or getattr(opt, "targets_alone", False)
        self.reads_alpha = not draws  # transparent pixels are the hole
        self.stitched = is_builtin(opt.dataroot)
        self.half = 0 if self.stitched else None  # the photo of an A|B image
        folder = image_folder(opt)
        self.A_paths = image_files(folder, opt)
        self.by_stem = one_by_stem(folder, self.A_paths)
        self.stems = {path: stem for stem, path in self.by_stem.items()}
        self.own = {} if draws else self.files_beside(MASK)
        self.sketches = self.files_beside(SKETCH) if self.guided else {}
        self.folder = mask_folder(opt)
        if self.guided and not self.sketches:
            require_edges(opt.phase)
        self.filters |= {MASK: NEAREST, SKETCH: NEAREST}
        if opt.on_bad_image == "error" and self.half is None:
            self.check_some()

    def files_beside(self, side: str) -> dict[str, str]:
        """Return the masks, or the sketches, of the phase by stem; {} if there are none.

        ValueError names an image without one.
        """
        return partners(side, self.opt, self.by_stem)

    def check_some(self) -> None:
        """Raise a ValueError for an image that becomes too small, a mask or a sketch that cannot
        be used, as far as a second for each of the three shows.
        """
        for path, size in sizes_of(self.A_paths).items():
            self.check_output(path, size)
        _ = self.hole_shares  # reads masks
        shares_of_some(
            self.partners_of(self.sketches), partial(load_sketch, max_pixels=self.max_pixels)
        )

    def check_output(self, path: str, size: tuple[int, int]) -> None:
        """Raise a ValueError if an image of (width, height) becomes too small for the networks."""
        flag = self.geometry.size_flag
        with contextlib.nullcontext() if flag else prefix_errors(path):
            check_size(*self.geometry.output_size(size), flag)

    @cached_property
    def hole_shares(self) -> list[float]:
        """The share of the hole in some of the masks; ValueError names a file that is no mask."""
        return shares_of_some(self.mask_files(), partial(load_mask, max_pixels=self.max_pixels))

    def __len__(self) -> int:
        return len(self.A_paths)

    def files_by_side(self) -> dict[str, list[str]]:
        sides = {"A": self.A_paths, MASK: self.mask_files()}
        sides[SKETCH] = self.partners_of(self.sketches)
        return {side: files for side, files in sides.items() if files}

    def mask_files(self) -> list[str]:
        """Return the files of masks that the items may get."""
        return self.partners_of(self.own) or (self.folder.paths if self.folder else [])

    def partners_of(self, found: dict[str, str]) -> list[str]:
        """Return the files of the images' masks, or of their sketches, in the images' order."""
        return [found[stem] for stem in self.by_stem if stem in found]

    def remarks(self) -> list[str]:
        """Return remarks on folders and files that are not read, on masks that are white but for
        a small part, and on A|B images.
        """
        remarks = [*unread_folders(self.opt)]
        for side, files in ((MASK, self.own), (SKETCH, self.sketches)):
            remarks += without_image(side, self.opt, images=self.by_stem, found=files)
        try:
            shares = self.hole_shares
        except ValueError:  # said when it is read
            shares = []
        if shares and np.median(shares) > MOST_HOLE:
            remarks.append(
                f"masks: white, which is the hole, covers {np.median(shares):.0%} of the masks; "
                f"invert them if black is to be filled"
            )
        if self.half is None and look_stitched(self.A_paths, wide_is_enough=False):
            remarks.append("the images look like A|B images; a hole is drawn in both halves as one")
        return remarks

    def has_range(self, side: str) -> bool:
        return False

    def paths(self, index: int) -> dict[str, str]:
        """Return A_paths, and mask_paths and sketch_paths if masks and sketches are in files."""
        path = self.A_paths[index]
        paths = {"A_paths": path}
        if self.own or self.folder:
            paths["mask_paths"] = self.partner(path) or self.folder.any(self.number(path))
        if self.sketches:
            paths["sketch_paths"] = self.sketches[self.stems[path]]
        return paths

    def partner(self, path: str) -> str | None:
        """Return the file of an image's own mask; None without one."""
        stem = self.stems[path]
        return self.own.get(stem) or (self.folder.of(stem) if self.folder else None)

    def number(self, path: str) -> int:
        """Return what an image's mask is drawn from: the item's seed, or --seed and the stem."""
        if self.training:
            return random.getrandbits(63)
        return image_seed(self.opt.seed, path)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return an item: its files, A_size, the original (width, height), and with one crop and
        one flip

        - A: float32 (3, H, W) in [-1, 1],
        - mask: float32 (1, H, W), 1 in the hole,
        - with --guided, sketch: float32 (1, H, W), 1 on lines.
        """
        paths = self.paths(index)
        path = paths["A_paths"]
        images, size = self.load_resized(path, lambda: self.read(path), ("A", MASK, SKETCH))
        params = self.geometry.draw(size)
        with prefix_errors(path):
            image, *others = (
                pixels(self.geometry.crop_and_flip(resized, params)) for resized in images
            )
        self.check_output(path, size)
        maps = [other.array()[..., 0] > 0 for other in others]
        sketch = maps.pop() if self.sketches else None
        mask = maps[0] if maps else self.draw(paths, image.size)
        item: dict[str, Any] = {**paths, "A_size": size, "A": to_tensor(image)}
        item["mask"] = as_channel(mask)
        if self.guided:
            item["sketch"] = as_channel(edges_of(image.array()) if sketch is None else sketch)
        return item

    def draw(self, paths: dict[str, str], size: tuple[int, int]) -> np.ndarray:
        """Return the mask of an image that has none of its own, (H, W), for its (width, height)."""
        if "mask_paths" in paths:
            mask = as_image(load_mask(paths["mask_paths"], self.max_pixels))
            return np.asarray(mask.resize(size, NEAREST)) > 0
        rng = np.random.default_rng(self.number(paths["A_paths"]))
        return MASKS[self.opt.masks](size, rng)

    def read(self, path: str) -> list[ImageLike]:
        """Read an image, its own mask if it has one, and its sketch if there are any: 255 in the
        hole and on lines. ValueError names a file that cannot be used.
        """
        image = self.read_image(path)
        alpha = "ignore" if self.reads_alpha else self.opt.alpha
        mask_path, sketch_path = self.partner(path), self.sketches.get(self.stems[path])
        mask = load_mask(mask_path, self.max_pixels, image.size) if mask_path else None
        if mask is None and not self.training:
            with prefix_errors(path):
                mask = alpha_mask(image)
        sketch = load_sketch(sketch_path, self.max_pixels, image.size) if sketch_path else None
        maps = [as_image(array) for array in (mask, sketch) if array is not None]
        return [to_channels(image, 3, alpha), *maps]

    def read_image(self, path: str) -> Image.Image:
        """Read an image of 8 bits, RGB or RGBA."""
        if self.half is not None:
            return split_pair(path, self.max_pixels)[self.half]
        with prefix_errors(path):
            return eight_bits(load_image_or_array(path, self.max_pixels))

    def images(self, index: int) -> dict[str, tuple[str, ImageLike]]:
        path = self.A_paths[index]
        return {"A": (path, in_mode(self.read_image(path), "RGB"))}


def as_channel(of: np.ndarray) -> Tensor:
    """Return bools (H, W) as float32 (1, H, W)."""
    return torch.from_numpy(of.astype(np.float32))[None]
