"""A look at the sizes of all images before a training that leaves them different."""

import logging
from typing import Any

from data import Loader
from data.base_dataset import BaseDataset
from data.dataset_files import all_files
from data.files.image_files import sizes_of
from data.holes.folders import MASK, SKETCH
from models.base_model import BaseModel
from models.networks import Discriminator, Generator
from util.distributed import world_size

log = logging.getLogger(__name__)

Size = tuple[int, int]  # (width, height)
MUCH_PADDING = 1.5  # times the pixels of an image
LOOKED_AT = 16  # files whose sizes are looked at for padding
SMALLER = (64, 128, 256, 512)  # sizes that U-Nets halve to one pixel


def check_image_sizes(dataset: Loader, model: BaseModel, opt: Any) -> None:
    """Raise a ValueError if images that share a batch differ in size, or if one is too small for D.

    It concerns a --preprocess that does not crop. Files whose size is not found are passed over.
    """
    images = dataset.dataset
    if opt.preprocess.endswith("crop") or not isinstance(images, BaseDataset):
        return
    by_side = image_files(images)
    sizes = output_sizes(images, all_files(by_side))
    check_discriminators(sizes, model)
    local = opt.batch_size // world_size()
    for side, files in by_side.items() if local > 1 else ():
        step = local if opt.serial_batches else len(files)  # in a fixed order batches are known
        count = max(dataset.size, len(files))
        for first in range(0, count, step):
            batch = [files[i % len(files)] for i in range(first, min(first + step, count))]
            check_batch(side, [path for path in batch if path in sizes], sizes, model)


def say_padding(dataset: Loader, model: BaseModel, opt: Any) -> None:
    """Log how much of the work is padding, if a generator pads the images by half or more."""
    if opt.preprocess.endswith("crop"):
        sizes = [(opt.crop_size, opt.crop_size)]
    elif isinstance(dataset.dataset, BaseDataset):
        files = all_files(image_files(dataset.dataset))
        sizes_by_file = output_sizes(dataset.dataset, files[:: max(1, len(files) // LOOKED_AT)])
        sizes = list(sizes_by_file.values())
    else:
        return
    nets = [net for net in model.nets.values() if isinstance(net, Generator)]
    if not sizes or not nets:
        return
    width, height = min(sizes, key=lambda size: size[0] * size[1])
    padded = nets[0].padded_size((height, width))
    times = padded[0] * padded[1] / (width * height)
    if times < MUCH_PADDING:
        return
    fitting = max((n for n in SMALLER if min(width, height) % n == 0), default=None)
    fix = f"; --netG unet_{fitting} pads nothing" if fitting else ""
    log.warning(
        "--netG %s: pads images of %dx%d pixels to %dx%d, %.0f times the work%s",
        *(opt.netG, width, height, padded[1], padded[0], times, fix),
    )


def check_batch(side: str, paths: list[str], sizes: dict[str, Size], model: BaseModel) -> None:
    """Raise a ValueError if images that may share a batch have different sizes."""
    other = next((path for path in paths if sizes[path] != sizes[paths[0]]), None)
    if other is None:
        return
    opt, ranks = model.opt, world_size()
    (w, h), (other_w, other_h) = sizes[paths[0]], sizes[other]
    steps = opt.batch_size // ranks * opt.grad_accum
    accum = f" --grad_accum {steps}" if model.updates else ""
    raise ValueError(
        f"--batch_size {opt.batch_size}: images {side} have different sizes, {w}x{h} ({paths[0]}) "
        f"and {other_w}x{other_h} ({other}), and cannot share a batch; use --batch_size {ranks}"
        f"{accum}, or --preprocess resize_and_crop"
    )


def check_discriminators(sizes: dict[str, Size], model: BaseModel) -> None:
    """Raise a ValueError if an image is too small for a discriminator."""
    discriminators = [net for net in model.nets.values() if isinstance(net, Discriminator)]
    min_size = max((netD.min_size for netD in discriminators), default=0)
    for path, (width, height) in sizes.items():
        if min(width, height) < min_size:
            raise ValueError(
                f"{path}: {width}x{height} pixels are too few for the discriminator, which needs "
                f"{min_size} a side; use a smaller --n_layers_D, --netD pixel, or --preprocess "
                f"resize_and_crop"
            )


def image_files(images: BaseDataset) -> dict[str, list[str]]:
    """Return the files of a dataset by side; masks and sketches are resized to their images."""
    by_side = images.files_by_side()
    return {side: files for side, files in by_side.items() if side not in (MASK, SKETCH)}


def output_sizes(images: BaseDataset, files: list[str]) -> dict[str, Size]:
    """Return the sizes of images as the networks see them, of those that are found in time."""
    sizes = sizes_of(files)
    if images.stitched:
        sizes = {path: (width // 2, height) for path, (width, height) in sizes.items()}
    return {path: images.geometry.output_size(size) for path, size in sizes.items()}
