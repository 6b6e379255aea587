"""Convolutions of label maps, computed once for each distinct window: torch only.

A convolution of a one-hot map is a sum of weight columns picked by label, and a label map has few
distinct windows (`models.label_windows`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from models.label_windows import LabelMap, Windows
from models.layers import halved

CHUNK = 2**14  # pixels whose gradients are added up in one go: more lose digits

# Where it is faster, forward and backward: measured on one core (AVX-512) with 3 to 184 channels,
# k 3, 4 and 7, 16×16 to 256×256, and maps of COCO-Stuff with 0 to 100% of their pixels random.
# `LabelMap`s come only from the CPU (`models.label_windows.semantic_map`).
LEAST = 1024  # pixels; below, the search for windows takes as long as a convolution
# The largest number of distinct windows per pixel: of repeated features; of a label map, for each
# of its channels; of a label map of few channels, if a convolution of repeated features follows.
MOST_OF_FEATURES = 0.7
PER_CHANNEL = 1 / 60
BEFORE_ANOTHER = 0.4
FEW = 16  # channels of a label map below which no search pays, unless such a convolution follows
APART = 32  # channels of a label map from which on it is convolved apart from the image beside it


class RepeatedFeatures:
    """A map of features (N, C, h, w) as `rows` (count, C), one for each kind of window."""

    def __init__(self, rows: Tensor, places: Windows, layout: torch.memory_format):
        self.rows, self.places, self.layout = rows, places, layout
        self._dense: Tensor | None = None
        self._columns: dict[Windows, Tensor] = {}

    def dense(self) -> Tensor:
        """Return the map that it stands for."""
        if self._dense is None:
            self._dense = spread(self.rows, self.places.numbers, self.layout)
        return self._dense

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape (N, C, h, w) of the map that it stands for."""
        n, height, width = self.places.numbers.shape
        return n, self.rows.shape[1], height, width

    def windows(self, *key: tuple[int, int]) -> Windows:
        return self.places.windows(*key)

    def convolved(self, windows: Windows, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return a convolution's output for each kind of window, (count, output channels)."""
        if windows not in self._columns:
            rows = nn.functional.pad(self.rows, (0, 0, 0, 1))  # zeros beyond the border
            self._columns[windows] = taken(rows, windows.content.flatten()).view(windows.count, -1)
        flat = weight.permute(0, 2, 3, 1).flatten(1)
        return nn.functional.linear(self._columns[windows], flat, bias)


class Beside(NamedTuple):
    """Semantic maps (N, S, H, W) and images (k · N, C, H, W) as one input, without joining them."""

    semantics: LabelMap | Tensor
    images: Tensor


def beside(semantics: LabelMap | Tensor | None, images: Tensor) -> Tensor | Beside:
    """Put semantic maps (N, S, H, W) before the channels of images (k · N, C, H, W), the same maps
    for each N of the images.
    """
    if semantics is None:
        return images
    if isinstance(semantics, LabelMap):
        return Beside(semantics, images)
    copies = len(images) // len(semantics)
    return torch.cat([semantics.repeat(copies, 1, 1, 1), images], 1)


def half(x: Tensor | LabelMap | Beside) -> Tensor | Beside:
    """Return a map in half the size, as `models.layers.halved`."""
    if isinstance(x, Beside):
        return Beside(half(x.semantics), halved(x.images))
    return x.halved() if isinstance(x, LabelMap) else halved(x)


def dense(x: Tensor | LabelMap | RepeatedFeatures) -> Tensor:
    """Return a map as the tensor that it stands for."""
    return x if isinstance(x, Tensor) else x.dense()


def apply(function: Callable[[Tensor], Tensor], x: Tensor | RepeatedFeatures) -> Any:
    """Apply an element-wise function to a map."""
    if isinstance(x, RepeatedFeatures):
        return RepeatedFeatures(function(x.rows), x.places, x.layout)
    return function(x)


class LabelReflectionPad2d(nn.ReflectionPad2d):
    """A reflection padding that also takes label maps."""

    def forward(self, x: Tensor | LabelMap) -> Tensor | LabelMap:
        return x.padded(self.padding, "reflect") if isinstance(x, LabelMap) else super().forward(x)


class LabelConv2d(nn.Conv2d):
    """A convolution that also takes label maps, features that repeat, and maps beside images.

    Its output is a tensor; with `repeats`, it is `RepeatedFeatures` where these are cheaper.
    """

    def __init__(self, *args: Any, repeats: bool = False, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.repeats = repeats
        assert self.groups == 1 and self.dilation == (1, 1) and self.padding_mode == "zeros"

    def forward(
        self, x: Tensor | LabelMap | RepeatedFeatures | Beside
    ) -> Tensor | RepeatedFeatures:
        if isinstance(x, Tensor):
            return super().forward(x)
        if isinstance(x, Beside):
            return self.beside(*x)
        if (windows := self.few_windows(x)) is None:
            return super().forward(dense(x))
        output = self.of_windows(x, windows, self.weight)
        return output if self.repeats else output.dense()

    def beside(self, semantics: LabelMap | Tensor, images: Tensor) -> Tensor:
        """Add the convolution of the images to that of the maps, which is computed once."""
        channels = semantics.shape[1]
        windows = self.few_windows(semantics) if isinstance(semantics, LabelMap) else None
        if windows is None and channels < APART and len(images) == semantics.shape[0]:
            return super().forward(beside(dense(semantics), images))
        map_weight, image_weight = self.weight.split([channels, images.shape[1]], 1)
        if windows is not None:
            map_output = self.of_windows(semantics, windows, map_weight).dense()
        else:
            map_output = self._conv_forward(dense(semantics), map_weight, self.bias)
        image_output = self._conv_forward(images, image_weight, None)
        return (image_output.unflatten(0, (-1, len(map_output))) + map_output).flatten(0, 1)

    def few_windows(self, x: LabelMap | RepeatedFeatures) -> Windows | None:
        """Return the distinct windows of a map, or None if these are so many that the convolution
        of the map as a tensor is faster.
        """
        n, channels, height, width = x.shape
        if n * height * width < LEAST * self.stride[0] * self.stride[1]:
            return None
        limit = MOST_OF_FEATURES
        if isinstance(x, LabelMap):
            limit = channels * PER_CHANNEL if channels >= FEW else 0
            limit = max(limit, BEFORE_ANOTHER) if self.repeats else limit
            if x.changes >= limit:  # noise
                return None
        windows = x.windows(self.kernel_size, self.stride, self.padding)
        return windows if windows.share <= limit else None

    def of_windows(
        self, x: LabelMap | RepeatedFeatures, windows: Windows, weight: Tensor
    ) -> RepeatedFeatures:
        """Convolve each distinct window of a map once."""
        rows = x.convolved(windows, weight, self.bias).to(kind_of(weight))
        return RepeatedFeatures(rows, windows, layout_of(self.weight))


def kind_of(weight: Tensor) -> torch.dtype:
    """Return the dtype of a convolution's output."""
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


def layout_of(weight: Tensor) -> torch.memory_format:
    """Return the layout that a convolution with these weights gives."""
    is_last = weight.is_contiguous(memory_format=torch.channels_last)
    last = is_last and not weight.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


# Features to their places, and gradients back -----------------------------------------------


def spread(rows: Tensor, numbers: Tensor, layout: torch.memory_format) -> Tensor:
    """Return the map (N, C, h, w) whose features at each place are the row of its number."""
    if layout == torch.channels_last:
        return taken(rows, numbers.flatten()).view(*numbers.shape, -1).permute(0, 3, 1, 2)
    return _Spread.apply(rows, numbers)


def taken(rows: Tensor, index: Tensor) -> Tensor:
    """Return the rows (n, C) of an index (n)."""
    return _Take.apply(rows, index)


class _Take(torch.autograd.Function):
    """`index_select` of rows whose gradients are added up in float32 at least."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.count = len(rows)
        return rows.index_select(0, index)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        total = _zeros(grad, ctx.count, grad.shape[1])
        for part, part_grad in zip(index.split(CHUNK), grad.split(CHUNK), strict=True):
            total += torch.zeros_like(total).index_add_(0, part, part_grad.to(total.dtype))
        return total.to(grad.dtype), None


class _Spread(torch.autograd.Function):
    """The same, from rows to a contiguous (N, C, h, w)."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, numbers: Tensor) -> Tensor:
        ctx.save_for_backward(numbers)
        ctx.count = len(rows)
        output = rows.new_empty(len(numbers), rows.shape[1], numbers[0].numel())
        by_channel = rows.t().contiguous()
        for image, index in zip(output, numbers.flatten(1), strict=True):
            torch.index_select(by_channel, 1, index, out=image)
        return output.unflatten(2, numbers.shape[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (numbers,) = ctx.saved_tensors
        total = _zeros(grad, grad.shape[1], ctx.count)
        for image, index in zip(grad.flatten(2), numbers.flatten(1), strict=True):
            for part, part_grad in zip(index.split(CHUNK), image.split(CHUNK, 1), strict=True):
                total += torch.zeros_like(total).index_add_(1, part, part_grad.to(total.dtype))
        return total.t().to(grad.dtype), None


def _zeros(like: Tensor, *shape: int) -> Tensor:
    """Return zeros in which the values of `like` can be added up."""
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    return torch.zeros(shape, dtype=dtype, device=like.device)
