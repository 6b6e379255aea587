"""Compute, print and write the metrics of scripts.evaluate, with their protocol."""

import csv
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from scripts.evaluation import feature_distances
from scripts.evaluation.compare import ImageSet, Result, better, in_figures, measure, names_of
from scripts.evaluation.fcn_score import fcn_of_run
from scripts.evaluation.feature_distances import add_distances
from scripts.evaluation.measured_values import VALUE_METRICS, errors
from scripts.evaluation.network_metrics import PROTOCOLS, SPLITS, TOGETHER, inception_metrics, lpips
from util.device import pick_device
from util.feature_distance import FEATURE_METRICS
from util.files import atomic_write
from util.metrics import FEW_IMAGES, HOLE_METRICS, METRICS
from util.names import escaped, legible


def everything(images: ImageSet, args: Any) -> Result:
    """Compute the chosen metrics; by default those that need no pretrained network."""
    metrics = args.metrics
    if images.values:
        return Result(images, chosen_errors(images, metrics, args.num_threads))
    if alone := sorted({"MAE", "RMSE"} & set(metrics)):
        raise ValueError(f"--metrics {alone[0]}: is for runs on measurements; L1 is its like")
    simple = [metric for metric in metrics if metric in METRICS | HOLE_METRICS]
    result = Result(images, {})
    if simple or not metrics:
        result = measure(images, simple, args.num_threads)
    if "LPIPS" in metrics:
        result.each["LPIPS"] = lpips(images, device_of(tuple(args.gpu_ids)))
    if chosen := [metric for metric in metrics if metric in TOGETHER]:
        how = {"weights": args.inception_weights, "subset": args.kid_subset}
        device = device_of(tuple(args.gpu_ids))
        found = inception_metrics(images, chosen, device=device, **how)
        result.together |= {metric: {"outputs": value} for metric, value in found.items()}
    if chosen := [metric for metric in metrics if metric in FEATURE_METRICS]:
        add_distances(result, chosen, args, device_of(tuple(args.gpu_ids)))
    if "FCN" in metrics:
        result.together |= fcn_of_run(images, args, device_of(tuple(args.gpu_ids)))
    return result


def chosen_errors(
    images: ImageSet, metrics: Sequence[str], processes: int
) -> dict[str, dict[str, float]]:
    """Return the chosen metrics of measurements by name; ValueError for those of images.

    Outputs that cannot be measured are named in the notes of `images`.
    """
    if others := [metric for metric in metrics if metric not in VALUE_METRICS]:
        raise ValueError(
            f"--metrics {others[0]}: is for images; measurements have {', '.join(VALUE_METRICS)}"
        )
    found = errors(images.values, processes)
    if lacking := [name for name in images.names if name not in found["MAE"]]:
        more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
        images.notes.append(
            f"not measured, since output and target have no data in common: "
            f"{', '.join(lacking[:3])}{more}; the means are over the other files"
        )
    return {metric: of for metric, of in found.items() if metric in metrics or not metrics}


@cache
def device_of(gpu_ids: tuple[int, ...]) -> torch.device:
    """Return the device for networks; cached, so that it is logged once."""
    return pick_device(list(gpu_ids))


def protocol(results: Sequence[Result], args: Any) -> list[str]:
    """Return lines that say how the numbers were made."""
    counts = {r.images.name: len(r.images.fake) for r in results}
    said = ", ".join(f"{name}: {count}" for name, count in counts.items()) + " images"
    if len(set(counts.values())) == 1:
        each = " per run" if len(counts) > 1 else ""
        count = len(results[0].images.fake)
        said = f"{count} image{'s' * (count != 1)}{each}"
    values = results[0].images.values
    notes = [f"N = {said}, 8 bits a channel, grey images as RGB"]
    if values:
        ends = {r.images.name: "{:g} to {:g}".format(*r.images.values.range) for r in results}
        alike = len(set(ends.values())) == 1
        of = ", ".join(f"{of} ({name})" for name, of in ends.items())
        said = said.replace("image", "file")
        notes = [f"N = {said}; the target's range is {next(iter(ends.values())) if alike else of}"]
    if results[0].each:
        notes[0] += f"; mean over the {'files' if values else 'images'}"
    made = {r.images.name: r.images.made for r in results if r.images.made}
    if len(set(made.values())) == 1:
        made = {"outputs": next(iter(made.values()))}
    notes += [f"{name}: {how}" for name, how in made.items()]
    used = names_of(result.each for result in results)
    through_networks = PROTOCOLS | feature_distances.PROTOCOLS
    about = {name: of.protocol for name, of in (METRICS | HOLE_METRICS).items()} | through_networks
    about |= VALUE_METRICS if values else {}
    used += [metric for metric in args.metrics if metric in through_networks and metric not in used]
    fill = {"subset": args.kid_subset, "splits": SPLITS, "epochs": args.fcn_epochs}
    notes += [f"{metric}: {about[metric].format(**fill)}" for metric in used]
    notes += [note for result in results for note in result.images.notes]
    more = [fcn_note(results), other_images_note(results), *feature_distances.warnings(results)]
    return [*notes, *filter(None, more)]


