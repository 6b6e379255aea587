"""Train a model on pairs of pictures.

    python train.py --dataroot ./datasets/facades --name facades --direction BtoA

Without --dataroot it trains on pictures that the project draws itself.
"""

import logging
import shlex
import time
from collections.abc import Sequence
from typing import Any

from data import create_dataset, create_validation_dataset
from models import create_model
from options.train_options import TrainOptions
from util.clock import Clock
from util.device import seed_everything
from util.util import run_command, setup_logging
from util.visualizer import Visualizer

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    """Build what the flags describe, and train it; ValueError for a user's mistake."""
    setup_logging()
    opt = TrainOptions().parse(argv)
    seed_everything(opt.seed)
    dataset = create_dataset(opt)
    validation = create_validation_dataset(opt) if opt.lr_policy == "plateau" else None
    model = create_model(opt)
    model.setup(opt)
    log.info("%s", opt.text())
    log.info("%d training pictures", len(dataset))
    visualizer = Visualizer(opt)
    try:
        train(opt, dataset, model, visualizer, validation)
    finally:
        visualizer.close()
    log.info("weights and pages are in %s; see results with: %s", model.save_dir, next_step(opt))


def train(opt: Any, dataset: Any, model: Any, visualizer: Visualizer, validation: Any) -> None:
    """Run the epochs. `iters` and every *_freq count pictures."""
    last_epoch = opt.n_epochs + opt.n_epochs_decay
    total_iters = 0
    for epoch in range(opt.epoch_count, last_epoch + 1):
        started, epoch_iter, clock = time.perf_counter(), 0, Clock()
        dataset.set_epoch(epoch)
        visualizer.start_epoch(epoch, len(dataset))
        for batch in clock.waiting_for(dataset):
            model.set_input(batch)
            model.optimize_parameters()

            before, total_iters = total_iters, total_iters + opt.batch_size
            epoch_iter += opt.batch_size
            clock.pictures += opt.batch_size
            visualizer.advance(opt.batch_size)
            if passed(opt.print_freq, before, total_iters):
                losses = model.get_current_losses()
                visualizer.print_current_losses(epoch, epoch_iter, losses, *clock.lap())
            page = passed(opt.update_html_freq, before, total_iters)
            if page or (visualizer.live and passed(opt.display_freq, before, total_iters)):
                visuals = model.get_current_visuals()
                visualizer.display_current_results(visuals, epoch, page, epoch_iter)
            if passed(opt.save_latest_freq, before, total_iters):
                model.save_networks(f"iter_{total_iters}" if opt.save_by_iter else "latest")

        if visualizer.shown_in_epoch < epoch:
            visualizer.display_current_results(model.get_current_visuals(), epoch)
        if epoch % opt.save_epoch_freq == 0 or epoch == last_epoch:
            model.save_networks("latest")
        if epoch % opt.save_epoch_freq == 0:
            model.save_networks(epoch)
        rate = model.learning_rate
        model.update_learning_rate(model.validate(validation) if validation else None)
        seconds = time.perf_counter() - started
        visualizer.end_epoch(
            f"epoch {epoch}/{last_epoch} took {seconds:.0f} s, learning rate {rate:.7f}"
        )


def passed(every: int, before: int, now: int) -> bool:
    """Return whether a multiple of `every` lies in (before, now]."""
    return now // every > before // every


def next_step(opt: Any) -> str:
    """Return the command that shows this run's results."""
    command = ["python", "test.py", "--name", opt.name]
    if opt.checkpoints_dir != "./checkpoints":
        command += ["--checkpoints_dir", opt.checkpoints_dir]
    return shlex.join(command)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
