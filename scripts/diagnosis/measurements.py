"""What is wrong with files of measurements: damage, missing partners, other grids, no data."""

from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from data.checks.image_check import Finding
from data.measurements.dicom import DicomVolume
from data.measurements.folders import files_in, folders_of, names_lacking, open_grid
from data.measurements.grid import Grid, slice_ends
from data.measurements.raster import Raster
from data.measurements.volume import Volume
from options.base_options import Options
from scripts.diagnosis.leaks import overlapping_rasters, shared_by_phases, shared_groups_of_files

Opened = dict[str, dict[str, Grid]]  # by side and name


def measured_findings(
    root: Path, asked: Mapping[str, Options], group: str | None
) -> tuple[int, list[Finding], list[Finding]]:
    """Return the number of files of all phases, what is wrong with them, and what several phases
    share.
    """
    count = 0
    findings: list[Finding] = []
    phases: dict[str, Opened] = {}
    for phase, opt in asked.items():
        opt = Namespace(**{**vars(opt), "isTrain": phase != "test"})  # a test needs no targets
        try:
            folders = folders_of(opt)
            files = {side: files_in(folder) for side, folder in folders.items()}
        except ValueError as error:
            findings.append(Finding(str(root), str(error), fatal=True))
            continue
        count += sum(map(len, files.values()))
        phases[phase] = phase_files = {side: {} for side in files}
        for side, name, path in tqdm(
            [(side, name, path) for side, paths in files.items() for name, path in paths.items()],
            unit="file",
            desc=phase,
            disable=None,
        ):
            try:
                phase_files[side][name] = grid = open_grid(path, opt.slice_axis)
                findings += list(looked_through(grid, opt))
            except ValueError as error:
                what = str(error).removeprefix(f"{path}: ")
                findings.append(Finding(str(path), what, fatal=True))
        findings += list(partners(phase_files, files, opt))
    first_side = {phase: next(iter(sides.values())).values() for phase, sides in phases.items()}
    rasters = {
        phase: [g for g in grids if isinstance(g, Raster)] for phase, grids in first_side.items()
    }
    findings += list(overlapping_rasters(rasters))
    return count, findings, list(leaks(root, phases, group))


def looked_through(grid: Grid, opt: Any) -> Iterator[Finding]:
    """Read all of a file; yield its description and how much of what is used has no data."""
    first, last = slice_ends(grid.count, getattr(opt, "slice_range", None))
    lacking = points = 0
    for number, box in grid.parts():
        lacks = ~np.isfinite(grid.read(number, box)).all(2)
        if first <= number <= last:
            lacking, points = lacking + int(lacks.sum()), points + lacks.size
    if isinstance(grid, Volume | Raster):
        channels = f"{grid.channels} channel{'s' * (grid.channels != 1)}"
        yield Finding(grid.path, f"{grid.dtype}, {channels}, {grid.describe()}")
    if share := lacking / max(1, points):
        fix = "" if opt.nodata == "mask" else "; --nodata mask leaves them out"
        text = f"{max(share, 1e-4):.2%} of its points have no data{fix}"
        fatal = share == 1 or opt.nodata == "error"
        yield Finding(grid.path, "none of its points has data" if share == 1 else text, fatal)


def partners(opened: Opened, files: dict[str, dict[str, Path]], opt: Any) -> Iterator[Finding]:
    """Yield the files that lack a partner, and pairs whose points lie elsewhere."""
    lacking = names_lacking(files, opt)
    for name in sorted(set().union(*files.values())):
        if sides := [side for side, names in lacking.items() if name in names]:
            path = str(next(by_name[name] for by_name in files.values() if name in by_name))
            yield Finding(path, f"has no partner in {', '.join(sides)}", fatal=True)
        grids = [by_name[name] for by_name in opened.values() if name in by_name]
        for other in grids[1:]:
            if difference := grids[0].difference(other):
                text = f"lies on another grid than {other.path}: {difference}"
                yield Finding(grids[0].path, text, fatal=True)
        patients = {g.patient: g for g in grids if isinstance(g, DicomVolume) and g.patient}
        for volume, other in zip([*patients.values()], [*patients.values()][1:], strict=False):
            text = f"is of patient {volume.patient}, but {other.path} of {other.patient}"
            yield Finding(volume.path, text, fatal=True)
        rasters = [grid for grid in grids if isinstance(grid, Raster)]
        placed = next((grid for grid in rasters if grid.crs), None)
        for grid in rasters:
            if placed and not grid.crs:
                yield Finding(grid.path, f"has no coordinates, though {placed.path} has some")


def leaks(root: Path, phases: dict[str, Opened], group: str | None) -> Iterator[Finding]:
    """Yield the groups and the patients that have files in several phases."""
    if group:
        files = {
            phase: [Path(n) for by_name in sides.values() for n in by_name]
            for phase, sides in phases.items()
        }
        yield from shared_groups_of_files(root, files, group)
    grids = {
        phase: [g for by_name in sides.values() for g in by_name.values()]
        for phase, sides in phases.items()
    }
    patients = {
        phase: [g.patient for g in volumes if isinstance(g, DicomVolume) and g.patient]
        for phase, volumes in grids.items()
    }
    yield from shared_by_phases(root, patients, "patients")
