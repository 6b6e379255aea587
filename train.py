"""Train a model on pairs of pictures.

    python train.py --dataroot ./datasets/facades --name facades --direction BtoA

Without --dataroot it trains on pictures that the project draws itself.
"""

import logging
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from itertools import islice
from typing import Any

from data import create_dataset, create_validation_dataset
from models import create_model
from models.balance import Balance
from models.finite import FiniteWatch, check_weights
from models.saving import forget_another_run, save_state
from models.validation import Validation
from options.base_options import Options
from options.train_options import TrainOptions
from util import processes
from util.checkpoint import forget_epochs
from util.clock import Clock, WaitingAdvice
from util.device import explained_memory, seed_everything
from util.files import run_folder, sole_owner
from util.restarts import Start, beginning, flags_of_restart, this_start
from util.score_log import Scores
from util.stopping import Signals, Stopped, last_epoch, polite_signals, status_of
from util.util import python, run_command, setup_logging
from util.visualizer import Visualizer

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    """Build what the flags describe, and train it; ValueError for a user's mistake.

    `Stopped` says why a training ended before its end.
    """
    setup_logging()
    argv = sys.argv[1:] if argv is None else argv
    with polite_signals() as signals, processes.together():
        starts = processes.gather(this_start())
        opt = options(argv, starts)
        main, folder = processes.is_main(), run_folder(opt)
        owner = sole_owner(folder, beginning(folder, starts)) if main else nullcontext()
        with owner, explained_memory(opt):
            train(opt, signals)


def options(argv: Sequence[str], starts: Sequence[Start]) -> Options:
    """Parse the flags; ValueError if the processes that were started cannot train with them."""
    opt, count = TrainOptions().read(argv), processes.count()
    going_on = processes.of_main(flags_of_restart(run_folder(opt), starts))
    if going_on:
        log.info("started anew after a failure: going on from the last save")
        opt = TrainOptions().read([*argv, *going_on])
    if opt.batch_size % count:
        raise ValueError(
            f"--batch_size {opt.batch_size}: cannot be split evenly over {count} processes; it "
            f"counts the pictures of all of them, so that it must be a multiple of {count}"
        )
    if len(opt.gpu_ids) > count == 1:
        log.warning(
            "--gpu_ids: a process trains on one GPU, the first of these; for one on each: %s",
            torchrun_line(opt, argv),
        )
    return opt


def torchrun_line(opt: Options, argv: Sequence[str]) -> str:
    """Return the command that trains in a process for each GPU, on a batch that they can share."""
    start = ["uv", "run", "torchrun"] if python()[0] == "uv" else ["torchrun"]
    count = len(opt.gpu_ids)
    batch = [] if opt.batch_size % count == 0 else ["--batch_size", str(count)]
    return shlex.join([*start, f"--nproc_per_node={count}", "train.py", *argv, *batch])


def train(opt: Options, signals: Signals) -> None:
    """Train what the options describe."""
    seed_everything(opt.seed)
    dataset = create_dataset(opt)
    held_out = create_validation_dataset(opt) if opt.val_freq else None
    model = create_model(opt)
    log.info("%s", opt.text())
    model.setup(opt)
    log.info("%d training pictures", len(dataset))
    validation = Validation(opt, model, held_out) if held_out else None
    if held_out:
        log.info("%d validation pictures", len(held_out))
    if model.progress.epoch > last_epoch(opt):
        done = model.progress.epoch - 1
        log.info("complete with epoch %d; a larger --n_epochs trains it further", done)
    elif validation and validation.exhausted():
        log.info("stopped early: %s; --early_stop 0 trains on", validation.verdict())
    else:
        visualizer = Visualizer(opt, model.progress.since)
        try:
            Training(opt, dataset, model, visualizer, validation, signals).run()
        finally:
            visualizer.close()
    log.info("weights and pages are in %s; see results with: %s", model.save_dir, next_step(opt))
    if validation and model.progress.best_epoch:
        flags = "--epoch best" + (" --use_ema" if model.averages else "")
        log.info("the best weights, of epoch %d: %s", model.progress.best_epoch, flags)


