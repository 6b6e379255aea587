"""From the values of files to the numbers of networks in [-1, 1], and back."""

import numpy as np

Range = tuple[float, float]  # the values that become -1 and 1


def to_network(values: np.ndarray, value_range: Range) -> np.ndarray:
    """Return values as float32 in [-1, 1]; those outside the range are clipped, NaN stays, and
    infinite ones become NaN.
    """
    low, high = value_range
    scaled = (np.where(np.isfinite(values), values, np.nan).astype(np.float64) - low) / (high - low)
    return (scaled * 2 - 1).clip(-1, 1).astype(np.float32)


def padded(array: np.ndarray, least: int) -> np.ndarray:
    """Return an array (H, W, C) with NaN around it where it is smaller than `least` pixels."""
    lacking = [max(0, least - n) for n in array.shape[:2]]
    around = [*((n // 2, n - n // 2) for n in lacking), (0, 0)]
    return np.pad(array, around, constant_values=np.nan) if any(lacking) else array


def from_network(image: np.ndarray, value_range: Range) -> np.ndarray:
    """Return numbers in [-1, 1] as values, float64; numbers outside are clipped, NaN stays."""
    low, high = value_range
    return (image.astype(np.float64).clip(-1, 1) + 1) / 2 * (high - low) + low


def in_type(values: np.ndarray, dtype: str, no_data: float | None, low: float) -> np.ndarray:
    """Return values in a number type, NaN as `no_data`; without one as NaN, or of integers as
    `low`. A value that would be `no_data` by chance becomes the next one.
    """
    kind, lacking = np.dtype(dtype), np.isnan(values)
    if kind.kind == "f":
        array = values.astype(kind)
    else:
        limits = np.iinfo(kind)
        array = np.rint(np.where(lacking, low, values)).clip(limits.min, limits.max).astype(kind)
        if no_data is not None and not (no_data % 1 == 0 and limits.min <= no_data <= limits.max):
            no_data = None  # the type cannot hold it
    if no_data is not None:
        array[array == no_data] = beside(no_data, kind)
        array[lacking] = no_data
    return array


def beside(value: float, kind: np.dtype) -> float:
    """Return the next number of a type, towards 0; of 0, upwards."""
    if kind.kind == "f":
        return np.nextafter(kind.type(value), kind.type(not value))
    return value + (1 if value <= 0 else -1)
