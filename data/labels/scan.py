"""All class numbers or colours of a dataset's label maps, by phase; kept for the next start."""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from data.files.image_files import halves, load_unconverted
from data.files.image_types import ImageLike
from data.labels.folders import (
    LabelFiles,
    hold_colours,
    is_coloured,
    label_side,
    labels_of_all_phases,
)
from data.labels.palette import RARE, ColourCounts, ExactColours
from data.labels.reader import NotNumbers, as_rgb, label_numbers
from data.labels.values import LabelValues
from util import distributed
from util.errors import one_line
from util.files import atomic_write
from util.palette import MOST, as_hex, packed

log = logging.getLogger(__name__)

MANY = 5000  # label maps; more are not looked at before a training with --label_nc
CHUNK = 64  # label maps in memory at a time
_known: dict[Path, Any] = {}  # scans of this process, should their files not be written


def scan_labels(opt: Any) -> LabelValues | None:
    """Look at the label maps of all phases, or read what an earlier start has found.

    None without label maps. ValueError names a file of the training that cannot be used, unless
    --on_bad_image skips it; and the file with the most colours, if they are those of photos.
    Rank 0 looks for all ranks.
    """
    result: Any = None
    if distributed.is_main_process():
        try:
            result = _scan_once(opt)
        except (ValueError, OSError) as error:
            result = error
    result = distributed.broadcast_from_main(result)
    if isinstance(result, Exception):
        raise result
    return result


def _scan_once(opt: Any) -> LabelValues | None:
    phases = labels_of_all_phases(opt)
    if opt.phase not in phases:
        return None
    coloured = hold_colours(phases[opt.phase], opt)
    settings = f"{label_side(opt)} {coloured}"
    path = Path(opt.checkpoints_dir) / f"labels_{state_of(phases, settings)}.json"
    if scan := _known.get(path) or read_scan(path):  # of another training phase, perhaps
        return scan._replace(phases={phase: scan.phases[phase] for phase in phases})
    looker = Looker(opt, phases)
    scan = looker.colours() if coloured else looker.numbers()
    _known[path] = scan
    try:
        with atomic_write(path) as file:
            file.write(json.dumps(scan._asdict()).encode() + b"\n")
    except OSError as error:
        log.info("the classes are counted anew at the next start (%s)", one_line(error))
    return scan


def state_of(phases: dict[str, LabelFiles], how: str) -> str:
    """Return a hash of the names, sizes and times of the files, and of how they are read."""
    digest = hashlib.sha256(how.encode())
    for phase, files in sorted(phases.items()):
        digest.update(phase.encode())
        for path in files.labels:
            stat = os.stat(path)
            line = f"{os.path.abspath(path)} {stat.st_size} {stat.st_mtime_ns}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def read_scan(path: Path) -> LabelValues | None:
    """Return an earlier scan; None if there is none that can be read."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return LabelValues(dict(values["phases"]), list(values["colours"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


class Looker:
    """Reads the label maps of all phases, some at a time."""

    def __init__(self, opt: Any, phases: dict[str, LabelFiles]):
        self.opt, self.phases = opt, phases
        side = "AB".index(label_side(opt))
        self.half = {phase: side if files.stitched else None for phase, files in phases.items()}

    def numbers(self) -> LabelValues:
        """Find the numbers in the files."""
        phases: dict[str, dict[str, str]] = {phase: {} for phase in self.phases}
        try:
            for phase, path, numbers in self._each(numbers_in):
                for number in numbers:
                    phases[phase].setdefault(str(number), path)
        except NotNumbers as error:
            if all(map(is_coloured, self.phases[self.opt.phase].labels)):
                hint = ", or give --label_colours auto, which reads colours"
                raise ValueError(f"{error}{hint}") from None
            raise
        return LabelValues(phases, [])

    def colours(self) -> LabelValues:
        """Find the colours in the files: all of lossless ones, else those of flat areas."""
        counts = {phase: ExactColours() for phase in self.phases}
        for phase, _, image in self._each(as_rgb):
            counts[phase].add(image)
            if len(set().union(*(colours.counts for colours in counts.values()))) > MOST:
                return self._flat_colours()
        codes = sorted(set().union(*(colours.counts for colours in counts.values())))
        if len(codes) < 2:
            raise ValueError(f"{self._first}: this label map and all others have one colour")
        phases = {p: dict.fromkeys(as_hex(colours.palette()), "") for p, colours in counts.items()}
        return LabelValues(phases, [f"#{code:06x}" for code in codes])

    def _flat_colours(self) -> LabelValues:
        counts = {phase: ColourCounts() for phase in self.phases}
        for phase, _, image in self._each(as_rgb):
            counts[phase].add(image)
        palette = sum(counts.values(), ColourCounts()).palette(MOST)
        if palette is None:
            raise ValueError(self._too_many())
        palette = palette[np.argsort(packed(palette))]
        phases = {}
        for phase, colours in counts.items():  # a rare colour is learned, but not asked for
            present = colours.shares_of(palette) > (0 if phase == self.opt.phase else RARE)
            phases[phase] = dict.fromkeys(as_hex(palette[present]), "")
        return LabelValues(phases, as_hex(palette))

    def _too_many(self) -> str:
        """Return the error for colours of photos."""
        opt, side = self.opt, label_side(self.opt)
        trained = self.phases[opt.phase]
        sample = {opt.phase: trained._replace(labels=trained.labels[:CHUNK])}
        images = Looker(opt, sample)._each(as_rgb)
        count, path = max((len(np.unique(packed(rgb))), path) for _, path, rgb in images)
        text = f"{path}: has {count} colours, but a label map has at most {MOST}, each in areas"
        if trained.layout != "sides":
            return f"{text}; is it a photo?"
        return f"{text}; --direction {opt.direction} takes side {side} as labels"

    @property
    def _first(self) -> str:
        return self.phases[self.opt.phase].labels[0]

    def _each(self, look: Callable[[Any], Any]) -> Iterator[tuple[str, str, Any]]:
        """Yield the phase, the path and what `look` makes of each image that can be read."""
        files = [
            (phase, path)
            for phase, label_files in self.phases.items()
            for path in label_files.labels
        ]
        bar = tqdm(total=len(files), desc="label maps", unit="map", disable=None)
        with bar, ThreadPoolExecutor() as pool:
            for i in range(0, len(files), CHUNK):
                chunk = files[i : i + CHUNK]
                for (phase, path), result in zip(
                    chunk, pool.map(lambda file: self._look(*file, look), chunk), strict=True
                ):
                    bar.update()
                    if not isinstance(result, ValueError):
                        yield phase, path, result
                    elif phase == self.opt.phase and self.opt.on_bad_image == "error":
                        raise result

    def _look(self, phase: str, path: str, look: Callable[[Any], Any]) -> Any:
        try:
            image, half = load_unconverted(path, self.opt.max_pixels), self.half[phase]
            image = image if half is None else halves(image, path)[half]
        except ValueError as error:
            return error
        try:
            return look(image)
        except ValueError as error:
            return type(error)(f"{path}: {error}")


def numbers_in(image: ImageLike) -> list[int]:
    """Return the different numbers of a label map."""
    return np.unique(label_numbers(image)).tolist()
