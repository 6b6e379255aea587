"""The value ranges of images: which values become -1 and 1, per side (--range_A, --range_B)."""

import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data.channels import CHANNEL_MODES, to_channels
from data.checks.side_statistics import no_data_value
from data.files.image_files import load_image_or_array
from data.files.image_types import HighDepthImage, ImageLike, StoredType, range_of_type
from data.transforms import pixels
from util.distributed import barrier, is_main_process
from util.errors import one_line
from util.files import atomic_write, make_folder, run_folder
from util.sampling import evenly_spaced

log = logging.getLogger(__name__)

SAMPLE = 64  # images for the percentiles
PERCENTILES = (0.5, 99.5)
OPTIONAL = {
    "nodata": float,
    "channels": int,
    "units": tuple,
    "band_names": tuple,
}  # of a StoredType
StoredRange = tuple[StoredType, float, float]
# Value ranges that are not written yet, by the file that they go to. Until a training's first save,
# a file that is there belongs to the weights of an earlier run.
unsaved: dict[Path, dict[str, StoredRange]] = {}


def fit_value_ranges(
    opt: Any, fit: Callable[[], dict[str, StoredRange]]
) -> dict[str, tuple[float, float]]:
    """Return (low, high) of each side whose range is not that of its files' number types.

    Training saves the ranges and stored types of `fit` in the run's folder; --continue_train and
    test.py read them there. A file that is there beside weights is replaced only by the first save.
    See `continued_ranges` for others.
    """
    ranges = read_ranges(opt)
    if opt.isTrain and not (opt.continue_train and ranges):
        ranges = fit()
        if opt.continue_train and chosen_ranges(opt, ranges):
            log.warning("--range_A, --range_B: the run was trained with the range of its files")
        unsaved[ranges_file(opt)] = ranges
        barrier()  # all have looked at the folder
        if not any(run_folder(opt).glob("*_net_*.pth")):
            save_unsaved(opt)
        barrier()
    return chosen_ranges(opt, ranges)


def save_unsaved(opt: Any) -> None:
    """Save the ranges that a training has fitted, and that its file does not hold yet."""
    ranges = unsaved.pop(ranges_file(opt), None)
    if ranges and is_main_process():
        write_ranges(ranges, opt)
    elif ranges is not None and is_main_process():
        ranges_file(opt).unlink(missing_ok=True)  # from an earlier run of that name


@contextlib.contextmanager
def forgetting_unsaved() -> Iterator[None]:
    """Forget the ranges of a training that ends in the block before its first save."""
    try:
        yield
    finally:
        unsaved.clear()


def fitted_ranges(
    dataset: Any, files_by_side: dict[str, list[str]], opt: Any
) -> dict[str, StoredRange]:
    """Return the stored type and the range that --range_A and --range_B give each side."""
    fitted = {
        side: _fit(dataset, side, files, opt)
        for side, files in files_by_side.items()
        if dataset.has_range(side)
    }
    return {side: stored_range for side, stored_range in fitted.items() if stored_range}


def rule_of(side: str, opt: Any) -> tuple[str, Any]:
    """Return the flag that gives a side's range and its value: --range_A1, else --range_A."""
    for flag in (f"range_{side}", f"range_{side[0]}"):
        if (rule := getattr(opt, flag, None)) is not None:
            return flag, rule
    return flag, "auto"


def warn_of_other_ranges(opt: Any, kept: dict[str, StoredRange]) -> None:
    """Log a warning for each side whose LOW,HIGH is not the range that training has saved."""
    for side, (_, *saved) in kept.items():
        flag, rule = rule_of(side, opt)
        if isinstance(rule, list) and rule != saved:
            given, trained = (f"{low:g},{high:g}" for low, high in (rule, saved))
            log.warning("--%s %s: the run was trained with %s", flag, given, trained)


def continued_ranges(opt: Any) -> dict[str, StoredRange]:
    """Return what --continue_train with another LOW,HIGH is to save, with the first checkpoint,
    instead of the ranges before; {} if nothing changes.
    """
    saved = read_ranges(opt)
    rules = {side: rule_of(side, opt)[1] for side in saved}
    ranges = {
        side: (stored_type, *(rules[side] if isinstance(rules[side], list) else (low, high)))
        for side, (stored_type, low, high) in saved.items()
    }
    warn_of_other_ranges(opt, saved)
    return {} if ranges == saved else ranges


