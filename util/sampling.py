"""Which of many samples are looked at."""

import numpy as np


def evenly_spaced(count: int, most: int) -> list[int]:
    """Return at most `most` of the indices 0 … count − 1, evenly spaced, both ends included."""
    return np.linspace(0, count - 1, min(most, count)).astype(int).tolist()