class Training:
    """The epochs of a run, from where the model's progress is. `iters` and every *_freq count
    pictures.
    """

    def __init__(
        self,
        opt: Any,
        dataset: Any,
        model: Any,
        visualizer: Visualizer,
        validation: Any,
        signals: Signals,
    ):
        self.opt, self.dataset, self.model, self.visualizer = opt, dataset, model, visualizer
        self.validation, self.signals, self.watch = validation, signals, FiniteWatch()
        self.advice, self.balance = WaitingAdvice(), Balance(opt.gan_mode)
        self.agreement = processes.Agreement()  # to stop
        model.progress.now_of(len(dataset))

    def run(self) -> None:
        opt, progress, visualizer = self.opt, self.model.progress, self.visualizer
        last = last_epoch(opt)
        while progress.epoch <= last:
            started, epoch = time.perf_counter(), progress.epoch
            trained = self.train_epoch()  # not if it stopped after the last picture
            if trained and visualizer.shown_in_epoch < epoch:
                visualizer.display_current_results(self.model.get_current_visuals(), epoch)
            rate = self.model.learning_rate
            validated = self.validation and self.validation.due(epoch)
            self.model.update_learning_rate(self.validate(epoch) if validated else None)
            progress.epoch, progress.iters = epoch + 1, 0
            enough = validated and self.validation.exhausted()
            if epoch % opt.save_epoch_freq == 0:
                self.save("latest", epoch)
            elif epoch == last or enough:
                self.save("latest")
            seconds = time.perf_counter() - started
            visualizer.end_epoch(
                f"epoch {epoch}/{last} took {seconds:.0f} s, learning rate {rate:.7f}"
            )
            if enough:
                log.info("stopped early: %s", self.validation.verdict())
                break

    def validate(self, epoch: int) -> float:
        """Measure the model, keep it if it is the best so far, and return the score it is by."""
        scores = self.validation.measure()
        score = self.validation.judge(epoch, scores)
        self.visualizer.print_scores(Scores(epoch, scores, f" ({self.validation.verdict()})"))
        return score

    def train_epoch(self) -> bool:
        """Train on the pictures of the epoch that are not done; return whether there were any."""
        opt, model, visualizer = self.opt, self.model, self.visualizer
        progress, clock, done = model.progress, Clock(), model.progress.iters
        self.dataset.set_epoch(progress.epoch, done)
        visualizer.start_epoch(progress.epoch, len(self.dataset))
        visualizer.advance(done)
        for batches in clock.waiting_for(grouped(self.dataset, opt.grad_accum)):
            if opt.grad_accum > 1:
                model.optimize_over(batches)
            else:
                model.set_input(batches[0])
                model.optimize_parameters()
            before, count = progress.total, opt.batch_size * len(batches)
            progress.total += count
            progress.iters += count
            clock.pictures += count
            files = [path for batch in batches for path in batch.get("A_paths", [])]
            if model.averages:
                model.averages.update()
            self.watch.see(model.loss_tensors(), progress.total, files)
            visualizer.advance(count)
            self.show(before, clock)
            if passed(opt.save_latest_freq, before, progress.total):
                self.save(f"iter_{progress.total}" if opt.save_by_iter else "latest")
            if asked := self.agreement.on(self.signals.asked):
                self.save("latest")
                raise Stopped(
                    f"stopped in epoch {progress.epoch} after {progress.iters} of its pictures, "
                    f"all of it saved; go on with the same command and --continue_train",
                    status_of(asked),
                )
        if not self.dataset.by_itself:  # else a GPU works while the next batch is made
            self.advice.after_epoch(clock.share(), opt.num_threads, opt.cache)
        return progress.iters > done

    def show(self, before: int, clock: Clock) -> None:
        """Print the losses and show the pictures of a step, if it is time for that."""
        opt, model, progress = self.opt, self.model, self.model.progress
        if passed(opt.print_freq, before, progress.total):
            self.watch.check()
            losses = model.get_current_losses()
            self.balance.see(losses, model.visuals)
            lap = clock.lap()
            self.visualizer.print_current_losses(progress.epoch, progress.iters, losses, *lap)
        page = passed(opt.update_html_freq, before, progress.total)
        if page or (self.visualizer.live and passed(opt.display_freq, before, progress.total)):
            visuals = model.get_current_visuals()
            self.visualizer.display_current_results(visuals, progress.epoch, page, progress.iters)

    def save(self, *tags: str | int) -> None:
        """Write the weights under these tags, then the state that a resume reads.

        Of several processes all come here, and process 0 writes.
        """
        self.watch.check()
        check_weights(self.model.nets)
        for tag in tags:
            self.model.save_networks(tag)
        save_state(self.model, self.model.progress)
        if processes.is_main():
            forget_epochs(self.model.save_dir, self.opt.keep)
            forget_another_run(self.model, tags)


def grouped(batches: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield lists of `size` batches; the last may be shorter."""
    iterator = iter(batches)
    while group := list(islice(iterator, size)):
        yield group


def passed(every: int, before: int, now: int) -> bool:
    """Return whether a multiple of `every` lies in (before, now]."""
    return now // every > before // every


def next_step(opt: Any) -> str:
    """Return the command that shows this run's results."""
    command = [*python(), "test.py", "--name", opt.name]
    if opt.checkpoints_dir != "./checkpoints":
        command += ["--checkpoints_dir", opt.checkpoints_dir]
    return shlex.join(command)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
