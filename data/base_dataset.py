"""The contract of a dataset, and the transforms that datasets share."""

import argparse
import contextlib
import difflib
import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from data.image_cache import CachedImages, ImageCache
from data.image_folder import describe, is_image_file
from data.image_types import ImageArray
from data.transforms import (
    Geometry,
    ImageLike,
    check_channels,
    pil_filter,
    pixels,
    preprocess_single,
    to_channels,
    to_tensor,
)


class BaseDataset(Dataset, ABC):
    """A folder of images as dicts of tensors.

    `data/foo_dataset.py` with a class `FooDataset(BaseDataset)` makes `--dataset_mode foo` work.
    An item is a dict of (C, H, W) tensors in [-1, 1] and their files, usually A, B, A_paths,
    B_paths. Draw randomness from `random`, NumPy or torch as you like: the loader seeds all three
    for every item, by the seed, the epoch and the index alone.
    """

    @staticmethod
    def modify_commandline_options(
        parser: argparse.ArgumentParser, is_train: bool
    ) -> argparse.ArgumentParser:
        """Add flags of this dataset or change defaults; return the parser."""
        return parser

    def __init__(self, opt: Any):
        self.opt = opt
        self.root = opt.dataroot
        self.geometry = Geometry.from_options(opt)
        self.ranges: dict[str, tuple[float, float]] = {}  # of high-bit-depth images, by side
        self.cache: ImageCache | None = None

    def load_resized(self, path: str, read: Callable[[], Sequence[ImageLike]]) -> CachedImages:
        """Load and resize a file's images, through the cache if there is one.

        `read` loads them; the (width, height) of the first before resizing is returned too.
        """
        kept = self.cache.get(path) if self.cache else None
        if kept is None:
            images = read()
            resized = [pixels(self.geometry.resize(image)) for image in images]
            kept = resized, images[0].size
            if self.cache:
                self.cache.put(path, kept)
        return kept

    def crop_and_normalize(self, image: ImageArray, side: str, params: dict[str, Any]) -> Tensor:
        """Crop and mirror a resized image of A or B, and return it as (C, H, W) in [-1, 1]."""
        return to_tensor(self.geometry.crop_and_flip(image, params), self.ranges.get(side))

    @classmethod
    def single_preprocessor(
        cls, opt: Any, ranges: dict[str, tuple[float, float]]
    ) -> Callable[[ImageLike], Tensor]:
        """Return `preprocess_single` with these options: from an image that is in no dataset to
        what test.py's networks are given, (input_nc, H, W) in [-1, 1].

        `ranges` are those of high-bit-depth images, by side. Override it if items are made in
        another way.
        """
        return partial(
            preprocess_single,
            geometry=Geometry.from_options(opt),
            channels=opt.input_nc,
            value_range=ranges.get("B" if opt.direction == "BtoA" else "A"),
        )

    def files_by_side(self) -> dict[str, list[str]]:
        """Return all image files, {"A": [...], "B": [...]}.

        They are checked before training, `load_resized` caches them, and images of more than 8
        bits get the value range of their side. The default, {}, is right for datasets that were
        written for the original repository: no check, no cache, the range of 8-bit images.
        """
        return {}

    def paths(self, index: int) -> dict[str, str]:
        """Return the files of item `index` as they are in the item: A_paths, B_paths.

        The default reads the item, which is right for every dataset; override it to be fast.
        """
        return {key: path for key, path in self[index].items() if key.endswith("_paths")}

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of items."""

    @abstractmethod
    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return item `index`; ValueError names the file of an image that cannot be used."""


def all_files(files_by_side: dict[str, list[str]]) -> list[str]:
    """Return the files of all sides, each once, sorted."""
    return sorted({path for files in files_by_side.values() for path in files})


def paths_of(dataset: Dataset, index: int) -> dict[str, str]:
    """Return `dataset.paths(index)`; read the item if the dataset has no such method.

    A class that does not derive from BaseDataset lacks it; one that was written for the original
    repository may use the name for an attribute.
    """
    paths = getattr(dataset, "paths", None)
    return paths(index) if callable(paths) else BaseDataset.paths(dataset, index)


