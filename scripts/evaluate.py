"""Measure how near outputs are to their targets: `python -m scripts.evaluate --name facades`.

Several names are compared side by side; `--fake DIR --real DIR` compares two folders. Writes
metrics.json, metrics.csv and index.html into --out; docs/metrics.md says what each number means.
"""

import csv
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from options.parser import OneLineParser, number
from scripts.evaluation import Result, from_folders, from_run, heat_maps, measure
from scripts.evaluation_page import write_page
from util.files import make_folder, whole_file
from util.metrics import METRICS
from util.util import run_command, setup_logging

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what the flags name, and write it down; ValueError for a user's mistake."""
    setup_logging()
    args = parse(argv)
    if args.name:
        sets = [from_run(name, args) for name in args.name]
    else:
        sets = [from_folders(args.fake, args.real)]
    metrics = args.metrics.split(",") if args.metrics else []
    results = [measure(pictures, metrics, args.num_threads) for pictures in sets]
    out = make_folder(args.out or default_folder(args), "--out")
    notes = protocol(results)
    write_numbers(results, notes, out)
    if not args.no_html:
        maps = [
            heat_maps(r.pictures, out / "heat" / str(i), args.num_threads)
            for i, r in enumerate(results)
        ]
        write_page(results, maps, notes, out)
    for line in table(results):
        log.info("%s", line)
    for note in notes:
        log.info("%s", note)
    log.info("written: %s", out)


def parse(argv: Sequence[str] | None) -> Any:
    """Return the flags; ValueError for what does not go together."""
    parser = OneLineParser(prog="python -m scripts.evaluate", description=__doc__)
    add = parser.add_argument
    add("--name", nargs="+", default=[], help="runs; translated by test.py where that is to do")
    add("--fake", type=Path, help="folder of outputs, instead of runs")
    add("--real", type=Path, help="folder of their targets, with the same names")
    add("--metrics", help=f"some of {','.join(METRICS)}; by default those that the size allows")
    add("--out", type=Path, help="folder to write into; by default beside the results")
    add("--checkpoints_dir", type=Path, default=Path("./checkpoints"), help="folder of the runs")
    add("--results_dir", type=Path, default=Path("./results"), help="folder of the results")
    add("--dataroot", type=Path, help="pictures to translate; by default the run's")
    add("--phase", default="test", help="which of them")
    add("--epoch", default="latest", help="which saved epoch; best is one too")
    add("--use_ema", action="store_true", help="the averaged G of a training with --ema")
    add("--gpu_ids", default="0", help="for translating; -1 is the CPU")
    add("--num_threads", type=number(int, 1), default=os.cpu_count() or 1, help="processes")
    add("--no_html", action="store_true", help="numbers only")
    args = parser.parse_args(argv)
    if bool(args.name) == bool(args.fake or args.real) or bool(args.fake) != bool(args.real):
        raise ValueError("give --name RUN, or both --fake DIR and --real DIR")
    unknown = set((args.metrics or "L1").split(",")) - set(METRICS)
    if unknown:
        raise ValueError(f"--metrics {','.join(sorted(unknown))}: known are {', '.join(METRICS)}")
    return args


def default_folder(args: Any) -> Path:
    """Return where the numbers of these flags go."""
    if not args.name:
        return args.fake.parent / f"{args.fake.name}_evaluation"
    tag = f"{args.phase}_{args.epoch}" + ("_ema" if args.use_ema else "")
    return args.results_dir / "_".join(args.name) / f"{tag}_evaluation"


def protocol(results: Sequence[Result]) -> list[str]:
    """Return how the numbers were made, a line each."""
    counts = ", ".join(f"{r.pictures.name}: {len(r.pictures.fake)}" for r in results)
    notes = [f"N = {counts} pictures of 8 bits a channel, grey ones as RGB; mean over the pictures"]
    notes.append("[ ]: where 95% of the means lie if as many pictures are drawn from these again")
    if len(results) > 1:
        notes.append(f"+ or -: the difference to {results[0].pictures.name}, picture by picture")
    used = dict.fromkeys(metric for result in results for metric in result.each)
    notes += [f"{metric}: {METRICS[metric].protocol}" for metric in used]
    return notes + [note for result in results for note in result.pictures.notes]


def table(results: Sequence[Result]) -> list[str]:
    """Return the numbers of all runs, each with its difference to the first."""
    lines = []
    for metric in dict.fromkeys(metric for result in results for metric in result.each):
        arrow = "lower" if METRICS[metric].lower_is_better else "higher"
        lines.append(f"{metric} ({arrow} is better)")
        for result in results:
            if metric in result.each:
                mean, low, high = result.intervals()[metric]
                line = f"  {result.pictures.name:20} {mean:.4f} [{low:.4f}, {high:.4f}]"
                if more := results[0].difference(result, metric):
                    line += f"  {more.mean:+.4f} [{more.low:+.4f}, {more.high:+.4f}]"
                lines.append(line)
    return lines


def write_numbers(results: Sequence[Result], notes: Sequence[str], out: Path) -> None:
    """Write metrics.json, the means, and metrics.csv, a line for every picture."""
    runs = [
        {
            "name": result.pictures.name,
            "pictures": len(result.pictures.fake),
            "metrics": {name: value._asdict() for name, value in result.intervals().items()},
            "difference_to_first": {
                name: more._asdict()
                for name in result.each
                if (more := results[0].difference(result, name))
            },
        }
        for result in results
    ]
    with whole_file(out / "metrics.json") as file:
        file.write((json.dumps({"protocol": list(notes), "runs": runs}, indent=1) + "\n").encode())
    with (out / "metrics.csv").open("w", newline="", encoding="utf-8") as file:
        metrics = list(dict.fromkeys(metric for result in results for metric in result.each))
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["run", "picture", *metrics])
        for result in results:
            name = result.pictures.name
            for picture in result.pictures.names:
                values = [result.each.get(metric, {}).get(picture, "") for metric in metrics]
                writer.writerow([name, picture, *values])


if __name__ == "__main__":
    raise SystemExit(run_command(main))
