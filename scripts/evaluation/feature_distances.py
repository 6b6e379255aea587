"""FD-EffLite0 and KD-EffLite0 of outputs: distances to the training images of their run, beside
those of the real test images, the floor.
"""

from argparse import Namespace
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.efficientnet_lite import FeatureReader
from options.config_files import read_run
from scripts.evaluation.compare import ImageSet, Result, array, distinct, names_of
from training.feature_scores import distances, reference_of, training_reference
from training.label_scores import FOLDERS
from util.feature_distance import (
    FEATURE_METRICS,
    FRECHET,
    KERNEL,
    LEAST,
    NETWORK,
    SPLITS,
    MeasuredDistance,
    Reference,
    trained_with_these,
)
from util.hashes import hash_pixels
from util.metrics import Interval
from util.sampling import first_of_parts

FLOOR = "real images"
OWN = "†"  # marks what cannot be the best
OF_FILES = ("dataroot", "dataset_mode", "phase", *FOLDERS)
PROTOCOLS = {
    FRECHET: "Fréchet distance of Gaussians fitted to the 1280 pooled features of EfficientNet-"
    "Lite0 (weights of ImageNet), images resized to 224×224 with PIL's bicubic filter, values in "
    "[-1, 1]; not an FID; biased: it falls with N, so compare it at an equal N only",
    KERNEL: "the same features, squared MMD with a cubic kernel, unbiased, over all images without "
    "subsets, times 1000; not a KID; near 0 it may be negative",
}


def add_distances(result: Result, metrics: Sequence[str], args: Any, device: torch.device) -> None:
    """Add the distances of a result's outputs to the training images, with their floor.

    Without training images the distances are those to the targets, which a note says. ValueError
    if there are too few images.
    """
    images, reader = result.images, reader_on(device)
    outputs = features_of(distinct(images, images.fake, images.source), reader)
    real = features_of(distinct(images, images.real), reader, keep=True)
    for flag, features in (("outputs", outputs), ("targets", real)):
        if len(features) < LEAST:
            problem = f"needs at least {LEAST} {flag}, not {len(features)}"
            raise ValueError(f"--metrics {','.join(metrics)}: {images.name}: {problem}")
    saved = read_run(args.checkpoints_dir / images.run) if images.run else {}
    reference, why = reference_for(images, saved, reader)
    floor = {}
    if reference and len(real) >= len(outputs):  # of as many images, since N matters
        floor = distances(real[first_of_parts(len(real), len(outputs))], reference, metrics)
    elif reference:
        why = f"{len(real)} real images are fewer than the {len(outputs)} outputs: no floor"
    used = reference or reference_of(real, [hash_pixels(array(p)) for p in images.real.values()])
    own = trained_with_these(saved)
    for metric, output_distance in distances(outputs, used, metrics).items():
        distance = MeasuredDistance(output_distance, floor.get(metric), used.digest, own)
        result.distances[metric] = distance
        result.together[metric] = {"outputs": output_distance.value}
        if distance.floor:
            result.together[metric][FLOOR] = distance.floor.value
    where = f"distances to {reference.what}" if reference else "distances to the targets"
    images.notes += [f"{images.name}: {', '.join(metrics)}: {where}{'; ' if why else ''}{why}"]


@cache
def reader_on(device: torch.device) -> FeatureReader:
    """Return the network; cached, and with it the features of real images of several runs."""
    return FeatureReader(device, f"--metrics {', '.join(FEATURE_METRICS)}")


def features_of(files: Iterable[Path], reader: FeatureReader, keep: bool = False) -> Tensor:
    """Return the features of images, (N, 1280)."""
    rows = [reader.read_once(array(f))[1] if keep else reader.read(array(f)) for f in files]
    return torch.stack(rows) if rows else torch.empty(0, 1)


