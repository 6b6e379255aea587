"""The colours of classes: in label maps whose files are coloured, and to show class numbers."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

MOST = 256  # colours of a palette
UNKNOWN = (224, 224, 192)  # shows pixels of no known class, as in Pascal VOC
ROWS = 4096  # colours of an image that are compared at a time


def default_colours(count: int) -> np.ndarray:
    """Return the colours of Pascal VOC for the classes 0, 1, …, as (count, 3) uint8.

    The bits of a number go by turns to red, green and blue, the lowest bit to the highest.
    """
    numbers = np.arange(count)[:, None] >> np.arange(24)  # bit i of each number comes first
    bits = (numbers & 1).reshape(count, 8, 3)
    return (bits << np.arange(7, -1, -1)[:, None]).sum(1).astype(np.uint8)


def shown_colours(opt: Any) -> np.ndarray:
    """Return the colours that show a run's classes, as (label_nc + 1, 3) uint8.

    They are --label_colours, or else those of Pascal VOC; the last one is for unknown pixels.
    """
    colours = np.concatenate([default_colours(opt.label_nc), [UNKNOWN]]).astype(np.uint8)
    if isinstance(opt.label_colours, list):
        own = from_hex(opt.label_colours)
        colours[: len(own)] = own
    return colours


def in_colours(labels: Tensor, colours: np.ndarray) -> Tensor:
    """Return class numbers (N, 1, H, W) as colours, (N, 3, H, W) float32 in [-1, 1]."""
    table = torch.from_numpy(colours).to(labels.device).float() / 127.5 - 1
    table = (table + 1e-6).clamp_(max=1)  # `tensor2im` truncates: each colour stays itself
    return table[labels[:, 0]].permute(0, 3, 1, 2)


def nearest_colour(image: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Return the index (H, W) int64 of the nearest colour of each pixel of (H, W, 3) uint8."""
    return nearest_and_distance(image, colours)[0]


def nearest_and_distance(image: np.ndarray, colours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the index of each pixel's nearest colour, and its distance, (H, W) both.

    The distance is Euclidean, in pixel values. Of equally near colours the first counts.
    """
    codes, inverse = np.unique(packed(image), return_inverse=True)
    unique, palette = unpacked(codes).astype(np.int32), colours.astype(np.int32)
    index, squared = np.empty(len(codes), np.int64), np.empty(len(codes), np.int64)
    for i in range(0, len(codes), ROWS):
        distances = ((unique[i : i + ROWS, None] - palette) ** 2).sum(2)
        index[i : i + ROWS], squared[i : i + ROWS] = distances.argmin(1), distances.min(1)
    shape = image.shape[:2]
    return index[inverse].reshape(shape), np.sqrt(squared)[inverse].reshape(shape)


def packed(image: np.ndarray) -> np.ndarray:
    """Return the colours (…, 3) uint8 as one number each, (…) int32."""
    return image.astype(np.int32) @ np.int32([1 << 16, 1 << 8, 1])


def unpacked(codes: np.ndarray) -> np.ndarray:
    """Return the colours of `packed`, (…, 3) uint8."""
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], -1).astype(np.uint8)


def as_hex(colours: np.ndarray) -> list[str]:
    """Return colours (K, 3) uint8 as "#rrggbb"."""
    return [f"#{code:06x}" for code in packed(colours).tolist()]


def from_hex(texts: list[str]) -> np.ndarray:
    """Return colours "#rrggbb" as (K, 3) uint8."""
    return unpacked(np.int32([int(text.removeprefix("#"), 16) for text in texts]))


NAMED = re.compile(r"(?:(\d+)|(#[0-9a-fA-F]{6}))\s*[:,\s]\s*(\S.*)")
SAME_COLOUR = 32.0  # greatest distance, in pixel values, of a colour in a file from a class's


def read_class_names(path: Path, colours: np.ndarray) -> list[str]:
    """Return the names of the classes of `colours` (K, 3) from a file, "" for one without a name.

    The file has one name a line: those of the classes 0, 1, …, or `NUMBER: NAME`, or
    `#rrggbb NAME`; lines that start with "# " are comments. ValueError names the file and the
    line; [] if there is no such file.
    """
    if not path.is_file():
        return []
    names, line_of = {}, {}
    for place, line in enumerate(_lines_of(path)):
        try:
            number, name = _class_in(line, place, colours)
            if number in names:
                raise ValueError(f"class {number} has a name already, {names[number]!r}")
        except ValueError as error:
            raise ValueError(f"{path}: {line!r}: {error}") from None
        names[number], line_of[number] = name, line
    if names and (last := max(names)) >= len(colours):
        raise ValueError(
            f"{path}: {line_of[last]!r} names class {last}, but the classes are 0 to "
            f"{len(colours) - 1}; a training with --label_nc {last + 1} has it"
        )
    return [names.get(number, "") for number in range(len(colours))]


def read_colour_names(path: Path) -> dict[str, str]:
    """Return the names by colour "#rrggbb" in such a file; {} if there is none.

    Its other lines, which name classes by their numbers, are left out. ValueError names the file
    and a line whose colour has another name already, or has none.
    """
    names: dict[str, str] = {}
    for line in _lines_of(path) if path.is_file() else ():
        if not line.startswith("#"):
            continue
        if not (match := NAMED.fullmatch(line)):
            raise ValueError(f"{path}: {line!r}: expected #rrggbb and a name")
        if names.setdefault(code := match[2].lower(), match[3]) != match[3]:
            raise ValueError(f"{path}: {line!r}: {code} has a name already, {names[code]!r}")
    return names


def _lines_of(path: Path) -> list[str]:
    """Return the lines of a file of names, without comments."""
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("# ")]


def _class_in(line: str, place: int, colours: np.ndarray) -> tuple[int, str]:
    """Return the number and the name of a line's class; ValueError says what is wrong."""
    match = NAMED.fullmatch(line)
    if not match:
        if line.startswith("#"):
            raise ValueError("expected #rrggbb and a name")
        return place, line
    digits, colour, name = match.groups()
    if digits:
        return int(digits), name
    nearest, distance = nearest_and_distance(from_hex([colour])[None], colours)
    if distance.item() > SAME_COLOUR:
        nearest_hex = as_hex(colours)[nearest.item()]
        raise ValueError(f"no class has this colour; the nearest is {nearest_hex}")
    return int(nearest.item()), name
