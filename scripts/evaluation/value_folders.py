"""Two folders of measurements, such as the outputs of another program, compared in their values."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from data.image_folder import list_images
from data.measurements.folders import files_in, open_grid
from data.measurements.grid import Grid
from data.measurements.translation import as_input
from data.measurements.values import Range, to_network
from inference.subjects import shown_values
from scripts.evaluation.compare import ImageSet
from scripts.evaluation.measured_values import MeasuredValues
from util.files import make_folder
from util.util import save_image, tensor2im

AXIS = "axial"  # across which volumes are looked at


def hold_values(fake: Path, real: Path) -> bool:
    """Return whether one of two folders holds volumes and no images."""
    listings = [list_images(folder) for folder in (fake, real) if folder.is_dir()]
    return any("measurements" in listing.of_others() and not listing.images for listing in listings)


def from_value_folders(fake: Path, real: Path, shown: Path) -> ImageSet:
    """Pair the files of two folders by path without extension, without _fake_B.

    What a page shows of them is written to the folder `shown`. ValueError for a file without
    partner, or on another grid than it.
    """
    opened: dict[str, dict[str, Grid]] = {}
    for flag, folder in (("--fake", fake), ("--real", real)):
        if not folder.is_dir():
            raise ValueError(f"{flag}: {folder} does not exist, or is no folder")
        files = files_in(folder)
        opened[flag] = {
            name.removesuffix("_fake_B"): open_grid(path, AXIS) for name, path in files.items()
        }
    outputs, targets = opened.values()
    if alone := sorted(outputs.keys() ^ targets.keys()):
        flag, other = ("--fake", real) if alone[0] in outputs else ("--real", fake)
        raise ValueError(
            f"{flag}: {opened[flag][alone[0]].path} has no partner of that name in {other} "
            f"({len(alone)} without one); give pairs equal names"
        )
    for name, output in outputs.items():
        if difference := output.difference(targets[name]):
            raise ValueError(
                f"--fake: {output.path} and {targets[name].path} lie on different grids: "
                f"{difference}"
            )
        output.check_channels(targets[name].channels, "--real")
    value_range = range_of(targets)
    sides = {"fake": outputs, "real": targets}
    files = {side: shown_files(side, grids, value_range, shown) for side, grids in sides.items()}
    values = MeasuredValues({name: (outputs[name], targets[name]) for name in outputs}, value_range)
    return ImageSet(fake.name, **files, values=values)


def range_of(grids: Mapping[str, Grid]) -> Range:
    """Return the least and the greatest value of all files."""
    low, high = np.inf, -np.inf
    for grid in grids.values():
        for number, box in grid.parts():
            values = grid.read(number, box)
            values = values[np.isfinite(values)]
            if values.size:
                low, high = min(low, float(values.min())), max(high, float(values.max()))
    if not low < high:
        raise ValueError("--real: all values of the files are equal, or none has data")
    return low, high


def shown_files(
    side: str, grids: Mapping[str, Grid], value_range: Range, folder: Path
) -> dict[str, Path]:
    """Write what a page shows of some files as grey images or RGB; return these by name."""
    folder, files = make_folder(folder, "--out"), {}
    for number, (name, grid) in enumerate(sorted(grids.items())):
        image, _ = as_input(to_network(shown_values(grid), value_range))
        files[name] = folder / f"{number:05d}_{side}.png"
        save_image(tensor2im(image), files[name], grid.stretch)
    return files
