"""Check every image of a dataset before training: `python -m scripts.doctor --dataroot DIR`.

Lists the files that are damaged or unusual, and how training treats each. Exit status 1 if some
would stop a training.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from data.image_check import Finding, inspect
from data.image_folder import by_stem, make_dataset
from options.parser import OneLineParser, number
from util.command import run_command, setup_logging
from util.errors import RunStopped
from util.process_pool import worker_pool

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    """Check all images below the folder; `RunStopped` if some would stop a training."""
    setup_logging()
    parser = OneLineParser(prog="python -m scripts.doctor", description=__doc__)
    add = parser.add_argument
    add("--dataroot", type=Path, required=True, help="folder of the images")
    modes = ["aligned", "unaligned", "single", "colorization"]
    add(
        "--dataset_mode",
        choices=modes,
        default="aligned",
        help="type of dataset; aligned also checks pairs",
    )
    add(
        "--num_threads",
        type=number(int, 1),
        default=os.cpu_count() or 1,
        help="number of processes",
    )
    args = parser.parse_args(argv)
    paths = make_dataset(args.dataroot)
    found = ignored(args.dataroot, paths)
    with worker_pool(min(args.num_threads, len(paths))) as pool:
        results = pool.map(inspect, paths, chunksize=16)
        for findings in tqdm(results, total=len(paths), unit="img", disable=None):
            found += findings
    damaged = {finding.path for finding in found if finding.fatal}
    if args.dataset_mode == "aligned":
        found += pairs(args.dataroot, paths, damaged)
    report(found, len(paths))


def report(found: list[Finding], count: int) -> None:
    """Log the findings; `RunStopped` if some are fatal."""
    for finding in sorted(found):
        log.info("%s%s", "BAD  " if finding.fatal else "     ", finding)
    bad = {finding.path for finding in found if finding.fatal}
    log.info("%d images, %d bad, %d remarks", count, len(bad), len(found) - len(bad))
    if bad:
        raise RunStopped(
            f"{len(bad)} of {count} images would stop a training: repair or delete them, or train "
            f"with --on_bad_image skip, which ignores them"
        )


def ignored(root: Path, paths: list[str]) -> list[Finding]:
    """Return a remark that counts the files that no dataset reads, by extension."""
    images = set(paths)
    others = Counter(
        path.suffix.lower() or path.name
        for path in root.rglob("*")
        if path.is_file() and str(path) not in images
    )
    names = ", ".join(f"{count} {kind}" for kind, count in sorted(others.items()))
    return [Finding(str(root), f"also holds files that are ignored: {names}")] if others else []


def pairs(root: Path, paths: list[str], damaged: set[str]) -> Iterator[Finding]:
    """Yield problems of pairs: missing partners, different sizes, odd widths."""
    sides = {side: {p.name[:-1] for p in root.iterdir() if p.name.endswith(side)} for side in "AB"}
    phases = sorted(sides["A"] & sides["B"])
    for phase in phases:
        A, B = (
            by_stem(folder, (path for path in paths if Path(path).is_relative_to(folder)))
            for folder in (root / f"{phase}A", root / f"{phase}B")
        )
        for name in sorted(A.keys() ^ B.keys()):
            yield Finding(
                (A.get(name) or B[name])[0], "has no partner in the other folder", fatal=True
            )
        for name in sorted(A.keys() & B.keys()):
            if not damaged.isdisjoint(A[name] + B[name]):
                continue
            sizes = [Image.open(path).size for (path, *_) in (A[name], B[name])]
            if sizes[0] != sizes[1]:
                what = "{}x{}, its partner {}x{} pixels".format(*sizes[0], *sizes[1])
                yield Finding(
                    A[name][0], f"has {what}; use --preprocess resize_and_crop, which accepts both"
                )
    if not phases:
        for path in paths:
            if path not in damaged and (width := Image.open(path).width) % 2:
                what = f"is {width} pixels wide; an A|B image needs an even width"
                yield Finding(path, what, fatal=True)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
