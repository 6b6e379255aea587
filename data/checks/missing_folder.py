"""The error for a --dataroot that lacks a dataset's folders, with a fix that is right."""

import difflib
import os
from pathlib import Path
from typing import Any

import numpy as np

from data.checks.side_statistics import CONTINUOUS, seam_contrast
from data.files.image_files import halves, load_image_or_array
from data.files.pixel_limit import MAX_PIXELS
from data.image_folder import (
    by_stem,
    describe,
    is_hidden,
    is_image_file,
    list_images,
    side_folders,
)
from data.transforms import pixels
from util.command import finds_modules, run_line
from util.names import command_line

SAMPLE = 8  # images that are looked at for a seam
LEAST_WIDTH = 16  # pixels of an A|B image


def missing_folder(opt: Any, expected: str, home: str | None = "") -> ValueError:
    """Return the error for a dataroot without the `expected` folders, with a probable fix.

    `home` is the folder for loose images, by default the phase; None: the dataset has no phases.
    """
    root = Path(opt.dataroot)
    if root.is_file() and not opt.isTrain:
        is_default = finds_modules() and opt.checkpoints_dir == "./checkpoints"
        folder_flags = [] if is_default else ["--checkpoints_dir", Path(opt.checkpoints_dir)]
        words = ("--name", opt.name, *folder_flags, root, Path("OUTPUT.png"))
        line = run_line("scripts.translate", *words)
        return ValueError(f"--dataroot {root}: is a file, not a folder; for one image: {line}")
    if root.is_file():
        return ValueError(f"--dataroot {root}: is a file; give the folder that holds {expected}")
    if not root.is_dir():
        expanded = Path(os.path.expanduser(root))
        nearest = expanded if expanded.is_dir() else nearest_folder(root)
        fits = nearest and (home is None or holds_data(nearest, opt.phase, opt))
        hint = f"; did you mean {nearest}?" if fits else ""
        return ValueError(f"--dataroot {root}: no such folder{hint} (expected {expected})")
    fix = "" if home is None else _nearest_fix(root, opt, home or opt.phase)
    return ValueError(f"--dataroot {root}: expected {expected}, found {describe(root)}{fix}")


def holds_data(root: Path, phase: str, opt: Any) -> bool:
    """Return whether a folder has the phase's images as --dataset_mode needs them.

    A|B images must look like two halves: single images must never be cut in two.
    """
    side_images = [list_images(folder).images for folder in side_folders(root, phase).values()]
    images = list_images(root / phase).images if (root / phase).is_dir() else []
    if opt.dataset_mode == "unaligned" and side_images:
        return all(side_images) and (len(side_images) == 2 or not opt.isTrain)
    if opt.dataset_mode == "labels" and not images:
        trees = [root / "gtFine" / phase, *root.glob(f"annotations/{phase}*")]
        return any(side_images) or any(folder.is_dir() for folder in trees)
    if opt.dataset_mode == "aligned" and not images and len(side_images) == 2:
        return have_partners(*side_folders(root, phase).values())
    return look_stitched(images) if opt.dataset_mode in ("aligned", "unaligned") else bool(images)


def check_not_two_folders(folder: Path) -> None:
    """Raise ValueError if a folder for A|B images holds pairs of single images in two folders."""
    nested = []
    for entry in os.scandir(folder):  # knows what an entry is, without a call for each file
        if is_image_file(entry.name):
            return
        if entry.is_dir() and not is_hidden(entry.name):
            nested.append(folder / entry.name)
    if len(nested) != 2:
        return
    nested.sort()
    A, B = (by_stem(path, list_images(path).images) for path in nested)
    if A.keys() == B.keys() and not look_stitched([path for paths in A.values() for path in paths]):
        A_place, B_place = (f"{folder}{side}" for side in "AB")
        raise ValueError(
            f"--dataroot {folder.parent}: {nested[0]} and {nested[1]} hold pairs of single images, "
            f"not A|B images; move them to {A_place} and {B_place}"
        )


def have_partners(A: Path, B: Path) -> bool:
    """Return whether A holds images, and B one of equal name for each of them."""
    A_names, B_names = (by_stem(folder, list_images(folder).images).keys() for folder in (A, B))
    return bool(A_names) and A_names <= B_names


