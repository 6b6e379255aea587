"""Which of many samples are looked at."""

import numpy as np


def evenly_spaced(count: int, most: int) -> list[int]:
    """Return at most `most` of the indices 0 … count − 1, evenly spaced, both ends included."""
    return np.linspace(0, count - 1, min(most, count)).astype(int).tolist()


def first_of_parts(count: int, most: int) -> list[int]:
    """Return the first index of each of at most `most` equal parts of 0 … count − 1."""
    parts = min(count, most)
    return [part * count // parts for part in range(parts)]
