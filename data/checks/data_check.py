"""Find images that a network cannot learn from, in a sample of a dataset."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from data.base_dataset import BaseDataset
from data.channels import CHANNEL_MODES
from data.checks.made_pairs import remark_on_made_pairs
from data.checks.pair_statistics import PairStatistics
from data.checks.side_statistics import SampleImage, SideStatistics, fitting_range, no_data_value
from data.files.image_files import BadImageError, image_size, load_image_or_array, open_image
from data.files.image_types import HighDepthImage, ImageLike
from data.files.large_images import LARGE
from data.sampler import SeededDataset
from data.transforms import Geometry, pixels
from util.sampling import evenly_spaced

SAMPLE = 32  # most items that are looked at
SECONDS = 2.0  # after which no further item is looked at
LEAST_USED = 1 / 8  # least share of the range that images use
MOST_OUTSIDE = 0.02  # most values outside the range; `percentile` leaves 1% outside
MOST_CONSTANT = 0.1  # most images of one colour
MOST_ENLARGED = 4  # times the width and the height of an image


class Remark(NamedTuple):
    """A remark on the images of a dataset; `fatal` if training on them is pointless."""

    what: str
    fatal: bool = False


def check_data(
    dataset: Any, opt: Any, sample: int = SAMPLE
) -> tuple[list[Remark], dict[str, SideStatistics]]:
    """Return remarks on a sample of the images as the networks will see them, fatal ones first,
    and the statistics of each side.

    Images that cannot be read are left out; the loader names them.
    """
    sides: dict[str, SideStatistics] = {}
    pairs = PairStatistics()
    deadline = time.monotonic() + SECONDS
    for index in evenly_spaced(len(dataset), sample):
        images = sample_images(dataset, index, opt)
        for side, image in images.items():
            sides.setdefault(side, SideStatistics()).add(image)
        pairs.add(images)
        if time.monotonic() > deadline:
            break
    remarks = [
        r for side, statistics in sorted(sides.items()) for r in side_remarks(side, statistics, opt)
    ]
    remarks += [Remark(what) for what in pairs.remarks(opt)]
    if isinstance(dataset, BaseDataset):
        remarks += [Remark(what) for what in dataset.remarks()]
    if text := remark_on_made_pairs(opt):
        remarks.append(Remark(text))
    return sorted(remarks, key=lambda remark: not remark.fatal), sides


def sample_images(dataset: Any, index: int, opt: Any) -> dict[str, SampleImage]:
    """Return the images of an item by side; {} if one of them cannot be read, or is so large that
    a test reads it in windows.
    """
    try:
        if not opt.isTrain and opt.tile and read_in_windows(dataset, index):
            return {}
        images = dataset.images(index) if isinstance(dataset, BaseDataset) else {}
        if images:
            ranges, dropped = dataset.ranges, opt.alpha == "ignore" and not dataset.reads_alpha
            return {side: of_file(*images[side], ranges.get(side), dropped) for side in images}
        item, _ = SeededDataset(dataset, opt.seed)[0, index]
    except (ValueError, OSError):
        return {}
    tensors = {side: item.get(side) for side in "AB"} if isinstance(item, dict) else {}
    ranges = dataset.item_ranges() if isinstance(dataset, BaseDataset) else {}
    return {
        side: of_tensor(item.get(f"{side}_paths", ""), tensor, *ranges.get(side, (-1.0, 1.0)))
        for side, tensor in tensors.items()
        if isinstance(tensor, Tensor) and tensor.dim() == 3
    }


def read_in_windows(dataset: Any, index: int) -> bool:
    """Return whether an item of a test with --tile is larger than images that are read whole."""
    paths = dataset.paths(index).values() if isinstance(dataset, BaseDataset) else ()
    return any(width * height > LARGE for width, height in map(image_size, filter(None, paths)))


def of_file(
    path: str, image: ImageLike, value_range: tuple[float, float] | None, alpha_dropped: bool
) -> SampleImage:
    """Return the sample of an image that was read from a file."""
    array = pixels(image)
    stored_type = image.stored_type.dtype if isinstance(image, HighDepthImage) else "uint8"
    low, high = value_range or array.range
    values = array.array()
    alpha = alpha_dropped and values.shape[2] in CHANNEL_MODES and alpha_varies(path)
    return SampleImage(path, values, low, high, stored_type, alpha)


def of_tensor(path: str, tensor: Tensor, low: float = -1.0, high: float = 1.0) -> SampleImage:
    """Return the sample of a tensor (C, H, W) in [-1, 1] that a dataset has made, with numbers from
    `low` to `high` for those from -1 to 1.
    """
    array = tensor.permute(1, 2, 0).double().numpy()
    return SampleImage(path, (low * (1 - array) + high * (1 + array)) / 2, low, high, "")


def alpha_varies(path: str) -> bool:
    """Return whether a file has an alpha channel that varies."""
    try:
        with contextlib.suppress(BadImageError), open_image(path) as file:  # PIL lacks .npy
            if not file.has_transparency_data:
                return False
        image = load_image_or_array(path)
    except ValueError:
        return False
    if isinstance(image, HighDepthImage):
        return image.kind.endswith(("A", "a")) and bool(np.ptp(image.array()[..., -1]))
    return "A" in image.getbands() and len(set(image.getchannel("A").getextrema())) > 1


def side_remarks(side: str, of: SideStatistics, opt: Any) -> Iterator[Remark]:
    """Yield the remarks on one side."""
    if of.not_finite:
        skipped = opt.on_bad_image == "skip"
        others = f" (so do {len(of.not_finite) - 1} others)" if of.not_finite[1:] else ""
        fix = "replace them, or leave such images out with --on_bad_image skip"
        fix = "such images are left out" if skipped else fix
        what = f"{side}: {of.not_finite[0]} holds NaN or infinite values{others}; {fix}"
        yield Remark(what, fatal=not skipped)
    if not of.sampled:
        return
    text = range_remark(side, of) if opt.isTrain else outside_training(of)
    if len(of.constant) == of.count and (opt.isTrain or of.alpha or text):
        yield Remark(constant_remark(side, of, text), fatal=True)
        return
    if text:
        yield Remark(f"{side}: {text}")
    if len(of.constant) > MOST_CONSTANT * of.count and opt.isTrain:
        yield Remark(
            f"{side}: {len(of.constant)} of {of.count} images are one colour, such as "
            f"{of.constant[0]}"
        )
    if of.alpha:
        yield Remark(
            f"{side}: the alpha channel of {len(of.alpha)} of {of.count} images varies, and is "
            f"ignored; --alpha white puts images on white"
        )
    if len(of.types) > 1:
        yield Remark(
            f"{side}: mixes files of {' and '.join(sorted(of.types))}, each scaled by the range "
            f"of its type; --range_{side} LOW,HIGH scales all alike"
        )
    if text := enlarged_remark(of, opt):
        yield Remark(f"{side}: {text}")


def enlarged_remark(of: SideStatistics, opt: Any) -> str:
    """Return a remark if images are much smaller than the networks get them; "" if none is."""
    geometry, enlarged = Geometry.from_options(opt), []
    for path, (width, height) in of.sizes.items():
        resized = geometry.resized_size((width, height))
        if resized[0] >= MOST_ENLARGED * width and resized[1] >= MOST_ENLARGED * height:
            enlarged.append(f"{path} ({width}x{height} to {resized[0]}x{resized[1]})")
    if not enlarged:
        return ""
    fix = "a smaller --load_size and --crop_size" if opt.isTrain else "--preprocess none"
    return (
        f"{len(enlarged)} of {of.count} images are enlarged {MOST_ENLARGED} times or more, such as "
        f"{enlarged[0]}: use larger ones, or {fix}"
    )


def constant_remark(side: str, of: SideStatistics, text: str) -> str:
    """Return why all images of a side are constant."""
    start = f"{side}: all {of.count} images that were looked at are one colour"
    if of.alpha:
        return f"{start}, their content is in the alpha channel; --alpha white puts it on white"
    if text:
        return f"{start} for the networks: {text}"
    return f"{start}: there is nothing to learn from them"


def outside_training(of: SideStatistics) -> str:
    """Return what is wrong with a side's values in a test; "" if nothing is.

    The run has learned from a range of values; another one would give it other inputs.
    """
    (low, high), share = of.range, of.outside()
    if share <= MOST_OUTSIDE:
        return ""
    return (
        f"{share:.0%} of the values lie outside {low:g} to {high:g}, the range of the run, and are "
        f"clipped"
    )


def range_remark(side: str, of: SideStatistics) -> str:
    """Return what is wrong with a side's values and their range; "" if nothing is."""
    if "" in of.types:  # made by a dataset with preprocessing of its own
        share = of.outside()
        ends = "{:g} to {:g}".format(*of.range)
        return f"{share:.0%} of the values lie outside {ends}" if share > MOST_OUTSIDE else ""
    values, (low, high) = of.values, of.range
    fitting = fitting_range(values)
    flag = f"--range_{side} {fitting[0]:.6g},{fitting[1]:.6g}"
    if fitting[0] == fitting[1]:
        return ""
    kind = " and ".join(sorted(of.types))
    if (no_data := no_data_value(values)) is not None:
        share = float((values == no_data).mean())
        if of.range == fitting:
            return ""
        if of.distinct and of.grey and of.whole and len(of.distinct) > 3:
            return (
                f"only {len(of.distinct)} values, among them {no_data:g} (class numbers?); give "
                f"{no_data:g} a number near the others; --filter_{side} nearest keeps them apart"
            )
        return f"{no_data:g} fills {share:.1%} of the pixels (no data?); {flag} leaves it out"
    if (share := of.outside()) > MOST_OUTSIDE:
        return (
            f"{share:.0%} of the values lie outside {low:g} to {high:g} ({kind}) and are clipped; "
            f"{flag} covers them"
        )
    few_values = of.distinct and of.grey and of.whole and len(of.distinct) > 2
    if few_values and (of.used() < 1 / 2 or max(of.distinct) - min(of.distinct) < len(of.distinct)):
        if of.range == fitting:
            return ""
        return (
            f"only {len(of.distinct)} values, from {min(of.distinct):g} to {max(of.distinct):g} "
            f"(class numbers?); {flag} spreads them, and --filter_{side} nearest keeps them apart"
        )
    if of.used() < LEAST_USED:
        return (
            f"values from {fitting[0]:.6g} to {fitting[1]:.6g} use {of.used():.1%} of the range "
            f"{low:g} to {high:g} ({kind}); {flag} uses all of it"
        )
    return ""
