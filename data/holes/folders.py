"""The folders of images to fill, of their masks and of their sketches."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.base_dataset import trains
from data.checks.missing_folder import missing_folder
from data.holes.mask_files import MaskFolder
from data.image_folder import make_dataset, one_by_stem
from data.image_parts import check_parts

log = logging.getLogger(__name__)

PHASES = ("train", "val", "test")
MASK, SKETCH = "mask", "sketch"  # sides of an item, beside the image A


def image_folder(opt: Any) -> Path:
    """Return the folder of the images, in a test of a folder without phases that folder itself;
    ValueError if it is missing.
    """
    root = Path(opt.dataroot)
    if (root / opt.phase).is_dir():
        return root / opt.phase
    has_phases = any((root / phase).is_dir() for phase in PHASES)
    if opt.isTrain or has_phases or not root.is_dir():
        raise missing_folder(opt, f"{opt.phase}/ with images")
    return root


def image_files(folder: Path, opt: Any) -> list[str]:
    """Return the images in a folder; masks and sketches may lie in folders of it."""
    map_folders = [os.path.join(folder, f"{opt.phase}_{side}", "") for side in (MASK, SKETCH)]
    paths = [path for path in make_dataset(folder) if not path.startswith(tuple(map_folders))]
    return paths[: int(min(opt.max_dataset_size, len(paths)))]


def mask_folder(opt: Any) -> MaskFolder | None:
    """Return the masks of --mask_dir; None without it, or if a test lacks that of the training.

    ValueError if a test is given it beside a folder of its own masks, which count first.
    """
    given = opt.isTrain or "mask_dir" in getattr(opt, "given", ())
    own = folder_of(MASK, opt)
    if opt.mask_dir and given and not opt.isTrain and own.is_dir():
        raise ValueError(
            f"--mask_dir {opt.mask_dir}: is not read, since {own} holds the masks of these images; "
            f"move that folder away, or leave the flag out"
        )
    if opt.mask_dir and not given and not Path(opt.mask_dir).is_dir():
        log.warning("--mask_dir %s of the training is not there; holes are drawn", opt.mask_dir)
        return None
    return MaskFolder(opt.mask_dir, "--mask_dir") if opt.mask_dir else None


def folder_of(side: str, opt: Any) -> Path:
    """Return the folder of the masks, or of the sketches, of a phase."""
    return Path(opt.dataroot) / f"{opt.phase}_{side}"


def partners(side: str, opt: Any, images: dict[str, str]) -> dict[str, str]:
    """Return the masks, or the sketches, of a phase by stem; {} if there is no folder of them.

    `images` are the images by stem; ValueError names one that has no partner.
    """
    folder = folder_of(side, opt)
    if not folder.is_dir():
        return {}
    files = one_by_stem(folder, make_dataset(folder))
    check_parts(side, images, files, folder=folder, otherwise=", or move the folder away")
    return files


def unread_folders(opt: Any) -> Iterator[str]:
    """Yield remarks on folders of masks or sketches that are not read."""
    folder = folder_of(MASK, opt)
    if trains(opt) and folder.is_dir() and not opt.mask_dir:
        yield f"{folder}: is not read in training; --mask_dir {folder} reads it"
    folder = folder_of(SKETCH, opt)
    if folder.is_dir() and not getattr(opt, "guided", False):
        yield f"{folder}: is read with --guided alone"


def without_image(
    side: str, opt: Any, *, images: dict[str, str], found: dict[str, str]
) -> Iterator[str]:
    """Yield a remark if masks, or sketches, have no image; all files are by stem."""
    extra = sorted(found.keys() - images.keys())
    if extra and len(images) < opt.max_dataset_size:  # else images that are left out may have them
        yield (
            f"{len(extra)} of {len(found)} files in {folder_of(side, opt)} have no image of their "
            f"name, such as {found[extra[0]]}, and are not read"
        )
