"""Stitch A/SPLIT/name and B/SPLIT/name to AB/SPLIT/name, A left, B right, for paired training.

    python datasets/combine_A_and_B.py --fold_A A --fold_B B --fold_AB AB

A and B contain subfolders such as train, val and test. With --use_AB, name_A.jpg and name_B.jpg are
a pair. Images that are in AB already are never overwritten.
"""

import argparse
import glob
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import util.installed  # noqa: E402, F401  (names missing packages in one line)

# isort: split
from tqdm import tqdm  # noqa: E402

from data.image_folder import HEIF, is_image_file  # noqa: E402
from options.parser import OneLineParser, number  # noqa: E402
from scripts.pairs.tasks import joined  # noqa: E402
from scripts.pairs.writing import write_new  # noqa: E402
from util.command import run_command, setup_logging
from util.files import make_folder  # noqa: E402
from util.process_pool import worker_pool  # noqa: E402

log = logging.getLogger(__name__)

AS_PNG = (".gif", ".avif", *HEIF)  # formats that would cost colours; their pairs become PNG


def main(argv: Sequence[str] | None = None) -> None:
    """Stitch all pairs; ValueError if a folder or a partner is missing, or sizes differ."""
    setup_logging()
    parser = OneLineParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add(
        "--fold_A",
        type=Path,
        required=True,
        help="folder of the A images, with a subfolder per split",
    )
    add(
        "--fold_B",
        type=Path,
        required=True,
        help="folder of the B images, with the same subfolders",
    )
    add("--fold_AB", type=Path, required=True, help="folder to write")
    add(
        "--num_imgs", type=number(int, 1), default=1000000, help="maximum number of pairs per split"
    )
    add("--use_AB", action="store_true", help="pair files named *_A.* and *_B.*")
    add("--no_multiprocessing", action="store_true", help="use one process")
    args = parser.parse_args(argv)
    pairs = list(find_pairs(args))
    if not pairs:
        named = "; --use_AB pairs name_A.* and name_B.*, names with another ending do not count"
        named = named if args.use_AB else ""
        raise ValueError(
            f"--fold_A {args.fold_A}: contains no images to pair in its subfolders{named}"
        )
    for folder in {target.parent for *_, target in pairs}:
        make_folder(folder, "--fold_AB")
    if args.no_multiprocessing:
        for pair in tqdm(pairs, unit="img", disable=None):
            combine(pair)
    else:
        with worker_pool(os.cpu_count() or 1) as pool:
            list(tqdm(pool.map(combine, pairs, chunksize=8), total=len(pairs), disable=None))
    log.info("%d pairs are in %s", len(pairs), args.fold_AB)


def find_pairs(args: argparse.Namespace) -> Iterator[tuple[Path, Path, Path]]:
    """Yield (file of A, file of B, output file)."""
    for flag, folder in (("--fold_A", args.fold_A), ("--fold_B", args.fold_B)):
        if not folder.is_dir():
            raise ValueError(f"{flag} {folder}: no such folder")
        if args.fold_AB.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"--fold_AB {args.fold_AB}: must be outside {flag} {folder}")
    splits = sorted(p.name for p in args.fold_A.iterdir() if p.is_dir())
    if not splits:
        raise ValueError(f"--fold_A {args.fold_A}: has no subfolders such as train, val, test")
    for split in splits:
        names = sorted(p.name for p in (args.fold_A / split).iterdir() if is_image_file(p.name))
        if args.use_AB:
            names = [name for name in names if "_A." in name]
        for name in names[: args.num_imgs]:
            other = name.replace("_A.", "_B.") if args.use_AB else name
            B = args.fold_B / split / other
            if not B.is_file():
                same = [p.name for p in B.parent.glob(f"{glob.escape(B.stem)}.*")]
                there = f"; {same[0]} is there: give both one ending" if same else ""
                raise ValueError(f"--fold_B: {B} is missing, the partner of {name}{there}")
            written = Path(name.replace("_A.", ".") if args.use_AB else name)
            if written.suffix.lower() in AS_PNG:
                written = Path(f"{written}.png")
            yield args.fold_A / split / name, B, args.fold_AB / split / written


def combine(pair: tuple[Path, Path, Path]) -> None:
    """Write one pair; ValueError if the two sizes differ, or if another image is there."""
    A, B, target = pair
    write_new(joined(A, B), target, "--fold_AB", quality=95)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
