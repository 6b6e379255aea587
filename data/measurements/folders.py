"""The files of a folder of measurements, matched by name over the inputs and the target."""

import os
import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from data.checks.missing_folder import missing_folder
from data.image_folder import describe, is_hidden, is_image_file, list_images, side_folders
from data.measurements import dicom, nifti, raster
from data.measurements.dicom import DicomVolume, holds_series
from data.measurements.grid import Grid
from data.measurements.nifti import NiftiVolume
from data.measurements.plain_image import PlainImage
from data.measurements.raster import Raster
from data.measurements.volume import Volume

MOST_INPUTS = 9  # folders trainA1/ to trainA9/
Files = dict[str, Path]  # by relative path without extension


class Subject(NamedTuple):
    """What belongs together: the inputs by side, None where one is missing, and the target."""

    name: str  # the relative path of its files, without extension
    inputs: dict[str, Grid | None]  # by side: A, or A1, A2, …; B under --direction BtoA
    target: Grid | None  # in a test it may be missing

    @property
    def first(self) -> Grid:
        """The first input that is there."""
        return next(grid for grid in self.inputs.values() if grid is not None)

    @property
    def grids(self) -> list[Grid]:
        """All files that are there."""
        return [grid for grid in [*self.inputs.values(), self.target] if grid is not None]

    @property
    def is_volume(self) -> bool:
        """Whether these are volumes, not rasters or images."""
        return isinstance(self.first, Volume)


def input_folders(root: Path, phase: str, may_lack: bool = False) -> dict[str, Path]:
    """Return the folders of the inputs by side: A, or A1, A2, …; {} without one.

    ValueError if both kinds are there, or a number is left out unless they `may_lack` some.
    """
    numbered = {n: root / f"{phase}A{n}" for n in range(1, MOST_INPUTS + 1)}
    folders = {f"A{n}": folder for n, folder in numbered.items() if folder.is_dir()}
    A = side_folders(root, phase).get("A")
    if folders and A:
        raise ValueError(
            f"--dataroot {root}: holds {A.name}/ and {next(iter(folders.values())).name}/; name "
            f"the folders of several inputs {phase}A1, {phase}A2, …"
        )
    if not may_lack and len(folders) < max((int(side[1:]) for side in folders), default=0):
        lacking = next(side for side in map("A{}".format, numbered) if side not in folders)
        raise ValueError(
            f"--dataroot {root}: lacks {phase}{lacking}/, but has {', '.join(folders)}"
        )
    return folders or ({"A": A} if A else {})


def files_in(folder: Path) -> Files:
    """Return the volumes, rasters and images in a folder and its subfolders by relative path
    without extension; a folder with DICOM files is one volume.

    ValueError if it holds none, or two of one name.
    """
    files: Files = {}
    for root, subfolders, names in os.walk(folder, followlinks=True):
        subfolders[:] = sorted(name for name in subfolders if not is_hidden(name))
        directory = Path(root)
        paths = [directory / name for name in sorted(names) if is_measured(name)]
        if holds_series(directory):
            paths = [directory] if directory != folder else []
            if not paths:
                raise ValueError(
                    f"{folder}: holds DICOM files; give each series a folder of its own in it"
                )
        for path in paths:
            relative = path.relative_to(folder)
            stem = relative.as_posix() if path.is_dir() else stem_of(relative)
            if stem in files:
                raise ValueError(f"{files[stem]} and {path} have the same name; keep one")
            files[stem] = path
    files = named_by_patient(files)
    if not files:
        others = list_images(folder).of_others()
        raise ValueError(
            f"{folder}: holds no volumes (.nii, .nii.gz, folders of DICOM files), rasters (.tif) "
            f"or images; found {others or describe(folder)}"
        )
    return dict(sorted(files.items()))


def named_by_patient(files: Files) -> Files:
    """Return the files, each DICOM series that lies alone in a folder below (p1/study/series) by
    the name of the uppermost folder (p1), as other programs export it.
    """
    tops = {name: name.split("/")[0] for name in files}
    counts = Counter(tops.values())
    alone = {name for name, path in files.items() if path.is_dir() and counts[tops[name]] == 1}
    return {tops[name] if name in alone else name: path for name, path in files.items()}


def is_measured(name: str) -> bool:
    """Return whether a file's name is that of a volume, a raster or an image."""
    return is_image_file(name) or (name.lower().endswith(nifti.ENDINGS) and not is_hidden(name))


def stem_of(path: Path) -> str:
    """Return a path without extension, such as p1/T1 of p1/T1.nii.gz."""
    return re.sub(r"(\.nii)?\.\w+$", "", path.as_posix())


def open_grid(path: Path, axis: str) -> Grid:
    """Open a file or a folder of DICOM files; `axis` is that of a volume's slices."""
    name = path.name.lower()
    if path.is_dir():
        return DicomVolume(path, axis)
    if name.endswith(nifti.ENDINGS):
        return NiftiVolume(path, axis)
    if name.endswith(dicom.ENDINGS):
        raise ValueError(f"{path}: is one DICOM file; give the folder of its series")
    return Raster(path) if name.endswith(raster.ENDINGS) else PlainImage(path)


