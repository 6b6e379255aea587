"""Measure how near outputs are to their targets: `python -m scripts.evaluate --name facades`.

Several names are compared side by side; `--fake DIR --real DIR` compares two folders. Other flags,
such as --eval, go to the test.py that translates. Writes metrics.json, metrics.csv and index.html
into --out; docs/metrics.md says what each number means.
"""

import csv
import json
import logging
import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from options.parser import OneLineParser, closest, gpu_list, number
from scripts.evaluation.compare import (
    Pictures,
    Result,
    better,
    from_folders,
    measure,
    names_of,
)
from scripts.evaluation.fcn_score import fcn_of_run
from scripts.evaluation.network_metrics import PROTOCOLS, SPLITS, TOGETHER, inception_metrics, lpips
from scripts.evaluation.outputs import from_run
from scripts.evaluation.page import write_page
from util.command import run_command, setup_logging
from util.device import pick_device
from util.files import make_folder, whole_file
from util.metrics import METRICS

log = logging.getLogger(__name__)

KNOWN = [*METRICS, *PROTOCOLS]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what the flags name, and write it down; ValueError for a user's mistake."""
    setup_logging()
    args = parse(argv)
    paired = wants_pairs(args)
    if args.name:
        sets = [from_run(name, args, paired) for name in args.name]
    else:
        sets = [from_folders(args.fake, args.real, paired)]
    results = [everything(pictures, args) for pictures in sets]
    out = make_folder(args.out or default_folder(args), "--out")
    notes = [*protocol(results, args), *legend(results)]
    write_numbers(results, notes, out)
    if paired and not args.no_html:
        write_page(results, notes, out, args.num_threads)
    for line in table(results):
        log.info("%s", line)
    for note in notes:
        log.info("%s", note)
    log.info("written: %s", out)


def wants_pairs(args: Any) -> bool:
    """Return whether some metric compares each output with its target."""
    return not args.metrics or bool(set(args.metrics) - set(TOGETHER))


def everything(pictures: Pictures, args: Any) -> Result:
    """Measure what was asked for, by default what needs no weights of others."""
    metrics = args.metrics
    simple = [metric for metric in metrics if metric in METRICS]
    result = Result(pictures, {})
    if simple or not metrics:
        result = measure(pictures, simple, args.num_threads)
    if "LPIPS" in metrics:
        result.each["LPIPS"] = lpips(pictures, device_of(tuple(args.gpu_ids)))
    if chosen := [metric for metric in metrics if metric in TOGETHER]:
        how = {"weights": args.inception_weights, "subset": args.kid_subset}
        device = device_of(tuple(args.gpu_ids))
        found = inception_metrics(pictures, chosen, device=device, **how)
        result.together |= {metric: {"outputs": value} for metric, value in found.items()}
    if "FCN" in metrics:
        result.together |= fcn_of_run(pictures, args, device_of(tuple(args.gpu_ids)))
    return result


@cache
def device_of(gpu_ids: tuple[int, ...]) -> torch.device:
    """Return where networks run, which is said once."""
    return pick_device(list(gpu_ids))


def parse(argv: Sequence[str] | None) -> Any:
    """Return the flags; ValueError for what does not go together."""
    parser = OneLineParser(prog="python -m scripts.evaluate", description=__doc__)
    add = parser.add_argument
    add("--name", nargs="+", default=[], help="runs; translated by test.py where that is to do")
    add("--fake", type=Path, help="folder of outputs, instead of runs")
    add("--real", type=Path, help="folder of their targets, with the same names")
    chosen = f"some of {','.join(KNOWN)}; by default the first four, where the size allows them"
    add("--metrics", nargs="+", default=[], help=chosen)
    add("--kid_subset", type=number(int, 2), default=100, help="pictures in a subset of KID")
    add("--inception_weights", type=Path, help="the file for FID, KID, IS if not in torch's cache")
    add("--fcn_epochs", type=number(int, 1), default=10, help="epochs of FCN's own training")
    add("--out", type=Path, help="folder to write into; by default beside the results")
    add("--checkpoints_dir", type=Path, default=Path("./checkpoints"), help="folder of the runs")
    add("--results_dir", type=Path, default=Path("./results"), help="folder of the results")
    add("--dataroot", type=Path, help="pictures to translate; by default the run's")
    add("--phase", default="test", help="which of them")
    add("--epoch", default="latest", help="which saved epoch; best is one too")
    add("--use_ema", action="store_true", help="the averaged G of a training with --ema")
    add("--gpu_ids", type=gpu_list, default="0", help="e.g. 0; -1 is the CPU")
    add("--num_threads", type=number(int, 1), default=os.cpu_count() or 1, help="threads")
    add("--no_html", action="store_true", help="numbers only")
    args, more = parser.parse_known_args(argv)
    vars(args).update(test_flags=more, flags=parser.flags(), name=list(dict.fromkeys(args.name)))
    if args.name and (args.fake or args.real):
        raise ValueError("--name RUN or --fake DIR --real DIR: give one of them, not both")
    if not args.name and not (args.fake and args.real):
        raise ValueError("give --name RUN, or both --fake DIR and --real DIR")
    if args.test_flags and not args.name:
        raise ValueError(f"{args.test_flags[0]}: unknown, or a flag of test.py for --name RUN")
    args.metrics = ",".join(args.metrics).split(",") if args.metrics else []
    if unknown := sorted(set(args.metrics) - set(KNOWN)):
        near = closest(unknown[0], KNOWN).partition("; --help")[0]
        raise ValueError(f"--metrics {','.join(unknown)}: known are {', '.join(KNOWN)}{near}")
    if "FCN" in args.metrics and not args.name:
        raise ValueError("--metrics FCN: wants --name, whose training pictures it learns from")
    return args


