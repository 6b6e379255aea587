"""Translate a film with a trained run: `python -m scripts.video --name facades IN OUT`.

IN is a film or a folder of frames; OUT is a film (.mp4, .mov, .mkv, .webm), or a folder, for the
frames as PNG files. Size, frame rate and sound stay, and all frames have the same noise. Other
flags are those of test.py; --preprocess is none by default.
"""

import argparse
import contextlib
import itertools
import logging
import sys
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # python scripts/video.py

from PIL import Image
from tqdm import tqdm

from data.checks.missing_folder import look_stitched
from data.files.image_files import load_unconverted
from data.files.large_images import LARGE
from data.image_folder import make_dataset
from data.labels.input import LabelInput
from options.parser import OneLineParser
from options.positionals import positionals
from options.unused_flags import refuse_flags_of_test
from scripts.videos.frames_folder import check_folder, names_in, prepare_folder
from scripts.videos.reading import Film, Frame, Images, open_source
from scripts.videos.writing import chosen_file, film_writer
from translator import Translator, run_options
from util.command import run_command, setup_logging, words_of
from util.errors import RunStopped
from util.files import atomic_write, run_folder
from util.signals import Signals, handle_signals, status_of

log = logging.getLogger(__name__)

BATCH = 16 * 256**2  # pixels
SWITCHES = {"--overwrite", "--side_by_side"}


