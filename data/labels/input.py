"""Label maps outside a dataset, from files, PIL images, arrays and tensors."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data.base_dataset import prefix_errors
from data.files.image_files import load_unconverted
from data.files.image_types import ImageLike
from data.image_parts import refuse_parts
from data.labels.reader import UNKNOWN, as_numbers, numbers_of, numbers_tensor
from data.transforms import FILTERS, Geometry, pixels
from data.user_input import Source, as_image, named, numbered
from util.label_maps import instance_edges


class LabelInput:
    """The label maps that a run's generator takes.

    Their channels are the class numbers, then, without --no_instance, the edges between instances,
    and with --instance_feat the number of each pixel's instance.
    """

    def __init__(self, opt: Any, numbers: Callable[[ImageLike | np.ndarray], Tensor]):
        """`numbers` is what the dataset's `single_preprocessor` returns."""
        self.label_nc, self.dontcare = opt.label_nc, opt.contain_dontcare_label
        self.edges, self.ids = not opt.no_instance, getattr(opt, "instance_feat", False)
        self.channels = 1 + self.edges + self.ids
        self.parts = ("instances",) if self.channels > 1 else ()
        self.numbers, self.max_pixels = numbers, opt.max_pixels
        self.geometry = Geometry.from_options(opt, FILTERS["nearest"])

    def prepare(
        self, labels: Source, name: str = "the image", instances: Source | None = None, **parts: Any
    ) -> Tensor:
        """Return a label map, and its instance map, as `channels` of floats, (channels, H, W).

        An array (H, W) of integers holds class numbers, and instances any numbers; files, PIL
        images and colours (H, W, 3) are read as those of the run. Without instances, the classes
        are the instances. ValueError says what is wrong, prefixed by the file, else by `name`.
        """
        with prefix_errors(named(labels, name)):
            refuse_parts(parts, (), "translates label maps")
            stored = self._class_numbers(labels)
            size = stored.shape[::-1] if isinstance(stored, np.ndarray) else stored.size
            channels = [self.numbers(stored)]
        if instances is not None:
            with prefix_errors(named(instances, f"{name}: instances")):
                if not (self.edges or self.ids):
                    raise ValueError("this run was trained without instance maps; leave it out")
                ids = self._instance_numbers(instances, tuple(size))
        else:
            ids = channels[0]
        channels += [instance_edges(ids)] if self.edges else []
        channels += [ids] if self.ids else []
        return torch.cat([channel.float() for channel in channels])

    def check_one(self, labels: Tensor, name: str, instances: Any = None, **parts: Any) -> None:
        """Raise a ValueError for the shape of a tensor that is no single label map."""
        refuse_parts(parts, (), "translates label maps")
        if instances is not None:
            raise ValueError(f"{name}: instances of a tensor are its second channel, their edges")
        if labels.dim() != 3 or not 1 <= len(labels) <= self.channels:
            raise ValueError(
                f"{name}: expected a tensor ({self.known_channels()}, H, W), got "
                f"{tuple(labels.shape)}"
            )

    def check(self, labels: Tensor, names: Sequence[str] | None) -> Tensor:
        """Return label maps (N, C, H, W), numbers of any type, as `channels` of floats.

        Channels that are missing are made from the class numbers. ValueError names a label map
        with a class number that the run does not have.
        """
        wanted = f"expected a tensor (N, {self.known_channels()}, H, W) of class numbers"
        if not isinstance(labels, Tensor) or labels.dim() != 4:
            shape = tuple(getattr(labels, "shape", ())) or type(labels).__name__
            raise ValueError(f"{wanted}, got {shape}")
        if not 1 <= labels.shape[1] <= self.channels or not labels.numel():
            raise ValueError(f"{wanted}, got {tuple(labels.shape)}")
        if labels.is_complex():
            raise ValueError(f"{wanted}, got {labels.dtype}")
        labels = labels.detach().float()
        self._check_numbers(labels, names or numbered(labels))
        classes = labels[:, :1]
        if self.edges and labels.shape[1] == 1:
            labels = torch.cat([labels, instance_edges(classes)], 1)
        if self.ids and labels.shape[1] == 2:
            labels = torch.cat([labels, classes], 1)
        return labels

    def known_channels(self) -> str:
        """Return the numbers of channels of a label map, in words."""
        return " or ".join(map(str, range(1, self.channels + 1)))

    def _check_numbers(self, labels: Tensor, names: Sequence[str]) -> None:
        last = self.label_nc - 1 + self.dontcare
        for name, image in zip(names, labels, strict=True):
            allowed = (
                (image[0] >= 0) & (image[0] <= last) & (image[0] == image[0].round())
            )  # no NaN
            if not allowed.all():
                raise ValueError(f"image {name}: {self._wrong(image[0][~allowed][0].item())}")
            if len(image) > 1 and not ((image[1] == 0) | (image[1] == 1)).all():
                raise ValueError(f"image {name}: edges, the second channel, are 0 or 1")

    def _wrong(self, number: float) -> str:
        """Say what is wrong with a class number."""
        unknown = f", {self.label_nc} for unknown" if self.dontcare else ""
        return (
            f"holds the class number {number:g}; this run has the classes 0 to "
            f"{self.label_nc - 1}{unknown}"
        )

    def _class_numbers(self, labels: Source) -> np.ndarray | ImageLike:
        """Return an index map, checked, or the image of another input."""
        if not is_index_map(labels):
            if isinstance(labels, np.ndarray) and (labels.dtype != np.uint8 or labels.ndim != 3):
                raise ValueError(
                    f"expected an array (H, W) of integers, the class numbers, or colours (H, W, "
                    f"3) of uint8, got {described(labels)}"
                )
            return self._image(labels)
        numbers = labels.reshape(labels.shape[:2]).astype(np.int64)
        if self.dontcare and self.label_nc <= UNKNOWN:
            numbers = np.where(numbers == UNKNOWN, self.label_nc, numbers)
        wrong = (numbers < 0) | (numbers >= self.label_nc + self.dontcare)
        if wrong.any():
            raise ValueError(self._wrong(int(numbers[wrong][0])))
        return numbers

    def _image(self, source: Source) -> ImageLike:
        """Return the image of a source, in its own mode."""
        return as_image(source, max_pixels=self.max_pixels, load=load_unconverted)

    def _instance_numbers(self, source: Source, size: tuple[int, int]) -> Tensor:
        """Return the numbers of an instance map, counted from 0, as (1, H, W)."""
        if is_index_map(source):
            values = source.reshape(source.shape[:2])
        elif isinstance(source, np.ndarray):
            raise ValueError(f"expected an array (H, W) of integers, got {described(source)}")
        else:
            values = numbers_of(self._image(source), "an instance map")
        if values.shape[::-1] != size:
            width, height = values.shape[::-1]
            raise ValueError(
                f"{width}x{height} pixels, but the label map has {size[0]}x{size[1]}; both maps of "
                f"an image need one size"
            )
        _, numbers = np.unique(values, return_inverse=True)
        image: Image.Image = as_numbers(numbers.reshape(values.shape))
        return numbers_tensor(pixels(self.geometry.center_crop(self.geometry.resize(image))))


def is_index_map(source: Any) -> bool:
    """Return whether this is an array (H, W) or (H, W, 1) of integers."""
    if not isinstance(source, np.ndarray) or source.dtype.kind not in "iu" or not source.size:
        return False
    return source.ndim == 2 or (source.ndim == 3 and source.shape[2] == 1)


def described(array: np.ndarray) -> str:
    return f"{array.dtype} of the shape {array.shape}"
