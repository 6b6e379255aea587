"""Pair outputs with targets and compute per-image metrics, for scripts/evaluate.py."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data.files.image_files import DEEP, load_image
from data.image_folder import by_stem, make_dataset, unread_partner
from scripts.evaluation.heat import heat_colours
from scripts.evaluation.measured_values import MeasuredValues
from util.feature_distance import MeasuredDistance
from util.files import naming
from util.hashes import hash_files, hash_pixels
from util.metrics import HOLE_METRICS, METRICS, Interval, bootstrap, compare, lower_is_better

WITHOUT_HOLE = "without a hole"  # among the scores of an image
MOST_HOLE = 0.95  # of an image's pixels
MOST_ERROR = 0.5  # of the range [0, 1]: the error that heat maps show in their brightest colour


@dataclass
class ImageSet:
    """The images evaluated under one name: outputs, targets and inputs, keyed by image name."""

    name: str
    fake: dict[str, Path]
    real: dict[str, Path]
    source: dict[str, Path] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    made: str = ""  # how the outputs were made, in words
    settings: list[str] | None = None  # the flags of the run that are not default
    run: str = ""  # the run's name, where `name` tells more
    options: Any = None  # of test.py, if it made the outputs
    values: MeasuredValues | None = None  # of a run on measurements
    more_inputs: list[dict[str, Path]] = field(default_factory=list)  # of a run on several inputs

    @property
    def holes(self) -> bool:
        """Whether these are filled images: their holes are where input and target differ."""
        return getattr(self.options, "dataset_mode", "") == "inpaint"

    @property
    def width(self) -> float:
        """The width of the range of the targets of measurements; 0 of images."""
        return self.values.width if self.values else 0.0

    @property
    def names(self) -> list[str]:
        return sorted(self.fake)

    @cached_property
    def targets(self) -> dict[str, str]:
        """The hash of each target: of its pixels, or of its file of measurements."""
        if self.values:
            return {name: hash_files([self.values.pairs[name][1].path]) for name in self.names}
        return {name: hash_pixels(pixels(self.real[name]).numpy()) for name in self.names}

    def has_targets_of(self, other: "ImageSet") -> bool:
        """Return whether both have the same images: equal names and equal targets."""
        return self is other or self.targets == other.targets


@dataclass
class Result:
    """The metrics of an ImageSet: per image, and over the whole set."""

    images: ImageSet
    each: dict[str, dict[str, float]]  # metric -> image name -> value
    # metric -> what was measured (outputs, or a reference to compare them with) -> value
    together: dict[str, dict[str, float]] = field(default_factory=dict)
    # Of those in `together` the distances with their intervals and floors.
    distances: dict[str, MeasuredDistance] = field(default_factory=dict)

    def intervals(self) -> dict[str, Interval]:
        """Return each metric's mean over the images with its bootstrap 95% interval."""
        return {metric: bootstrap(list(values.values())) for metric, values in self.each.items()}

    def difference(self, other: "Result", metric: str) -> Interval | None:
        """Return the mean of other - self over the shared images, with its interval.

        None if `other` is self, or if their images differ; for PSNR also if the ranges of
        measurements differ, on which it depends.
        """
        if not self.images.has_targets_of(other.images):
            return None
        if metric == "PSNR" and self.images.width != other.images.width:
            return None
        ours, theirs = self.each.get(metric, {}), other.each.get(metric, {})
        shared = sorted(ours.keys() & theirs.keys()) if other is not self else []
        return bootstrap([theirs[name] - ours[name] for name in shared]) if shared else None


def from_folders(fake: Path, real: Path, paired: bool = True) -> ImageSet:
    """Pair the images of two folders by path without extension.

    With `paired`, an image without a partner is a ValueError.
    """
    files = {}
    for flag, folder in (("--fake", fake), ("--real", real)):
        stems = by_stem(folder, make_dataset(folder, flag=flag))
        double = [paths for paths in stems.values() if len(paths) > 1]
        if double:
            raise ValueError(f"{flag}: {' and '.join(double[0])} have the same name; keep one")
        files[flag] = {stem: Path(paths[0]) for stem, paths in stems.items()}
    alone = sorted(files["--fake"].keys() ^ files["--real"].keys())
    if alone and paired:
        flag, other = "--fake", real
        if alone[0] in files["--real"]:
            flag, other = "--real", fake
        raise ValueError(
            f"{flag}: {files[flag][alone[0]]} has no partner of that name in the other folder "
            f"({len(alone)} without one)"
            f"{unread_partner(other, alone[0]) or '; give pairs equal names'}{_of_test(fake)}"
        )
    return ImageSet(fake.name, files["--fake"], files["--real"])


def _of_test(fake: Path) -> str:
    """Return the flag for a folder that test.py has written; "" for any other."""
    results = fake.parent if fake.name == "images" else fake
    if not (results / "test_opt.json").is_file():
        return ""
    return f"; {fake} holds inputs and targets too: --name {results.parent.name} measures it"


