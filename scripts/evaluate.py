"""Measure the distance of outputs to targets: `python -m scripts.evaluate --name facades`.

Several names are compared side by side; `--epoch all` compares the epochs of a run on val;
`--fake DIR --real DIR` compares two folders. Other flags, such as --eval, are passed on to
test.py. Writes metrics.json, metrics.csv and index.html to --out; docs/metrics.md explains each
number.
"""

import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # python scripts/evaluate.py

from scripts.evaluation.compare import from_folders
from scripts.evaluation.epochs import best_epochs, of_all_epochs
from scripts.evaluation.flags import needs_pairs, parse
from scripts.evaluation.outputs import check_run, from_run
from scripts.evaluation.page import write_page
from scripts.evaluation.report import everything, legend, protocol, replaced, table, write_numbers
from scripts.evaluation.value_folders import from_value_folders, hold_values
from util.command import run_command, setup_logging
from util.files import make_folder

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    """Compute the metrics and write them to files; ValueError for a user's mistake."""
    setup_logging()
    args = parse(argv)
    out = args.out or default_folder(args)
    for name in args.name:  # before the first of them is translated
        check_run(name, args)
    if args.name:  # a folder that cannot be written is said before, too
        make_folder(out, "--out")
    paired = needs_pairs(args)
    if args.epoch == "all":
        sets = [images for name in args.name for images in of_all_epochs(name, args, paired)]
    elif args.name:
        sets = [from_run(name, args, paired) for name in args.name]
    elif args.values or hold_values(args.fake, args.real):
        sets = [from_value_folders(args.fake, args.real, out / "shown")]
    else:
        sets = [from_folders(args.fake, args.real, paired)]
    results = [everything(images, args) for images in sets]
    make_folder(out, "--out")
    notes = [*protocol(results, args), *legend(results)]
    before = replaced(results, out)
    write_numbers(results, notes, out)
    if page := paired and not args.no_html:
        title = f"Evaluation of the epochs of {', '.join(args.name)}" if args.epoch == "all" else ""
        write_page(results, notes, out, args.num_threads, title=title)
    best = best_epochs(results) if args.epoch == "all" else []
    for line in [*table(results), *notes, *best, *before]:
        log.info("%s", line)
    log.info("written: %s", out / "index.html" if page else out)


def default_folder(args: Any) -> Path:
    """Return the output folder for these flags when --out is not given."""
    if not args.name:
        return args.fake.parent / f"{args.fake.name}_evaluation"
    tag = f"{args.phase}_{args.epoch}" + ("_ema" if args.use_ema else "")
    others = [*(["dataroot", str(args.dataroot)] if args.dataroot else []), *args.test_flags]
    suffix = "_".join(re.sub(r"[^\w.-]+", "-", flag.strip("-./")) for flag in others)
    tag += f"_{suffix}" if suffix else ""  # do not overwrite results of other flags
    name = args.name[0] if len(args.name) == 1 else "_".join(args.name).replace("/", "_")
    name = name if len(name) < 200 else f"{len(args.name)}_runs"
    return args.results_dir / name / f"{tag}_evaluation"


if __name__ == "__main__":
    raise SystemExit(run_command(main))
