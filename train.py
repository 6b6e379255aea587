"""Train a model on pairs of images.

    python train.py --dataroot ./datasets/facades --name facades --direction BtoA

Without --dataroot it trains on images that the project draws itself.
"""

import logging
from collections.abc import Sequence
from contextlib import nullcontext

import util.installed  # noqa: F401  (names missing packages in one line)
from data import create_dataset, create_validation_dataset
from data.value_range import forgetting_unsaved
from models import create_model
from models.weights import infer_options
from options.base_options import Options
from options.train_options import TrainOptions, last_epoch
from training.commands import results_line, torchrun_line
from training.cuda_graphs import enable_cuda_graphs
from training.earlier_run import own_run_folder
from training.health import explain_out_of_memory
from training.image_sizes import check_image_sizes, say_padding
from training.rescue import save_on_error
from training.resume import let_ema_estimate, resume
from training.run_lock import LaunchInfo, launch_info, restart_flags
from training.samples import Samples, by_title
from training.trainer import Trainer
from training.validation import Validation
from util import distributed
from util.command import run_command, setup_logging, words_of
from util.device import gpu_count, tune_malloc
from util.distributed import launch
from util.files import run_folder
from util.seeding import seed_everything
from util.signals import Signals, handle_signals
from util.visualizer import Visualizer

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    """Build what the flags describe, and train it; ValueError for a user's mistake.

    `RunStopped` says why a training ended before its last epoch.
    """
    setup_logging()
    tune_malloc()
    argv = words_of(argv)
    with handle_signals() as signals, launch.process_group():
        launches = distributed.all_gather(launch_info())
        opt = parse(argv, launches)
        is_main = distributed.is_main_process()
        own_folder = own_run_folder(opt, launches) if is_main else nullcontext("")
        with own_folder as earlier_run, explain_out_of_memory(opt), forgetting_unsaved():
            distributed.barrier()  # the folder is that of this run
            train(opt, signals, earlier_run)


def parse(argv: Sequence[str], launches: Sequence[LaunchInfo]) -> Options:
    """Parse the flags; ValueError if the processes that were started cannot train with them."""
    opt, count = TrainOptions(infer_options).read(argv), distributed.world_size()
    if extra_flags := distributed.broadcast_from_main(restart_flags(run_folder(opt), launches)):
        log.info("restarted after a failure: resuming from the last save")
        opt = TrainOptions(infer_options, restarted=True).read([*argv, *extra_flags])
    if opt.batch_size % count:
        raise ValueError(
            f"--batch_size {opt.batch_size}: cannot be split evenly over {count} processes; it "
            f"counts the images of all of them, so that it must be a multiple of {count}"
        )
    if len(opt.gpu_ids) > count == 1 and gpu_count() > 1:
        line = torchrun_line(opt, argv)
        log.warning("--gpu_ids: a process trains on one GPU, the first; for all of them: %s", line)
    return opt


def train(opt: Options, signals: Signals, earlier_run: str = "") -> None:
    """Train what the options describe; first log what has become of an earlier run."""
    seed_everything(opt.seed)
    dataset = create_dataset(opt)
    val_dataset = create_validation_dataset(opt) if opt.val_freq else None
    model = create_model(opt)
    log.info("%s", opt.text())
    check_image_sizes(dataset, model, opt)
    say_padding(dataset, model, opt)
    state = resume(model, opt)  # weights, device, schedules; a checkpoint, if there is one
    let_ema_estimate(state, dataset)
    enable_cuda_graphs(model, opt)
    if model.device.type == "cuda":
        dataset.keep_on(model.device)
    progress = state.progress
    log.info("%d training images", len(dataset))
    validation = Validation(opt, state, val_dataset) if val_dataset else None
    if (done := progress.epoch - 1) >= last_epoch(opt):
        plan = f"--n_epochs {opt.n_epochs} + --n_epochs_decay {opt.n_epochs_decay}"
        log.info("nothing to train after epoch %d of %s; a larger --n_epochs trains on", done, plan)
    elif validation and validation.should_stop():
        log.info("stopped early: %s; --early_stop 0 trains on", validation.best_summary())
    else:
        visualizer = Visualizer(opt, progress.resumed_at, *progress.best_so_far)
        statistics = by_title(dataset.statistics, opt)
        visualizer.show_data(dataset.remarks, statistics, dataset.classes)
        samples = Samples(opt, state, dataset, val_dataset)
        parts = {"validation": validation, "samples": samples, "visualizer": visualizer}
        trainer = Trainer(opt, state, dataset, **parts, signals=signals)
        if earlier_run:
            log.warning("%s", earlier_run)
        try:
            with save_on_error(trainer, opt):
                trainer.run()
        finally:
            visualizer.close()
    log.info("weights and pages are in %s; see results with: %s", model.save_dir, results_line(opt))
    if validation and progress.best is not None:
        log.info("%s", validation.last_words())


if __name__ == "__main__":
    raise SystemExit(run_command(main))
