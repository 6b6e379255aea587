"""Volumes, rasters and images of measurements: one or several inputs, and the target."""

import os
import random
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.base_dataset import BaseDataset, trains
from data.measurements.folders import MOST_INPUTS, Subject, find_subjects
from data.measurements.grid import Box
from data.measurements.ranges import fitted_ranges, ranges_of
from data.measurements.raster import Raster
from data.measurements.reader import Reader, cache_key
from data.measurements.volume import AXES
from data.value_range import StoredRange, read_ranges
from util.flag_types import index_range, number, pixel_range

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
            parser.set_defaults(batch_size=1)
        add_flags(parser, is_train)
        return parser

    @classmethod
    def derived_options(cls, opt: Any) -> dict[str, Any]:
        """Return the numbers of channels, which a training has from its first files."""
        if not opt.isTrain or not os.path.isdir(opt.dataroot or ""):
            return {}
        whole = opt.missing == "zero"  # the first subject may lack an input
        try:
            channels = channels_of(find_subjects(opt, None if whole else 1))
        except ValueError:  # which the dataset will raise again
            return {}
        target = channels.pop(opt.direction[-1])
        found = {"input_nc": input_channels(channels, opt), "output_nc": target}
        return {name: n for name, n in found.items() if name not in opt.given}

    def __init__(self, opt: Any):
        super().__init__(opt)
        if opt.preprocess not in ("crop", "none"):
            raise ValueError(
                f"--preprocess {opt.preprocess}: measurements are not resized; use crop or none"
            )
        self.source, self.target_side = opt.direction[0], opt.direction[-1]
        self.subjects = find_subjects(opt)
        self.channels = channels_of(self.subjects)
        check_channels(self.channels, opt)
        self.whole = not opt.isTrain  # items are whole files
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

    @cached_property
    def reader(self) -> Reader:
        """Reads the files; made once the value ranges are known."""
        sides = [*self.subjects[0].inputs, self.target_side]
        ranges = ranges_of(sides, self.opt, self.kept or read_ranges(self.opt))
        found = Reader(ranges, self.channels, self.opt, self.target_side)
        found.cache = self.cache
        return found

    def fitted_ranges(self) -> dict[str, StoredRange]:
        sides = {
            side: [s.inputs[side] for s in self.subjects if s.inputs[side] is not None]
            for side in self.subjects[0].inputs
        }
        sides[self.target_side] = [s.target for s in self.subjects if s.target is not None]
        self.kept = fitted_ranges(sides, self.opt)
        return self.kept

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

    def remarks(self) -> list[str]:
        """Return a remark if compressed volumes are decoded again in each epoch."""
        compressed = next((g for g in self.subjects[0].grids if g.decoded), None)
        if compressed is None or self.whole or self.opt.cache != "none":
            return []
        return [
            f"{compressed.path}: is decoded as a whole for a slice; --cache disk keeps the slices, "
            f"or unpack the files"
        ]

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
        no data, and `valid` (1, H, W), 1 where all of them have data; in a test only its files.
        """
        if self.whole:
            return self.paths(index)
        for _ in range(TRIES if self.rasters else 1):
            subject, number = self._subject(index)
            box = self._box(subject.first.size)
            found = {
                self.source: self.reader.input(subject, number, box),
                self.target_side: self.reader.target(subject, number, box),
            }
            valid = np.isfinite(np.concatenate([*found.values()], 2)).all(2, keepdims=True)
            if valid.any():
                break
        found |= {"valid": valid.astype(np.float32)} if self.masked else {}
        flip = trains(self.opt) and not self.opt.no_flip and random.random() > 0.5
        item: dict[str, Any] = paths_of(subject, self.target_side)
        for name, array in found.items():
            item[name] = self._tensor(array[:, ::-1] if flip else array)
        return item

    def _box(self, size: tuple[int, int]) -> Box | None:
        """Draw the part of a slice that is used; in a validation it is the middle."""
        if self.crop is None:
            return None
        free = [max(0, n - self.crop) for n in size]
        x, y = (random.randint(0, n) if trains(self.opt) else n // 2 for n in free)
        return x, y, min(x + self.crop, size[0]), min(y + self.crop, size[1])

    def _tensor(self, array: np.ndarray) -> Tensor:
        """Return an array as (C, H, W) of the size of the crop, with 0 where there is no data."""
        found = np.nan_to_num(array, nan=0.0)
        if self.crop is not None:
            lacking = [self.crop - n for n in array.shape[:2]]
            found = np.pad(found, [*((n // 2, n - n // 2) for n in lacking), (0, 0)])
        return torch.from_numpy(np.ascontiguousarray(found.transpose(2, 0, 1)))


def add_flags(parser: Any, is_train: bool) -> None:
    """Add the flags of measurements."""
    add = parser.add_argument
    kept: dict[str, Any] = {"role": "data", "carry": True}
    add("--slice_axis", choices=AXES, default="axial", help="how volumes are sliced", **kept)
    add(
        "--slices_around",
        type=number(int, 0),
        default=0,
        help="neighbouring slices on each side, as further channels of the input",
        **kept,
    )
    for n in range(1, MOST_INPUTS + 1):
        add(
            f"--range_A{n}",
            type=pixel_range,
            help=f"values of the files of A{n} that become -1 and 1; by default --range_A",
            **kept,
        )
    add(
        "--nodata",
        choices=["error", "mask"],
        default="error",
        help="pixels without data (NaN, or as the file says): an error, or left out of the losses "
        "and of the outputs",
        **kept,
    )
    add(
        "--missing",
        choices=["error", "zero"],
        default="error",
        help="an input that a subject lacks: an error, or zeros for the networks",
        **kept,
    )
    if is_train:
        with parser.section("training on measurements", role="training"):
            add_training_flags(parser)


def add_training_flags(parser: Any) -> None:
    """Add the flags that choose what is trained on."""
    parser.add_argument(
        "--slice_range",
        type=index_range,
        role="data",
        help="FIRST,LAST slice to train on, from 0; negative numbers count from the last",
    )
    parser.add_argument(
        "--windows_per_epoch",
        type=number(int, 1),
        help="windows of rasters in an epoch; by default their area / --crop_size²",
    )


def channels_of(subjects: list[Subject]) -> dict[str, int]:
    """Return the number of channels of each side, the target's last."""
    found = {}
    for side in subjects[0].inputs:
        grids = (s.inputs[side] for s in subjects if s.inputs[side] is not None)
        if grid := next(grids, None):
            found[side] = grid.channels
    if target := subjects[0].target:
        found["A" if "B" in found else "B"] = target.channels
    return found


