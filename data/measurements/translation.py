"""Whole subjects, slice by slice or window by window, to a generator and back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.measurements.folders import Subject
from data.measurements.grid import Box
from data.measurements.output import Output
from data.measurements.ranges import warn_of_unfitting
from data.measurements.reader import Reader
from data.measurements.subject_input import Sources, SubjectInput
from data.measurements.values import padded

SLICE_PIXELS = 2**20  # of the slices that are translated at a time
ROWS = 64  # rows of a raster that are stored at a time
LARGEST = 1024  # pixels of a side of a raster that is translated at once


class FileTranslation:
    """Translates whole subjects with a generator: files, images of nibabel, folders of them."""

    def __init__(
        self, taken: SubjectInput, translate: Callable[..., Tensor], stream: Callable[..., None]
    ):
        """`translate` takes (N, C, H, W) in [-1, 1], a name for each, which determines its noise,
        and a seed; `stream` a size, what reads and writes its windows, a name and a seed.
        """
        self.input, self._translate, self._stream = taken, translate, stream
        self.said: set[str] = set()  # sides of which a file did not fit its range

    def __call__(self, sources: Any, seed: int | None = None) -> Any:
        """Return the output of a subject, an image of nibabel or an array (H, W, C); of a list of
        subjects a list, of a folder of them a dict by name.
        """
        if isinstance(sources, list):
            return [self._whole(source, seed) for source in sources]
        if isinstance(sources, str | Path) and Path(sources).is_dir():
            if files := self.input.subjects_in(Path(sources)):
                return {name: self._whole(source, seed) for name, source in files.items()}
        return self._whole(sources, seed)

    def save(self, sources: Sources, path: Path, seed: int | None = None) -> None:
        """Translate a subject to a file; ValueError for a path that does not fit it."""
        subject = self.input.open(sources)
        self.input.check_place(subject, path)
        with self.input.output(subject, path) as output:
            self.translate(subject, output, seed)

    def translate(self, subject: Subject, output: Output, seed: int | None = None) -> None:
        """Translate a subject into `output`; all its slices have the noise of the first input's
        name.
        """
        name, size, reader = subject.first.path, subject.first.size, self.input.reader
        for side, grid in subject.inputs.items():
            if grid is not None and side not in self.said:
                unfitting = warn_of_unfitting([grid], f"range_{side}", reader.ranges[side])
                self.said |= {side} if unfitting else set()
        if subject.is_volume or max(size) <= LARGEST:
            translate_slices(
                *(subject, output, reader),
                lambda real: self._translate(real, [name] * len(real), seed),
            )
            return
        self._stream(size, *window_functions(subject, output, reader), name, seed)

    def _whole(self, sources: Sources, seed: int | None) -> Any:
        subject = self.input.open(sources)
        with self.input.output(subject) as output:
            self.translate(subject, output, seed)
        return output.image() if subject.is_volume else output.array()


def translate_slices(
    subject: Subject, output: Output, reader: Reader, translate: Callable[[Tensor], Tensor]
) -> None:
    """Translate all slices of a subject; `translate` takes and gives (N, C, H, W) in [-1, 1]."""
    width, height = subject.first.size
    batch_size = max(1, SLICE_PIXELS // (width * height))
    for start in range(0, subject.first.count, batch_size):
        numbers = range(start, min(start + batch_size, subject.first.count))
        # Padded as in the training.
        inputs = [as_input(padded(reader.input(subject, n), reader.least)) for n in numbers]
        fakes = translate(torch.cat([real for real, _ in inputs]))
        for number, fake, (_, lacking) in zip(numbers, fakes, inputs, strict=True):
            top, left = ((n - m) // 2 for n, m in zip(lacking.shape, (height, width), strict=True))
            image = as_output(fake[None], lacking)
            output.put(number, 0, image[top : top + height, left : left + width])


def window_functions(
    subject: Subject, output: Output, reader: Reader
) -> tuple[Callable[[Box], Tensor], Callable[[int, Tensor], None]]:
    """Return what reads a box of a raster, (1, C, h, w), and what stores the output from a row on,
    (1, C, h, width), both in [-1, 1].
    """
    width, _ = subject.first.size

    def read(box: Box) -> Tensor:
        return as_input(reader.input(subject, 0, box))[0]

    def write(row: int, fake: Tensor) -> None:
        for part in fake.split(ROWS, dim=-2):
            end = row + part.shape[-2]
            _, lacking = as_input(reader.input(subject, 0, (0, row, width, end)))
            output.put(0, row, as_output(part, lacking))
            row = end

    return read, write


def as_input(array: np.ndarray) -> tuple[Tensor, np.ndarray]:
    """Return an array (h, w, C) as input of a generator, (1, C, h, w) with 0 where there is no
    data, and where that is, (h, w).
    """
    lacking = ~np.isfinite(array).all(2)
    filled = np.nan_to_num(array, nan=0.0).transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(filled))[None], lacking


def as_output(fake: Tensor, lacking: np.ndarray) -> np.ndarray:
    """Return an output (1, C, h, w) as an array (h, w, C), NaN where there is no data."""
    array = fake[0].float().cpu().numpy().transpose(1, 2, 0)
    return np.where(lacking[..., None], np.float32(np.nan), array)
