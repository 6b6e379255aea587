"""Fréchet and kernel distance of generated images in EfficientNet-Lite0's features: in a
validation, and by `scripts.evaluate`.
"""

import hashlib
import logging
import time
from argparse import Namespace
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data import create_dataset, load_size_of_test
from models.base_model import BaseModel
from models.efficientnet_lite import FeatureReader
from util.distributed import all_gather, rank, world_size
from util.feature_distance import (
    DISTANCES,
    FEATURE_METRICS,
    FRECHET,
    LEAST,
    Distance,
    Reference,
    trained_with_these,
)
from util.metrics import Interval
from util.registry import find_class
from util.sampling import first_of_parts
from util.seeding import seeded
from util.util import tensor2im

log = logging.getLogger(__name__)

MOST_TRAINING = 1000  # training images that others are measured against
# Training images are prepared as those of the test are.
AS_TESTED = {
    "isTrain": False,
    "max_dataset_size": float("inf"),
    "serial_batches": True,
    "no_flip": True,
    "tile": None,
    "batch_size": 1,
    "num_threads": 0,
    "targets_alone": True,  # which need no masks
}


def training_reference(opt: Any, reader: FeatureReader) -> Reference:
    """Read the features of the training images of --phase, as a test with these options prepares
    them; of more than MOST_TRAINING some, spread evenly.

    All ranks read a part. ValueError if there are none or one cannot be read.
    """
    options = Namespace(**{**vars(opt), **AS_TESTED})
    model = find_class("models", opt.model, "--model")
    with seeded(opt.seed):  # items of a user's dataset may draw random numbers
        dataset = create_dataset(options, repeated=True)
        indices = first_of_parts(len(dataset), MOST_TRAINING)
        part = {}
        for index in indices[rank() :: world_size()]:
            try:
                target = model.targets_of(dataset.item(index), options)
            except ValueError:
                if opt.on_bad_image != "skip":
                    raise
                continue
            if target is not None:
                part[index] = reader.read_once(tensor2im(target))
    pairs = merged(all_gather(part))
    features = dict(pairs[index] for index in sorted(pairs))  # an image that repeats counts once
    if len(features) < LEAST:
        raise ValueError(f"--dataroot {opt.dataroot}: {opt.phase} has fewer than {LEAST} images")
    description = f"{len(features)} training images ({opt.dataroot}, {opt.phase})"
    return reference_of(torch.stack(list(features.values())), features, description)


def reference_of(features: Tensor, digests: Iterable[str], what: str = "") -> Reference:
    """Return images with these features, and the digests of their pixels, as a reference."""
    digest = hashlib.sha256(" ".join(sorted(digests)).encode()).hexdigest()
    return Reference(features, digest, what)


def merged(parts: Iterable[dict[Any, Any]]) -> dict[Any, Any]:
    """Return one dict of all ranks' parts."""
    return {key: value for part in parts for key, value in part.items()}


def asked_for(opt: Any) -> list[str]:
    """Return the metrics of this file that a training's flags ask for."""
    return [m for m in FEATURE_METRICS if m in (opt.val_metrics or ()) or m == opt.best_metric]