def default_folder(args: Any) -> Path:
    """Return where the numbers of these flags go."""
    if not args.name:
        return args.fake.parent / f"{args.fake.name}_evaluation"
    tag = f"{args.phase}_{args.epoch}" + ("_ema" if args.use_ema else "")
    others = [*(["dataroot", str(args.dataroot)] if args.dataroot else []), *args.test_flags]
    more = "_".join(re.sub(r"[^\w.-]+", "-", flag.strip("-./")) for flag in others)
    tag += f"_{more}" if more else ""  # so that numbers of other flags stay
    name = args.name[0] if len(args.name) == 1 else "_".join(args.name).replace("/", "_")
    name = name if len(name) < 200 else f"{len(args.name)}_runs"
    return args.results_dir / name / f"{tag}_evaluation"


def protocol(results: Sequence[Result], args: Any) -> list[str]:
    """Return how the numbers were made, a line each."""
    counts = {r.pictures.name: len(r.pictures.fake) for r in results}
    said = ", ".join(f"{name}: {count}" for name, count in counts.items()) + " pictures"
    if len(set(counts.values())) == 1:
        each = " of each" if len(counts) > 1 else ""
        said = f"{len(results[0].pictures.fake)} pictures{each}"
    notes = [f"N = {said}, 8 bits a channel, grey ones as RGB"]
    if results[0].each:
        notes[0] += "; mean over the pictures"
    made = {r.pictures.name: r.pictures.made for r in results if r.pictures.made}
    if len(set(made.values())) == 1:
        made = {"outputs": next(iter(made.values()))}
    notes += [f"{name}: {how}" for name, how in made.items()]
    used = names_of(result.each for result in results)
    about = {metric: METRICS[metric].protocol for metric in METRICS} | PROTOCOLS
    used += [metric for metric in args.metrics if metric in PROTOCOLS and metric not in used]
    fill = {"subset": args.kid_subset, "splits": SPLITS, "epochs": args.fcn_epochs}
    notes += [f"{metric}: {about[metric].format(**fill)}" for metric in used]
    return notes + [note for result in results for note in result.pictures.notes]


def legend(results: Sequence[Result]) -> list[str]:
    """Return what the brackets and differences of a table are, a line each."""
    if not results[0].each:
        return []
    notes = ["[ ]: where 95% of the means lie if as many pictures are drawn from these"]
    if len(results) > 1:
        first = results[0].pictures.name
        notes.append(f"+ or -: the difference to {first}, picture by picture")
        notes.append("neither knows of chance in the training: see other seeds (docs/metrics.md)")
    return notes


def table(results: Sequence[Result]) -> list[str]:
    """Return the numbers of all runs, each with its difference to the first."""
    lines = []
    for metric in names_of(result.each for result in results):
        lines.append(f"{metric} ({better(metric)} is better)")
        for result in results:
            if metric in result.each:
                mean, low, high = result.intervals()[metric]
                line = f"  {result.pictures.name:20} {mean:.4f} [{low:.4f}, {high:.4f}]"
                if more := results[0].difference(result, metric):
                    line += f"  {more.mean:+.4f} [{more.low:+.4f}, {more.high:+.4f}]"
                lines.append(line)
    for metric in names_of(result.together for result in results):
        lines.append(f"{metric} ({better(metric)} is better)")
        for result in results:
            value, *others = result.together[metric].items()
            line = f"  {result.pictures.name:20} {value[1]:.4f}"
            lines.append(line + "".join(f"  {of} {other:.4f}" for of, other in others))
    return lines


def write_numbers(results: Sequence[Result], notes: Sequence[str], out: Path) -> None:
    """Write metrics.json, the means, and metrics.csv, a line for every picture."""
    runs = [
        {
            "name": result.pictures.name,
            "pictures": len(result.pictures.fake),
            "metrics": {name: value._asdict() for name, value in result.intervals().items()},
            "together": result.together,
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
        metrics = names_of(result.each for result in results)
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["run", "picture", *metrics])
        for result in results:
            name = result.pictures.name
            for picture in result.pictures.names:
                values = [result.each.get(metric, {}).get(picture, "") for metric in metrics]
                writer.writerow([name, picture, *values])


if __name__ == "__main__":
    raise SystemExit(run_command(main))
