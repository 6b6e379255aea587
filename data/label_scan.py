"""All class numbers or colours of a dataset's label maps, by phase; kept for the next start."""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from data.base_dataset import prefix_errors
from data.image_files import halves, load_unconverted
from data.image_types import ImageLike
from data.label_folders import LabelFiles, hold_colours, label_side, labels_of_all_phases
from data.label_palette import RARE, ColourCounts, ExactColours
from data.label_reader import UNKNOWN, as_rgb, label_numbers
from util import distributed
from util.errors import one_line
from util.files import atomic_write
from util.palette import MOST, as_hex, packed

log = logging.getLogger(__name__)

MANY = 5000  # label maps; more are not looked at before a training with --label_nc
MOST_CLASSES = 1000  # of a count; label maps with larger numbers need --label_nc
CHUNK = 64  # label maps in memory at a time
NAMED = 6  # classes that a remark names


_known: dict[Path, Any] = {}  # scans of this process, should their files not be written


class LabelScan(NamedTuple):
    """What the label maps of each phase hold, that of the training first."""

    phases: dict[str, dict[str, str]]  # phase → number or "#rrggbb" → a file that holds it, or ""
    colours: list[str]  # the palette, "#rrggbb" in the order of their values; [] of numbers

    def label_nc(self, offset: int, dontcare: bool) -> int:
        """Return the number of classes; ValueError if the numbers look like none of classes."""
        if self.colours:
            return len(self.colours)
        numbers = self.numbers()
        last = max((n for n in numbers if is_class(n, offset, dontcare)), default=offset)
        if last - offset >= MOST_CLASSES:
            raise ValueError(
                f"{numbers[last]}: holds the number {last}; label maps hold class numbers from 0 "
                f"on (is it an instance map?); --label_nc {last + 1 - offset} accepts it"
            )
        return last - offset + 1

    def remarks(self, opt: Any) -> list[str]:
        """Return remarks on unknown pixels, and on classes that a training cannot learn."""
        below = max((n for n in self.numbers() if n < UNKNOWN), default=0)
        classes = below + 1 - (opt.label_offset or 0)
        found = []
        if (
            not (self.colours or opt.contain_dontcare_label)
            and UNKNOWN in self.numbers()
            and classes < UNKNOWN < opt.label_nc
            and "label_nc" not in getattr(opt, "given", ())
        ):
            found.append(
                f"labels: {UNKNOWN} lies far from the other numbers, up to {below} (unknown "
                f"pixels?); --contain_dontcare_label makes them unknown: {classes} classes in "
                f"place of {opt.label_nc}"
            )
        (trained, learned), *others = self.phases.items()
        for phase, held in others:
            unseen = [v for v in held if v not in learned and self._is_class(v, opt)]
            if unseen:
                what = "colours" if self.colours else "class numbers"
                more = f" and {len(unseen) - NAMED} more" if unseen[NAMED:] else ""
                file = f" ({held[unseen[0]]})" if held[unseen[0]] else ""
                found.append(
                    f"labels: {phase} has {what} that {trained} lacks, so that they are not "
                    f"learned: {', '.join(unseen[:NAMED])}{more}{file}"
                )
        return found

    def numbers(self) -> dict[int, str]:
        """Return the numbers in all files, each with a file that holds it; {} of colours."""
        phases = [] if self.colours else [*self.phases.values()][::-1]
        return {int(number): file for held in phases for number, file in held.items()}

    def _is_class(self, value: str, opt: Any) -> bool:
        offset, dontcare = opt.label_offset or 0, opt.contain_dontcare_label
        return bool(self.colours) or is_class(int(value), offset, dontcare)


def is_class(number: int, offset: int, dontcare: bool) -> bool:
    """Return whether a number in a file is that of a class, and not unknown."""
    return not dontcare or (number >= offset and number != UNKNOWN)


def scan_labels(opt: Any) -> LabelScan | None:
    """Look at the label maps of all phases, or read what an earlier start has found.

    None without label maps. ValueError names a file of the training that cannot be used, unless
    --on_bad_image skips it; and the file with the most colours, if they are those of photos.
    Rank 0 looks for all ranks.
    """
    found: Any = None
    if distributed.is_main_process():
        try:
            found = _scan_once(opt)
        except (ValueError, OSError) as error:
            found = error
    found = distributed.broadcast_from_main(found)
    if isinstance(found, Exception):
        raise found
    return found


