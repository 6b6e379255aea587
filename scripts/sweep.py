"""Train a grid of presets and seeds one after another, and compare them in one table:

    python -m scripts.sweep scripts/sweeps/facades_128.yaml

Run the same command again to resume. Flags of train.py after the file apply to every training.
Writes sweep.md, sweep.json and index.html to a folder in --results_dir with the name of the file;
the trainings go to a folder of that name in --checkpoints_dir.
"""

import argparse
import json
import logging
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # python scripts/sweep.py

from models.weights import infer_options
from options.config_files import read_run
from options.parser import OneLineParser, flags_of, number
from options.shared_flags import add_shared_flags
from options.test_options import TestOptions
from options.train_flags import add_train_flags
from options.train_options import TrainOptions
from scripts.evaluation.compare import Result, better, names_of
from scripts.evaluation.feature_distances import OWN
from scripts.evaluation.flags import needs_pairs
from scripts.evaluation.flags import parse as parse_evaluation
from scripts.evaluation.outputs import from_run
from scripts.evaluation.page import write_page
from scripts.evaluation.report import everything, legend, protocol
from scripts.sweeps.plan import Plan, Run, read_plan
from scripts.sweeps.train_runs import train_all
from util.checkpoint import saved_progress
from util.command import run_command, setup_logging
from util.errors import RunStopped
from util.files import atomic_write, make_folder
from util.names import legible, utf8
from util.signals import handle_signals

log = logging.getLogger(__name__)

SPEED, MEMORY = "images/s", "peak GB"

# table row -> metric -> one value per seed
Values = dict[str, dict[str, list[float]]]


def main(argv: Sequence[str] | None = None) -> None:
    """Train all unfinished runs and compare them; `RunStopped` if a training failed."""
    setup_logging()
    args, train_flags = parse(argv)
    plan = read_plan(args.file, args.checkpoints_dir, train_flags)
    evaluation = how_to_evaluate(plan, args)
    out = make_folder(args.results_dir / plan.name, "--results_dir")
    with handle_signals() as signals:
        failed = train_all(plan.runs, args.jobs, signals)
    results = {run: measured(run, evaluation) for run in plan.runs if run not in failed}
    if results:
        compare(plan, results, evaluation, out)
    if failed:
        raise RunStopped(f"{len(failed)} trainings failed: {', '.join(run.name for run in failed)}")


def parse(argv: Sequence[str] | None) -> tuple[Any, list[str]]:
    """Return our flags, and the flags for train.py."""
    parser = OneLineParser(prog="python -m scripts.sweep", description=__doc__)
    add = parser.add_argument
    add("file", type=Path, help="YAML file with runs, seeds, flags of train.py and evaluate")
    add(
        "--jobs",
        type=number(int, 1),
        default=1,
        help="number of concurrent trainings; they share the cores",
    )
    add("--checkpoints_dir", type=Path, default=Path("./checkpoints"), help="folder of the runs")
    add("--results_dir", type=Path, default=Path("./results"), help="folder of the results")
    args, train_flags = parser.parse_known_args(argv)
    of_train, owner_of = flags_of(add_shared_flags, add_train_flags), TrainOptions().owner_of
    names = {flag: flag.removeprefix("--") for flag in parser.mistyped()}
    if wrong := [flag for flag, n in names.items() if n not in of_train and not owner_of(n)]:
        raise ValueError(parser.describe_unknown(wrong))
    return args, train_flags


def how_to_evaluate(plan: Plan, args: Any) -> Any:
    """Return the parsed flags of scripts.evaluate; ValueError names the sweep's file."""
    where = f"{args.file}: evaluate"
    flags = ["--name", *(run.name for run in plan.runs)]
    flags += ["--checkpoints_dir", str(args.checkpoints_dir)]
    flags += ["--results_dir", str(args.results_dir)]
    for name, value in plan.evaluate.items():
        if name in ("name", "fake", "real", "out", "checkpoints_dir", "results_dir"):
            raise ValueError(f"{where}: {name}: is set by the sweep; leave it out")
        flags += [f"--{name}"] if value == "true" else [f"--{name}={value}"]
    try:
        evaluation = parse_evaluation(flags)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    for run in [run for run in plan.runs if run.seed == plan.seeds[0]]:
        opt = TrainOptions(infer_options).read(run.flags)
        kind = ["--model", opt.model, "--dataset_mode", opt.dataset_mode]
        kind += ["--dataroot", str(evaluation.dataroot or opt.dataroot), "--name", run.name]
        kind += ["--checkpoints_dir", str(args.checkpoints_dir)]
        try:
            TestOptions().read([*kind, *evaluation.test_flags])  # now, not after the last training
        except ValueError as error:
            raise ValueError(f"{where}: {error} (in the row {run.label})") from None
    return evaluation


