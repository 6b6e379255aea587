"""A folder of translated frames, from which an interrupted command goes on."""

import argparse
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path

from translator import Translator
from util.checkpoint import fingerprint
from util.files import make_folder
from util.hashes import hash_files

MADE_BY = "made_by.json"  # says what the frames were made from


def check_folder(source: Path, folder: Path, flag: str) -> None:
    """Raise a ValueError for a folder for frames that is the input or lies in it, or that this
    command has not made.
    """
    if folder.resolve().is_relative_to(source.resolve()):
        raise ValueError(f"{flag} {folder}: is the input, or lies in it; choose another folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MADE_BY).is_file():
        raise ValueError(f"{flag} {folder}: holds other files; choose a new folder")


def names_in(folder: Path) -> Iterator[Path]:
    """Yield the names of frames in a folder: 000001.png, 000002.png, …"""
    return (folder / f"{number:06d}.png" for number in itertools.count(1))


def prepare_folder(
    folder: Path, translator: Translator, args: argparse.Namespace, files: list[str]
) -> None:
    """Make a folder for frames, and note what they are made from: the `files` of IN, and flags.

    ValueError if it holds frames that were made from something else, unless --overwrite.
    """
    nets = translator.model.nets
    origin = {
        "input": [str(Path(args.IN).resolve()), hash_files(files)],
        "mask": args.mask and [str(args.mask.resolve()), hash_files([args.mask])],
        "flags": translator.opt.non_default_flags(),
        "weights": fingerprint(net.state_dict() for net in nets.values()),
    }
    text = json.dumps(origin, indent=1) + "\n"
    note = make_folder(folder, "--frames" if args.frames else "OUT") / MADE_BY
    frames = [path for path in folder.glob("*.png") if re.fullmatch(r"\d{6,}", path.stem)]
    if frames and note.read_text(encoding="utf-8") != text:
        if not args.overwrite:
            raise ValueError(
                f"{folder}: holds frames of another film, run or flags; choose another folder, or "
                f"--overwrite"
            )
        for path in frames:
            path.unlink()
    note.write_text(text, encoding="utf-8")
