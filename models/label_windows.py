"""A map of classes that knows its numbers, and the distinct windows in it: torch only.

Label maps repeat themselves. At 256×256 the maps of COCO-Stuff, with the edges between instances,
have 3×3 windows of 0.1 to 4% as many kinds as there are pixels, and 5×5 windows of 0.3 to 12%. All
that a convolution, or two in a row, give of a label map is known once it is known of each kind.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.layers import halved

Size = tuple[int, int]
MOST = 2**62  # numbers in an int64


class NumberMap:
    """A map (N, H, W) of numbers below `count`, each for one kind of features."""

    def __init__(self, numbers: Tensor, count: int):
        self.numbers, self.count = numbers, count
        self._windows: dict[tuple[Size, Size, Size], Windows] = {}

    def windows(self, kernel: Size, stride: Size, padding: Size) -> "Windows":
        """Return the windows that a convolution sees, height before width."""
        key = (kernel, stride, padding)
        if key not in self._windows:
            self._windows[key] = Windows(self, *key)
        return self._windows[key]


class Windows(NumberMap):
    """The distinct windows of a map: which of them lies at each place of a convolution's output.

    `content` (count, kernel height · width) has the numbers within each, row by row. Beyond the
    border of the map it is the count of the map's numbers.
    """

    def __init__(self, of: NumberMap, kernel: Size, stride: Size, padding: Size):
        # Never inference tensors, which a backward pass could not use.
        with torch.inference_mode(False), torch.no_grad():
            (kernel_h, kernel_w), (stride_h, stride_w), (pad_h, pad_w) = kernel, stride, padding
            around = (pad_w, pad_w, pad_h, pad_h)
            padded = F.pad(of.numbers, around, value=of.count)
            _, height, width = padded.shape
            rows = [padded[:, :, x : width - kernel_w + 1 + x : stride_w] for x in range(kernel_w)]
            runs, count = _distinct(rows, of.count + 1)
            columns = [runs[:, y : height - kernel_h + 1 + y : stride_h] for y in range(kernel_h)]
            super().__init__(*_distinct(columns, count))
            # Where each is found, any one time:
            places = torch.arange(self.numbers.numel(), device=padded.device)
            example = places.new_empty(self.count).scatter_(0, self.numbers.flatten(), places)
            n, y, x = torch.unravel_index(example, self.numbers.shape)
            first = (n * height + y * stride_h) * width + x * stride_w
            steps = torch.arange(kernel_h, device=padded.device)[:, None] * width
            steps = steps + torch.arange(kernel_w, device=padded.device)
            self.content = padded.flatten()[first[:, None] + steps.flatten()]

    @property
    def share(self) -> float:
        """How many kinds there are for each place."""
        return self.count / self.numbers.numel()


def _distinct(parts: list[Tensor], count: int) -> tuple[Tensor, int]:
    """Number the combinations of equally large maps of numbers below `count`."""
    codes, n_codes = parts[0], count
    for part in parts[1:]:
        if n_codes * count > MOST:
            codes, n_codes = _numbered(codes)
        codes, n_codes = codes * count + part, n_codes * count
    return _numbered(codes)


def _numbered(codes: Tensor) -> tuple[Tensor, int]:
    """Number the distinct values of a map from 0 up."""
    runs, run_of = codes.flatten().unique_consecutive(return_inverse=True)  # cheaper to sort
    values, number_of = runs.unique(return_inverse=True)
    return number_of[run_of].view(codes.shape), len(values)


class LabelMap:
    """A map of classes, (N, 1 or 2, H, W) class numbers and edges, that stands for (N, S, H, W):
    a channel a class, then the edges. RuntimeError for a class that is none of the `classes`.
    """

    def __init__(self, labels: Tensor, classes: int):
        self.labels, self.classes = labels.detach(), classes
        self._others: dict[tuple, LabelMap] = {}  # what it has been made into
        self._kinds: tuple[NumberMap, Tensor] | None = None
        self._dense: Tensor | None = None
        self._halved: Tensor | None = None
        self._changes: float | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape (N, S, H, W) of the map that it stands for."""
        n, parts, height, width = self.labels.shape
        return n, self.classes + parts - 1, height, width

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the map that it stands for."""
        return self.labels.dtype

    def dense(self) -> Tensor:
        """Return the map that it stands for."""
        if self._dense is None:
            with torch.inference_mode(False):
                self._dense = one_hot(self.labels, self.classes)
        return self._dense

    def halved(self) -> Tensor:
        """Return the map that it stands for in half the size, by the mean of its pixels."""
        if self._halved is None:
            with torch.inference_mode(False):
                self._halved = halved(self.dense())
        return self._halved

    def resized(self, size: Size) -> "LabelMap":
        """Return the map in another size (height, width), by nearest neighbour."""
        if size == tuple(self.labels.shape[2:]):
            return self
        if size not in self._others:
            other = F.interpolate(self.labels, size=size, mode="nearest")
            self._others[size] = LabelMap(other, self.classes)
        return self._others[size]

    def padded(self, beside: tuple[int, int, int, int], mode: str) -> "LabelMap":
        """Return the map with more (left, right, top, bottom), as `F.pad` does it in a mode."""
        key = (*beside, mode)
        if key not in self._others:
            self._others[key] = LabelMap(F.pad(self.labels, beside, mode=mode), self.classes)
        return self._others[key]

    def windows(self, *key: Size) -> Windows:
        """As `NumberMap.windows`; a number is that of a class together with an edge."""
        return self.kinds[0].windows(*key)

    @property
    def changes(self) -> float:
        """The share of pixels that differ from their left neighbours: high if windows are many."""
        if self._changes is None:
            differ = (self.labels[..., 1:] != self.labels[..., :-1]).any(1)
            self._changes = differ.double().mean().item() if differ.numel() else 0.0
        return self._changes

    @property
    def kinds(self) -> tuple[NumberMap, Tensor]:
        """The number of each pixel's kind, class · (number of edge values) + edge; and the edge
        values.
        """
        if self._kinds is None:
            with torch.inference_mode(False):
                numbers, edges = self.labels[:, 0].long(), self.labels.new_zeros(1)
                if numbers.numel() and not 0 <= numbers.min() <= numbers.max() < self.classes:
                    raise RuntimeError(f"class numbers must be 0 to {self.classes - 1}")
                if self.labels.shape[1] > 1:
                    edges, edge = self.labels[:, 1].unique(return_inverse=True)
                    numbers = numbers * len(edges) + edge
            self._kinds = NumberMap(numbers, self.classes * len(edges)), edges
        return self._kinds

    def convolved(self, windows: Windows, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return a convolution's output for each kind of window, (count, output channels): the sum
        of the weight columns that its classes pick, and an ordinary convolution of its edges.
        """
        (numbers, edges), classes = self.kinds, self.classes
        columns = weight[:, :classes].permute(2, 3, 1, 0).flatten(0, 2)
        columns = F.pad(columns, (0, 0, 0, 1))  # zeros beyond the border
        outside = windows.content == numbers.count
        offsets = torch.arange(windows.content.shape[1], device=weight.device) * classes
        indices = windows.content.div(len(edges), rounding_mode="floor") + offsets
        indices = indices.masked_fill(outside, len(columns) - 1)
        output = F.embedding_bag(indices, columns, mode="sum")
        if weight.shape[1] > classes:
            values = edges.to(weight.dtype)[windows.content % len(edges)]
            # In full precision, as the sums are, under autocast too.
            with torch.autocast(weight.device.type, enabled=False):
                values = values.masked_fill(outside, 0)
                output = output + values @ weight[:, classes].flatten(1).t()
        return output if bias is None else output + bias


