"""Make a training set from a folder of images: `python -m scripts.make_pairs --task edges IN OUT`.

edges, grayscale, inpaint and superres compute A from each image and use the image as B. combine
stitches images of equal names in IN/A and IN/B. resize only resizes images to --size (with --pairs,
both halves of A|B images). With --half, IN holds A|B images, of which one half is the image. OUT
gets train/, val/ and test/: those of IN if it has them (valid/ and validation/ are val), else a
random split. Run the command again to resume.
"""

import argparse
import importlib.util
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # python scripts/make_pairs.py

from tqdm import tqdm

from data.checks.made_pairs import NOTE, SCALE, train_flags
from data.files.image_files import image_size
from data.image_folder import by_stem, make_dataset, unread_partner
from options.parser import OneLineParser, number
from scripts.pairs.splits import (
    PHASES,
    SHARES,
    one_phase_of_each_group,
    own_phases,
    phases_of,
    say_counts,
    shares_of,
    unique_names,
)
from scripts.pairs.tasks import MASKS, TASKS, make_image
from util.command import run_command, run_line, setup_logging
from util.files import atomic_write, make_folder, naming
from util.process_pool import worker_pool

log = logging.getLogger(__name__)

# Flags of a single task: name -> (task, default).
OWN = {
    "mask": ("inpaint", "freeform"),
    "factor": ("superres", 4),
    "sigma": ("edges", 2.0),
    "pairs": ("resize", False),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Make the training set; ValueError for a user's mistake."""
    setup_logging()
    args = parse(argv)
    jobs = list(plan(args))
    make_folder(args.out, "OUT")
    remember(args)
    existing = {p for phase in PHASES for p in (args.out / phase).rglob("*.png")}
    if strange := existing - {target for _, target in jobs}:
        raise ValueError(
            f"OUT {args.out}: contains {min(strange)}, which does not come from IN; use another "
            f"folder"
        )
    todo = [job for job in jobs if job[1] not in existing]
    if len(todo) < len(jobs):
        log.info("%d of %d images already exist", len(jobs) - len(todo), len(jobs))
    skipped = 0
    with worker_pool(min(args.num_threads, max(len(todo), 1))) as pool:
        results = pool.map(partial(make_one, args=args), todo, chunksize=4)
        for error in tqdm(results, total=len(todo), unit="img", disable=None):
            if error:
                skipped += 1
                log.warning("ignored: %s", error)
    if skipped == len(jobs):
        raise ValueError(f"IN {args.source}: none of its images can be used")
    flags = train_flags(args.task, args.size or shortest_side(args))
    remember(args, flags if args.task in SCALE else ())
    say_counts(args.out)
    log.info("%s", next_step(args, flags))


def shortest_side(args: argparse.Namespace) -> int:
    """Return the shortest side in pixels of the images A in OUT."""
    halved = 2 if in_pairs(args) else 1
    sizes = (image_size(path) for phase in PHASES for path in (args.out / phase).rglob("*.png"))
    return min((min(width // halved, height) for width, height in sizes), default=0)


def in_pairs(args: argparse.Namespace) -> bool:
    """Return whether OUT holds A|B images; else it holds single images."""
    return args.task != "resize" or args.pairs


def next_step(args: argparse.Namespace, flags: Sequence[str]) -> str:
    """Return a line with the command that trains on OUT with these flags."""
    if not any((args.out / "train").rglob("*.png")):
        return f"no image is for training; give train a share in --split {args.split}"
    name = args.out.resolve().name
    words = ["--dataroot", args.out, "--name", name if name.isprintable() else "pairs"]
    model = [] if in_pairs(args) else ["--model", "colorization"]
    return f"train on them with: {run_line('train.py', *words, *model, *flags)}"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments; ValueError for arguments that contradict each other."""
    parser = OneLineParser(prog="python -m scripts.make_pairs", description=__doc__)
    add = parser.add_argument
    add("source", metavar="IN", type=Path, help="folder of images")
    add("out", metavar="OUT", type=Path, help="folder to write")
    add("--task", required=True, choices=[*TASKS, "resize", "combine"], help="kind of pairs")
    add("--split", help=f"fractions of train, val, test (default: {SHARES}), unless IN has them")
    add(
        "--group",
        help="regular expression that finds in a file's path what belongs together, such as a "
        "patient's number: all images of a group are in one phase",
    )
    add(
        "--size",
        type=number(int, 1, 16384),
        help="size in pixels for the central square of each image",
    )
    add("--seed", type=number(int, 0), default=0, help="random seed of the split and the holes")
    add("--mask", choices=[*MASKS], help="inpaint: shape of the holes (default: freeform)")
    add("--factor", type=number(int, 2, 1000), help="superres: downsampling factor (default: 4)")
    add("--sigma", type=number(float, 0, 100), help="edges: blur in pixels (default: 2)")
    add("--pairs", action="store_true", default=None, help="resize: treat images as A|B pairs")
    add("--half", choices=["A", "B"], help="IN holds A|B images, of which one half is the image")
    add("--num_threads", type=number(int, 1), default=os.cpu_count() or 1, help="processes")
    args = parser.parse_args(argv)
    for name, (task, default) in OWN.items():
        if getattr(args, name) is None:
            setattr(args, name, default)
        elif args.task != task:
            raise ValueError(f"--{name}: works only with --task {task}")
    args.own_split = args.split is not None
    args.split = SHARES if args.split is None else args.split
    args.shares = shares_of(args.split)
    if args.task == "edges" and importlib.util.find_spec("skimage") is None:
        raise ValueError("--task edges: needs scikit-image; pip install scikit-image")
    if args.half and (args.pairs or args.task == "combine"):
        both = "--pairs" if args.pairs else "--task combine"
        raise ValueError(f"--half {args.half}: {both} uses both; leave one of them out")
    if args.task == "resize" and args.size is None:
        raise ValueError("--task resize: needs --size")
    source, out = args.source.resolve(), args.out.resolve()
    if source == out or source in out.parents or out in source.parents:
        raise ValueError(
            f"OUT {args.out}: must be outside IN {args.source}, which is never changed"
        )
    return args


def plan(args: argparse.Namespace) -> Iterator[tuple[list[str], Path]]:
    """Yield (input files, output file) for each image."""
    combine = args.task == "combine"
    folder = args.source / "A" if combine else args.source
    if args.source.is_dir() and not folder.is_dir():
        raise ValueError(f"IN: {folder} is not a folder; combine needs IN/A, the inputs, and IN/B")
    paths = images(folder)
    partners = partners_of(args.source, paths) if combine else {}
    names = [path.relative_to(folder) for path in paths]
    if own := own_phases(names, folder, args.split if args.own_split else None):  # IN is split
        names = [Path(own[name.parts[0]], *name.parts[1:]) for name in names]
    names = unique_names(names)
    phases = [None] * len(names) if own else phases_of(names, args)
    # An image made by an earlier run keeps its phase, even if IN has grown since.
    phase_by_name = {n: phase for n in names for phase in PHASES if (args.out / phase / n).exists()}
    phases = [
        phase and phase_by_name.get(name, phase) for name, phase in zip(names, phases, strict=True)
    ]
    if args.group:
        phases = one_phase_of_each_group(names, phases, phase_by_name, args.group)
    for path, name, phase in zip(paths, names, phases, strict=True):
        files = [str(path), partners[path]] if combine else [str(path)]
        yield files, args.out / name if phase is None else args.out / phase / name


def partners_of(source: Path, paths: Sequence[Path]) -> dict[Path, str]:
    """Return the partner in IN/B of each image in IN/A; ValueError if one is missing."""
    A, B = source / "A", source / "B"
    files_A, files_B = by_stem(A, map(str, paths)), by_stem(B, map(str, images(B)))
    if alone := sorted(files_A.keys() - files_B.keys()):
        raise ValueError(
            f"IN: {files_A[alone[0]][0]} has no partner {B / alone[0]}.* ({len(alone)} of "
            f"{len(files_A)} without one)"
            f"{unread_partner(B, alone[0]) or '; add it or remove the image'}"
        )
    for stem in files_A:
        if (count := len(files_B[stem])) > 1:
            raise ValueError(f"IN: {B / stem}.* are {count} images; keep one of them")
    if alone := files_B.keys() - files_A.keys():
        log.warning("%d images in B have no partner in A, such as %s", len(alone), min(alone))
    return {Path(path): files_B[stem][0] for stem, files in files_A.items() for path in files}


def images(folder: Path) -> list[Path]:
    """Return the images in IN or in one of its folders."""
    return [Path(path) for path in make_dataset(folder, flag="IN")]


def remember(args: argparse.Namespace, flags: Sequence[str] = ()) -> None:
    """Save the settings of OUT, and the flags of train.py that its task needs.

    ValueError if it was started with other settings.
    """
    names = ("task", "split", "size", "seed", "mask", "factor", "sigma", "pairs", "half", "group")
    settings = {name: getattr(args, name) for name in names} | {
        "source": str(args.source.resolve())
    }
    note = args.out / NOTE
    saved = settings
    if note.exists():
        try:
            saved = dict(json.loads(note.read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            raise ValueError(f"{note}: damaged; use another OUT") from None
    elif any(args.out.iterdir()):
        raise ValueError(f"OUT {args.out}: holds other files; use an empty folder")
    changes = [
        f"{k} {saved.get(k)}, not {settings[k]}" for k in settings if saved.get(k) != settings[k]
    ]
    if changes:
        raise ValueError(f"OUT {args.out}: was made with {', '.join(changes)}; use another folder")
    extra = {"train_flags": " ".join(flags)} if flags else {}
    with atomic_write(note) as file:
        file.write((json.dumps(settings | extra, indent=1) + "\n").encode())
    for leftover in args.out.rglob(".*.tmp"):  # left by a killed run
        leftover.unlink()


def make_one(job: tuple[list[str], Path], args: argparse.Namespace) -> str | None:
    """Make one image; return the error if its file cannot be used."""
    files, target = job
    try:
        image = make_image(files, args)
    except ValueError as error:
        return str(error)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{os.getpid()}.tmp")
    with naming(target):
        image.save(temporary, format="PNG")
    temporary.replace(target)  # atomic
    return None


if __name__ == "__main__":
    raise SystemExit(run_command(main))
