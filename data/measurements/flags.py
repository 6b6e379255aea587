"""The flags of measurements, and whether files and flags fit each other."""

from typing import Any

from data.measurements.folders import MOST_INPUTS, Subject
from data.measurements.volume import AXES
from util.flag_types import index_range, number, pixel_range

OF_IMAGES = ("colorization", "spade", "pix2pixHD", "inpaint")  # models


def add_flags(parser: Any, is_train: bool) -> None:
    """Add the flags of measurements."""
    add = parser.add_argument
    options: dict[str, Any] = {"role": "data", "carry": True}
    add("--slice_axis", choices=AXES, default="axial", help="how volumes are sliced", **options)
    add(
        "--slices_around",
        type=number(int, 0),
        default=0,
        help="neighbouring slices on each side, as further channels of the input",
        **options,
    )
    for n in range(1, MOST_INPUTS + 1):
        add(
            f"--range_A{n}",
            type=pixel_range,
            help=f"values of the files of A{n} that become -1 and 1; by default --range_A",
            **options,
        )
    add(
        "--nodata",
        choices=["error", "mask"],
        default="error",
        help="pixels without data (NaN, or as the file says): an error, or left out of the losses "
        "and of the outputs",
        **options,
    )
    add(
        "--missing",
        choices=["error", "zero"],
        default="error",
        help="an input that a subject lacks: an error, or zeros for the networks",
        **options,
    )
    if is_train:
        with parser.section("training on measurements", role="training"):
            add_training_flags(parser)


def add_training_flags(parser: Any) -> None:
    """Add the flags that choose what is trained on, and how it is validated."""
    parser.add_argument(
        "--slice_range",
        type=index_range,
        role="data",
        help="FIRST,LAST slice to train on, from 0; negative numbers count from the last",
    )
    parser.add_argument(
        "--windows_per_epoch",
        type=number(int, 1),
        help="windows of rasters in an epoch; by default their area / --crop_size²",
    )
    options: dict[str, Any] = {"role": "network", "carry": True}
    parser.add_argument(
        "--eval",
        action="store_true",
        default=True,
        help="validate and test with running statistics and without dropout",
        **options,
    )
    parser.add_argument(
        "--no_eval",
        dest="eval",
        action="store_false",
        default=True,
        help="validate and test with each slice's own statistics and with dropout",
        **options,
    )


def channels_of(subjects: list[Subject]) -> dict[str, int]:
    """Return the number of channels of each side, the target's last."""
    channels = {}
    for side in subjects[0].inputs:
        grids = (s.inputs[side] for s in subjects if s.inputs[side] is not None)
        if grid := next(grids, None):
            channels[side] = grid.channels
    if target := subjects[0].target:
        channels["A" if "B" in channels else "B"] = target.channels
    return channels


def input_channels(channels: dict[str, int], opt: Any) -> int:
    """Return the number of channels of the input, from those of its sides."""
    return sum(channels.values()) * (2 * opt.slices_around + 1)


def check_channels(channels: dict[str, int], opt: Any) -> None:
    """Raise a ValueError if --input_nc or --output_nc are not those of the files."""
    inputs = {side: n for side, n in channels.items() if side != opt.direction[-1]}
    counts = {"input_nc": input_channels(inputs, opt)}
    if target := channels.get(opt.direction[-1]):
        counts["output_nc"] = target
    for flag, count in counts.items():
        if getattr(opt, flag) != count:
            terms = " + ".join(f"{n} of {side}" for side, n in inputs.items())
            times = f", with {2 * opt.slices_around} slices around" * bool(opt.slices_around)
            why = f" ({terms}{times})" if flag == "input_nc" else ""
            of_run = "" if opt.isTrain else " of the training"
            raise ValueError(
                f"--{flag} {getattr(opt, flag)}{of_run}: the files of --dataroot {opt.dataroot} "
                f"have {count}{why}"
            )


def check_flags(subject: Subject, rasters: bool, opt: Any) -> None:
    """Raise a ValueError for flags that files of this kind cannot have."""
    windows = getattr(opt, "windows_per_epoch", None)
    if windows and not rasters:
        raise ValueError(
            f"--windows_per_epoch {windows}: is for rasters (GeoTIFF); {subject.first.path} is none"
        )
    volume = subject.is_volume
    flags = {"slices_around": opt.slices_around, "slice_range": getattr(opt, "slice_range", None)}
    flags["slice_axis"] = "slice_axis" in getattr(opt, "given", ())
    for flag, value in flags.items():
        if value and not volume:
            raise ValueError(f"--{flag}: is for volumes; {subject.first.path} is none")
    if volume and 2 * opt.slices_around >= subject.first.count:
        raise ValueError(
            f"--slices_around {opt.slices_around}: {subject.first.path} has {subject.first.count} "
            f"slices ({opt.slice_axis})"
        )
    if opt.model in OF_IMAGES:
        raise ValueError(
            f"--model {opt.model}: is for images; measurements work with pix2pix and cycle_gan"
        )
    for n in range(1, MOST_INPUTS + 1):
        if getattr(opt, f"range_A{n}") is not None and f"A{n}" not in subject.inputs:
            raise ValueError(f"--range_A{n}: there is no folder {opt.phase}A{n}/")
    if getattr(opt, "num_variants", 1) > 1:
        raise ValueError(f"--num_variants {opt.num_variants}: is for images, not for measurements")
    if getattr(opt, "val_metrics", None):
        raise ValueError("--val_metrics: is for images; --val_freq alone measures L1, PSNR, SSIM")
    if opt.nodata == "mask" and opt.model not in ("pix2pix", "test"):
        raise ValueError(f"--nodata mask: works with --model pix2pix, not {opt.model}")
    if opt.nodata == "mask" and getattr(opt, "pool_size", 0):
        raise ValueError(
            f"--nodata mask: each image has its own mask, and --pool_size {opt.pool_size} shows D "
            f"older fakes; use --pool_size 0"
        )
