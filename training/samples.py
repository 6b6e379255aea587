"""The few images that the page of a training shows in every epoch."""

from contextlib import nullcontext
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from data import Loader, create_validation_dataset
from data.base_dataset import BaseDataset
from data.checks.side_statistics import SideStatistics
from training.state import TrainingState
from util.files import short_stem
from util.seeding import seeded
from util.util import tensor2im

MOST = 4


class Samples:
    """Translates the same few images again and again, as test.py would.

    They are images of the phase val, or training images if there are none, spread evenly. With
    `--ema` the averaged generators translate them. The training goes on as if nothing had been
    translated, equal to the bit.
    """

    def __init__(self, opt: Any, state: TrainingState, dataset: Loader, val_dataset: Loader | None):
        """`dataset` is that of the training; every rank must make its Samples."""
        self.state = state
        self.dataset = val_dataset or (None if opt.no_html else val_images(opt)) or dataset

    @cached_property
    def batches(self) -> list[dict[str, Any]]:
        """The images, each a batch of one."""
        count = min(MOST, len(self.dataset))
        # In the middle of equal parts: the first and the last slice of a volume are often empty.
        indices = [int((part + 0.5) * len(self.dataset) / count) for part in range(count)]
        batches = []
        for index in indices:
            try:
                batches.append(self.dataset.item(index))
            except (ValueError, OSError):
                if self.state.opt.on_bad_image != "skip":
                    raise
        return batches

    def translate(self) -> dict[str, dict[str, np.ndarray]]:
        """Return for each image's name the images of the model by label, (H, W, C) in 0..255."""
        model, ema = self.state.model, self.state.ema
        images_by_name, before = {}, dict(model.visuals)
        with seeded(model.opt.seed), ema.applied() if ema else nullcontext():
            for batch in self.batches:
                model.set_input(batch)
                model.test()
                visuals = self.current_visuals()
                name = name_of(batch, model.get_image_paths())
                name = f"{name}_{len(images_by_name) + 1}" if name in images_by_name else name
                images_by_name[name] = {label: tensor2im(image) for label, image in visuals.items()}
        model.visuals = before
        return images_by_name

    def current_visuals(self) -> dict[str, Tensor]:
        """Return the images of the model by label, those of several inputs one by one."""
        visuals, dataset = self.state.model.get_current_visuals(), self.dataset.dataset
        parts = dataset.shown_channels() if isinstance(dataset, BaseDataset) else {}
        return by_inputs(visuals, parts)


def by_inputs(visuals: dict[str, Tensor], parts: dict[str, slice]) -> dict[str, Tensor]:
    """Return images (N, C, H, W) with those of the input's channels, real_A and its like, replaced
    by their `parts`: real_A1, real_A2, … of several inputs.
    """
    if not parts:
        return visuals
    count, images = visuals["real_A"].shape[1], {}
    for label, image in visuals.items():
        if label.endswith("_A") and image.shape[1] == count:
            images |= {f"{label}{side[1:]}": image[:, channels] for side, channels in parts.items()}
        else:
            images[label] = image
    return images


def name_of(batch: dict[str, Any], paths: list[str]) -> str:
    """Return the name of a batch of one; that of each side where they differ.

    `paths` are the files of the input.
    """
    sides = {side: batch[f"{side}_paths"] for side in "AB" if f"{side}_paths" in batch}
    names = {side: short_stem(files[0]) for side, files in sides.items()}
    if "slice" in batch:
        return f"{short_stem(paths[0])}, slice {int(batch['slice'])}"
    if len(set(names.values())) < 2:
        return short_stem(paths[0])
    return ", ".join(f"{side}: {name}" for side, name in names.items())


def val_images(opt: Any) -> Loader | None:
    """Return the dataset of the phase val; None if there is none that can be read."""
    try:
        return create_validation_dataset(opt)
    except Exception:  # a user's dataset may raise anything if it has no such phase
        return None


def by_title(statistics: dict[str, SideStatistics], opt: Any) -> dict[str, SideStatistics]:
    """Return the statistics by a title for the page: the side, with its part if data are paired.

    Sides without samples are left out.
    """
    part = {opt.direction[0]: "input", opt.direction[-1]: "target"}
    paired = opt.dataset_mode in ("aligned", "labels")
    return {
        f"{side} ({part[side]})" if paired else side: stats
        for side, stats in sorted(statistics.items())
        if stats.sampled
    }
