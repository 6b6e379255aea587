"""The error for a --dataroot that lacks a dataset's folders, with a probable fix."""

import difflib
from pathlib import Path
from typing import Any

from data.image_folder import describe, is_image_file
from util.command import run_line


def missing_folder(opt: Any, expected: str, home: str | None = "") -> ValueError:
    """Return the error for a dataroot without the `expected` folders, with a probable fix.

    `home` is the folder for loose images, by default the phase; None: the dataset has no phases.
    """
    root = Path(opt.dataroot)
    if not root.is_dir():
        near = nearest_folder(root)
        hint = f"; did you mean {near}?" if near else ""
        return ValueError(f"--dataroot {root}: no such folder{hint} (expected {expected})")
    fix = "" if home is None else _nearest_fix(root, opt, home or opt.phase)
    return ValueError(f"--dataroot {root}: expected {expected}, found {describe(root)}{fix}")


def _nearest_fix(root: Path, opt: Any, home: str) -> str:
    phase, loose = opt.phase, any(is_image_file(p.name) for p in root.iterdir())
    alone = ", or --model test if they are inputs alone" if loose and not opt.isTrain else ""
    if all((root / side).is_dir() for side in "AB") and opt.dataset_mode == "aligned":
        words = ("--task", "combine", root, Path(f"{root}_pairs"))
        return f"; try {run_line('scripts.make_pairs', *words)}"
    if root.name == phase:
        return f"; try --dataroot {root.parent}{alone}"
    if loose:
        return f"; try to move them into {root / home}{alone}"
    below = [p for p in root.iterdir() if (p / home).is_dir() or (p / phase).is_dir()]
    if len(below) == 1:
        return f"; try --dataroot {below[0]}"
    sides = (f"{phase}A", f"{phase}B")  # a folder of one side is not a phase
    there = [p.name for p in root.iterdir() if p.is_dir() and p.name not in sides]
    near = difflib.get_close_matches(phase, there, n=1)
    return f"; try --phase {near[0]}" if near else ""


def nearest_folder(path: Path) -> Path | None:
    """Return the existing folder beside `path` with the most similar name."""
    parent = path.parent
    names = [p.name for p in parent.iterdir() if p.is_dir()] if parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=1)
    return parent / near[0] if near else None
