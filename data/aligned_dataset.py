"""Pairs of images: A|B side by side in one file, or in two folders."""

import logging
from pathlib import Path
from typing import Any

from data.base_dataset import BaseDataset, prefix_errors, trains
from data.channels import side_channels, to_channels
from data.checks.missing_folder import check_not_two_folders, missing_folder
from data.files.image_files import read_pair
from data.files.image_types import ImageLike
from data.files.large_images import large_images
from data.image_folder import check_partners, make_dataset, one_by_stem, side_folders
from data.labels.distortion import classes_of, draw_distortion, moved
from util.label_flags import add_label_aug

log = logging.getLogger(__name__)


class AlignedDataset(BaseDataset):
    """Pairs from `dataroot/phase` (A is the left half, B the right), or, without that folder, from
    two folders such as `dataroot/phaseA` and `dataroot/phaseB` (`image_folder.SIDES`), matched by
    path without extension.

    Both images of a pair share the crop and the flip.
    """

    @staticmethod
    def modify_commandline_options(parser: Any, is_train: bool) -> Any:
        if is_train:
            add_label_aug(parser)
        return parser

    def __init__(self, opt: Any):
        super().__init__(opt)
        self.label_aug = getattr(opt, "label_aug", 0.0) if trains(opt) else 0.0
        files = pair_files(Path(opt.dataroot), opt.phase, opt.max_dataset_size)
        if not files:
            tree = f"{opt.phase}/ with A|B images, or {opt.phase}A/ and {opt.phase}B/"
            raise missing_folder(opt, tree)
        self.A_paths, self.B_paths = files
        self.stitched = self.A_paths == self.B_paths
        self.channels = side_channels(opt, [*self.A_paths, *self.B_paths])

    def __len__(self) -> int:
        return len(self.A_paths)

    def files_by_side(self) -> dict[str, list[str]]:
        return {"A": self.A_paths, "B": self.B_paths}

    def files_for_device(self) -> list[str]:
        return [] if self.label_aug or type(self) is not AlignedDataset else self.A_paths

    def paths(self, index: int) -> dict[str, str]:
        return {"A_paths": self.A_paths[index], "B_paths": self.B_paths[index]}

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return A and B, their files, and A_size, the original (width, height) of A."""
        files = self.paths(index)
        paths = list(files.values())
        if type(self) is AlignedDataset:
            stitched = paths[0] == paths[1]
            if large := large_images(self.opt, paths, self.channels, stitched):
                return {**files, **large, "A_size": large["A"].size}
        pair, size = self.load_resized(paths[0], lambda: self.read(*paths), "AB", paths)
        params = self.geometry.draw(size)
        item: dict[str, Any] = {**files, "A_size": size}
        for side, image, path in zip("AB", pair, paths, strict=True):
            with prefix_errors(path):
                item[side] = self.crop_and_normalize(image, side, params)
        if self.label_aug:
            source = self.opt.direction[0]
            distortion = draw_distortion(classes_of(item[source]), self.label_aug)
            item[source] = moved(item[source], distortion)
        return item

    def images(self, index: int) -> dict[str, tuple[str, ImageLike]]:
        paths = self.A_paths[index], self.B_paths[index]
        images = zip(paths, self.read(*paths), strict=True)
        return dict(zip("AB", images, strict=True))

    def read(self, A_path: str, B_path: str) -> list[ImageLike]:
        """Read A and B, converted to their numbers of channels."""
        A, B = read_pair(A_path, B_path, self.max_pixels)
        if A.size != B.size and not self.geometry.any_size:
            raise ValueError(
                f"{A_path} has {A.width}x{A.height} pixels and {B_path} {B.width}x{B.height}: "
                f"make the sizes equal or use --preprocess resize_and_crop"
            )
        images = []
        for side, image, path in (("A", A, A_path), ("B", B, B_path)):
            with prefix_errors(path):
                images.append(to_channels(image, self.channels[side], self.opt.alpha))
        return images


def pair_files(
    root: Path, phase: str, most: float = float("inf")
) -> tuple[list[str], list[str]] | None:
    """Return the files of A and of B; both lists are equal if the files are stitched A|B images.

    None if neither `phase` nor two folders of its sides exist.
    """
    stitched, folders = root / phase, list(side_folders(root, phase).values())
    if stitched.is_dir():
        if len(folders) == 2:
            log.info("reading %s; %s and %s are ignored", stitched, *folders)
        files = make_dataset(stitched, most)
        check_not_two_folders(stitched)
        return files, files
    return paired_paths(*folders, most) if len(folders) == 2 else None


def paired_paths(A: Path, B: Path, most: float) -> tuple[list[str], list[str]]:
    """Match the files of two folders by path without extension; ValueError for one alone."""
    A_by_stem, B_by_stem = (one_by_stem(folder, make_dataset(folder)) for folder in (A, B))
    check_partners(A_by_stem, B_by_stem, B)
    check_partners(B_by_stem, A_by_stem, A)
    stems = sorted(A_by_stem)[: int(min(most, len(A_by_stem)))]
    return [A_by_stem[s] for s in stems], [B_by_stem[s] for s in stems]