def input_channels(channels: dict[str, int], opt: Any) -> int:
    """Return the number of channels of the input, from those of its sides."""
    return sum(channels.values()) * (2 * opt.slices_around + 1)


def check_channels(channels: dict[str, int], opt: Any) -> None:
    """Raise a ValueError if --input_nc or --output_nc are not those of the files."""
    inputs = {side: n for side, n in channels.items() if side != opt.direction[-1]}
    found = {"input_nc": input_channels(inputs, opt)}
    if target := channels.get(opt.direction[-1]):
        found["output_nc"] = target
    for flag, count in found.items():
        if getattr(opt, flag) != count:
            of = " + ".join(f"{n} of {side}" for side, n in inputs.items())
            times = f", with {2 * opt.slices_around} slices around" * bool(opt.slices_around)
            why = f" ({of}{times})" if flag == "input_nc" else ""
            raise ValueError(f"--{flag} {getattr(opt, flag)}: the files have {count}{why}")


def check_flags(subject: Subject, rasters: bool, opt: Any) -> None:
    """Raise a ValueError for flags that files of this kind cannot have."""
    windows = getattr(opt, "windows_per_epoch", None)
    if windows and not rasters:
        raise ValueError(
            f"--windows_per_epoch {windows}: is for rasters (GeoTIFF); {subject.first.path} is none"
        )
    for flag in ("slices_around", "slice_range"):
        if getattr(opt, flag, None) and not subject.is_volume:
            raise ValueError(f"--{flag}: is for volumes; {subject.first.path} is none")
    if getattr(opt, "num_variants", 1) > 1:
        raise ValueError(f"--num_variants {opt.num_variants}: is for images, not for measurements")
    if getattr(opt, "val_metrics", None):
        raise ValueError("--val_metrics: is for images; --val_freq alone measures L1, PSNR, SSIM")
    if opt.nodata == "mask" and opt.model not in ("pix2pix", "test"):
        raise ValueError("--nodata mask: works with --model pix2pix")


def training_slices(subjects: list[Subject], opt: Any) -> list[tuple[Subject, int]]:
    """Return the slices that --slice_range allows; of a validation some, evenly spread."""
    found = []
    for subject in subjects:
        count = subject.first.count
        first, last = getattr(opt, "slice_range", None) or (0, -1)
        first, last = (n + count if n < 0 else n for n in (first, last))
        if not 0 <= first <= last < count:
            given = ",".join(map(str, opt.slice_range))
            raise ValueError(
                f"--slice_range {given}: {subject.first.path} has {count} slices ({opt.slice_axis})"
            )
        found += [(subject, n) for n in range(first, last + 1)]
    if not trains(opt) and len(found) > opt.max_dataset_size:
        few = np.linspace(0, len(found) - 1, int(opt.max_dataset_size)).round().astype(int)
        found = [found[n] for n in few.tolist()]
    return found


def paths_of(subject: Subject, target_side: str) -> dict[str, str]:
    """Return the files of a subject as an item has them: A_paths, B_paths, and of several inputs
    A1_paths, A2_paths, …, "" where one is missing.
    """
    found = {f"{s}_paths": grid.path if grid else "" for s, grid in subject.inputs.items()}
    found.setdefault("A_paths" if target_side == "B" else "B_paths", subject.first.path)
    return found | ({f"{target_side}_paths": subject.target.path} if subject.target else {})
