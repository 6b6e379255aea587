"""What is wrong with images to fill, their masks and their sketches."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain

import numpy as np

from data.checks.image_check import Finding
from data.holes.folders import MASK, SKETCH, folder_of
from data.holes.mask_files import MOST_HOLE, alpha_mask, load_mask
from data.holes.sketches import load_sketch
from data.image_folder import by_stem, list_images
from data.inpaint_dataset import InpaintDataset
from options.base_options import Options

MOSTLY_HOLE = f"more than {MOST_HOLE:.0%} of it are the hole; invert it if black is to be filled"


class Incomplete(InpaintDataset):
    """The images of a phase, some of which may lack their mask or their sketch."""

    def files_beside(self, side: str) -> dict[str, str]:
        """Return a file of each stem in the folder of a side."""
        folder = folder_of(side, self.opt)
        files = by_stem(folder, list_images(folder).images)
        return {stem: paths[0] for stem, paths in files.items()}


def hole_findings(asked: Iterable[Options]) -> tuple[set[str], list[Finding]]:
    """Return the files in which alpha, a palette, one or 16 bits are as good as 8 of grey, and
    what is wrong with images to fill, their masks and their sketches.
    """
    exempt: set[str] = set()
    problems: list[Finding] = []
    for opt in asked:
        with contextlib.suppress(ValueError):  # `data_remarks` says it
            dataset = Incomplete(opt)
            masks = dataset.mask_files()
            own = {path: dataset.partner(path) for path in dataset.A_paths}
            exempt |= {*masks, *filter(None, own.values()), *dataset.sketches.values()}
            exempt |= {path for path in own if dataset.reads_alpha and not own[path]}
            problems += unpaired(dataset)
            others = [] if dataset.own else [*{*masks} - {*own.values()}]  # any image may get them
            with ThreadPoolExecutor() as pool:
                problems += chain(
                    *pool.map(partial(item_findings, dataset), dataset.A_paths),
                    *pool.map(lambda path: findings(path, partial(load_mask, path)), others),
                )
    return exempt, problems


def unpaired(dataset: InpaintDataset) -> Iterator[Finding]:
    """Yield images without the mask or the sketch that others have, and those without images."""
    images = {stem: path for path, stem in dataset.stems.items()}
    all_read = len(images) < dataset.opt.max_dataset_size
    for side, files in ((MASK, dataset.own), (SKETCH, dataset.sketches)):
        for stem in images.keys() - files.keys() if files else ():
            what = f"has no {side} of its name in {dataset.opt.phase}_{side}/"
            yield Finding(images[stem], what, fatal=True)
        for stem in files.keys() - images.keys() if all_read else ():
            yield Finding(files[stem], "has no image of its name, and is not read")


def item_findings(dataset: InpaintDataset, path: str) -> list[Finding]:
    """Return what is wrong with an image to fill, its own mask and its sketch."""
    try:
        image = dataset.read_image(path)
        dataset.check_output(path, image.size)
    except ValueError as error:
        return [Finding.of(path, error)]
    limits = dataset.max_pixels, image.size
    mask, sketch = dataset.partner(path), dataset.sketches.get(dataset.stems[path])
    problems = []
    if mask:
        problems += findings(mask, lambda: load_mask(mask, *limits))
    elif dataset.reads_alpha:
        problems += findings(path, lambda: alpha_mask(image))
    if sketch:
        problems += findings(sketch, lambda: load_sketch(sketch, *limits))
    return problems


def findings(path: str, read: Callable[[], np.ndarray | None]) -> list[Finding]:
    """Return what is wrong with the file of a mask or a sketch, (H, W), which `read` returns."""
    try:
        pixels = read()
    except ValueError as error:
        return [Finding.of(path, error)]
    large = pixels is not None and pixels.mean() > MOST_HOLE
    return [Finding(path, MOSTLY_HOLE)] if large else []
