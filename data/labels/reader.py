"""From the file of a label map to class numbers, and of an instance map to its numbers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data.base_dataset import prefix_errors
from data.files.image_files import halves, in_mode, load_unconverted
from data.files.image_types import HighDepthImage, ImageArray, ImageLike
from data.files.pixel_limit import MAX_PIXELS
from util.palette import from_hex, nearest_and_distance

UNKNOWN = 255  # the number of unknown pixels in files
FAR = 64.0  # distance in pixel values of a pixel that has no label's colour
MOST_FAR = 0.5  # most of a label map's pixels that are FAR; photos have more
EXACT, FEW_ODD = 2.0, 0.01  # distance of pixels of a label's grey; share of others in a file
ONE_CHANNEL = ("L", "P", "1")
GREY = ("L", "1")


class NotNumbers(ValueError):
    """An image of colours, or of other values, where whole numbers are expected."""


@dataclass(frozen=True)
class LabelReader:
    """Reads label maps as class numbers 0 … label_nc − 1; label_nc itself is unknown.

    Files hold numbers, class 0 as `offset`, or the colours of a palette.
    """

    label_nc: int
    dontcare: bool  # whether 255, and numbers below the offset, are unknown
    offset: int = 0
    colours: tuple[str, ...] = ()  # "#rrggbb" of the classes; () for files of numbers
    half: int | None = None  # of stitched files: 0 for the left half, 1 for the right
    max_pixels: float = MAX_PIXELS
    trained: bool = False  # whether the classes are those of a trained run, which stay
    two_sides: bool = False  # whether --direction says where the label maps are
    colours_unknown: bool = False  # whether only weights tell of the classes

    @classmethod
    def from_options(
        cls, opt: Any, half: int | None = None, two_sides: bool = False
    ) -> "LabelReader":
        """Return the reader for the label maps of a run."""
        colours = tuple(opt.label_colours) if isinstance(opt.label_colours, list) else ()
        numbering = (opt.label_nc, opt.contain_dontcare_label, opt.label_offset or 0)
        options = {"max_pixels": opt.max_pixels, "trained": not opt.isTrain, "two_sides": two_sides}
        colours_unknown = "semantic_nc" in getattr(opt, "inferred", {})
        return cls(
            *numbering, colours=colours, half=half, colours_unknown=colours_unknown, **options
        )

    def read(self, path: str | Path) -> Image.Image:
        """Return the class numbers of a file, as `as_numbers` does; ValueError names the file."""
        image = load_unconverted(path, self.max_pixels)
        if self.half is not None:
            image = halves(image, path)[self.half]
        with prefix_errors(str(path)):
            return as_numbers(self.classes(image))

    def classes(self, image: ImageLike) -> np.ndarray:
        """Return the class numbers (H, W) of an image; ValueError says why it is no label map."""
        return self._of_colours(image) if self.colours else self._of_numbers(image)

    def _of_colours(self, image: ImageLike) -> np.ndarray:
        colours = from_hex(list(self.colours))
        numbers, distance = nearest_and_distance(as_rgb(image), colours)
        grey = getattr(image, "mode", "") in GREY and (np.ptp(colours, axis=1) > 0).any()
        if grey and (distance > EXACT).mean() > FEW_ODD:
            raise ValueError(
                "is grey, of class numbers perhaps, but the label maps of this run are colours"
            )
        if (share := (distance > FAR).mean()) > MOST_FAR:
            side = " --direction says which side holds the labels" if self.two_sides else ""
            raise ValueError(
                f"{share:.0%} of the pixels have none of the {len(self.colours)} label colours; is "
                f"it a photo?{side}"
            )
        return numbers

    def _of_numbers(self, image: ImageLike) -> np.ndarray:
        try:
            stored = label_numbers(image)
        except NotNumbers as error:
            fix = (
                ", or give the colours in the order of the classes, --label_colours rrggbb,rrggbb,…"
            )
            raise ValueError(f"{error}{fix if self.colours_unknown else ''}") from None
        numbers = stored - self.offset
        unknown = (((stored == UNKNOWN) & self.unknown_is_255) | (numbers < 0)) & self.dontcare
        wrong = ((numbers < 0) | (numbers >= self.label_nc)) & ~unknown
        if wrong.any():
            raise ValueError(self.why_wrong(int(stored[wrong].max())))
        numbers[unknown] = self.label_nc
        return numbers

    @property
    def unknown_is_255(self) -> bool:
        """Whether 255 is no class, so that it can say that a pixel is unknown."""
        return self.label_nc + self.offset <= UNKNOWN

    def allows(self, number: int) -> bool:
        """Return whether a number in a file is that of a class, or unknown."""
        is_255 = number == UNKNOWN and self.unknown_is_255
        unknown = self.dontcare and (is_255 or number < self.offset)
        return unknown or 0 <= number - self.offset < self.label_nc

    def why_wrong(self, number: int) -> str:
        """Return what is wrong with a number in a file that is no class."""
        last = self.label_nc - 1 + self.offset
        if self.trained:
            return (
                f"holds the class number {number}; this run has the classes {self.offset} to {last}"
            )
        fix = "leave out --label_nc, and the classes are counted"
        if number < self.offset:
            fix = "--contain_dontcare_label makes it unknown"
        elif number == UNKNOWN and not self.dontcare:
            fix = f"--contain_dontcare_label makes it unknown, {fix}"
        return (
            f"holds the class number {number}, but --label_nc {self.label_nc} allows "
            f"{self.offset} to {last}; {fix}"
        )


def label_numbers(image: ImageLike) -> np.ndarray:
    """Return the numbers (H, W) int64 of a label map as they are in its file."""
    return numbers_of(image, "a label map")


def as_numbers(values: np.ndarray) -> Image.Image:
    """Return numbers (H, W) as an image, of mode L below 256, else of mode I."""
    dtype = np.uint8 if values.min() >= 0 and values.max() < 256 else np.int32
    return Image.fromarray(values.astype(dtype))


def numbers_tensor(image: ImageArray) -> Tensor:
    """Return an image of one channel of whole numbers as (1, H, W) int64."""
    return torch.from_numpy(image.array()).long().permute(2, 0, 1)


def as_rgb(image: ImageLike) -> np.ndarray:
    """Return the colours (H, W, 3) uint8 of an image; ValueError if it has more than 8 bits."""
    if isinstance(image, HighDepthImage):
        raise ValueError("has more than 8 bits a channel, but colours of labels have 8; convert it")
    return np.asarray(in_mode(image, "RGB"))


def numbers_of(image: ImageLike, what: str) -> np.ndarray:
    """Return the numbers (H, W) int64 of an image of one channel, as they are in its file.

    NotNumbers says `what` it was to be.
    """
    if isinstance(image, HighDepthImage):
        values = image.array()
        if values.shape[2] == 1 and image.stored_type.dtype.startswith(("uint", "int")):
            return values[..., 0].astype(np.int64)
        kind = f"{image.stored_type.dtype} in {image.channels} channels"
    elif image.format == "JPEG":
        kind = "JPEG, which changes numbers"
    elif image.mode in ONE_CHANNEL:
        return np.asarray(image).astype(np.int64)
    else:
        kind = image.mode
    raise NotNumbers(f"is {kind}, but {what} has one channel of whole numbers: save it as grey PNG")


def read_instances(path: str | Path, max_pixels: float = MAX_PIXELS) -> Image.Image:
    """Return the numbers of an instance map of 8, 16 or 32 bits; ValueError names the file."""
    image = load_unconverted(path, max_pixels)
    with prefix_errors(str(path)):
        return as_numbers(numbers_of(image, "an instance map"))
