"""Whole subjects, slice by slice or window by window, to a generator and back."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from data.measurements.folders import Subject
from data.measurements.grid import Box
from data.measurements.output import Output
from data.measurements.reader import Reader
from data.measurements.values import padded

SLICE_PIXELS = 2**20  # of the slices that are translated at a time
ROWS = 64  # rows of a raster that are stored at a time


def translate_slices(
    subject: Subject, output: Output, reader: Reader, translate: Callable[[Tensor], Tensor]
) -> None:
    """Translate all slices of a subject; `translate` takes and gives (N, C, H, W) in [-1, 1]."""
    width, height = subject.first.size
    several = max(1, SLICE_PIXELS // (width * height))
    for start in range(0, subject.first.count, several):
        numbers = range(start, min(start + several, subject.first.count))
        # Padded as in the training.
        found = [as_input(padded(reader.input(subject, n), reader.least)) for n in numbers]
        fakes = translate(torch.cat([real for real, _ in found]))
        for number, fake, (_, lacking) in zip(numbers, fakes, found, strict=True):
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