class FeatureScores:
    """The distances of a validation's outputs to the training images, and their floor: those of
    the real validation images.
    """

    def __init__(self, metrics: Sequence[str], model: BaseModel, batches: Iterable[Any]):
        """Read the real images; `batches` are those of the validation.

        ValueError if there are too few, or if these features train the networks.
        """
        opt, started = model.opt, time.perf_counter()
        self.metrics, self.flag = metrics, f"--val_metrics {','.join(metrics)}"
        if trained_with_these(vars(opt)) and opt.best_metric in FEATURE_METRICS:
            raise ValueError(
                f"--best_metric {opt.best_metric}: is measured with the network that this training "
                f"has in its loss (--perceptual {opt.perceptual}); choose another"
            )
        if trained_with_these(vars(opt)):
            log.warning(
                "%s: measures with the network that trains; it judges no setting", self.flag
            )
        if model.visuals:
            outputs_of(model)  # an error now, and not after the first epoch
        self.reader = FeatureReader(model.device, self.flag)
        test_options = Namespace(**{**vars(opt), "load_size": load_size_of_test(opt)})
        self.reference = training_reference(test_options, self.reader)
        self.real = self._real(model, batches)
        seconds = time.perf_counter() - started
        words = ", ".join(metrics), len(self.real), self.reference.what, seconds
        log.info("%s: read the features of %d real val images and %s in %.0f s", *words)
        self.floor: dict[str, Distance] = {}
        self.restart()

    def _real(self, model: BaseModel, batches: Iterable[Any]) -> Tensor:
        """Return the features of the real validation images, (N, 1280), in the order of files."""
        opt, features, inputs = model.opt, {}, {}
        side = "A" if opt.direction == "BtoA" else "B"
        with seeded(opt.seed):
            for batch in batches:
                model.set_input(batch)
                files = model.get_image_paths()
                inputs |= dict.fromkeys(files)
                targets = model.targets_of(batch, opt)
                files = batch.get("image_paths") or batch.get(f"{side}_paths") or files
                for file, target in zip(files, () if targets is None else targets, strict=False):
                    features[file] = self.reader.read(tensor2im(target))
        features, inputs = (merged(all_gather(part)) for part in (features, inputs))
        if min(len(features), len(inputs)) < LEAST:
            raise ValueError(f"{self.flag}: needs at least {LEAST} validation images")
        return torch.stack([features[file] for file in sorted(features)])

    def restart(self) -> None:
        """Begin another validation."""
        self.own: dict[str, Tensor] = {}

    def add(self, model: BaseModel) -> None:
        """Read the outputs that the model has just made, as test.py would write them."""
        for file, image in zip(model.get_image_paths(), outputs_of(model), strict=True):
            self.own[file] = self.reader.read(image)

    def scores(self) -> dict[str, float]:
        """Return the distances of the outputs of all processes."""
        by_file = merged(all_gather(self.own))
        features = torch.stack([by_file[file] for file in sorted(by_file)])
        if not self.floor:  # of as many images, since the distance depends on their number
            real = self.real[first_of_parts(len(self.real), len(features))]
            self.floor = distances(real, self.reference, self.metrics)
            log.info("%s", floor_line(self.floor))
        self.found = distances(features, self.reference, self.metrics)
        return {metric: distance.value for metric, distance in self.found.items()}

    def line(self) -> str:
        """Return how far the last outputs are above the floor; "" if that cannot be said."""
        above = {
            metric: distance.minus(self.floor[metric]) for metric, distance in self.found.items()
        }
        texts = [f"{metric} {shown(interval)}" for metric, interval in above.items() if interval]
        return f"val above the floor: {', '.join(texts)}" if texts else ""


def shown(interval: Interval) -> str:
    """Return a number with its interval."""
    return "{:+.1f} [{:+.1f}, {:+.1f}]".format(*interval)


def outputs_of(model: BaseModel) -> list[np.ndarray]:
    """Return the outputs of the last forward pass as test.py writes them, (H, W, 1 or 3) uint8.

    ValueError if the model shows none.
    """
    visuals = model.get_current_visuals()
    images = next((visuals[name] for name in ("fake_B_rgb", "fake_B") if name in visuals), None)
    if images is None and (pair := model.metric_pair()):
        images = pair[0]
    if images is None:
        raise ValueError(
            f"--val_metrics: --model {model.opt.model} has neither an image fake_B nor metric_pair"
        )
    return [tensor2im(image) for image in images]


def distances(
    features: Tensor, reference: Reference, metrics: Iterable[str]
) -> dict[str, Distance]:
    """Return the distances of images with these features, (N, 1280), by metric."""
    return {metric: DISTANCES[metric](features, reference.features) for metric in metrics}


def floor_line(floor: dict[str, Distance]) -> str:
    """Return the distances of the real validation images, and what their number adds."""
    values = ", ".join(f"{metric} {score.value:.1f}" for metric, score in floor.items())
    line = f"the floor: {next(iter(floor.values())).count} real val images have {values}"
    if score := floor.get(FRECHET):
        line += f"; {score.count // 2} of them have {FRECHET} {score.half:.1f}, as it falls with N"
    return line
