"""What a run on measurements translates: files and folders, one or several for a subject."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from data.files.high_depth_output import require_tifffile
from data.files.image_types import StoredType
from data.image_folder import describe
from data.measurements.dicom import holds_series
from data.measurements.folders import (
    Subject,
    check_same_places,
    files_in,
    input_folders,
    open_grid,
    stem_of,
)
from data.measurements.grid import Grid
from data.measurements.nifti import NiftiVolume
from data.measurements.output import ArrayOutput, Output, RasterOutput, VolumeOutput, raster_file
from data.measurements.ranges import ranges_of
from data.measurements.raster import Raster
from data.measurements.reader import Reader
from data.measurements.trained_inputs import check_kind
from data.measurements.volume import Volume
from data.user_input import ImageInput
from data.value_range import ranges_file, read_ranges

Source = Any  # a file, a folder with a DICOM series (str or Path), or an image of nibabel
Sources = Source | Sequence[Source | None]  # of one subject


class SubjectInput(ImageInput):
    """Opens the files of subjects, makes the inputs of a generator, and collects its outputs.

    Tensors of a run are as those of other runs.
    """

    def __init__(self, opt: Any):
        """ValueError if the run's folder lacks what a training has saved of its files."""
        super().__init__(opt, _no_image, None, _no_image)
        self.opt, saved = opt, read_ranges(opt)
        self.target_side = opt.direction[-1]
        self.sides = sorted(side for side in saved if side[0] == opt.direction[0])
        if not self.sides or self.target_side not in saved:
            raise ValueError(
                f"{ranges_file(opt)}: is missing, or lacks the values of A and B; copy it from "
                f"the training's folder"
            )
        self.stored: StoredType = saved[self.target_side][0]
        ranges = ranges_of([*self.sides, self.target_side], opt, saved)
        channels = {side: saved[side][0].channels for side in ranges}
        self.reader = Reader(ranges, channels, opt, self.target_side)

    def open(self, sources: Sources) -> Subject:
        """Open the files of a subject: one, or a tuple in the order of the training's folders, in
        which None is a missing input.
        """
        files = list(sources) if isinstance(sources, tuple | list) else [sources]
        if len(files) != len(self.sides):
            raise ValueError(self._wrong_number(files))
        lacking = [side for side, file in zip(self.sides, files, strict=True) if file is None]
        if lacking and (self.opt.missing == "error" or len(lacking) == len(files)):
            given = next((f" beside {file}" for file in files if file is not None), "")
            raise ValueError(
                f"{', '.join(lacking)}: no such input{given}; --missing zero takes zeros for some "
                f"of a subject's inputs"
            )
        grids = [None if file is None else self._grid(file) for file in files]
        path = Path(next(grid.path for grid in grids if grid))
        name = path.name if path.is_dir() else stem_of(Path(path.name))
        subject = Subject(name, dict(zip(self.sides, grids, strict=True)), None)
        check_same_places(subject)
        check_kind(subject, self.stored)
        return subject

    def _wrong_number(self, files: list[Source]) -> str:
        """Return what is wrong with another number of files than the run has inputs."""
        names = [str(file) for file in files if isinstance(file, str | Path)]
        if len(names) == 1 and not Path(names[0]).exists():
            return f"{names[0]}: no such file or folder"
        if len(self.sides) == 1:
            want = "one file for each subject, or a list of subjects"
        else:
            want = (
                f"a tuple of {len(self.sides)} files ({', '.join(self.sides)}), or a folder with "
            )
            want += f"{self.sides[0]}/, {self.sides[1]}/"
        prefix = f"{names[0]}: " if names else ""
        return f"{prefix}the run takes {want}, not {len(files)}"

    def _grid(self, source: Source) -> Grid:
        axis = self.opt.slice_axis
        if isinstance(source, str | Path):
            if not Path(source).exists():
                raise ValueError(f"{source}: no such file or folder")
            return open_grid(Path(source), axis)
        if hasattr(source, "affine"):
            return NiftiVolume(source, axis)
        raise ValueError(
            f"expected a file, a folder of DICOM files or an image of nibabel, got "
            f"{type(source).__name__}; save it as a file first"
        )

    def subjects_in(self, folder: Path) -> dict[str, Sources]:
        """Return the files of all subjects in a folder by name, {} if it is a DICOM series itself.

        Of a run with several inputs the folder holds A1/, A2/, …, or testA1/, testA2/, ….
        """
        if not self.sides[1:]:
            return {} if holds_series(folder) else files_in(folder)
        folders = input_folders(folder, "", may_lack=True) or input_folders(
            folder, "test", may_lack=True
        )
        files = {side: files_in(path) for side, path in folders.items() if side in self.sides}
        if not files:
            raise ValueError(
                f"{folder}: expected the folders {', '.join(f'{side}/' for side in self.sides)} of "
                f"the run's inputs, found {describe(folder)}"
            )
        names = sorted(set().union(*files.values()))
        return {name: tuple(files.get(side, {}).get(name) for side in self.sides) for name in names}

    def ending(self, subject: Subject) -> str:
        """Return the ending of the file of a subject's output."""
        first = subject.first
        return first.ending if isinstance(first, Volume | Raster) else self.stored.ending

    def check_place(self, subject: Subject, path: Path) -> None:
        """Raise a ValueError for a file that is an input, or has another ending than an output."""
        ending = self.ending(subject)
        if not path.name.endswith((ending, ".nii") if subject.is_volume else ending):
            raise ValueError(f"{path}: use the ending {ending}")
        if any(Path(grid.path).resolve() == path.resolve() for grid in subject.grids):
            raise ValueError(f"{path}: is an input; choose another place")

    @contextmanager
    def output(self, subject: Subject, path: Path | None = None) -> Iterator[Output]:
        """Yield what collects a subject's output, and is saved to `path` at the end."""
        arguments = subject.first, self.stored, self.reader.ranges[self.target_side]
        if path is not None and isinstance(subject.first, Raster):
            with raster_file(path, subject.first, self.opt.output_nc, self.stored) as file:
                yield RasterOutput(file, *arguments, self.reader.masked)
            return
        volume = isinstance(subject.first, Volume)
        if path is not None and not volume and path.suffix == ".tif":
            require_tifffile(path)  # now, not after the translation
        output = VolumeOutput(*arguments) if volume else ArrayOutput(*arguments, self.reader.masked)
        yield output
        if path is not None:
            output.save(path)


def _no_image(*_: Any) -> NoReturn:
    raise ValueError("a run on measurements translates whole files: t(file), or t.save(file, out)")
