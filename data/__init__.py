"""Build the dataset that --dataset_mode names."""

import logging
from argparse import Namespace
from collections.abc import Collection
from typing import Any

from data import builtin_facades
from data.base_dataset import BaseDataset
from data.checks.data_check import SAMPLE, check_data
from data.checks.image_check import check_headers
from data.checks.side_statistics import SideStatistics
from data.dataset_files import all_files
from data.image_cache import shared_cache
from data.loader import Loader, how_to_check, how_to_fix
from data.value_range import chosen_ranges, continued_ranges, fit_value_ranges, read_ranges
from util import distributed
from util.files import run_folder
from util.registry import find_class

log = logging.getLogger(__name__)

FEW = 8  # items that a test looks at


def create_dataset(
    opt: Any, repeated: bool = False, ranges: dict[str, tuple[float, float]] | None = None
) -> Loader:
    """Build the dataset that `--dataset_mode` names, and return its `Loader`.

    Without `--dataroot`, the built-in images are drawn first. `ranges` are the value ranges by
    side; by default, training fits them to its files and test.py reads them from the run.
    `repeated` is for a validation: every pass is epoch 1, and the images are split over the ranks.
    ValueError if files are missing.
    """
    if builtin_facades.is_builtin(opt.dataroot):
        if not repeated:
            log.info("images: the built-in facades (--dataroot chooses others)")
        with distributed.local_main_first():
            builtin_facades.write_once(opt.dataroot)
    dataset = find_class("data", opt.dataset_mode, "--dataset_mode")(opt)
    if not len(dataset):
        raise ValueError(
            f"--dataset_mode {opt.dataset_mode}: found no images for --phase {opt.phase} in "
            f"--dataroot {opt.dataroot}; choose another --phase or --dataroot"
        )
    is_base_dataset = isinstance(dataset, BaseDataset)
    files_by_side, cache_keys = (
        (dataset.files_by_side(), dataset.cache_keys()) if is_base_dataset else ({}, [])
    )
    if opt.isTrain:
        check_before_training(all_files(files_by_side), opt, only_8_bits(dataset, files_by_side))
        if is_base_dataset:
            dataset.cache = shared_cache(cache_keys, opt.cache, run_folder(opt))
        if not cache_keys and opt.cache in ("ram", "disk"):
            log.warning(
                "--cache %s: does nothing for --dataset_mode %s", opt.cache, opt.dataset_mode
            )
    if ranges is None:
        ranges = fit_value_ranges(opt, dataset.fitted_ranges if is_base_dataset else dict)
    dataset.ranges = ranges
    loader = Loader(dataset, opt, repeated)
    if opt.isTrain and opt.continue_train and not repeated:
        loader.new_ranges = continued_ranges(opt)
    if opt.isTrain and not repeated and opt.batch_size > loader.size:
        text = f"{loader.size} training images, which make one smaller batch"
        log.warning("--batch_size %d: is more than the %s", opt.batch_size, text)
    if is_base_dataset:
        loader.classes = dataset.classes()
    has_cache = getattr(dataset, "cache", None) is not None
    loader.cache_kind = opt.cache if has_cache and opt.isTrain else ""
    if not repeated and not opt.no_data_check:
        loader.remarks, loader.statistics = look_at_data(dataset, opt)
    return loader


def look_at_data(dataset: Any, opt: Any) -> tuple[list[str], dict[str, SideStatistics]]:
    """Log remarks on a sample of the images; return them, and the statistics of each side.

    Rank 0 looks for all ranks; the others return no statistics. ValueError if training on these
    images is pointless.
    """
    sample = SAMPLE if opt.isTrain else FEW
    local_remarks, statistics = [], {}
    if distributed.is_main_process():
        local_remarks, statistics = check_data(dataset, opt, sample)
    remarks = distributed.broadcast_from_main(local_remarks)
    for remark in remarks:
        if remark.fatal and opt.isTrain:
            raise ValueError(
                f"--dataroot {opt.dataroot}: {remark.what} (--no_data_check trains all the same)"
            )
        log.warning("data check: %s", remark.what)
    return [remark.what for remark in remarks], statistics


def only_8_bits(dataset: Any, by_side: dict[str, list[str]]) -> set[str]:
    """Return the files of the sides of a dataset that may not have more than 8 bits."""
    sides = getattr(dataset, "only_8_bits", ())
    return {path for side in sides for path in by_side.get(side, ())}


def check_before_training(files: list[str], opt: Any, of_8_bits: Collection[str] = ()) -> None:
    """Check images before training instead of failing in mid-epoch; in those `of_8_bits` more bits
    are an error.
    """
    findings = check_headers(files, max_pixels=opt.max_pixels, only_8_bits=of_8_bits)
    if not findings:
        return
    if opt.on_bad_image == "error":
        others = f" ({len(findings) - 1} others are also bad)" if findings[1:] else ""
        raise ValueError(f"{findings[0]}{others}; {how_to_fix(opt)}")
    text = f"{len(findings)} images are" if findings[1:] else "1 image is"
    log.warning("%s bad and will be skipped; %s", text, how_to_check(opt))


def load_size_of_test(opt: Any) -> int:
    """Return the --load_size with which test.py reads the images of a run: its --crop_size, but
    label maps that are scaled to a width keep that width.
    """
    scaled = opt.dataset_mode == "labels" and opt.preprocess == "scale_width"
    return opt.load_size if scaled else opt.crop_size


def create_validation_dataset(opt: Any, most: int = 50) -> Loader:
    """Build the dataset of phase `val` with test.py's preprocessing, of at most `most` images."""
    changes = {
        "phase": "val",
        "load_size": load_size_of_test(opt),
        "max_dataset_size": min(most, opt.max_dataset_size),
        "serial_batches": True,
        "no_flip": True,
        "batch_size": 1,
        "num_threads": 0,
    }
    ranges = chosen_ranges(opt, read_ranges(opt))  # the ranges of the training
    try:
        return create_dataset(Namespace(**{**vars(opt), **changes}), repeated=True, ranges=ranges)
    except ValueError as error:
        raise ValueError(
            f"--val_freq, --early_stop and --lr_policy plateau need a validation set: {error}"
        ) from None
