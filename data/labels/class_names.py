"""The names of the classes of label maps."""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from data.builtin_facades import PALETTE, is_builtin
from util.files import run_folder
from util.palette import (
    SAME_COLOUR,
    as_hex,
    from_hex,
    nearest_and_distance,
    nearest_colour,
    read_class_names,
    read_colour_names,
    shown_colours,
)

log = logging.getLogger(__name__)

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


def names_of_colours(opt: Any, colours: np.ndarray) -> list[str]:
    """Return the names of a run's label colours (K, 3) uint8, "" for one without.

    They are those of the nearest colours in classes.txt, in the run's folder or in --dataroot, or
    of the built-in facades. A warning says which names of a file have no colour.
    """
    if not len(colours):
        return []
    for folder in (run_folder(opt), Path(opt.dataroot)):
        if named := read_colour_names(folder / "classes.txt"):
            names = nearest_names(colours, named)
            if unused := [f"{code} {name}" for code, name in named.items() if name not in names]:
                log.warning(
                    "%s: the label maps that were looked at do not have %s",
                    *(folder / "classes.txt", ", ".join(unused)),
                )
            return names
    if not is_builtin(opt.dataroot):
        return [""] * len(colours)
    return nearest_names(colours, dict(zip(as_hex(BUILTIN), PALETTE, strict=True)))


def nearest_names(colours: np.ndarray, named: dict[str, str]) -> list[str]:
    """Return the name of the nearest "#rrggbb" of each colour (K, 3), "" if none is near."""
    nearest, distances = nearest_and_distance(colours[None], from_hex(list(named)))
    names = [list(named.values())[i] for i in nearest[0]]
    return [n if d <= SAME_COLOUR else "" for n, d in zip(names, distances[0], strict=True)]


def named_classes(opt: Any) -> list[tuple[str, str]]:
    """Return the colour "#rrggbb" that shows each class of a run, and its name or else number."""
    colours = as_hex(shown_colours(opt)[:-1])
    names = class_names(opt) or [""] * len(colours)
    return [(c, name or str(n)) for n, (c, name) in enumerate(zip(colours, names, strict=True))]
