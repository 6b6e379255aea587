"""The value ranges of high-bit-depth images: which values become -1 and 1, per side."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from data.image_files import load_image_or_array
from data.image_types import HighDepthImage, ImageLike, StoredType
from util.distributed import barrier, is_main_process
from util.errors import one_line
from util.files import atomic_write, make_folder, run_folder

SAMPLE = 64  # images for the percentiles
PERCENTILES = (0.5, 99.5)
StoredRange = tuple[StoredType, float, float]


def fit_value_ranges(
    files_by_side: dict[str, list[str]], opt: Any
) -> dict[str, tuple[float, float]]:
    """Return (low, high) per side; sides of ordinary 8-bit images are absent.

    Training saves the ranges and stored types in the run's folder; --continue_train and test.py
    read them there.
    """
    kept = read_ranges(opt)
    if opt.isTrain and not (opt.continue_train and kept):
        kept = {}
        for side, files in files_by_side.items():
            if fitted := _fit(files, getattr(opt, f"range_{side}"), f"--range_{side}"):
                kept[side] = fitted
        if kept and is_main_process():
            _write(kept, opt)
        elif is_main_process():
            _file(opt).unlink(missing_ok=True)  # from an earlier run of that name
        barrier()
    return chosen_ranges(opt, kept)


def chosen_ranges(opt: Any, kept: dict[str, StoredRange]) -> dict[str, tuple[float, float]]:
    """Return (low, high) by side: of --range_A or --range_B as LOW,HIGH, else the saved range."""
    found = {side: (low, high) for side, (_, low, high) in kept.items()}
    for side in "AB":  # in test.py too
        if isinstance(getattr(opt, f"range_{side}"), list):
            found[side] = tuple(getattr(opt, f"range_{side}"))
    return found


def _fit(files: list[str], rule: Any, flag: str) -> StoredRange | None:
    first = next(filter(None, map(_readable, files)), None)
    if not isinstance(first, HighDepthImage):
        return None
    low, high = first.low, first.high
    if isinstance(rule, list):
        low, high = rule
    elif rule == "percentile":
        chosen = np.linspace(0, len(files) - 1, min(SAMPLE, len(files))).astype(int)
        images = (_readable(files[i]) for i in chosen)
        deep = [image.array() for image in images if isinstance(image, HighDepthImage)]
        values = np.concatenate([array.ravel()[::7] for array in deep])
        low, high = (float(v) for v in np.percentile(values[np.isfinite(values)], PERCENTILES))
        if not low < high:
            raise ValueError(f"{flag} percentile: all values are {low:g}; give {flag} LOW,HIGH")
    return first.stored_type, low, high


def _readable(path: str) -> ImageLike | None:
    """Read an image; None if it is bad, since `--on_bad_image` handles that later."""
    try:
        return load_image_or_array(path)
    except ValueError:
        return None


def _file(opt: Any) -> Path:
    return run_folder(opt) / "pixel_ranges.json"


def _write(kept: dict[str, StoredRange], opt: Any) -> None:
    make_folder(_file(opt).parent, "--checkpoints_dir")
    values = {
        side: {**stored_type._asdict(), "low": low, "high": high}
        for side, (stored_type, low, high) in kept.items()
    }
    with atomic_write(_file(opt)) as file:
        file.write(json.dumps(values, indent=1).encode() + b"\n")


def read_ranges(opt: Any) -> dict[str, StoredRange]:
    """Return the stored type and range by side that training has saved."""
    path = _file(opt)
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        found = {}
        for side, v in values.items():
            stored_type = StoredType(str(v["ending"]), np.dtype(v["dtype"]).name)
            found[side] = (stored_type, float(v["low"]), float(v["high"]))
        return found
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: damaged ({one_line(error)})") from None
