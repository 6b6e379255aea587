"""The kept epochs of a run, scored on the same images: `scripts.evaluate --epoch all`."""

import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from scripts.evaluation.compare import ImageSet, Result, better, names_of
from scripts.evaluation.feature_distances import best_by_distance, candidates
from scripts.evaluation.outputs import from_run
from util.checkpoint import saved_progress


def of_all_epochs(name: str, args: Any, paired: bool) -> list[ImageSet]:
    """Return the results of each kept epoch of a run, as `from_run` does."""
    image_sets = []
    for epoch in kept_epochs(args.checkpoints_dir / name, args.use_ema):
        images = from_run(name, SimpleNamespace(**{**vars(args), "epoch": epoch}), paired)
        images.name = f"{name} {epoch}"
        image_sets.append(images)
    return image_sets


def kept_epochs(run: Path, use_ema: bool = False) -> list[str]:
    """Return the epochs of which a run holds weights, in order; `latest` if it is none of them.

    ValueError if there are none.
    """
    ending = "_ema" if use_ema else ""
    names = [path.name for path in run.glob("*_net_G*.pth")]
    matches = [m for name in names if (m := re.fullmatch(rf"(\d+)_net_G(_A)?{ending}\.pth", name))]
    epochs = sorted({int(match[1]) for match in matches})
    latest = any(re.fullmatch(rf"latest_net_G(_A)?{ending}\.pth", name) for name in names)
    tags = [*map(str, epochs), *(["latest"] if latest and not _is_latest(run, epochs) else [])]
    if not tags:
        kind = " with --use_ema" if use_ema else ""
        raise ValueError(f"--epoch all: {run} holds no weights{kind}; is --name right?")
    return tags


def _is_latest(run: Path, epochs: Sequence[int]) -> bool:
    """Return whether the run's latest weights are those of its last epoch in `epochs`."""
    progress = saved_progress(run)
    return progress.get("iters") == 0 and progress.get("epoch", 0) - 1 in epochs[-1:]


def best_epochs(results: Sequence[Result]) -> list[str]:
    """Return a line per metric: which epoch is the best, and which ones may be as good.

    Those are the ones whose mean difference to the best, image by image, has an interval with 0.
    """
    lines = []
    for metric in names_of(result.each for result in results):
        sign = 1 if better(metric) == "lower" else -1
        measured = [result for result in results if metric in result.each]
        best = min(measured, key=lambda result: sign * result.intervals()[metric].mean)
        near = [
            result.images.name
            for result in measured
            if (difference := best.difference(result, metric))
            and difference.low <= 0 <= difference.high
        ]
        also = f"; as good, within the interval: {', '.join(near)}" if near else ""
        lines.append(f"best by {metric}: {best.images.name}{also}")
    for metric in names_of(result.distances for result in results):
        lines.append(best_distance(results, metric))
    others = ([m for m in r.together if m not in r.distances] for r in results)
    for metric in names_of(others):
        sign = 1 if better(metric) == "lower" else -1
        measured = [result for result in results if metric in result.together]
        best = min(measured, key=lambda result: sign * next(iter(result.together[metric].values())))
        lines.append(f"best by {metric}: {best.images.name}")
    return lines


def best_distance(results: Sequence[Result], metric: str) -> str:
    """Return the line of a distance; a run that was trained with its features has no best."""
    best, near = best_by_distance(results, metric)
    if best is None:
        why = "they cannot be compared" if candidates(results, metric) else "trained with these"
        return f"best by {metric}: none; {why}"
    names = ", ".join(result.images.name for result in near)
    also = f"; as good, within the interval: {names}" if near else ""
    return f"best by {metric}: {best.images.name}{also}"