def measured(run: Run, how: Any) -> Result:
    """Translate a run's images where that is to do, and measure them.

    `use_ema` applies to the runs that keep an EMA.
    """
    use_ema = how.use_ema and float(read_run(run.folder).get("ema", 0)) > 0
    how = argparse.Namespace(**{**vars(how), "use_ema": use_ema})
    result = everything(from_run(run.name, how, needs_pairs(how)), how)
    result.images.name = f"{run.label}, seed {run.seed}"
    return result


def compare(plan: Plan, results: dict[Run, Result], how: Any, out: Path) -> None:
    """Write the table over all seeds, all values, and a page with the first seed's images."""
    values = values_of(results)
    for run in results:
        for name, value in costs(run).items():
            values[run.label].setdefault(name, []).append(value)
    rows = table(values, own_metrics(results))
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, "|---" * len(rows[0]) + "|")
    seeds = ", ".join(map(str, plan.seeds))
    spread = f"mean ± standard deviation (n - 1) over the seeds {seeds}"
    notes = [spread if len(plan.seeds) > 1 else f"one seed: {seeds}"]
    notes += protocol(list(results.values()), how)
    with atomic_write(out / "sweep.md") as file:
        file.write(utf8("\n".join([*lines, "", *(f"- {note}" for note in notes), ""])))
    numbers = {"seeds": plan.seeds, "protocol": [*map(legible, notes)], "values": values}
    with atomic_write(out / "sweep.json") as file:
        file.write((json.dumps(numbers, indent=1) + "\n").encode())
    shown = [result for run, result in results.items() if run.seed == plan.seeds[0]]
    if shown and needs_pairs(how) and not how.no_html:
        page = {"title": f"Sweep {plan.name}", "summary": rows}
        write_page(shown, [*notes, *legend(shown)], out, how.num_threads, **page)
    for line in [*lines, *notes, f"written: {out}"]:
        log.info("%s", line)


def values_of(results: dict[Run, Result]) -> Values:
    """Return the means over the images; references, such as real photos, get their own rows."""
    values: Values = {run.label: {} for run in results}
    for run, result in results.items():
        means = {
            metric: {run.label: interval.mean} for metric, interval in result.intervals().items()
        }
        for metric, together in result.together.items():
            means[metric] = {
                run.label if kind == "outputs" else kind: v for kind, v in together.items()
            }
        for metric, rows in means.items():
            for row, value in rows.items():
                values.setdefault(row, {}).setdefault(metric, []).append(value)
    return values


def costs(run: Run) -> dict[str, float]:
    """Return what a training has cost: images/s of training, and the most memory, in GB."""
    progress = saved_progress(run.folder)
    numbers = {}
    if seconds := progress.get("seconds"):
        numbers[SPEED] = progress["total"] / seconds
    if peak := progress.get("peak_memory"):
        numbers[MEMORY] = peak / 1e9
    return numbers


def own_metrics(results: dict[Run, Result]) -> set[tuple[str, str]]:
    """Return (row, metric) of the scores that cannot judge: those by the training's own network."""
    scores = [
        (run.label, m, distance)
        for run, result in results.items()
        for m, distance in result.distances.items()
    ]
    return {(label, metric) for label, metric, distance in scores if distance.own}


def table(values: Values, marked: Collection[tuple[str, str]] = ()) -> list[list[str]]:
    """Return the heading and one row of text per label: mean ± spread over the seeds.

    The scores in `marked`, (label, metric), get a mark.
    """
    metrics = names_of(values.values())
    rows = [["", *(f"{metric} ({better(metric)} is better)" for metric in metrics)]]
    for label, by_metric in values.items():
        cells = [_mean_and_spread(metric, by_metric.get(metric, [])) for metric in metrics]
        marks = [f" {OWN}" if (label, metric) in marked else "" for metric in metrics]
        rows.append([label, *(cell + mark for cell, mark in zip(cells, marks, strict=True))])
    return rows


def _mean_and_spread(metric: str, values: Sequence[float]) -> str:
    if not values:
        return ""
    digits = 2 if metric in (SPEED, MEMORY) else 4
    spread = f" ± {stdev(values):.{digits}f}" if len(set(values)) > 1 else ""
    return f"{fmean(values):.{digits}f}{spread}"


if __name__ == "__main__":
    raise SystemExit(run_command(main))
