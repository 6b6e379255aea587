"""Errors of measurements in the values of their files, over the points that have data."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from data import create_dataset
from data.measurements.folders import Subject, open_grid
from data.measurements.grid import Grid
from data.measurements.raster import Raster
from data.measurements.reader import Reader
from data.measurements.subject_input import SubjectInput
from data.measurements.values import Range
from inference.manifest import Manifest
from inference.subjects import shown_numbers, shown_slices, shown_values
from options.base_options import Options
from scripts.evaluation.heat import heat_colours
from util.metrics import MOST_PSNR
from util.util import save_image

BRIGHTEST = 0.25  # of the widest range: the error that maps show in their brightest colour
NO_DATA = 127  # the grey of pixels without data, as on the other images
VALUE_METRICS = {
    "MAE": "mean |output − target|, in the values of the files, over the points with data",
    "RMSE": "root of the mean squared difference, in the values of the files",
    "PSNR": "10·log10(R² / MSE) in dB, R the width of the target's range",
}


@dataclass(frozen=True)
class MeasuredValues:
    """The outputs and targets of a test as files, by name, and the range of the targets."""

    pairs: dict[str, tuple[Grid, Grid]]
    range: Range  # of a run the values that become -1 and 1
    subjects: Mapping[str, Subject] = field(default_factory=dict)  # of a run, by name
    reader: Reader | None = None  # of the subjects' inputs

    @property
    def masked(self) -> bool:
        """Whether some points may have no data."""
        return self.reader is None or self.reader.masked

    @property
    def width(self) -> float:
        """The width of the range."""
        return self.range[1] - self.range[0]

    def shown_slices(self, name: str) -> str:
        """Return which slices a page shows of an output; "" of an image."""
        return shown_slices(self.pairs[name][0])


def measured_values(wanted: Options, folder: Path, names: Sequence[str]) -> MeasuredValues:
    """Return the files of the outputs `names` in a folder of results, and of their targets."""
    subjects = create_dataset(wanted, repeated=True).dataset.subjects
    subjects_by_name, pairs, manifest = {}, {}, Manifest(folder)
    for number, entry in manifest.entries().items():
        if entry.row and entry.row.name in names:
            name, subject = entry.row.name, subjects[number]
            output = open_grid(manifest.value_file(name), wanted.slice_axis)
            subjects_by_name[name], pairs[name] = subject, (output, subject.target)
    reader = SubjectInput(wanted).reader
    return MeasuredValues(pairs, reader.ranges[reader.target_side], subjects_by_name, reader)


def errors(values: MeasuredValues, processes: int) -> dict[str, dict[str, float]]:
    """Return each metric of `VALUE_METRICS` of each output, by metric and name.

    An output that has no data where its target has some is left out; ValueError if all are.
    """
    with ThreadPoolExecutor(processes) as pool:
        results = zip(
            values.pairs, pool.map(partial(_errors_of, values), values.pairs), strict=True
        )
        by_name = {name: scores for name, scores in results if scores}
    if not by_name:
        output, target = next(iter(values.pairs.values()))
        raise ValueError(
            f"{output.path} and {target.path} have no data in common, and so it is with all "
            f"outputs; use targets that have data where the inputs have some"
        )
    return {
        metric: {name: scores[metric] for name, scores in by_name.items()}
        for metric in VALUE_METRICS
    }


def _errors_of(values: MeasuredValues, name: str) -> dict[str, float]:
    """Return the metrics of an output; empty if it has no data in common with its target."""
    count = total = squares = 0.0
    for fake, real in _parts(values, name):
        difference = np.abs(fake - real)
        difference = difference[np.isfinite(difference)]
        count += difference.size
        total += float(difference.sum())
        squares += float(np.square(difference).sum())
    if not count:
        return {}
    mse = squares / count
    psnr = min(MOST_PSNR, 10 * np.log10(values.width**2 / mse)) if mse else MOST_PSNR
    return {"MAE": total / count, "RMSE": mse**0.5, "PSNR": float(psnr)}


def _parts(values: MeasuredValues, name: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the values of output and target, part by part, as float64, NaN where an input has no
    data: whole numbers have no value of their own that says so.
    """
    output, target = values.pairs[name]
    if difference := target.difference(output):
        raise ValueError(f"{output.path} and {target.path} lie on different grids: {difference}")
    for number, box in output.parts():
        fake, real = (grid.read(number, box).astype(np.float64) for grid in (output, target))
        if values.reader and values.masked:
            inputs = values.reader.input(values.subjects[name], number, box)
            fake[~np.isfinite(inputs).all(2)] = np.nan
        yield fake, real


def error_maps(values: MeasuredValues, folder: Path, most: float) -> dict[str, Path]:
    """Write an image of the absolute errors of each output; return the files by name.

    Colours run from black (0) to pale yellow (`most`, or more); grey is no data.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / f"{i:05d}.png" for i, name in enumerate(sorted(values.pairs))}
    for name, file in files.items():
        output, target = values.pairs[name]
        fake, real = shown_values(output), shown_values(target)
        share = np.abs(fake - real).mean(2) / most
        lacking = ~np.isfinite(share)
        if values.reader and values.masked and not isinstance(output, Raster):
            # Whole numbers may have no nodata value: ask the inputs.
            subject, numbers = values.subjects[name], shown_numbers(output)
            inputs = np.concatenate([values.reader.input(subject, n) for n in numbers])
            lacking |= ~np.isfinite(inputs).all(2)
        colours = heat_colours(np.nan_to_num(share).clip(0, 1))
        colours[lacking] = NO_DATA
        save_image(colours, file, output.stretch)
    return files
