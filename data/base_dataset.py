"""The base class of datasets, and helpers that datasets share."""

import argparse
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import repeat
from typing import Any

from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from data.device_images import DeviceCache, DeviceImage
from data.files.image_files import load_image_or_array
from data.files.image_types import ImageArray, ImageLike
from data.image_cache import CachedImages, ImageCache
from data.original_transforms import get_params, get_transform  # noqa: F401, as users import them
from data.transforms import (
    FILTERS,
    Geometry,
    in_range,
    pixels,
    preprocess_single,
    to_tensor,
)
from data.value_range import StoredRange, fitted_ranges


class BaseDataset(Dataset, ABC):
    """A folder of images as dicts of tensors.

    `data/foo_dataset.py` with a class `FooDataset(BaseDataset)` makes `--dataset_mode foo` work.
    An item is a dict of (C, H, W) tensors in [-1, 1] and their files, usually A, B, A_paths,
    B_paths. Random numbers may come from `random`, NumPy or torch: the loader seeds all three for
    every item with (seed, epoch, index).
    """

    stitched = False  # whether its images are halves of A|B images
    reads_alpha = False  # whether items hold what the alpha channels of the files say
    only_8_bits: tuple[str, ...] = ()  # sides of files that may not have more bits a channel

    @staticmethod
    def modify_commandline_options(
        parser: argparse.ArgumentParser, is_train: bool
    ) -> argparse.ArgumentParser:
        """Add flags for this dataset or change defaults; return the parser."""
        return parser

    @classmethod
    def derived_options(cls, opt: Any) -> dict[str, Any]:
        """Return options that follow from the files, such as a number of classes, to be set.

        It is called once the flags are parsed; `opt.given` names those that were given.
        """
        return {}

    def __init__(self, opt: Any):
        self.opt = opt
        self.root = opt.dataroot
        self.max_pixels: int = opt.max_pixels  # an image with more is bad
        self.geometry = Geometry.from_options(opt)
        self.filters = {side: filter_of(opt, side) for side in "AB"}
        self.ranges: dict[str, tuple[float, float]] = {}  # other than those of the files' types
        self.cache: ImageCache | DeviceCache | None = None

    def load_resized(
        self,
        path: str,
        read: Callable[[], Sequence[ImageLike]],
        sides: Sequence[str] = "",
        files: Sequence[str] = (),
    ) -> CachedImages:
        """Load a file's images with `read` and resize them, through the cache if it is enabled.

        `sides` name the side of each image, for its value range and its filter (--range_A,
        --filter_A); `files` are those that errors name, by default `path`. Also return the original
        (width, height) of the first image.
        """
        cached = self.cache.get(path) if self.cache else None
        if cached is None:
            images = read()
            resized = [
                self._resized(image, side, file)
                for image, side, file in zip(
                    images, sides or repeat(""), files or repeat(path), strict=False
                )
            ]
            cached = resized, images[0].size
            if self.cache:
                self.cache.put(path, cached)
        return cached

    def _resized(self, image: ImageLike, side: str, file: str) -> ImageArray:
        if side in self.filters:
            with prefix_errors(file):
                image = in_range(image, self.ranges.get(side))
        return pixels(self.geometry.resize(image, self.filters.get(side)))

    def crop_and_normalize(self, image: ImageArray, side: str, params: dict[str, Any]) -> Tensor:
        """Crop and flip a resized image of `side` A or B; return (C, H, W) in [-1, 1]."""
        image = self.geometry.crop_and_flip(image, params)
        if isinstance(image, DeviceImage):
            return image.to_tensor(self.ranges.get(side))
        return to_tensor(image, self.ranges.get(side))

    @classmethod
    def single_preprocessor(
        cls, opt: Any, ranges: dict[str, tuple[float, float]]
    ) -> Callable[[ImageLike], Tensor]:
        """Return the function that converts an image outside the dataset to the input of G at
        test time, (input_nc, H, W) in [-1, 1].

        `ranges` are the value ranges by side, where they are not those of the files' types. A
        dataset with its own preprocessing overrides this.
        """
        side = "B" if opt.direction == "BtoA" else "A"
        return partial(
            preprocess_single,
            geometry=Geometry.from_options(opt, filter_of(opt, side)),
            channels=opt.input_nc,
            value_range=ranges.get(side),
            alpha=opt.alpha,
        )

    # Reads the file of an image outside the dataset, for `single_preprocessor`.
    load_single = staticmethod(load_image_or_array)

    def images(self, index: int) -> dict[str, tuple[str, ImageLike]]:
        """Return {side: (file, image)} of an item as read, before resizing.

        data/checks/data_check.py looks at these values, or, with the default {}, at the item's
        tensors.
        """
        return {}

    def item_ranges(self) -> dict[str, tuple[float, float]]:
        """Return by side the values of the files that are -1 and 1 in items, of a dataset that has
        no `images`. The default {} shows the numbers of the items themselves.
        """
        return {}

    def files_by_side(self) -> dict[str, list[str]]:
        """Return all image files, {"A": [...], "B": [...]}.

        These files are checked before training and cached by `load_resized`; images of more than
        8 bits get the value range of their side. The default {} switches check, cache
        and value ranges off, for datasets written for the original repository.
        """
        return {}

    def files_for_device(self) -> list[str]:
        """Return the files whose cached images a GPU may keep and turn into items: those that
        `load_resized` is called with. The default [] leaves the images on the CPU.

        Items are then made of `load_resized` and `crop_and_normalize` alone.
        """
        return []

    def cache_keys(self) -> list[str]:
        """Return the names under which the cache keeps images; by default those of the files."""
        return sorted({path for files in self.files_by_side().values() for path in files})

    def fitted_ranges(self) -> dict[str, StoredRange]:
        """Return the stored type and value range of each side whose files have a range."""
        return fitted_ranges(self, self.files_by_side(), self.opt)

    def has_range(self, side: str) -> bool:
        """Return whether the files of a side are images, whose values have a range."""
        return True

    def classes(self) -> list[tuple[str, str]]:
        """Return ("#rrggbb", name) of each class of label maps, for the page of a training."""
        return []

    def shown_channels(self) -> dict[str, slice]:
        """Return by side the channels of the input that pages show as an image of their own.

        The default {} shows the first one or three.
        """
        return {}

    def remarks(self) -> list[str]:
        """Return remarks on the data, which data/checks/data_check.py adds to its own."""
        return []

    def paths(self, index: int) -> dict[str, str]:
        """Return the files of item `index` with the item's keys, A_paths and B_paths.

        The default reads the whole item; override it with a faster way.
        """
        return {key: path for key, path in self[index].items() if key.endswith("_paths")}

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of items."""

    @abstractmethod
    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return item `index`; ValueError names the file of an unusable image."""


def trains(opt: Any) -> bool:
    """Return whether these are images to learn from, not those of a validation or a test."""
    return opt.isTrain and opt.phase not in ("val", "test")


def filter_of(opt: Any, side: str) -> Image.Resampling:
    """Return the filter that resizes the images of a side."""
    return FILTERS[getattr(opt, f"filter_{side}", "bicubic")]


@contextlib.contextmanager
def prefix_errors(path: str) -> Iterator[None]:
    """Prefix the message of a ValueError raised in the block with the path, unless it is there."""
    try:
        yield
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(path) else f"{path}: {text}") from None