def find_subjects(opt: Any, most: int | None = None) -> list[Subject]:
    """Return the subjects of --phase, at most `most`, with their files open.

    In training each has a target; in a test none may be there. ValueError names what is missing.
    """
    folders = folders_of(opt)
    target_side = opt.direction[-1]
    files = {side: files_in(folder) for side, folder in folders.items()}
    check_names(files, folders, opt)
    targets = files.pop(target_side, {})
    subjects = []
    for name in sorted(set().union(*files.values()))[:most]:
        paths = {side: side_files.get(name) for side, side_files in files.items()}
        inputs = {s: open_grid(path, opt.slice_axis) if path else None for s, path in paths.items()}
        target = open_grid(targets[name], opt.slice_axis) if targets else None
        subjects.append(Subject(name, inputs, target))
        check_same_places(subjects[-1])
    check_one_kind(subjects)
    check_same_channels(subjects, target_side)
    return subjects


def folders_of(opt: Any) -> dict[str, Path]:
    """Return the folders of the inputs and of the target, if it is there, by side."""
    root, phase = Path(opt.dataroot), opt.phase
    folders = input_folders(root, phase, may_lack=opt.missing == "zero" and not opt.isTrain)
    if target := side_folders(root, phase).get("B") or _existing(root / f"{phase}B"):
        folders["B"] = target
    lacking = {*"AB"} - {side[0] for side in folders}
    if lacking - ({opt.direction[-1]} if not opt.isTrain else set()):
        raise missing_folder(opt, f"{phase}A/ (or {phase}A1/, {phase}A2/, …) and {phase}B/")
    numbered = [f"{phase}{side}/" for side in folders if side[1:]]
    if opt.direction == "BtoA" and numbered:
        raise ValueError(
            f"--direction BtoA: {' and '.join(numbered)} with a number cannot be the target; name "
            f"the folder of the target {phase}B/, or the only input {phase}A/"
        )
    return folders


def _existing(folder: Path) -> Path | None:
    return folder if folder.is_dir() else None


def names_lacking(files: dict[str, Files], opt: Any) -> dict[str, list[str]]:
    """Return the names that each side lacks though another has them; --missing zero lets one of
    several inputs be missing, but not all of a subject.
    """
    inputs = [side for side in files if side != opt.direction[-1]]
    names, input_names = (
        set().union(*(files[side] for side in sides)) for sides in (files, inputs)
    )
    may_miss = inputs if opt.missing == "zero" and len(inputs) > 1 else []
    return {
        side: sorted(names - (input_names if side in may_miss else side_files.keys()))
        for side, side_files in files.items()
    }


def check_names(files: dict[str, Files], folders: dict[str, Path], opt: Any) -> None:
    """Raise a ValueError for a file without its partners, see `names_lacking`."""
    inputs = [side for side in files if side != opt.direction[-1]]
    for side, names in names_lacking(files, opt).items():
        if names:
            path = next(
                side_files[names[0]] for side_files in files.values() if names[0] in side_files
            )
            may_miss = side in inputs and len(inputs) > 1 and opt.missing == "error"
            fix = "--missing zero trains without it" if may_miss else ""
            nested = [name for name in files[side] if name.startswith(f"{names[0]}/")]
            if nested:
                fix = f"{folders[side] / names[0]} holds {len(nested)} of them; keep one"
            raise ValueError(
                f"--dataroot: {path} has no partner {names[0]}.* in {folders[side]} ({len(names)} "
                f"without one); {fix or 'give both files of a pair the same name'}"
            )


def check_same_places(subject: Subject) -> None:
    """Raise a ValueError unless all grids of a subject have their points at the same places."""
    first = subject.first
    for other in subject.grids:
        if difference := first.difference(other):
            raise ValueError(
                f"{first.path} ({first.describe()}) and {other.path} ({other.describe()}) lie on "
                f"different grids: {difference}; resample one onto the other"
            )


def check_same_channels(subjects: list[Subject], target_side: str) -> None:
    """Raise a ValueError if the rasters of a side have different numbers of bands; images say it
    when they are read.
    """
    firsts: dict[str, Raster] = {}
    for subject in subjects:
        for side, grid in [*subject.inputs.items(), (target_side, subject.target)]:
            if isinstance(grid, Raster):
                firsts.setdefault(side, grid)
                grid.check_channels(firsts[side].channels, side)


def check_one_kind(subjects: list[Subject]) -> None:
    """Raise a ValueError if some subjects are volumes and others are not."""
    kinds = {subject.is_volume: subject for subject in subjects}
    if len(kinds) > 1:
        raise ValueError(
            f"--dataroot: {kinds[True].first.path} is a volume and {kinds[False].first.path} is "
            f"none; give each kind a folder of its own"
        )
