"""Two unpaired sets of images."""

import logging
import random
from functools import partial
from pathlib import Path
from typing import Any

from data.base_dataset import BaseDataset, prefix_errors
from data.channels import side_channels, to_channels
from data.checks.missing_folder import missing_folder
from data.files.image_files import load_image_or_array, split_pair
from data.files.image_types import ImageLike
from data.image_folder import make_dataset, side_folders

log = logging.getLogger(__name__)


class UnalignedDataset(BaseDataset):
    """A from `dataroot/phaseA`, B from `dataroot/phaseB` (or others of `image_folder.SIDES`);
    without these folders, the left and right halves of the A|B images in `dataroot/phase`, treated
    as unpaired.

    The length is that of the longer set; the shorter set repeats. B is drawn at random, unless
    `--serial_batches`. At test time one of the two folders is enough.
    """

    def __init__(self, opt: Any):
        super().__init__(opt)
        root = Path(opt.dataroot)
        stitched, folders = root / opt.phase, side_folders(root, opt.phase)
        sides = list(folders)
        self.stitched = not sides and stitched.is_dir()
        if self.stitched:
            log.info("%s: using the halves of its A|B images as two sets", stitched)
            folders, sides = dict.fromkeys("AB", stitched), ["A", "B"]
        elif not sides or (opt.isTrain and len(sides) < 2):
            tree = f"{opt.phase}A/ and {opt.phase}B/, or {opt.phase}/ with A|B images"
            raise missing_folder(opt, tree, home=f"{opt.phase}A")
        self.side_paths = {s: make_dataset(folders[s], opt.max_dataset_size) for s in sides}
        files = [path for paths in self.side_paths.values() for path in paths]
        self.channels = side_channels(opt, files)
        self.serial_batches = opt.serial_batches

    def __len__(self) -> int:
        return max(map(len, self.side_paths.values()))

    def files_by_side(self) -> dict[str, list[str]]:
        return self.side_paths

    def files_for_device(self) -> list[str]:
        own = type(self) is UnalignedDataset
        return [path for paths in self.side_paths.values() for path in paths] if own else []

    def paths(self, index: int) -> dict[str, str]:
        """Return the files; B is drawn at random, unless `--serial_batches`."""
        return {f"{side}_paths": self._path(side, index) for side in self.side_paths}

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return A and B, their files, and A_size and B_size, their original (width, height)."""
        item: dict[str, Any] = {}
        for side in self.side_paths:
            path = self._path(side, index)
            images, size = self.load_resized(
                path, partial(self.read, path, side), "AB" if self.stitched else side
            )
            image = images["AB".index(side)] if self.stitched else images[0]
            with prefix_errors(path):
                item[side] = self.crop_and_normalize(image, side, self.geometry.draw(size))
            item[f"{side}_paths"], item[f"{side}_size"] = path, size
        return item

    def images(self, index: int) -> dict[str, tuple[str, ImageLike]]:
        images_by_side = {}
        for side, paths in self.side_paths.items():
            path = paths[index % len(paths)]
            images = self.read(path, side)
            images_by_side[side] = path, images["AB".index(side)] if self.stitched else images[0]
        return images_by_side

    def _path(self, side: str, index: int) -> str:
        paths = self.side_paths[side]
        if side == "B" and not self.serial_batches:
            return paths[random.randrange(len(paths))]
        return paths[index % len(paths)]

    def read(self, path: str, side: str) -> list[ImageLike]:
        """Read a file's image or both halves, converted to their numbers of channels."""
        sides, images = (
            ("AB", split_pair(path, self.max_pixels))
            if self.stitched
            else (side, [load_image_or_array(path, self.max_pixels)])
        )
        with prefix_errors(path):
            return [
                to_channels(image, self.channels[side], self.opt.alpha)
                for side, image in zip(sides, images, strict=True)
            ]