def measure(images: ImageSet, metrics: Sequence[str], processes: int) -> Result:
    """Compare every output with its target.

    A metric that some image is too small for is left out; it is a ValueError if `metrics` names it.
    """
    names = images.names
    hole_metrics = [name for name in metrics if name in HOLE_METRICS]  # of pairs with holes, too
    holes = images.holes or bool(hole_metrics)
    if hole_metrics and not images.source:
        raise ValueError(f"--metrics {hole_metrics[0]}: needs runs, whose inputs show the holes")
    # Of other runs, it shows that the inputs have no holes.
    most_hole = 1.0 if images.holes else MOST_HOLE
    files = [(images.fake[name], images.real[name]) for name in names]
    if holes:
        files = [(*pair, images.source[name]) for pair, name in zip(files, names, strict=True)]
    try:
        with ThreadPoolExecutor(processes) as pool:
            scores = list(pool.map(partial(compare_files, most_hole=most_hole), files))
    except NoHole as error:
        flag = f"--metrics {hole_metrics[0]}: " if hole_metrics else ""
        raise ValueError(f"{flag}{error}") from None
    by_metric, definitions = {}, METRICS | (HOLE_METRICS if holes else {})
    if empty := [
        n for n, values in zip(names, scores, strict=True) if holes and WITHOUT_HOLE in values
    ]:
        images.notes.append(
            f"images without a hole, which count in no score in holes: {len(empty)}"
        )
    for metric in definitions:
        counted = {
            name: values
            for name, values in zip(names, scores, strict=True)
            if not (metric in HOLE_METRICS and WITHOUT_HOLE in values)
        }
        if counted and all(metric in values for values in counted.values()):
            by_metric[metric] = {name: values[metric] for name, values in counted.items()}
        elif metric in metrics:
            if not counted:
                raise ValueError(f"--metrics {metric}: none of the images has a hole")
            name = next(name for name, values in counted.items() if metric not in values)
            raise ValueError(
                f"--metrics {metric}: needs images of at least {definitions[metric].least} pixels "
                f"a side; {images.fake[name]} is smaller"
            )
    return Result(images, {m: v for m, v in by_metric.items() if m in metrics or not metrics})


class NoHole(ValueError):
    """An input that is not its target with a hole."""


def hole_of(path: Path, source: Tensor, real: Tensor, most_hole: float) -> Tensor:
    """Return where an input differs from its target, (1, 1, H, W); NoHole if that is more than the
    fraction `most_hole` of the image.
    """
    if source.shape != real.shape:
        raise NoHole(f"{path} has another size or other channels than its target")
    hole = (source != real).any(1, keepdim=True)
    if hole.float().mean() > most_hole:
        raise NoHole(f"{path} is not its target with a hole; both differ everywhere")
    return hole


def compare_files(files: tuple[Path, ...], most_hole: float = MOST_HOLE) -> dict[str, float]:
    """Return the metrics of one output and its target, and if the input is given, in its hole; if
    it has none, `WITHOUT_HOLE` is among them.
    """
    fake, real = pixels_of_pair(*files[:2])
    source = [pixels(path) for path in files[2:]]
    hole = hole_of(files[2], source[0], real, most_hole) if source else None
    without = hole is not None and not hole.any()
    scores = compare(fake, real, None if without else hole)
    return {name: value.item() for name, value in scores.items()} | (
        {WITHOUT_HOLE: 1.0} if without else {}
    )


def pixels_of_pair(fake: Path, real: Path) -> tuple[Tensor, Tensor]:
    """Read an output and its target, see `pixels`; ValueError if their sizes differ."""
    pair = pixels(fake), pixels(real)
    sizes = [f"{image.shape[-1]}x{image.shape[-2]}" for image in pair]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"{fake} has {sizes[0]} pixels and {real} {sizes[1]}: resize them to one size"
        )
    return pair


def pixels(path: Path) -> Tensor:
    """Read an image as (1, 3, H, W) uint8; grey images become RGB."""
    try:
        image = load_image(path)
    except ValueError as error:
        values = ", or compare its values with --values" if str(error).endswith(DEEP) else ""
        raise ValueError(f"{error}{values}") from None
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]


def array(path: Path) -> np.ndarray:
    """Read an image as (H, W, 3) uint8."""
    return pixels(path)[0].permute(1, 2, 0).numpy()


def distinct(
    images: ImageSet, files: dict[str, Path], sources: dict[str, Path] | None = None
) -> list[Path]:
    """Return the files in the order of their names.

    In a test of two unpaired sets the shorter one repeats: an output of the same input, or the
    same real image, counts once.
    """
    names = sorted(files)
    if getattr(images.options, "dataset_mode", "") == "unaligned":
        hashed = sources or files
        names = [
            *{hash_pixels(array(hashed[n])): n for n in reversed(names) if n in hashed}.values()
        ]
    return [files[name] for name in sorted(names)]


def in_figures(interval: Interval, sign: str = "") -> tuple[str, str]:
    """Return the mean and the ends of an interval; `sign` "+" also marks what is above 0."""
    mean, low, high = (f"{value:{sign}.4f}" for value in interval)
    return mean, f"[{low}, {high}]"


def names_of(tables: Iterable[Iterable[str]]) -> list[str]:
    """Return the names of all metrics in the tables, without duplicates."""
    return list(dict.fromkeys(metric for table in tables for metric in table))


def better(metric: str) -> str:
    """Return whether "lower" or "higher" values of a metric are better."""
    higher = metric in ("IS", "images/s") or "accuracy" in metric or "IoU" in metric
    return "lower" if lower_is_better(metric) and not higher else "higher"


def heat_map(fake: Path, real: Path, out: Path) -> None:
    """Write the absolute difference, averaged over channels, as an image.

    Colours run from black (0) to pale yellow (`MOST_ERROR` or more).
    """
    a, b = (pixels(path)[0].double() / 255 for path in (fake, real))
    colours = heat_colours(((a - b).abs().mean(0) / MOST_ERROR).clamp(max=1).numpy())
    with naming(out):
        Image.fromarray(colours).save(out, compress_level=1)


def heat_maps(images: ImageSet, folder: Path, processes: int) -> dict[str, Path]:
    """Write the heat map of every image; return the files by image name."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / f"{i:05d}.png" for i, name in enumerate(images.names)}
    jobs = [(images.fake[n], images.real[n], file) for n, file in files.items()]
    with ThreadPoolExecutor(processes) as pool:
        list(pool.map(heat_map, *zip(*jobs, strict=True)))
    return files
