"""Validation in a training: the same images each time, the best checkpoint, when to stop."""

import logging
import math
from collections.abc import Iterable
from itertools import chain, islice
from statistics import fmean
from typing import Any

from data import Loader
from models import schedules
from models.base_model import BaseModel
from models.data_parallel import average_buffers
from options.train_options import last_epoch
from training.commands import results_line
from training.feature_scores import FeatureScores, asked_for
from training.health import check_weights
from training.label_scores import LabelScores
from training.state import TrainingState
from util.distributed import all_gather
from util.metrics import FEW_IMAGES, LABEL_METRICS, compare, eight_bit, lower_is_better
from util.seeding import seeded

log = logging.getLogger(__name__)

MANY_SINCE_BEST = 5  # validations without a better one that are worth a word


class NothingMeasuredError(ValueError):
    """None of the images of a validation can be measured."""


def mean_scores(
    model: BaseModel,
    batches: Iterable[dict[str, Any]],
    labels: LabelScores | None = None,
    features: FeatureScores | None = None,
) -> dict[str, float]:
    """Return the mean over all images of each metric that every image is large enough for, the
    scores of the classes that can be read from the images, and the distances of their features.

    Running statistics and the random state of the training stay as they are; noise that a model
    draws itself is the same in each validation. `NothingMeasuredError` if no image can be measured.
    """
    results: list[dict[str, list[float]]] = []
    if labels:
        labels.restart()
    if features:
        features.restart()
    with seeded(model.opt.seed):
        for batch in batches:
            model.set_input(batch)
            model.test()
            if features:
                features.add(model)
            if nothing_to_measure(model):
                continue
            if pair := model.metric_pair():
                fake, real = map(eight_bit, pair)
                if labels:
                    labels.add(fake, real, batch["label"])
                values = compare(fake, real, model.metric_hole())
                results.append({name: tensor.tolist() for name, tensor in values.items()})
            else:
                results.append({"loss": [model.validation_loss().item()]})
    results = [scores for part in all_gather(results) for scores in part]  # each process has a part
    if not results:
        raise NothingMeasuredError(
            "--val_freq: none of the validation images can be measured: they cannot be read, or "
            "have no hole or no data"
        )
    names = [name for name in results[0] if all(name in scores for scores in results)]
    means = {name: fmean(chain.from_iterable(scores[name] for scores in results)) for name in names}
    means |= labels.scores() if labels else {}
    return means | (features.scores() if features else {})


def nothing_to_measure(model: BaseModel) -> bool:
    """Return whether a batch has no hole though the model fills holes, or no data at all."""
    masks = (model.metric_hole(), getattr(model, "valid", None))
    return any(mask is not None and not mask.any() for mask in masks)


class Validation:
    """Measures a model every `--val_freq` epochs and keeps the best of its weights as `best`.

    With `--ema`, the averaged generators are measured beside the others, and then decide.
    """

    def __init__(self, opt: Any, state: TrainingState, batches: Loader):
        """ValueError, before anything is trained, if `--best_metric` is not measured here."""
        self.opt, self.state, self.batches = opt, state, batches
        log.info("%d validation images", len(batches))
        if len(batches) < FEW_IMAGES:
            log.warning(
                "--val_freq: fewer than %d images are too few to tell which epoch is the best",
                FEW_IMAGES,
            )
        self.labels = None
        if getattr(opt, "fcn_epochs", 0):
            self.labels = LabelScores(opt, state.model.device)
        # The metrics that all images are large enough for; the first shows them if sizes are equal.
        equal = opt.preprocess.endswith("crop") and opt.dataset_mode != "measurements"
        looked_at = islice(batches, 1) if equal or not opt.best_metric else batches
        try:
            names = list(mean_scores(state.model, looked_at, self.labels))
        except NothingMeasuredError:  # the first alone may have no hole, or no data
            names = list(mean_scores(state.model, batches, self.labels))
        self.features = None
        if metrics := asked_for(opt):
            self.features = FeatureScores(metrics, state.model, batches)
            names += metrics
        self.metric = opt.best_metric or ("hole_L1" if "hole_L1" in names else names[0])
        if self.metric not in names:
            hint = "; it needs --fcn_epochs" if self.metric in LABEL_METRICS else ""
            raise ValueError(
                f"--best_metric {self.metric}: not measured for these images; measured are "
                f"{', '.join(names)}{hint}"
            )
        self.column = self.metric + ("_ema" if state.ema else "")
        progress = state.progress
        if progress.best_metric != self.column:  # another metric, or none, decided so far
            progress.best_metric, progress.best = self.column, None
            progress.validations_since_best = 0
            schedules.forget_scores(state.model.schedulers)

    def due(self, epoch: int) -> bool:
        """Return whether an epoch ends with a validation; the last one does."""
        return epoch % self.opt.val_freq == 0 or epoch == last_epoch(self.opt)

    def measure(self) -> dict[str, float]:
        """Return the mean of each metric over all images, as `NAME_ema` for the EMA."""
        model, ema = self.state.model, self.state.ema
        average_buffers(model.nets.values())  # as the saved weights have them
        scores = mean_scores(model, self.batches, self.labels, self.features)
        if ema:
            with ema.applied():
                averaged = mean_scores(model, self.batches, self.labels, self.features)
            scores |= {f"{name}_ema": value for name, value in averaged.items()}
        if self.labels:
            lines = self.labels.by_class(), self.labels.of_references()
            log.info("%s", "; ".join(filter(None, lines)))
        if self.features and (line := self.features.line()):
            log.info("%s%s", line, " (EMA)" if ema else "")
        return scores

    def update_best(self, epoch: int, scores: dict[str, float]) -> float:
        """Save the weights if these scores are the best so far; return the score that decides.

        Of equal scores the first is the best; a score that is not a number never is.
        """
        score, progress = scores[self.column], self.state.progress
        best = progress.best
        if best is None:
            best = math.inf if lower_is_better(self.metric) else -math.inf
        if score < best if lower_is_better(self.metric) else score > best:
            check_weights(self.state.nets)
            progress.best, progress.best_epoch = score, epoch
            progress.validations_since_best = 0
            self.state.save_networks("best")
        else:
            progress.validations_since_best += 1
        return score

    def best_summary(self) -> str:
        """Return which epoch is the best so far."""
        progress = self.state.progress
        if progress.best is None:
            return f"no best {progress.best_metric} yet"
        text = f"best {progress.best_metric}: {progress.best:.4f} of epoch {progress.best_epoch}"
        count = progress.validations_since_best
        return text + (f", {count} validation{'s' * (count > 1)} ago" if count else "")

    def last_words(self) -> str:
        """Return which epoch is the best of a run that has ended, and how to translate with it."""
        progress, every = self.state.progress, self.opt.val_freq
        among = "all" if every == 1 else f"one in {every} and the last"
        line = results_line(self.opt, "--epoch", "best", *["--use_ema"] * bool(self.state.ema))
        words = (
            f"best epoch by val {progress.best_metric}: {progress.best_epoch} (of {among}; {line})"
        )
        since = progress.validations_since_best
        if since >= MANY_SINCE_BEST:
            words += (
                f"; none of the {since} validations since was better: more training images may "
                f"help, and --early_stop ends a run earlier"
            )
        return words

    def should_stop(self) -> bool:
        """Return whether `--early_stop` validations have passed without a better one."""
        return 0 < self.opt.early_stop <= self.state.progress.validations_since_best
