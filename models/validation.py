"""Validation in a training: the same pictures each time, the best checkpoint, when to stop."""

from collections.abc import Iterable
from itertools import chain, islice
from statistics import fmean
from typing import TYPE_CHECKING, Any

from models.finite import check_weights
from util.metrics import compare, eight_bit, lower_is_better
from util.processes import gather
from util.stopping import last_epoch

if TYPE_CHECKING:
    from models.base_model import BaseModel


def mean_scores(model: "BaseModel", batches: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Return the mean over pictures of each metric that all of them allow."""
    found: list[dict[str, list[float]]] = []
    for batch in batches:
        model.set_input(batch)
        model.test()
        if pair := model.compared():
            values = compare(*map(eight_bit, pair))
            found.append({name: each.tolist() for name, each in values.items()})
        else:
            found.append({"loss": [model.validation_loss().item()]})
    found = [scores for part in gather(found) for scores in part]  # each process has a part
    names = [name for name in found[0] if all(name in one for one in found)]
    return {name: fmean(chain.from_iterable(one[name] for one in found)) for name in names}


class Validation:
    """Measures a model every `--val_freq` epochs and keeps the best of its weights as `best`.

    The averaged generators of `--ema` are measured beside the others, and then decide.
    """

    def __init__(self, opt: Any, model: "BaseModel", batches: Iterable[dict[str, Any]]):
        """ValueError, before anything is trained, if `--best_metric` is not measured here."""
        self.opt, self.model, self.batches = opt, model, batches
        names = list(model.validate(islice(batches, 1)))
        self.metric = opt.best_metric or names[0]
        if self.metric not in names:
            raise ValueError(
                f"--best_metric {self.metric}: not measured for these pictures; measured are "
                f"{', '.join(names)}"
            )
        self.column = self.metric + ("_ema" if model.averages else "")
        progress = model.progress
        if progress.best_metric != self.column:  # another one was followed, or none
            progress.best_metric, progress.best, progress.stale = self.column, None, 0

    def due(self, epoch: int) -> bool:
        """Return whether an epoch ends with a validation; the last one does."""
        return epoch % self.opt.val_freq == 0 or epoch == last_epoch(self.opt)

    def measure(self) -> dict[str, float]:
        """Return the mean of each metric over all pictures, as `NAME_ema` for the averages."""
        found = self.model.validate(self.batches)
        if self.model.averages:
            with self.model.averages.standing_in(self.model.nets):
                averaged = self.model.validate(self.batches)
            found |= {f"{name}_ema": value for name, value in averaged.items()}
        return found

    def judge(self, epoch: int, scores: dict[str, float]) -> float:
        """Remember whether these scores are the best so far, and if so save the weights; return
        the score that decides.
        """
        score = scores[self.column]
        progress = self.model.progress
        best, lower = progress.best, lower_is_better(self.metric)
        if best is None or (score < best if lower else score > best):
            progress.best, progress.best_epoch, progress.stale = score, epoch, 0
            check_weights(self.model.nets)
            self.model.save_networks("best")
        else:
            progress.stale += 1
        return score

    def verdict(self) -> str:
        """Return which epoch is the best so far."""
        progress = self.model.progress
        found = f"best {progress.best_metric}: {progress.best:.4f} of epoch {progress.best_epoch}"
        stale = progress.stale
        return found + (f", {stale} validation{'s' * (stale > 1)} ago" if stale else "")

    def exhausted(self) -> bool:
        """Return whether `--early_stop` validations have passed without a better one."""
        return 0 < self.opt.early_stop <= self.model.progress.stale
