"""Assign the images of a folder to train, val and test, and give them unique names."""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

from options.parser import number
from util.same_names import name_key

PHASES = ("train", "val", "test")
SHARES = "0.8,0.1,0.1"


def shares_of(text: str) -> list[float]:
    """Return the three fractions in the text of --split."""
    try:
        shares = [number(float, 0, 1)(part) for part in text.split(",")]
    except argparse.ArgumentTypeError:
        shares = []
    if len(shares) != 3 or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(
            f"--split {text}: must be three fractions that add up to 1, such as {SHARES}"
        )
    return shares


def phases_of(names: list[Path], args: argparse.Namespace) -> list[str] | list[None]:
    """Return the phase of each image, or None for all if their folders are the phases."""
    folders = {name.parts[0] for name in names}
    if folders <= set(PHASES):
        if args.own_split:
            have = "/, ".join(sorted(folders))
            raise ValueError(
                f"--split {args.split}: IN {args.source} has {have}/ already: "
                f"leave out --split, or give one of these folders as IN"
            )
        return [None] * len(names)
    order = np.random.default_rng(args.seed).permutation(len(names))
    shares = split(len(names), args.shares)
    return [shares[place] for place in np.argsort(order)]


def unique_names(names: list[Path]) -> list[Path]:
    """Return a unique .png name for each image; 1.jpg and 1.png keep their extensions.

    Names that some file systems cannot tell apart, such as A and a, count as equal.
    """
    stems = Counter(_key(name.with_suffix("")) for name in names)
    found: dict[str, Path] = {}
    for name in names:
        base = name.with_suffix("") if stems[_key(name.with_suffix(""))] == 1 else name
        unique, n = base.with_name(f"{base.name}.png"), 1
        while _key(unique) in found:
            n += 1
            unique = base.with_name(f"{base.name}_{n}.png")
        found[_key(unique)] = unique
    return list(found.values())


def _key(path: Path) -> str:
    return name_key(path.as_posix())


def split(count: int, shares: list[float]) -> list[str]:
    """Return a phase for each of `count` images; if possible, every nonzero share gets one."""
    numbers = [int(count * share) for share in shares]
    wanting = sorted(range(3), key=lambda i: numbers[i] - count * shares[i])
    for i in wanting[: count - sum(numbers)]:
        numbers[i] += 1
    enough = count >= sum(share > 0 for share in shares)
    for i, share in enumerate(shares):
        if enough and share > 0 and numbers[i] == 0:
            numbers[numbers.index(max(numbers))] -= 1
            numbers[i] = 1
    return [phase for phase, n in zip(PHASES, numbers, strict=True) for _ in range(n)]