def semantic_map(labels: Tensor, classes: int) -> Tensor | LabelMap:
    """Return class numbers and edges (N, 1 or 2, H, W) as the networks take them fastest.

    That is as a `LabelMap` on the CPU. On CUDA it is one-hot: the number of distinct windows would
    have to come to the CPU in each step, which waits for it, and the sizes that follow from it
    differ, which no CUDA graph can hold; the arithmetic that it would save is what a GPU has most
    of. An export traces one-hot maps too, and so do features that learn, beside the edges.
    """
    if not _exporting() and labels.device.type == "cpu" and classes and labels.shape[1] <= 2:
        return LabelMap(labels, classes)
    return one_hot(labels, classes)


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Return class numbers and edges (N, 1 or 2, H, W) as (N, S, H, W): a channel a class, then
    the edges. Without classes, images are returned as they are.
    """
    if not classes:
        return labels
    if not _exporting() and labels.device.type == "cpu":
        n, parts, height, width = labels.shape
        hot = labels.new_zeros(n, classes + parts - 1, height, width)
        hot[:, :classes].scatter_(1, labels[:, :1].long(), 1)
        hot[:, classes:] = labels[:, 1:]
        return hot
    hot = F.one_hot(labels[:, 0].long(), classes).permute(0, 3, 1, 2).to(labels.dtype)
    return torch.cat([hot, labels[:, 1:]], 1) if labels.shape[1] > 1 else hot


def _exporting() -> bool:
    """Return whether operations are recorded, for maps of other contents than these."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()
