"""Images too large for the memory as floats: read in windows, for --tile."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from data.files.image_files import decoding, image_size, load_image_or_array
from data.files.image_types import ImageLike
from data.files.tiff_windows import TiffWindows
from data.transforms import Geometry, preprocess_single
from data.value_range import read_ranges
from util.util import tensor2im

LARGE = 2**25  # pixels; smaller images are translated from one tensor
ROWS = 64  # rows of an image that are converted at a time
MODELS = ("pix2pix", "test")  # whose output depends on the input and the generator alone

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels


class ShownRows:
    """The rows of an image as it is shown, filled one after another."""

    def __init__(self, size: tuple[int, int], channels: int):
        width, height = size
        shown_channels = channels if channels in (1, 3) else 3 if channels > 3 else 1
        self.array = np.empty((height, width, shown_channels), np.uint8)

    def put(self, row: int, part: Tensor) -> None:
        """Store the rows from `row` on, (1, C, h, width) in [-1, 1]."""
        for rows in part.split(ROWS, dim=-2):  # tensor2im needs four times the memory of its input
            self.array[row : row + rows.shape[-2]] = tensor2im(rows)
            row += rows.shape[-2]

    def tensor(self) -> Tensor:
        """Return the image, (1, C, H, W) of uint8 in 0..255."""
        return torch.from_numpy(self.array).permute(2, 0, 1)[None]


class LargeImage:
    """An image, or a half of one, of which only the header has been read."""

    def __init__(self, path: str, box: Box, channels: int, max_pixels: float):
        self.path, self.box, self.channels, self.max_pixels = path, box, channels, max_pixels

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        left, top, right, bottom = self.box
        return right - left, bottom - top

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(1, C, H, W), as of a batch."""
        return 1, self.channels, *self.size[::-1]

    def shown(self, read: Callable[[Box], Tensor]) -> Tensor:
        """Return the image as it is shown, (1, C, H, W) of uint8, by what `opened` yields."""
        rows = ShownRows(self.size, self.channels)
        width, height = self.size
        for row in range(0, height, ROWS):
            rows.put(row, read((0, row, width, min(row + ROWS, height))))
        return rows.tensor()

    def as_target(self, opt: Any, value_range: tuple[float, float] | None) -> Tensor:
        """Return a target as it is shown, (1, C, H, W) of uint8, with values of a run's range."""
        options = {"channels": opt.output_nc, "value_range": value_range, "alpha": opt.alpha}
        geometry = Geometry.from_options(opt)
        with self.opened(partial(preprocess_single, geometry=geometry, **options)) as read:
            return self.shown(read)

    @contextlib.contextmanager
    def opened(self, prepare: Callable[[ImageLike], Tensor]) -> Iterator[Callable[[Box], Tensor]]:
        """Open the file; yield a function from a box to its pixels, (1, C, h, w) in [-1, 1].

        TIFF is read below the box only; other formats are decoded once. `prepare` converts a part
        of the image to (C, h, w). `BadImageError` names the file.
        """
        left, top = self.box[:2]
        with contextlib.ExitStack() as stack:
            with decoding(self.path):
                image = self._cropped_from(stack.enter_context(open(self.path, "rb")))

            def read(box: Box) -> Tensor:
                x, y, right, bottom = box
                with decoding(self.path):
                    part = image.crop((x + left, y + top, right + left, bottom + top))
                try:
                    return prepare(part)[None]
                except ValueError as error:
                    raise ValueError(f"{self.path}: {error}") from None

            yield read

    def _cropped_from(self, file: BinaryIO) -> TiffWindows | ImageLike:
        with contextlib.suppress(Exception):  # what cannot be read in windows is decoded
            return TiffWindows(file, self.max_pixels)
        return load_image_or_array(self.path, self.max_pixels)


def large_images(
    opt: Any,
    paths: Sequence[str],
    channels: dict[str, int],
    halves: bool = False,
) -> dict[str, LargeImage]:
    """Return the images of an item by side, if --tile is to read them in windows; else {}.

    `paths` are the files of the sides in `channels`; with `halves`, A and B are those of one file.
    Those of a run whose targets have a value range are not among them: their outputs are written
    as whole arrays.
    """
    if opt.isTrain or not opt.tile or opt.preprocess != "none" or opt.model not in MODELS:
        return {}
    if ("A" if opt.direction == "BtoA" else "B") in read_ranges(opt):
        return {}
    images = {}
    for side, path in zip(sorted(channels), paths, strict=True):
        width, height = image_size(path)
        if width * height <= LARGE or (halves and width % 2):
            return {}
        start, end = (0, width) if not halves else (0, width // 2)
        if halves and side == "B":
            start, end = width // 2, width
        box = (start, 0, end, height)
        images[side] = LargeImage(path, box, channels[side], opt.max_pixels)
    return images if len({image.size for image in images.values()}) == 1 else {}