def _scan_once(opt: Any) -> LabelScan | None:
    phases = labels_of_all_phases(opt)
    if opt.phase not in phases:
        return None
    coloured = hold_colours(phases[opt.phase], opt)
    how = f"{label_side(opt)} {coloured}"
    kept = Path(opt.checkpoints_dir) / f"labels_{state_of(phases, how)}.json"
    if found := _known.get(kept) or read_scan(kept):
        return found
    looker = Looker(opt, phases)
    found = looker.colours() if coloured else looker.numbers()
    _known[kept] = found
    try:
        with atomic_write(kept) as file:
            file.write(json.dumps(found._asdict()).encode() + b"\n")
    except OSError as error:
        log.info("the classes are counted anew at the next start (%s)", one_line(error))
    return found


def state_of(phases: dict[str, LabelFiles], how: str) -> str:
    """Return a hash of the names, sizes and times of the files, and of how they are read."""
    digest = hashlib.sha256(how.encode())
    for phase, files in phases.items():
        digest.update(phase.encode())
        for path in files.labels:
            of = os.stat(path)
            line = f"{os.path.abspath(path)} {of.st_size} {of.st_mtime_ns}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def read_scan(path: Path) -> LabelScan | None:
    """Return an earlier scan; None if there is none that can be read."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return LabelScan(dict(values["phases"]), list(values["colours"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


class Looker:
    """Reads the label maps of all phases, some at a time."""

    def __init__(self, opt: Any, phases: dict[str, LabelFiles]):
        self.opt, self.phases = opt, phases
        stitched = phases[opt.phase].stitched
        self.half = "AB".index(label_side(opt)) if stitched else None

    def numbers(self) -> LabelScan:
        """Find the numbers in the files."""
        found: dict[str, dict[str, str]] = {phase: {} for phase in self.phases}
        for phase, path, numbers in self._each(numbers_in):
            for number in numbers:
                found[phase].setdefault(str(number), path)
        return LabelScan(found, [])

    def colours(self) -> LabelScan:
        """Find the colours in the files: all of lossless ones, else those of flat areas."""
        counts = {phase: ExactColours() for phase in self.phases}
        for phase, _, image in self._each(as_rgb):
            counts[phase].add(image)
            if len(set().union(*(of.counts for of in counts.values()))) > MOST:
                return self._flat_colours()
        codes = sorted(set().union(*(of.counts for of in counts.values())))
        if len(codes) < 2:
            raise ValueError(f"{self._first}: this label map and all others have one colour")
        held = {p: dict.fromkeys(as_hex(of.palette()), "") for p, of in counts.items()}
        return LabelScan(held, [f"#{code:06x}" for code in codes])

    def _flat_colours(self) -> LabelScan:
        counts = {phase: ColourCounts() for phase in self.phases}
        most, worst = 0, self._first
        for phase, path, image in self._each(as_rgb):
            counts[phase].add(image)
            if (number := len(np.unique(packed(image)))) > most:
                most, worst = number, path
        palette = sum(counts.values(), ColourCounts()).palette(MOST)
        if palette is None:
            raise ValueError(
                f"{worst}: has {most} colours, but a label map has at most {MOST}, each in areas; "
                f"--direction {self.opt.direction} takes side {label_side(self.opt)} as labels"
            )
        palette = palette[np.argsort(packed(palette))]
        held = {}
        for phase, of in counts.items():  # a rare colour is learned, but not asked for
            there = of.shares_of(palette) > (0 if phase == self.opt.phase else RARE)
            held[phase] = dict.fromkeys(as_hex(palette[there]), "")
        return LabelScan(held, as_hex(palette))

    @property
    def _first(self) -> str:
        return self.phases[self.opt.phase].labels[0]

    def _each(self, look: Callable[[Any], Any]) -> Iterator[tuple[str, str, Any]]:
        """Yield the phase, the path and what `look` makes of each image that can be read."""
        files = [(phase, path) for phase, of in self.phases.items() for path in of.labels]
        bar = tqdm(total=len(files), desc="label maps", unit="map", disable=None)
        with bar, ThreadPoolExecutor() as pool:
            for i in range(0, len(files), CHUNK):
                some = files[i : i + CHUNK]
                for (phase, path), found in zip(
                    some, pool.map(lambda one: self._look(one[1], look), some), strict=True
                ):
                    bar.update()
                    if not isinstance(found, ValueError):
                        yield phase, path, found
                    elif phase == self.opt.phase and self.opt.on_bad_image == "error":
                        raise found

    def _look(self, path: str, look: Callable[[Any], Any]) -> Any:
        try:
            image = load_unconverted(path, self.opt.max_pixels)
            image = image if self.half is None else halves(image, path)[self.half]
            with prefix_errors(path):
                return look(image)
        except ValueError as error:
            return error


def numbers_in(image: ImageLike) -> list[int]:
    """Return the different numbers of a label map."""
    return np.unique(label_numbers(image)).tolist()