def main(argv: Sequence[str] | None = None) -> None:
    """Translate a film or a folder of frames; ValueError for a user's mistake."""
    args = parse(argv)
    setup_logging()
    out, keep = Path(args.OUT), args.frames
    film = bool(out.suffix) and not out.is_dir()
    if not film or keep:
        check_folder(Path(args.IN), keep or out, "--frames" if keep else "OUT")
    if not film and keep:
        raise ValueError(f"--frames {keep}: OUT {out} is a folder for the frames already")
    warn_of_pairs(Path(args.IN))
    with (
        contextlib.closing(open_source(Path(args.IN), args.fps)) as source,
        handle_signals() as signals,
    ):
        file, encoder = checked_film(out, args) if film else (None, "")
        translator = load(args, source)
        work = Work(translator, source, args.mask, signals)
        folder = keep if film else out
        if folder:
            files = source.files if isinstance(source, Images) else [args.IN]
            prepare_folder(folder, translator, args, files)
            work.translate_into(folder)
        if file:
            count = write_film(work, file, encoder, folder, args.side_by_side)
            log.info("%d frames: %s", count, file)
        else:
            log.info("%d frames: %s", len(list(folder.glob("*.png"))), folder)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed flags; `test_flags` holds those for test.py."""
    parser = OneLineParser(
        prog="python -m scripts.video", usage="%(prog)s [flags] IN OUT", description=__doc__
    )
    add = parser.add_argument
    add("--overwrite", action="store_true", help="replace a film, or frames of other flags")
    add("--side_by_side", action="store_true", help="each frame beside its translation")
    add("--fps", type=frame_rate, help="frames a second of a folder of frames; by default 25")
    add(
        "--frames",
        type=Path,
        metavar="FOLDER",
        help="keep translated frames there; after an interruption the same command goes on",
    )
    add("--mask", type=Path, help="mask, with a white hole, of all frames")
    words, flags = positionals(words_of(argv), SWITCHES)
    args, args.test_flags = parser.parse_known_args(flags)
    args.flags = parser.flags()
    if len(words) != 2:
        got = f"got {', '.join(words)}" if words else "got neither"
        raise ValueError(f"IN OUT: give a film or a folder of frames, and where to write; {got}")
    refuse_flags_of_test(args.test_flags, "a film has all its frames, one translation of each")
    args.IN, args.OUT = words
    return args


def warn_of_pairs(source: Path) -> None:
    """Warn of a folder of A|B images, which would be translated as they are."""
    files = make_dataset(source, flag="IN") if source.is_dir() else []
    if files and look_stitched(files, wide_is_enough=False, max_pixels=LARGE):
        log.warning("%s: looks like A|B images; each is translated as one image", source)


def frame_rate(word: str) -> Fraction:
    """Return a rate above 0, as 25, 29.97 or 30000/1001."""
    with contextlib.suppress(ValueError, ZeroDivisionError):
        if (rate := Fraction(word).limit_denominator(100_000)) > 0:  # as files hold it
            return rate
    raise argparse.ArgumentTypeError(f"{word!r}: expected a number above 0, as 25 or 30000/1001")


def checked_film(out: Path, args: argparse.Namespace) -> tuple[Path, str]:
    """Return the file to write, and its encoder; ValueError if it exists, or is the input."""
    file, encoder = chosen_file(out)
    if file.resolve() == Path(args.IN).resolve():
        raise ValueError(f"OUT {file}: is the input; choose another place")
    if file.exists() and not args.overwrite:
        raise ValueError(f"OUT {file}: exists; --overwrite replaces it")
    return file, encoder


def load(args: argparse.Namespace, source: Film | Images) -> Translator:
    """Load the run, for frames that keep their size unless flags say otherwise."""
    opt = run_options(args.test_flags, also=args.flags)
    if "name" not in opt.given:
        log.info("--name is not given: the run is %s", run_folder(opt))
    width, height = source.size
    defaults = {"preprocess": "none", "batch_size": max(1, BATCH // (width * height))}
    extra_flags = [f"--{name}={value}" for name, value in defaults.items() if name not in opt.given]
    opt = run_options([*args.test_flags, *extra_flags], also=args.flags)
    if opt.preprocess.endswith("crop"):
        raise ValueError(
            f"--preprocess {opt.preprocess}: cuts frames; use none, scale_width or fixed"
        )
    translator = Translator(opt)
    if isinstance(source, Images) and isinstance(translator.input, LabelInput):
        source.read = load_unconverted  # keeps class numbers
    if opt.output_nc > 4:
        raise ValueError(
            f"--output_nc {opt.output_nc}: a film has at most 4; use scripts.translate"
        )
    if translator.target and translator.target[0].dtype != "uint8":
        raise ValueError(
            f"--name {opt.name}: its targets are {translator.target[0].dtype}, and a film has 8 "
            f"bits; use scripts.translate"
        )
    return translator


class Work:
    """Translates the frames of a source, all with one noise."""

    def __init__(
        self, translator: Translator, source: Film | Images, mask: Path | None, signals: Signals
    ):
        self.translator, self.source, self.signals = translator, source, signals
        self.parts: dict[str, Any] = {"mask": itertools.repeat(mask)} if mask else {}

    def frames(self, what: str) -> Iterator[Frame]:
        """Yield the frames of the source, with a progress bar; end after a signal."""
        frames = self.source.frames()
        for frame in tqdm(frames, what, self.source.count, unit="frame", disable=None):
            if self.signals.received:
                return
            yield frame

    def translated(self, frames: Iterator[Frame]) -> Iterator[Image.Image]:
        """Yield the translation of each frame, in its size."""
        first, second = itertools.tee(frame.image for frame in frames)
        settings = {"name": "film", **self.parts}
        for fake, image in zip(self.translator.each(first, **settings), second, strict=True):
            output = fake if isinstance(fake, Image.Image) else Image.fromarray(fake)
            yield output if output.size == image.size else output.resize(image.size, Image.BICUBIC)

    def translate_into(self, folder: Path) -> None:
        """Translate the frames that a folder lacks; `RunStopped` after a signal."""
        missing = (
            (path, frame)
            for path, frame in zip(names_in(folder), self.frames("translating"), strict=False)
            if not path.exists()
        )
        paths, frames = itertools.tee(missing)
        images = self.translated(frame for _, frame in frames)
        for (path, _), image in zip(paths, images, strict=True):
            with atomic_write(path) as file:
                image.save(file, "PNG")
        self.stop_if_asked("; the same command goes on")

    def stop_if_asked(self, advice: str) -> None:
        """Raise `RunStopped` after a signal."""
        if self.signals.received:
            raise RunStopped(f"stopped{advice}", status_of(self.signals.received))


def write_film(
    work: Work, file: Path, encoder: str, folder: Path | None, side_by_side: bool
) -> int:
    """Write the translated frames, of a folder or made now, as a film; return their number.

    `RunStopped` after a signal: then there is no film.
    """
    source, count = work.source, 0
    shown = work.frames("writing")
    if folder:
        images = map(Image.open, names_in(folder))
    else:
        frames, shown = itertools.tee(shown)
        images = work.translated(frames)
    with contextlib.ExitStack() as stack:
        writer = None
        for frame, image in zip(shown, images, strict=folder is None):
            sheet = beside(frame.image, image) if side_by_side else image
            if writer is None:
                size = sheet.size
                writer = stack.enter_context(film_writer(file, encoder, source, size))
            writer.write(sheet, frame.time)
            count += 1
        again = "the same command goes on" if folder else "with --frames FOLDER it would go on"
        work.stop_if_asked(f" after {count} frames; no film was written; {again}")
    return count


def beside(left: Image.Image, right: Image.Image) -> Image.Image:
    """Return two images of one size side by side."""
    sheet = Image.new("RGB", (left.width + right.width, left.height))
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width, 0))
    return sheet


if __name__ == "__main__":
    raise SystemExit(run_command(main))
