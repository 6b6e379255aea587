"""Assign the images of a folder to train, val and test, count them, and give them unique names."""

import argparse
import logging
import re
from collections import Counter
from pathlib import Path

import numpy as np

from options.parser import number
from util.metrics import FEW_IMAGES
from util.same_names import name_key
from util.split_groups import group_of, group_pattern, shared_groups

log = logging.getLogger(__name__)

PHASES = ("train", "val", "test")
# Names of folders, in any case, and their phases.
ALIASES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
# Such as train2017, test_images, trainA.
LIKE_A_PHASE = re.compile(rf"({'|'.join(ALIASES)})([ab]|[^a-z].*)?")
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


def phases_of(names: list[Path], args: argparse.Namespace) -> list[str]:
    """Return the phase of each image, drawn at random; images of a group (--group) share theirs."""
    groups = groups_of(names, args.group) if args.group else list(map(str, names))
    unique = list(dict.fromkeys(groups))
    order = np.random.default_rng(args.seed).permutation(len(unique))
    phases = split(len(unique), args.shares)
    phase_by_group = {unique[n]: phases[place] for n, place in enumerate(np.argsort(order))}
    return [phase_by_group[group] for group in groups]


def groups_of(names: list[Path], pattern: str) -> list[str]:
    """Return the group of each image, by the regular expression of --group."""
    compiled = group_pattern(pattern)
    return [group_of(name, compiled) for name in names]


def one_phase_of_each_group(
    names: list[Path], phases: list[str | None], made: dict[Path, str], pattern: str
) -> list[str | None]:
    """Return the phases, of a group whose images are partly `made` the phase of these.

    `phases` are None where the images lie in folders of their phases, which `--group` does not see.
    ValueError if images of a group are in several of them.
    """
    paths = [
        name if phase else Path(*name.parts[1:]) for name, phase in zip(names, phases, strict=True)
    ]
    groups = groups_of(paths, pattern)
    phase_by_group = {
        group: made[name] for name, group in zip(names, groups, strict=True) if name in made
    }
    phases = [
        phase and phase_by_group.get(group, phase)
        for phase, group in zip(phases, groups, strict=True)
    ]
    groups_by_phase: dict[str, list[str]] = {phase: [] for phase in PHASES}
    for name, phase, group in zip(names, phases, groups, strict=True):
        groups_by_phase[made.get(name) or phase or name.parts[0]].append(group)
    for group, group_phases in shared_groups(groups_by_phase).items():
        raise ValueError(f"--group {pattern}: {group} has images in {' and '.join(group_phases)}")
    return phases


def own_phases(names: list[Path], folder: Path, split: str | None) -> dict[str, str]:
    """Return the phase of each folder at the top of `names`, {} if they are to be split.

    ValueError if only some of the images are in such folders, so that a random split would mix
    training images and test images. An explicit --split (`split`) splits even those.
    """
    tops = {name.parts[0] for name in names if len(name.parts) > 1}
    phases = {top: ALIASES[top.casefold()] for top in sorted(tops) if top.casefold() in ALIASES}
    others = [name for name in names if len(name.parts) == 1 or name.parts[0] not in phases]
    have = ", ".join(f"{top}/" for top in phases)
    if phases and not others:
        if split is not None:
            raise ValueError(
                f"--split {split}: IN {folder} has {have} already: leave out --split, or give one "
                f"of these folders as IN"
            )
        if len(set(phases.values())) < len(phases):
            raise ValueError(f"IN {folder}: of {have} two are the same phase; join them")
        return phases
    if split is not None:
        return {}
    fix = f"or split all images at random with --split {SHARES}"
    if phases:
        odd = f"{others[0].parts[0]}{'/' * (len(others[0].parts) > 1)}"
        raise ValueError(
            f"IN {folder}: has {have} and {odd} beside them ({len(others)} images are in none of "
            f"these folders); move the others away or into them, {fix}"
        )
    lookalikes = (
        p for name in names for p in name.parents if LIKE_A_PHASE.fullmatch(p.name.casefold())
    )
    if (part := next(lookalikes, None)) is not None:
        raise ValueError(
            f"IN {folder}: {part}/ looks like a part of a split; call it {folder}/train, "
            f"{folder}/val or {folder}/test, or give another IN, {fix}"
        )
    return {}


def unique_names(names: list[Path]) -> list[Path]:
    """Return a unique .png name for each image; 1.jpg and 1.png keep their extensions.

    Names that some file systems cannot tell apart, such as A and a, count as equal.
    """
    stems = Counter(_key(name.with_suffix("")) for name in names)
    by_key: dict[str, Path] = {}
    for name in names:
        base = name.with_suffix("") if stems[_key(name.with_suffix(""))] == 1 else name
        unique, n = base.with_name(f"{base.name}.png"), 1
        while _key(unique) in by_key:
            n += 1
            unique = base.with_name(f"{base.name}_{n}.png")
        by_key[_key(unique)] = unique
    return list(by_key.values())


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


def say_counts(out: Path) -> None:
    """Log how many images each phase of a folder holds, and which phases hold few."""
    numbers = {phase: len(list((out / phase).rglob("*.png"))) for phase in PHASES}
    text = ", ".join(f"{number} images for {phase}" for phase, number in numbers.items())
    log.info("%s holds %s", out, text)
    if few := [phase for phase in ("val", "test") if numbers[phase] < FEW_IMAGES]:
        log.warning(
            "%s: fewer than %d images are too few for reliable scores (--split)",
            *(" and ".join(few), FEW_IMAGES),
        )