def get_params(opt: Any, size: tuple[int, int]) -> dict[str, Any]:
    """Draw the crop and the mirroring that all images of an item of `size` (w, h) share."""
    return Geometry.from_options(opt).draw(size)


def get_transform(
    opt: Any,
    params: dict[str, Any] | None = None,
    grayscale: bool = False,
    method: Any = Image.Resampling.BICUBIC,
    convert: bool = True,
) -> Callable[[Image.Image], Tensor]:
    """Return a picklable function from a PIL image to a (C, H, W) tensor in [-1, 1].

    Without `params` it draws new ones for each image; `convert=False` leaves a PIL image.
    `method` is PIL's resampling filter or torchvision's interpolation mode.
    """
    geometry = Geometry.from_options(opt, pil_filter(method))
    return partial(
        _transform, geometry=geometry, params=params, grayscale=grayscale, convert=convert
    )


def _transform(
    image: Image.Image,
    *,
    geometry: Geometry,
    params: dict[str, Any] | None,
    grayscale: bool,
    convert: bool,
) -> Image.Image | Tensor:
    params = params or geometry.draw(image.size)
    image = to_channels(image, 1) if grayscale else image
    image = geometry.crop_and_flip(geometry.resize(image), params)
    return to_tensor(image) if convert else image


@contextlib.contextmanager
def prefix_errors(path: str) -> Iterator[None]:
    """Put the file's name in front of a ValueError raised within, unless it stands there."""
    try:
        yield
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(path) else f"{path}: {text}") from None


def side_channels(opt: Any, files: Iterable[str]) -> dict[str, int]:
    """Return how many channels the dataset's A and B have: `--direction BtoA` makes B the input.

    ValueError names the flag if its files cannot have that many.
    """
    for flag in ("input_nc", "output_nc"):
        check_channels(getattr(opt, flag), flag, files)
    source, target = "BA" if opt.direction == "BtoA" else "AB"
    return {source: opt.input_nc, target: opt.output_nc}


def missing_folder(opt: Any, expected: str, home: str | None = "") -> ValueError:
    """Return the error for a dataroot that lacks the folders of a dataset.

    `home` is the folder for loose images, by default that of the phase; None: the dataset has
    no phases.
    """
    root = Path(opt.dataroot)
    if not root.is_dir():
        near = nearest_folder(root)
        hint = f"; did you mean {near}?" if near else ""
        return ValueError(f"--dataroot {root}: no such folder{hint} (expected {expected})")
    fix = "" if home is None else _nearest_fix(root, opt, home or opt.phase)
    return ValueError(f"--dataroot {root}: expected {expected}, found {describe(root)}{fix}")


def _nearest_fix(root: Path, opt: Any, home: str) -> str:
    phase, loose = opt.phase, any(is_image_file(p.name) for p in root.iterdir())
    alone = ", or --model test if they are inputs alone" if loose and not opt.isTrain else ""
    if all((root / side).is_dir() for side in "AB"):
        stitch = shlex.join(["--task", "combine", str(root), f"{root}_pairs"])
        return f"; the fix may be python -m scripts.make_pairs {stitch}"
    if root.name == phase:
        return f"; the fix may be --dataroot {root.parent}{alone}"
    if loose:
        return f"; the fix may be to move them into {root / home}{alone}"
    below = [p for p in root.iterdir() if (p / home).is_dir() or (p / phase).is_dir()]
    if len(below) == 1:
        return f"; the fix may be --dataroot {below[0]}"
    sides = (f"{phase}A", f"{phase}B")  # one of them is no phase
    there = [p.name for p in root.iterdir() if p.is_dir() and p.name not in sides]
    near = difflib.get_close_matches(phase, there, n=1)
    return f"; the fix may be --phase {near[0]}" if near else ""


def nearest_folder(path: Path) -> Path | None:
    """Return the existing sibling folder whose name is nearest to `path`'s."""
    parent = path.parent
    names = [p.name for p in parent.iterdir() if p.is_dir()] if parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=1)
    return parent / near[0] if near else None