def fcn_note(results: Sequence[Result]) -> str:
    """Return a line on the scores in which the FCN sees no more in photos than in their colour."""
    found = [item for result in results for item in result.together.items()]
    alike = [
        metric
        for metric, of in found
        if "real photos" in of and of["real photos"] <= of["mean colour"]
    ]
    if not alike:
        return ""
    return (
        f"{', '.join(dict.fromkeys(alike))}: the real photos score no higher than their mean "
        f"colour, so the scorer has learnt too little to judge outputs; raise --fcn_epochs, or "
        f"choose a --dataroot with more training images"
    )


def of_other_images(results: Sequence[Result]) -> list[str]:
    """Return the names of the results that have other targets than the first."""
    first, *others = (result.images for result in results)
    paired = bool(results[0].each)
    return [images.name for images in others if paired and not images.has_targets_of(first)]


def other_images_note(results: Sequence[Result]) -> str:
    """Return a line on the results that cannot be compared with the first; "" if all can."""
    names = of_other_images(results)
    if not names:
        return ""
    return (
        f"{', '.join(names)}: other images than {results[0].images.name}, or another size, so that "
        f"the scores cannot be compared; no difference is computed"
    )


def legend(results: Sequence[Result]) -> list[str]:
    """Return lines that explain the brackets and differences of a table."""
    of_distances = feature_distances.legend(results)
    if not results[0].each:
        return of_distances
    what = "files" if results[0].images.values else "images"
    notes = [f"[ ]: 95% bootstrap interval of the mean over the {what}"]
    fewest = min(len(values) for result in results for values in result.each.values())
    if fewest < FEW_IMAGES:
        counted = f"{fewest} {what if fewest > 1 else what[:-1]}"
        notes.append(f"with {counted}, this interval is too narrow")
    first = results[0].images.name
    if any(results[0].difference(result, name) for result in results for name in result.each):
        notes.append(f"+ or -: mean difference to {first}, image by image")
        notes.append(
            "trained again with another --seed, a run also scores differently; these intervals do "
            "not include that (docs/metrics.md)"
        )
    return [*notes, *of_distances]


def table(results: Sequence[Result]) -> list[str]:
    """Return the table of all runs, each with its difference to the first."""
    lines = []
    for metric in names_of(result.each for result in results):
        lines.append(f"{metric} ({better(metric)} is better)")
        for result in results:
            if metric in result.each:
                mean, ends = in_figures(result.intervals()[metric])
                line = f"  {result.images.name:20} {mean} {ends}"
                if more := results[0].difference(result, metric):
                    line += "  " + " ".join(in_figures(more, sign="+"))
                lines.append(line)
    for metric in names_of(result.together for result in results):
        lines.append(f"{metric} ({better(metric)} is better)")
        for result in results:
            if metric in result.distances:
                words = feature_distances.cells(result, metric, results[0])
            else:
                value, *others = result.together[metric].items()
                words = [f"{value[1]:.4f}", *(f"{of} {other:.4f}" for of, other in others)]
            lines.append(f"  {result.images.name:20} {'  '.join(words)}")
    return lines


def replaced(results: Sequence[Result], out: Path) -> list[str]:
    """Return a line if OUT/metrics.json is an evaluation of other runs or metrics."""
    try:
        earlier = json.loads((out / "metrics.json").read_text(encoding="utf-8"))["runs"]
        runs = [run["name"] for run in earlier]
        metrics = names_of([*run["metrics"], *run["together"]] for run in earlier)
    except (OSError, ValueError, LookupError, TypeError):  # there is none
        return []
    now = [escaped(result.images.name) for result in results]
    if runs == now and metrics == names_of([*r.each, *r.together] for r in results):
        return []
    return [f"replaces the earlier evaluation of {', '.join(runs)} ({', '.join(metrics)}) in {out}"]


def distance_numbers(result: Result, first: Result) -> dict[str, Any]:
    """Return what metrics.json has of the distances, in plain numbers."""
    found = {}
    for metric, of in result.distances.items():
        above, other = of.above_floor(), first.distances.get(metric)
        more = of.minus(other) if other and result is not first else None
        found[metric] = {
            **of.outputs.interval()._asdict(),
            "images": of.outputs.count,
            "of_half_the_images": of.outputs.half,
            "floor": of.floor.value if of.floor else None,
            "above_floor": above._asdict() if above else None,
            "difference_to_first": more._asdict() if more else None,
            "trained_with_these_features": of.own,
        }
    return found


def write_numbers(results: Sequence[Result], notes: Sequence[str], out: Path) -> None:
    """Write metrics.json (the means) and metrics.csv (one line per image)."""
    runs = [
        {
            "name": escaped(result.images.name),
            "pictures": len(result.images.fake),
            "metrics": {name: value._asdict() for name, value in result.intervals().items()},
            "together": result.together,
            **({"distances": distance_numbers(result, results[0])} if result.distances else {}),
            "difference_to_first": {
                name: more._asdict()
                for name in result.each
                if (more := results[0].difference(result, name))
            },
        }
        for result in results
    ]
    with atomic_write(out / "metrics.json") as file:
        file.write(
            (
                json.dumps({"protocol": [*map(legible, notes)], "runs": runs}, indent=1) + "\n"
            ).encode()
        )
    with (out / "metrics.csv").open("w", newline="", encoding="utf-8") as file:
        metrics = names_of(result.each for result in results)
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["run", "picture", *metrics])
        for result in results:
            name = result.images.name
            for image in result.images.names:
                values = [result.each.get(metric, {}).get(image, "") for metric in metrics]
                writer.writerow([escaped(name), escaped(image), *values])