def chosen_ranges(opt: Any, kept: dict[str, StoredRange]) -> dict[str, tuple[float, float]]:
    """Return (low, high) by side: of --range_A or --range_B as LOW,HIGH, else the saved range.

    A side with the range of its type is absent, since each file has that of its own type.
    ValueError if a test lacks the range that the training has found.
    """
    ranges = {
        side: (low, high)
        for side, (stored_type, low, high) in kept.items()
        if (low, high) != range_of_type(stored_type.dtype)
    }
    for side in "AB":  # in test.py too
        rule = getattr(opt, f"range_{side}")
        if isinstance(rule, list):
            ranges[side] = tuple(rule)
        elif rule == "percentile" and side not in kept and not opt.isTrain:
            raise ValueError(
                f"{ranges_file(opt)}: is missing, which holds the range of {side} (--range_{side} "
                f"percentile); copy it from the folder of the training"
            )
    return ranges


def _fit(dataset: Any, side: str, files: list[str], opt: Any) -> StoredRange | None:
    """Return the stored type and the range of a side; None for grey or RGB images of 8 bits without
    a rule.
    """
    rule = getattr(opt, f"range_{side}")
    channels = opt.output_nc if side == opt.direction[-1] else opt.input_nc
    first = next(filter(None, (_readable(path, opt.max_pixels) for path in files)), None)
    if first is not None and channels not in CHANNEL_MODES:
        with contextlib.suppress(ValueError):  # said where the images are read
            first = to_channels(first, channels)
    if first is None or (rule == "auto" and not isinstance(first, HighDepthImage)):
        return None
    deep = isinstance(first, HighDepthImage)
    stored_type = first.stored_type if deep else StoredType(".png", "uint8")
    low, high = first.range if deep else range_of_type("uint8")
    if isinstance(rule, list):
        low, high = rule
    elif rule == "percentile":
        low, high = _percentiles(dataset, side)
    return stored_type, low, high


def _percentiles(dataset: Any, side: str) -> tuple[float, float]:
    """Return the percentiles of the values of some images, without a no-data value."""
    flag, samples = f"--range_{side}", [np.zeros(0, np.float32)]
    for i in evenly_spaced(len(dataset), SAMPLE):
        with contextlib.suppress(ValueError, OSError):  # `--on_bad_image` handles bad images later
            if side in (images := dataset.images(i)):
                samples.append(pixels(images[side][1]).array().ravel()[::7].copy())
    if not samples[1:]:
        raise ValueError(f"{flag} percentile: there is no image to look at; give {flag} LOW,HIGH")
    values = np.concatenate(samples)
    values = values[np.isfinite(values)]
    if len(values) and (no_data := no_data_value(values)) is not None:
        log.info("%s percentile: %g is taken as no data and left out", flag, no_data)
        values = values[values != no_data]
    low, high = np.percentile(values, PERCENTILES).tolist() if len(values) else (0.0, 0.0)
    if not low < high:
        raise ValueError(f"{flag} percentile: all values are {low:g}; give {flag} LOW,HIGH")
    return low, high


def _readable(path: str, max_pixels: float) -> ImageLike | None:
    """Read an image; None if it is bad, since `--on_bad_image` handles that later."""
    try:
        return load_image_or_array(path, max_pixels)
    except ValueError:
        return None


def ranges_file(opt: Any) -> Path:
    """Return the file in a run's folder that holds its ranges."""
    return run_folder(opt) / "pixel_ranges.json"


def write_ranges(kept: dict[str, StoredRange], opt: Any) -> None:
    """Save the stored type and range by side in the run's folder."""
    make_folder(ranges_file(opt).parent, "--checkpoints_dir")
    entries = {
        side: {k: v for k, v in stored_type._asdict().items() if v is not None}
        | {"low": low, "high": high}
        for side, (stored_type, low, high) in kept.items()
    }
    with atomic_write(ranges_file(opt)) as file:
        file.write(json.dumps(entries, indent=1).encode() + b"\n")


def read_ranges(opt: Any) -> dict[str, StoredRange]:
    """Return the stored type and range by side that training has saved."""
    path = ranges_file(opt)
    if path in unsaved:
        return unsaved[path]
    if not path.is_file():
        return {}
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        ranges = {}
        for side, entry in entries.items():
            optional = {k: convert(entry[k]) for k, convert in OPTIONAL.items() if k in entry}
            stored_type = StoredType(
                str(entry["ending"]), np.dtype(entry["dtype"]).name, **optional
            )
            ranges[side] = (stored_type, float(entry["low"]), float(entry["high"]))
        return ranges
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: damaged ({one_line(error)})") from None
