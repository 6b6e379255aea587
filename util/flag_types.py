"""Types of flags: functions that argparse calls with the text of a value."""

import argparse
import math
from collections.abc import Callable
from typing import Any


def number(
    kind: type, at_least: float = -math.inf, at_most: float = math.inf, infinite: bool = False
) -> Callable[[str], Any]:
    """Return an argparse type: a finite `kind` in [at_least, at_most]."""

    def convert(text: str) -> Any:
        if infinite and text.lower() == "inf":
            return math.inf
        try:
            value = kind(text)
            finite = math.isfinite(value)
        except OverflowError:  # a whole number of hundreds of digits
            finite = False
        except ValueError:
            noun = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text!r} is not {noun}") from None
        if not finite:
            raise argparse.ArgumentTypeError(f"{text} is not a finite number")
        if not at_least <= value <= at_most:
            limit = f"at least {at_least:g}" if value < at_least else f"at most {at_most:g}"
            raise argparse.ArgumentTypeError(f"{text} is out of range: {limit}")
        return value

    return convert


def names_of(*known: str) -> Callable[[str], list[str]]:
    """Return an argparse type: some of the known names, separated by commas or spaces."""

    def convert(text: str) -> list[str]:
        names = list(dict.fromkeys(text.replace(",", " ").split()))
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(
                f"{unknown[0]!r} is unknown; known are {', '.join(known)}"
            )
        if not names:
            raise argparse.ArgumentTypeError(f"name one of {', '.join(known)}")
        return names

    return convert


def pixel_range(text: str) -> str | list[float]:
    """Return "auto", "percentile", or the two numbers of "LOW,HIGH"."""
    if text in ("auto", "percentile"):
        return text
    try:
        low, high = (float(part) for part in text.strip("[] ").split(","))
        ordered = math.isfinite(low) and math.isfinite(high) and low < high
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not auto, percentile or LOW,HIGH, such as -1000,3000"
        ) from None
    if not ordered:
        raise argparse.ArgumentTypeError(f"{text!r}: LOW must be less than HIGH")
    return [low, high]


def index_range(text: str) -> list[int]:
    """Return the two whole numbers of "FIRST,LAST"; negative ones count from the end."""
    values = [number(int)(part) for part in text.strip("[] ").split(",")]
    if len(values) != 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not FIRST,LAST, such as 20,-21")
    first, last = values
    if first > last and (first < 0) == (last < 0):
        raise argparse.ArgumentTypeError(f"{text!r}: FIRST must be at most LAST")
    return values


def gpu_list(text: str) -> list[int]:
    """Return the GPU indices in "0", "0,1,2" or "-1" (CPU) as a list."""
    try:
        ids = [int(part) for part in text.strip("[] ").split(",") if part.strip()]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list such as 0 or 0,1 or -1") from None
    return [i for i in ids if i >= 0]
