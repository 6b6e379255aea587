"""Volumes, rasters and images of measurements: one or several inputs, and the target."""

import logging
import os
import random
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.base_dataset import BaseDataset, trains
from data.builtin_facades import is_builtin
from data.image_cache import can_cache
from data.measurements.flags import (
    add_flags,
    channels_of,
    check_channels,
    check_flags,
    input_channels,
)
from data.measurements.folders import Subject, find_subjects
from data.measurements.grid import Box, by, slice_ends
from data.measurements.ranges import fitted_ranges, ranges_of
from data.measurements.raster import Raster
from data.measurements.reader import Reader, cache_key
from data.measurements.trained_inputs import with_trained_inputs
from data.measurements.values import padded
from data.value_range import StoredRange, read_ranges
from util.sampling import evenly_spaced

log = logging.getLogger(__name__)

TRIES = 16  # windows that are drawn until one holds data


class MeasurementsDataset(BaseDataset):
    """Files of `dataroot/phaseA`, or of phaseA1, phaseA2, …, with those of phaseB by equal names.

    In training an item is a slice of a volume, a window of a raster, or an image, cropped to
    --crop_size. Its input holds the channels of all inputs, with --slices_around those of the
    neighbouring slices too. In a test an item is one of `subjects`, with its whole files.
    """

    @staticmethod
    def modify_commandline_options(parser: Any, is_train: bool) -> Any:
        parser.set_defaults(preprocess="crop")
        if not is_train:
            parser.set_defaults(batch_size=1, eval=True)
            parser.carry("eval")  # --no_eval of the training
        add_flags(parser, is_train)
        return parser

    @classmethod
    def derived_options(cls, opt: Any) -> dict[str, Any]:
        """Return the numbers of channels, which a training has from its first files."""
        if is_builtin(opt.dataroot):
            raise ValueError(
                "--dataset_mode measurements: needs --dataroot, the folder of the files"
            )
        if not opt.isTrain or not os.path.isdir(opt.dataroot):
            return {}
        all_subjects = opt.missing == "zero"  # the first subject may lack an input
        try:
            channels = channels_of(find_subjects(opt, None if all_subjects else 1))
        except ValueError:  # which the dataset will raise again
            return {}
        target = channels.pop(opt.direction[-1])
        options = {"input_nc": input_channels(channels, opt), "output_nc": target}
        return {name: n for name, n in options.items() if name not in opt.given}

    def __init__(self, opt: Any):
        super().__init__(opt)
        if opt.preprocess not in ("crop", "none"):
            raise ValueError(
                f"--preprocess {opt.preprocess}: measurements are not resized; use crop or none"
            )
        self.source, self.target_side = opt.direction[0], opt.direction[-1]
        self.subjects = find_subjects(opt)
        self.channels = channels_of(self.subjects)
        if not opt.isTrain:
            self.subjects, self.channels = with_trained_inputs(self.subjects, self.channels, opt)
        check_channels(self.channels, opt)
        self.whole = not opt.isTrain  # items are whole files
        say_missing(self.subjects, opt)
        self.volumes = self.subjects[0].is_volume
        self.rasters = any(isinstance(s.first, Raster) for s in self.subjects)
        check_flags(self.subjects[0], self.rasters, opt)
        self.slices = training_slices(self.subjects, opt) if self.volumes else []
        self.areas = [float(np.prod(subject.first.size)) for subject in self.subjects]
        # What is added to reach the size of the crop has no data either.
        self.crop = opt.crop_size if opt.preprocess == "crop" else None
        small = self.crop and any(min(s.first.size) < self.crop for s in self.subjects)
        self.masked = opt.nodata == "mask" or bool(small)
        self.kept: dict[str, StoredRange] = {}  # once fitted
        if opt.isTrain and opt.continue_train and (saved := read_ranges(opt)):
            ranges_of([side for side in self._sides() if side in saved], opt, saved)

    @cached_property
    def reader(self) -> Reader:
        """Reads the files; made once the value ranges are known."""
        ranges = ranges_of(self._sides(), self.opt, self.kept or read_ranges(self.opt))
        reader = Reader(ranges, self.channels, self.opt, self.target_side)
        reader.cache = self.cache
        return reader

    def _sides(self) -> list[str]:
        return [*self.subjects[0].inputs, self.target_side]

    def fitted_ranges(self) -> dict[str, StoredRange]:
        sides = {
            side: [s.inputs[side] for s in self.subjects if s.inputs[side] is not None]
            for side in self.subjects[0].inputs
        }
        sides[self.target_side] = [s.target for s in self.subjects if s.target is not None]
        self.kept = fitted_ranges(sides, self.opt)
        return self.kept

    def item_ranges(self) -> dict[str, tuple[float, float]]:
        ranges = {side: self.reader.ranges.get(side) for side in (self.source, self.target_side)}
        return {side: ends for side, ends in ranges.items() if ends}  # several inputs have several

    def __len__(self) -> int:
        if self.whole or not (self.volumes or self.rasters):
            return len(self.subjects)
        if self.volumes:
            return len(self.slices)
        windows = max(1, round(sum(self.areas) / self.opt.crop_size**2))
        return getattr(self.opt, "windows_per_epoch", None) or windows

    def cache_keys(self) -> list[str]:
        """Return the names under which `Reader` caches slices; windows of rasters are not."""
        if self.whole or self.rasters:
            return []
        grids = (grid for subject in self.subjects for grid in subject.grids)
        return [cache_key(grid, n) for grid in grids for n in range(grid.count)]

    def shown_channels(self) -> dict[str, slice]:
        """Return those of each input, of several slices the one in the middle."""
        shown, first, around = {}, 0, self.opt.slices_around
        for side in self.subjects[0].inputs:
            count = self.channels[side]
            middle = first + around * count
            shown[side] = slice(middle, middle + count)
            first += count * (2 * around + 1)
        return shown if around or len(shown) > 1 else {}

    def remarks(self) -> list[str]:
        """Return a remark if slices are padded, and if compressed volumes are decoded again in each
        epoch.
        """
        # A --crop_size that is half as large, for which there is a --netG.
        half = (self.crop or 0) // 2
        small = [s.first for s in self.subjects if max(s.first.size) <= half]
        if self.whole or not small:
            return self._decoded_again()
        return [
            f"{small[0].path}: its {by(small[0].size)} pixels are padded to --crop_size "
            f"{self.crop}; a smaller one, with a --netG for it, spares time",
            *self._decoded_again(),
        ]

    def _decoded_again(self) -> list[str]:
        compressed = next((g for g in self.subjects[0].grids if g.decoded), None)
        if compressed is None or self.whole or self.cache is not None:
            return []
        fix = "--cache disk keeps the slices, or unpack the files"
        fix = fix if can_cache() else "unpack the files"
        return [f"{compressed.path}: is decoded as a whole for a slice; {fix}"]

    def paths(self, index: int) -> dict[str, str]:
        if self.rasters and not self.whole:
            return {}  # a window is drawn from any of the files
        return paths_of(self._subject(index)[0], self.target_side)

    def _subject(self, index: int) -> tuple[Subject, int]:
        """Return the subject of an item and the number of its slice; of rasters one is drawn."""
        if self.whole or not (self.volumes or self.rasters):
            return self.subjects[index], 0
        if self.volumes:
            return self.slices[index]
        return random.choices(self.subjects, self.areas)[0], 0

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return an item: A (input_nc, H, W) and B (output_nc, H, W) in [-1, 1], 0 where there is
        no data, and `valid` (1, H, W), 1 where all of them have data; of volumes also the number of
        the slice. In a test return only its files.
        """
        if self.whole:
            return self.paths(index)
        for _ in range(TRIES if self.rasters else 1):
            subject, number = self._subject(index)
            box = self._box(subject.first.size)
            arrays = {
                self.source: self.reader.input(subject, number, box),
                self.target_side: self.reader.target(subject, number, box),
            }
            valid = np.isfinite(np.concatenate([*arrays.values()], 2)).all(2, keepdims=True)
            if valid.any():
                break
        if self.masked:  # the target is 0 where an input has no data, as the output is
            arrays[self.target_side] = np.where(valid, arrays[self.target_side], np.nan)
            arrays["valid"] = valid.astype(np.float32)
        flip = trains(self.opt) and not self.opt.no_flip and random.random() > 0.5
        item: dict[str, Any] = paths_of(subject, self.target_side)
        item |= {"slice": number} if self.volumes else {}
        for name, array in arrays.items():
            item[name] = self._tensor(array[:, ::-1] if flip else array)
        return item

    def _box(self, size: tuple[int, int]) -> Box | None:
        """Draw the part of a slice that is used; in a validation of slices it is the middle."""
        if self.crop is None:
            return None
        free = [max(0, n - self.crop) for n in size]
        drawn = trains(self.opt) or self.rasters  # those of a validation are always the same
        x, y = (random.randint(0, n) if drawn else n // 2 for n in free)
        return x, y, min(x + self.crop, size[0]), min(y + self.crop, size[1])

    def _tensor(self, array: np.ndarray) -> Tensor:
        """Return an array as (C, H, W) of the size of the crop, with 0 where there is no data."""
        filled = np.nan_to_num(padded(array, self.crop or 0), nan=0.0)
        return torch.from_numpy(np.ascontiguousarray(filled.transpose(2, 0, 1)))


def say_missing(subjects: list[Subject], opt: Any) -> None:
    """Log how many subjects lack an input (--missing zero)."""
    sides = [*subjects[0].inputs]
    if opt.missing == "zero" and opt.phase != "val":
        if len(sides) == 1:
            log.warning("--missing zero: does nothing for one input")
        for side in sides:
            count = sum(subject.inputs[side] is None for subject in subjects)
            if count:
                log.info("--missing zero: %d of %d lack %s", count, len(subjects), side)


def training_slices(subjects: list[Subject], opt: Any) -> list[tuple[Subject, int]]:
    """Return the slices that --slice_range allows; of a validation some, evenly spread."""
    slices = []
    for subject in subjects:
        count = subject.first.count
        first, last = slice_ends(count, getattr(opt, "slice_range", None))
        if not 0 <= first <= last < count:
            given = ",".join(map(str, opt.slice_range))
            raise ValueError(
                f"--slice_range {given}: {subject.first.path} has {count} slices ({opt.slice_axis})"
            )
        slices += [(subject, n) for n in range(first, last + 1)]
    if not trains(opt) and len(slices) > opt.max_dataset_size:
        slices = [slices[n] for n in evenly_spaced(len(slices), int(opt.max_dataset_size))]
    return slices


def paths_of(subject: Subject, target_side: str) -> dict[str, str]:
    """Return the files of a subject as an item has them: A_paths, B_paths, and of several inputs
    A1_paths, A2_paths, …, "" where one is missing.
    """
    paths = {f"{s}_paths": grid.path if grid else "" for s, grid in subject.inputs.items()}
    paths.setdefault("A_paths" if target_side == "B" else "B_paths", subject.first.path)
    return paths | ({f"{target_side}_paths": subject.target.path} if subject.target else {})