def reference_for(
    images: ImageSet, saved: dict[str, Any], reader: FeatureReader
) -> tuple[Reference | None, str]:
    """Return the training images of a run, else None and why there are none."""
    if images.options is None:
        return None, "two folders have no training images: no floor"
    wanted = vars(images.options)
    of_run = {name: saved[name] for name in OF_FILES if saved.get(name)}
    folders = dict.fromkeys(FOLDERS if saved else ())  # those of the test are not the training's
    why = ""
    for root in dict.fromkeys((of_run.get("dataroot"), wanted["dataroot"])):
        files = {"phase": "train", **folders, **of_run, "dataroot": root}
        try:
            if root:
                options = Namespace(**{**saved, **wanted, **files})
                return training_reference(options, reader), ""
        except (ValueError, OSError) as error:
            why = why or f"no training images, so no floor ({error})"
    return None, why


# What is said ------------------------------------------------------------------------------


def cells(result: Result, metric: str, first: Result) -> list[str]:
    """Return the words of a distance: itself with its interval, its difference to the first
    result, how far it is above the floor, the floor, and the distance of half the images.
    """
    distance = result.distances[metric]
    words = [in_words(distance.outputs.interval()) + (f" {OWN}" if distance.own else "")]
    if result is not first and metric in first.distances:
        if difference := distance.minus(first.distances[metric]):
            words.append(in_words(difference, sign="+"))
    if above := distance.above_floor():
        words.append(f"above the floor {in_words(above, sign='+')}")
    if distance.floor:
        words.append(f"{FLOOR} {distance.floor.value:.1f}")
    if metric == FRECHET:
        words.append(f"half the images {distance.outputs.half:.1f}")
    return words


def in_words(interval: Interval, sign: str = "") -> str:
    """Return the value and the ends of an interval; `sign` "+" also marks what is above 0."""
    value, low, high = (f"{number:{sign}.1f}" for number in interval)
    return f"{value} [{low}, {high}]"


def legend(results: Sequence[Result]) -> list[str]:
    """Return the line that explains the cells; none without distances."""
    if not (names := named(results)):
        return []
    return [
        f"{names}: [ ]: 95% interval over the images, from the spread of {2 * SPLITS} halves of "
        f"them (a bootstrap's duplicates would add to FD); {FLOOR}: the floor, the distance of as "
        f"many real test images; half the images: the mean distance of these halves, so how far "
        f"FD falls with N"
    ]


def warnings(results: Sequence[Result]) -> list[str]:
    """Return lines that say which distances cannot be compared, and which cannot be the best."""
    names, entries = named(results), [entry for r in results for entry in r.distances.items()]
    lines = []
    if any(
        distance.minus(entries[0][1]) is None
        for metric, distance in entries
        if metric == entries[0][0]
    ):
        lines.append(
            f"{names}: the numbers of images or the images measured against differ; these "
            f"distances cannot be compared"
        )
    if own := [
        r.images.name for r in results if any(distance.own for distance in r.distances.values())
    ]:
        lines.append(
            f"{OWN}: {', '.join(own)}: trained with the network that {names} measure with "
            f"(--perceptual {NETWORK}); never the best by them"
        )
    return lines


def named(results: Sequence[Result]) -> str:
    """Return the names of the distances."""
    return ", ".join(names_of(result.distances for result in results))


def candidates(results: Sequence[Result], metric: str) -> list[Result]:
    """Return the results that may be the best by a distance: all but those trained with it."""
    return [r for r in results if metric in r.distances and not r.distances[metric].own]


def best_by_distance(results: Sequence[Result], metric: str) -> tuple[Result | None, list[Result]]:
    """Return the result nearest to the training images, and those that it is not clearly ahead of.

    None if no two of the candidates can be compared.
    """
    eligible = candidates(results, metric)
    if not eligible:
        return None, []
    best = min(eligible, key=lambda result: result.distances[metric].outputs.value)
    leads = {
        id(r): r.distances[metric].minus(best.distances[metric]) for r in eligible if r is not best
    }
    if any(lead is None for lead in leads.values()):
        return None, []
    return best, [r for r in eligible if r is not best and leads[id(r)].low <= 0]


def clearly_best(results: Sequence[Result], metric: str) -> Result | None:
    """Return the best of several results by a distance, if its difference to each excludes 0."""
    best, near = best_by_distance(results, metric)
    return best if len(candidates(results, metric)) > 1 and not near else None
