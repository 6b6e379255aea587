"""Translate files with a trained run: `python -m scripts.translate --name facades IN OUT`.

IN is an image, a folder of images, or - for standard input; OUT is a file, a folder, or - for
standard output. A run on label maps takes those, and --instances. Other flags, such as --epoch,
--eval or --preprocess none, are those of test.py.
"""

import argparse
import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # python scripts/translate.py

import numpy as np
from PIL import Image
from tqdm import tqdm

from data.checks.missing_folder import look_stitched
from data.files.high_depth_output import write_array
from data.files.image_files import image_size
from data.files.image_types import StoredType
from data.files.large_images import LARGE
from data.image_folder import is_image_file, make_dataset
from data.image_parts import Parts, files_of_parts
from options.base_options import Options
from options.parser import OneLineParser
from options.positionals import positionals
from options.unused_flags import refuse_flags_of_test
from scripts.translation.measurements import translate_measurements
from translator import Translator, run_options
from util.command import run_command, setup_logging, words_of
from util.files import atomic_write, run_folder
from util.same_names import name_key

log = logging.getLogger(__name__)

# What is given beside IN.
PARTS = {
    "instances": "instance map of the label map",
    "mask": "mask, with a white hole, of the image",
    "sketch": "lines that steer what fills the hole of the image",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Translate one image or a folder; ValueError for a user's mistake."""
    args = parse(argv)
    setup_logging(sys.stderr if args.OUT == "-" else sys.stdout)
    with tempfile.TemporaryDirectory() as folder:
        source = from_standard_input(Path(folder)) if args.IN == "-" else Path(args.IN)
        if not source.exists():
            raise ValueError(f"IN {source}: no such file or folder")
        opt = run_options(args.test_flags, also=args.flags)
        if opt.dataset_mode == "measurements":
            translate_files(args, source, opt)
            return
        paths = [Path(path) for path in make_dataset(source)] if source.is_dir() else [source]
        out = Path(folder) / "stdout" if args.OUT == "-" else Path(args.OUT)
        if source.is_dir() and (args.OUT == "-" or out.is_file()):
            raise ValueError(f"OUT {args.OUT}: must be a folder, as IN is")
        if source.is_dir() and not out.exists() and is_image_file(out.name):
            raise ValueError(f"OUT {args.OUT}: is the name of an image, but IN is a folder")
        if "name" not in opt.given:
            log.info("--name is not given: the run is %s", run_folder(opt))
        translator = Translator(opt)
        stored = translator.target[0] if translator.target else StoredType(".png", "")
        if args.OUT == "-":
            out = out.with_suffix(stored.ending)
        targets = list(outputs(paths, source, out, stored.ending))
        names = [str(path) for path in paths]
        part_paths = {name: getattr(args, name) for name in PARTS if getattr(args, name)}
        parts = files_of_parts(part_paths, args.IN, names)
        check_targets(read_files(paths, parts), targets, stored, args.overwrite)
        if look_stitched(names, wide_is_enough=False, max_pixels=LARGE):
            log.warning(
                "%s: looks like A|B images; each is translated as one image. test.py translates "
                "their halves: put them into the folder test/ of a --dataroot",
                args.IN,
            )
        count = translate_all(translator, paths, targets, parts)
        if args.OUT == "-":
            sys.stdout.buffer.write(out.read_bytes())
        else:
            place = targets[0] if source.is_file() else args.OUT
            log.info("%d image%s: %s", count, "s" * (count != 1), place)


def translate_files(args: argparse.Namespace, source: Path, opt: Options) -> None:
    """Translate volumes or rasters with a run on measurements."""
    parts = [f"--{name}" for name in PARTS if getattr(args, name)]
    if "-" in (args.IN, args.OUT) or parts:
        raise ValueError(f"{(parts or ['-'])[0]}: a run on measurements translates files to files")
    files = translate_measurements(Translator(opt), source, Path(args.OUT), args.overwrite)
    log.info(
        "%d file%s: %s",
        len(files),
        "s" * (len(files) != 1),
        files[0] if len(files) == 1 else args.OUT,
    )


def translate_all(
    translator: Translator,
    paths: Sequence[Path],
    targets: Sequence[Path],
    parts: Sequence[Parts],
) -> int:
    """Translate and write the images; return their number, without those that are skipped."""
    count, rows = 0, list(zip(paths, targets, parts, strict=True))
    for path, target, own in tqdm(rows, unit="img", disable=None):
        try:
            image = translator(path, **own)
        except ValueError as error:
            if translator.opt.on_bad_image != "skip":
                raise
            log.warning("skipped: %s", error)
            continue
        write(image, target)
        if not count:
            note_size(image, path)
        count += 1
    return count


def note_size(image: Image.Image | np.ndarray, path: Path) -> None:
    """Say so if an image was resized."""
    size = image.size if isinstance(image, Image.Image) else image.shape[1::-1]
    width, height = image_size(path)
    if size != (width, height):
        distorted = ", not in proportion" if round(size[0] * height / width) != size[1] else ""
        keep = "as in the run; --preprocess none keeps the size"
        log.info("%dx%d resized to %dx%d%s, %s", *(width, height, *size, distorted, keep))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed flags; `test_flags` holds those for test.py."""
    parser = OneLineParser(
        prog="python -m scripts.translate", usage="%(prog)s [flags] IN OUT", description=__doc__
    )
    add = parser.add_argument
    add("--overwrite", action="store_true", help="replace files that exist")
    for name, what in PARTS.items():
        add(f"--{name}", type=Path, help=f"{what} IN, or their folder")
    words, flags = positionals(words_of(argv), {"--overwrite"})
    args, args.test_flags = parser.parse_known_args(flags)
    args.flags = parser.flags()
    if len(words) != 2:
        got = f"got {', '.join(words)}" if words else "got neither"
        many = "; for several images, IN is their folder" if words[2:] else ""
        raise ValueError(f"IN OUT: give an image or a folder, and where to write; {got}{many}")
    takes = "IN has one translation of each image"
    refuse_flags_of_test(args.test_flags, takes, known={"--on_bad_image"})
    args.IN, args.OUT = words
    return args


def from_standard_input(folder: Path) -> Path:
    """Write standard input to a file, whose name determines the noise."""
    content = sys.stdin.buffer.read()
    if not content:
        raise ValueError("IN -: standard input is empty")
    path = folder / "stdin"
    path.write_bytes(content)
    return path


def outputs(paths: Sequence[Path], source: Path, out: Path, ending: str) -> Iterator[Path]:
    """Yield the file for each image. A folder keeps its subfolders; images of one name get numbers.

    `out` is a folder if `source` or `out` is one, or if it has no ending.
    """
    single = source.is_file() and not out.is_dir() and out.suffix
    taken: set[str] = set()
    for path in paths:
        if single:
            yield out
            continue
        relative = Path(path.name) if source.is_file() else path.relative_to(source)
        target, number = out / f"{relative.parent / relative.stem}{ending}", 1
        while name_key(str(target)) in taken:
            number += 1
            target = out / f"{relative.parent / relative.stem}_{number}{ending}"
        taken.add(name_key(str(target)))
        yield target


def read_files(paths: Sequence[Path], parts: Sequence[Parts]) -> set[Path]:
    """Return the files of images and of their parts, resolved."""
    return {Path(file).resolve() for file in (*paths, *(f for own in parts for f in own.values()))}


def check_targets(
    read: set[Path], targets: Sequence[Path], stored: StoredType, overwrite: bool
) -> None:
    """Raise ValueError for a file that is `read`, that exists, or that has another format."""
    for target in targets:
        if target.resolve() in read:
            raise ValueError(f"OUT {target}: is an input; choose another place")
        if target.exists() and not overwrite:
            raise ValueError(f"OUT {target}: exists; --overwrite replaces it")
    if not stored.dtype:  # 8 bits
        format_of(targets[0])
    elif targets[0].suffix != stored.ending:
        raise ValueError(
            f"OUT {targets[0]}: this run's targets are {stored.dtype} in {stored.ending} files; "
            f"use that ending"
        )


def write(image: Image.Image | np.ndarray, target: Path) -> None:
    """Write an image of PIL, or an array in the values of the run's targets."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(image, Image.Image) and target.suffix != ".npy":
        with atomic_write(target) as file:
            image.save(file, format_of(target))
    else:
        array = np.asarray(image)
        write_array(array if array.ndim == 3 else array[..., None], target)


def format_of(target: Path) -> str:
    """Return the format of PIL that a file name means; ValueError if there is none."""
    Image.init()
    name = Image.EXTENSION.get(target.suffix.lower(), "")
    if name not in Image.SAVE:
        raise ValueError(f"OUT {target}: {target.suffix or 'no ending'} is no format; use .png")
    return name


if __name__ == "__main__":
    raise SystemExit(run_command(main))
