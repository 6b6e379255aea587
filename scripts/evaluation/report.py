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
    if refused := sorted({"MAE", "RMSE"} & set(metrics)):
        raise ValueError(f"--metrics {refused[0]}: is for runs on measurements; L1 is its like")
    simple = [metric for metric in metrics if metric in METRICS | HOLE_METRICS]
    result = Result(images, {})
    if simple or not metrics:
        result = measure(images, simple, args.num_threads)
    if "LPIPS" in metrics:
        result.each["LPIPS"] = lpips(images, device_of(tuple(args.gpu_ids)))
    if chosen := [metric for metric in metrics if metric in TOGETHER]:
        settings = {"weights": args.inception_weights, "subset": args.kid_subset}
        device = device_of(tuple(args.gpu_ids))
        scores = inception_metrics(images, chosen, device=device, **settings)
        result.together |= {metric: {"outputs": value} for metric, value in scores.items()}
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
    scores = errors(images.values, processes)
    if lacking := [name for name in images.names if name not in scores["MAE"]]:
        more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
        images.notes.append(
            f"not measured, since output and target have no data in common: "
            f"{', '.join(lacking[:3])}{more}; the means are over the other files"
        )
    return {
        metric: by_image for metric, by_image in scores.items() if metric in metrics or not metrics
    }


@cache
def device_of(gpu_ids: tuple[int, ...]) -> torch.device:
    """Return the device for networks; cached, so that it is logged once."""
    return pick_device(list(gpu_ids))


def protocol(results: Sequence[Result], args: Any) -> list[str]:
    """Return lines that say how the numbers were made; ValueError for results of two kinds."""
    kinds = {result.images.values is None: result.images.name for result in results}
    if len(kinds) > 1:
        raise ValueError(
            f"--name {kinds[False]}: is a run on measurements, and {kinds[True]} one on images; "
            f"their scores cannot be compared"
        )
    counts = {r.images.name: len(r.images.fake) for r in results}
    counted = ", ".join(f"{name}: {count}" for name, count in counts.items()) + " images"
    if len(set(counts.values())) == 1:
        per_run = " per run" if len(counts) > 1 else ""
        count = len(results[0].images.fake)
        counted = f"{count} image{'s' * (count != 1)}{per_run}"
    values = results[0].images.values
    notes = [f"N = {counted}, 8 bits a channel, grey images as RGB"]
    if values:
        ranges = {r.images.name: "{:g} to {:g}".format(*r.images.values.range) for r in results}
        same_range = len(set(ranges.values())) == 1
        listed = ", ".join(f"{value_range} ({name})" for name, value_range in ranges.items())
        counted = counted.replace("image", "file")
        notes = [
            f"N = {counted}; the target's range is "
            f"{next(iter(ranges.values())) if same_range else listed}"
        ]
        if len({result.images.width for result in results}) > 1:
            notes[0] += ", so PSNR, which depends on it, is not comparable"
    if results[0].each:
        notes[0] += f"; mean over the {'files' if values else 'images'}"
    made = {r.images.name: r.images.made for r in results if r.images.made}
    if len(set(made.values())) == 1:
        made = {"outputs": next(iter(made.values()))}
    notes += [f"{name}: {how}" for name, how in made.items()]
    used = names_of(result.each for result in results)
    through_networks = PROTOCOLS | feature_distances.PROTOCOLS
    protocols = {
        name: definition.protocol for name, definition in (METRICS | HOLE_METRICS).items()
    } | through_networks
    protocols |= VALUE_METRICS if values else {}
    used += [metric for metric in args.metrics if metric in through_networks and metric not in used]
    fill = {"subset": args.kid_subset, "splits": SPLITS, "epochs": args.fcn_epochs}
    notes += [f"{metric}: {protocols[metric].format(**fill)}" for metric in used]
    notes += [note for result in results for note in result.images.notes]
    warnings = [fcn_note(results), other_images_note(results), *feature_distances.warnings(results)]
    return [*notes, *filter(None, warnings)]


def fcn_note(results: Sequence[Result]) -> str:
    """Return a line on the scores in which the FCN sees no more in photos than in their colour."""
    scores = [item for result in results for item in result.together.items()]
    unreliable = [
        metric
        for metric, values in scores
        if "real photos" in values and values["real photos"] <= values["mean colour"]
    ]
    if not unreliable:
        return ""
    return (
        f"{', '.join(dict.fromkeys(unreliable))}: the real photos score no higher than their mean "
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
    noun = "files" if results[0].images.values else "images"
    notes = [f"[ ]: 95% bootstrap interval of the mean over the {noun}"]
    fewest = min(len(values) for result in results for values in result.each.values())
    if fewest < FEW_IMAGES:
        counted = f"{fewest} {noun if fewest > 1 else noun[:-1]}"
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
                if difference := results[0].difference(result, metric):
                    line += "  " + " ".join(in_figures(difference, sign="+"))
                lines.append(line)
    for metric in names_of(result.together for result in results):
        lines.append(f"{metric} ({better(metric)} is better)")
        for result in (each for each in results if metric in each.together):
            if metric in result.distances:
                words = feature_distances.cells(result, metric, results[0])
            else:
                value, *others = result.together[metric].items()
                words = [f"{value[1]:.4f}", *(f"{kind} {other:.4f}" for kind, other in others)]
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
    numbers = {}
    for metric, distance in result.distances.items():
        above, other = distance.above_floor(), first.distances.get(metric)
        difference = distance.minus(other) if other and result is not first else None
        numbers[metric] = {
            **distance.outputs.interval()._asdict(),
            "images": distance.outputs.count,
            "of_half_the_images": distance.outputs.half,
            "floor": distance.floor.value if distance.floor else None,
            "above_floor": above._asdict() if above else None,
            "difference_to_first": difference._asdict() if difference else None,
            "trained_with_these_features": distance.own,
        }
    return numbers


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
                name: difference._asdict()
                for name in result.each
                if (difference := results[0].difference(result, name))
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