def look_stitched(
    paths: list[str], wide_is_enough: bool = True, max_pixels: float = MAX_PIXELS
) -> bool:
    """Return whether some of the images look like A|B images, with a seam in the middle.

    Of images without a seam, such as drawings on white, only their shape can tell. Images with
    more than `max_pixels` pixels are not looked at.
    """
    contrasts, wide = [], []
    for path in paths[:: max(1, -(-len(paths) // SAMPLE))]:
        try:
            image = load_image_or_array(path, max_pixels)
        except ValueError:
            continue
        if image.width % 2 or image.width < LEAST_WIDTH:
            return False
        wide.append(image.width >= 1.5 * image.height)
        left, right = (pixels(half).array() for half in halves(image, path))
        contrast = seam_contrast(left, right)
        contrasts += [] if contrast is None else [contrast]
    if contrasts:
        return bool(np.median(contrasts) >= CONTINUOUS)
    return wide_is_enough and bool(wide) and all(wide)


def _nearest_fix(root: Path, opt: Any, home: str) -> str:
    phase, folders = opt.phase, [p for p in root.iterdir() if p.is_dir() and not is_hidden(p.name)]
    A, B, mode = root / "A", root / "B", opt.dataset_mode
    sides = [side for side in "AB" if (root / f"{phase}{side}").is_dir()]
    inputs = [side for side in sides if side != "B"] or sorted(root.glob(f"{phase}A[1-9]"))
    if mode == "measurements" and bool(inputs) != ("B" in sides):
        return f"; {root / phase}{'B' if inputs else 'A'} is missing"
    if sides in (["A"], ["B"]) and mode in ("aligned", "unaligned"):
        return f"; {root / phase}{'B' if sides == ['A'] else 'A'} is missing"
    if mode == "aligned" and A.is_dir() and B.is_dir() and have_partners(A, B):
        words = ("--task", "combine", root, Path(f"{root}_pairs"))
        return f"; try {run_line('scripts.make_pairs', *words)}"
    is_phase = root.name in {f"{phase}{end}" for end in _ENDINGS}
    if is_phase and holds_data(root.parent, phase, opt):
        hint = _alone(opt) if _loose(root) else ""
        return f"; try {command_line(['--dataroot', root.parent])}{hint}"
    if images := _loose(root):
        return _place_for(images, root, opt, home)
    if mode == "unaligned" and _loose(A) and _loose(B):
        return f"; try to rename {A} to {phase}A and {B} to {phase}B"
    usable = [p for p in folders if holds_data(p, phase, opt)]
    if len(usable) == 1:
        return f"; try {command_line(['--dataroot', usable[0]])}"
    if phase_fix := _other_phase(root, opt, [folder.name for folder in folders]):
        return phase_fix
    image_folders = sorted(folder for folder in folders if _loose(folder))
    if mode == "aligned" and len(image_folders) == 2 and have_partners(*image_folders):
        fix = f"rename the folder of inputs to {root / phase}A and that of targets to {phase}B"
        return f"; {image_folders[0].name}/ and {image_folders[1].name}/ hold pairs: {fix}"
    return ""


def _other_phase(root: Path, opt: Any, folders: list[str]) -> str:
    """Return how to use a phase that is there: one with a similar name, else an equal one."""
    phase = opt.phase
    phases = {name.removesuffix(end) for name in folders for end in _ENDINGS}
    candidates = difflib.get_close_matches(phase, phases, n=max(1, len(phases)))
    candidates += next((names for names in _EQUAL_PHASES if phase in names), ())
    fixed = phase == "val" and opt.isTrain  # the phase of a training's validation
    if not fixed:
        candidates += ("train",) if opt.isTrain else ("test", "val", "train")
    for name in candidates:
        if name and name != phase and holds_data(root, name, opt):
            if fixed or name.lower() == phase:
                ends = [end for end in _ENDINGS if f"{name}{end}" in folders]
                moves = [f"{root / name}{end} to {root / phase}{end}" for end in ends]
                return f"; try to rename {' and '.join(sorted(moves))}"
            note = ", whose images G has learnt" if name == "train" and not opt.isTrain else ""
            return f"; try {command_line(['--phase', name])}{note}"
    return "; move some of the training images there, or leave these flags out" if fixed else ""


_ENDINGS = ("", "A", "B", "_A", "_B", "_label", "_img")
_EQUAL_PHASES = (("val", "validation", "valid"), ("test", "testing"), ("train", "training"))


def _place_for(loose: list[str], root: Path, opt: Any, home: str) -> str:
    """Return where images that lie in the root itself belong."""
    if opt.dataset_mode == "unaligned":
        B_folder = root / f"{opt.phase}B"
        return f"; try to move them into {root / home}, the other set into {B_folder}{_alone(opt)}"
    if opt.dataset_mode == "aligned" and not look_stitched(loose):
        command = run_line("scripts.make_pairs", "--task", "edges", root, Path(f"{root}_pairs"))
        return (
            f"; they do not look like A|B images: move the images A into {root / opt.phase}A and B "
            f"of equal names into {root / opt.phase}B{_alone(opt)}; if they are all "
            f"targets, this makes edges as their inputs: {command}"
        )
    return f"; try to move them into {root / home}{_alone(opt)}"


def _alone(opt: Any) -> str:
    if opt.isTrain:
        return ""
    flag = "--label_dir" if opt.dataset_mode == "labels" else "--model test"
    return f", or {flag} if they are inputs alone"


def _loose(folder: Path) -> list[str]:
    """Return the images in a folder itself."""
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    return [str(path) for path in entries if is_image_file(path.name) and path.is_file()]


def nearest_folder(path: Path) -> Path | None:
    """Return the existing folder beside `path` with the most similar name."""
    parent = path.parent
    names = [p.name for p in parent.iterdir() if p.is_dir()] if parent.is_dir() else []
    matches = difflib.get_close_matches(path.name, names, n=1)
    return parent / matches[0] if matches else None
