"""The names of the classes of label maps."""

from pathlib import Path
from typing import Any

import numpy as np

from data.builtin_facades import PALETTE, is_builtin
from util.files import run_folder
from util.palette import as_hex, nearest_colour, read_class_names, shown_colours

BUILTIN = np.uint8(list(PALETTE.values()))  # colours of the classes of the built-in facades


def class_names(opt: Any) -> list[str]:
    """Return the names of a run's classes, "" for one without; [] if they have none.

    They are read from classes.txt in the run's folder or in --dataroot.
    """
    colours = shown_colours(opt)[:-1]
    for folder in (run_folder(opt), Path(opt.dataroot)):
        if names := read_class_names(folder / "classes.txt", colours):
            return names
    if not is_builtin(opt.dataroot):
        return []
    names = list(PALETTE)
    return [names[i] for i in nearest_colour(colours[None], BUILTIN)[0]]


def named_classes(opt: Any) -> list[tuple[str, str]]:
    """Return the colour "#rrggbb" that shows each class of a run, and its name or else number."""
    colours = as_hex(shown_colours(opt)[:-1])
    names = class_names(opt) or [""] * len(colours)
    return [(c, name or str(n)) for n, (c, name) in enumerate(zip(colours, names, strict=True))]
