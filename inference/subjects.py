"""Whole volumes and rasters translated to files, and the images that a page shows of them."""

import glob
import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch import Tensor

from data import Loader
from data.measurements.folders import Subject, open_grid
from data.measurements.grid import Grid
from data.measurements.raster import Raster
from data.measurements.translation import as_input
from data.measurements.values import to_network
from inference.earlier_results import VALUES
from inference.shards import Share
from translator import Translator
from util.files import make_folder, short_stem
from util.html import HTML
from util.image_rows import ImageRow, result_row

log = logging.getLogger(__name__)

SHOWN = (0.25, 0.5, 0.75)  # of a volume's slices: those that the page shows, from top to bottom
LARGEST = 1024  # pixels of a side of a raster as the page shows it

Job = Callable[[], None]


def subject_rows(
    batch: dict[str, Any], translator: Translator, dataset: Loader, page: HTML, share: Share
) -> Iterator[tuple[int, ImageRow, list[Job]]]:
    """Translate the subjects of a batch to files in values/; yield the number of each, its row of
    the page, and what writes the row's images.
    """
    folder = make_folder(page.get_image_dir().parent / VALUES, "--results_dir")
    share.wait()
    paths = batch[f"{translator.opt.direction[0]}_paths"]
    for number, path in zip(batch["index"].tolist(), paths, strict=True):
        subject = dataset.dataset.subjects[number]
        name = share.name(number) or short_stem(path)
        out = folder / f"{name}_fake_B{translator.input.ending(subject)}"
        try:
            with translator.input.output(subject, out) as output:
                translator.files.translate(subject, output)
        except ValueError as error:
            if translator.opt.on_bad_image != "skip":
                raise
            log.warning("skipped: %s", error)
            continue
        for other in folder.glob(f"{glob.escape(name)}_fake_B.*"):
            if other != out:  # of an earlier test, whose files were of another kind
                other.unlink()
        images = shown_images(subject, open_grid(out, translator.opt.slice_axis), translator)
        first = subject.first
        remark = ", ".join(filter(None, [shown_slices(first), f"{VALUES}/{out.name}"]))
        row, jobs = result_row(page, images, first.path, first.stretch, name, remark=remark)
        yield number, row, jobs


def shown_images(subject: Subject, output: Grid, translator: Translator) -> dict[str, Tensor]:
    """Return what a page shows of the inputs, the output and the target, (1, C, H, W) by label."""
    reader, (*sides, target_side) = translator.input.reader, translator.input.reader.ranges
    labels = [f"real_{side}" for side in sides] if len(sides) > 1 else ["real_A"]
    grids = {label: (side, subject.inputs[side]) for label, side in zip(labels, sides, strict=True)}
    grids |= {"fake_B": (target_side, output), "real_B": (target_side, subject.target)}
    return {
        label: as_input(to_network(shown_values(grid), reader.ranges[side]))[0]
        for label, (side, grid) in grids.items()
        if grid is not None
    }


def shown_values(grid: Grid) -> np.ndarray:
    """Return what a page shows of a file, (h, w, C): some slices of a volume one below the other,
    or a raster made smaller.
    """
    if isinstance(grid, Raster):
        return grid.overview(LARGEST)
    return np.concatenate([grid.read(number) for number in shown_numbers(grid)])


def shown_numbers(grid: Grid) -> list[int]:
    """Return the numbers of the slices that a page shows of a file, as --slice_range counts."""
    return [int(share * grid.count) for share in SHOWN] if grid.count > 1 else [0]


def shown_slices(grid: Grid) -> str:
    """Return which slices a page shows of a file; "" of an image."""
    if grid.count == 1:
        return ""
    return f"slices {', '.join(map(str, shown_numbers(grid)))} of {grid.count}"
