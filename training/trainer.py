"""The epochs of a training: train, validate, schedule, save, show."""

import logging
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from data import Loader
from options.train_options import last_epoch
from training.health import NanCheck, WaitingAdvice, check_weights
from training.reporting import Reporter, passed
from training.samples import Samples
from training.state import TrainingState
from training.timing import StepTimer, time_left
from training.validation import Validation
from util import distributed
from util.errors import RunStopped
from util.memory import peak_memory
from util.signals import Signals, status_of
from util.visualizer import Visualizer

log = logging.getLogger(__name__)


class Trainer:
    """Runs the epochs that a training has left.

    `iters` and the *_freq flags count images, but --save_epoch_freq and --val_freq count epochs.
    """

    def __init__(
        self,
        opt: Any,
        state: TrainingState,
        dataset: Loader,
        *,
        validation: Validation | None,
        samples: Samples,
        visualizer: Visualizer,
        signals: Signals,
    ):
        self.opt, self.state, self.dataset = opt, state, dataset
        self.model, self.progress = state.model, state.progress
        self.validation, self.visualizer, self.signals = validation, visualizer, signals
        self.nan_check, self.advice = NanCheck(), WaitingAdvice()
        shown = {"samples": samples, "visualizer": visualizer, "nan_check": self.nan_check}
        self.reporter, self.stop_flag = Reporter(opt, state, **shown), distributed.StopFlag()
        self.progress.set_dataset_size(len(dataset))

    def run(self) -> None:
        """Train up to the last epoch, or until --early_stop or a signal ends it."""
        first, last = self.progress.epoch, last_epoch(self.opt)
        while self.progress.epoch <= last:
            started, epoch = time.perf_counter(), self.progress.epoch
            trained = self.train_epoch()
            due = bool(self.validation) and self.validation.due(epoch)
            rates = self.model.learning_rates()
            scores = [self.validate(epoch)] if due else []  # a user's model may take none
            self.model.update_learning_rate(*scores)
            if trained:
                self.reporter.show_samples(epoch)
            self.progress.epoch, self.progress.iters = epoch + 1, 0
            stop_early = due and self.validation.should_stop()
            if epoch % self.opt.save_epoch_freq == 0:
                self.save("latest", epoch)
            elif epoch == last or stop_early or (due and self.progress.best_epoch == epoch):
                self.save("latest")  # the state is to name the epoch of the best weights
            seconds = time.perf_counter() - started
            slow_start = epoch == first and seconds < 60  # caches, autotuning, first calls
            remaining = time_left(seconds * (last - epoch)) if trained and not slow_start else ""
            self.visualizer.end_epoch(
                f"epoch {epoch}/{last} took {seconds:.0f} s, learning rate {rates}{remaining}"
            )
            if stop_early:
                log.info("stopped early: %s", self.validation.best_summary())
                break

    def train_epoch(self) -> bool:
        """Train on the images that the epoch has left; return whether there were any."""
        opt, progress, clock, done = self.opt, self.progress, StepTimer(), self.progress.iters
        self.dataset.set_epoch(progress.epoch, done)
        self.visualizer.start_epoch(progress.epoch, len(self.dataset))
        self.visualizer.advance(done)
        for batches in clock.batches(grouped(self.dataset, opt.grad_accum)):
            self.model.train_on(batches)
            before, count = progress.total, opt.batch_size * len(batches)
            progress.total += count
            progress.iters += count
            clock.images += count
            if self.state.ema:
                self.state.ema.update()
            files = [f for b in batches for f in b.get("A_paths") or b.get("label_paths", [])]
            self.nan_check.observe(self.model.losses, progress.total, files)
            self.visualizer.advance(count)
            self.reporter.after_step(before, clock)
            if passed(opt.save_latest_freq, before, progress.total):
                progress.seconds += clock.elapsed()
                self.save(f"iter_{progress.total}" if opt.save_by_iter else "latest")
            self.stop_if_asked(clock)
        progress.seconds += clock.elapsed()
        progress.peak_memory = max(progress.peak_memory, peak_memory(self.model.device))
        if progress.iters > done:
            self.reporter.after_last_step(clock)
        # Without workers a GPU computes while a batch is made: the share of waiting says nothing.
        if not self.dataset.without_workers:
            self.advice.after_epoch(clock.share(), opt.num_threads, self.dataset.cache_kind)
        return progress.iters > done

    def validate(self, epoch: int) -> float:
        """Measure the model, keep it if it is the best so far, and return its score."""
        scores = self.validation.measure()
        score = self.validation.update_best(epoch, scores)
        self.reporter.show_scores(epoch, scores, self.validation.best_summary())
        return score

    def stop_if_asked(self, clock: StepTimer) -> None:
        """Save and raise `RunStopped` once a signal has asked any rank to stop."""
        if signal_number := self.stop_flag.on(self.signals.received):
            self.progress.seconds += clock.elapsed()
            self.save("latest")
            raise RunStopped(
                f"stopped in epoch {self.progress.epoch} after {self.progress.iters} of its "
                f"images; the checkpoint includes them; resume with the same command and "
                f"--continue_train",
                status_of(signal_number),
            )

    def save(self, *tags: str | int) -> None:
        """Write the weights under these tags, then the state that a resume reads.

        All ranks call it, and rank 0 writes.
        """
        self.nan_check.check()
        check_weights(self.state.nets)
        self.state.begin_save()
        for tag in tags:
            self.state.save_networks(tag)
        self.dataset.save_new_ranges()
        self.state.save()


def grouped(batches: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield lists of `size` batches; the last may be shorter."""
    iterator = iter(batches)
    while group := list(islice(iterator, size)):
        yield group
