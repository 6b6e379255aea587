"""How a training starts: from latest_state.pth, from weights alone, or from scratch."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

from data import Loader
from models import weights
from models.base_model import BaseModel
from options.roles import differences
from training.earlier_run import holds_weights
from training.ema import EMA, estimate_statistics, generators
from training.saved_files import SavedFiles
from training.state import (
    Progress,
    TrainingState,
    changed_flags,
    changes_as_hint,
    earlier_files,
    first_save_mark,
    read_state,
    state_path,
)
from util import distributed
from util.errors import one_line
from util.files import folder_size, in_words, make_folder, run_folder, write_options
from util.seeding import set_random_states

log = logging.getLogger(__name__)

RATES = {"lr", "lr_G", "lr_D", "no_TTUR", "lr_policy"}


def resume(model: BaseModel, opt: Any) -> TrainingState:
    """Set the model up, load its checkpoint or weights, and log what is resumed and what is new.

    ValueError names the flags that do not fit a checkpoint, or a file that cannot be used.
    """
    check_model_supports(model, opt)
    checkpoint = read_state(opt)
    progress = Progress(opt.epoch_count)
    if checkpoint:
        log_resume(opt, checkpoint)
        check_networks(model, opt, checkpoint)
        progress = Progress.from_state(checkpoint["progress"])
    weights_alone = opt.continue_train and not checkpoint and not nothing_to_resume(opt, model)
    model.loads_weights, model.first_epoch = weights_alone, progress.epoch
    if opt.init_from and not checkpoint and not weights_alone:
        tag = f"iter_{opt.load_iter}" if opt.load_iter else opt.epoch
        grown = getattr(model, "grows", False)
        weights.read(model.nets, tag, Path(opt.init_from), opt, grown=grown)
    model.setup(opt)
    if distributed.is_main_process():
        make_folder(model.save_dir, "--checkpoints_dir")
        if not holds_weights(model.save_dir):  # those of the first save; a kill may come before it
            write_options(opt, model.save_dir, "train_opt")
    state = TrainingState(opt, model, progress)
    if checkpoint:
        restore(state, checkpoint)
    else:
        state.files, state.overwrites = earlier_files(opt), opt.overwrite
        state.ema = EMA(model.nets, opt.ema) if opt.ema else None
        log_start(state, weights_alone)
    return state


def let_ema_estimate(state: TrainingState, dataset: Loader) -> None:
    """Let the EMA of a model that is tested with running statistics estimate them on its data."""
    if state.ema and state.model.eval_at_test:
        state.ema.estimate = partial(estimate_statistics, state.model, dataset)


def check_model_supports(model: BaseModel, opt: Any) -> None:
    """Raise a ValueError for a flag that the model lacks a method for."""
    own, base = type(model), BaseModel
    measures = (
        own.metric_pair is not base.metric_pair or own.validation_loss is not base.validation_loss
    )
    if opt.val_freq and not measures:
        raise ValueError(
            f"--val_freq, --early_stop, --lr_policy plateau: --model {opt.model} lacks "
            f"metric_pair(self) or validation_loss(self)"
        )
    if opt.ema and not generators(model.nets):
        raise ValueError(
            f"--ema: averages networks whose name begins with G, and --model {opt.model} has "
            f"{', '.join(model.nets)}"
        )
    if opt.lambda_r1 and own.reals is base.reals:
        raise ValueError(f"--lambda_r1: --model {opt.model} lacks reals(self) (docs/extend.md)")
    if opt.lambda_r1 and "D" not in model.optimizers:
        raise ValueError(
            f"--lambda_r1 {opt.lambda_r1:g}: is for discriminators, which optimizers['D'] trains; "
            f"--model {opt.model} has {', '.join(model.optimizers)} with these flags: set it to 0"
        )
    if opt.diffaug and not model.augment.policy:
        reason = "trains no discriminator" if getattr(opt, "lambda_GAN", 1) == 0 else "has none"
        raise ValueError(
            f"--diffaug: changes `augment` of what D sees (docs/extend.md), and --model "
            f"{opt.model} {reason}; leave it out"
        )
    if opt.grad_accum > 1 and not model.updates:
        raise ValueError(f"--grad_accum: --model {opt.model} lacks `updates` (docs/extend.md)")


def nothing_to_resume(opt: Any, model: BaseModel) -> bool:
    """Return whether the run was interrupted before its first checkpoint, or while it was written.

    The best weights are written without a state, and count only if `--epoch best` asks for them.
    """
    folder = run_folder(opt)
    tags = {path.name.partition("_net_")[0] for path in folder.glob("*_net_*.pth")}
    never_saved = tags <= {"best"} - {opt.epoch}
    asks_for_latest = opt.epoch == "latest" and not opt.load_iter
    no_epochs = not any(map(str.isdecimal, tags))
    whole = all((folder / f"latest_net_{name}.pth").exists() for name in generators(model.nets))
    save_begun = (folder / "train_opt.json").exists()  # a save writes it first
    killed_in_save = asks_for_latest and no_epochs and save_begun and not whole
    if asks_for_latest and first_save_mark(opt).exists() and not state_path(opt).exists():
        killed_in_save = True
    return (folder / "loss_log.txt").exists() and (never_saved or killed_in_save)


def log_resume(opt: Any, checkpoint: dict[str, Any]) -> None:
    """Log which checkpoint is resumed, and which flags have changed since."""
    epoch, iters = checkpoint["progress"]["epoch"], checkpoint["progress"]["iters"]
    place = f"after {iters} of its images" if iters else "from its start"
    log.info("resuming from %s in epoch %d, %s", state_path(opt), epoch, place)
    for change in changed_flags(opt, checkpoint):
        log.info("changed since it was saved: %s", change)
    if opt.epoch_count not in (1, epoch):
        log.info("--epoch_count is ignored: the checkpoint resumes in epoch %d", epoch)


def log_start(state: TrainingState, weights_alone: bool) -> None:
    """Log how a training starts that has no checkpoint."""
    opt, folder = state.opt, state.model.save_dir
    if weights_alone:
        log.info(
            "resuming from these weights in epoch %d (--epoch_count) of the schedule; "
            "the optimizers start from scratch",
            opt.epoch_count,
        )
    elif opt.continue_train:
        log.info(
            "%s: the run stopped before its first checkpoint; starting from scratch",
            folder,
        )
    elif opt.overwrite and holds_weights(folder):
        log.warning(
            "--overwrite: the first save deletes the earlier run's weights in %s (%s)",
            *(folder, in_words(folder_size(folder))),
        )
        recorded = {name for names in state.files.by_tag.values() for name in names}
        written = {f"latest_net_{name}.pth" for name in state.model.nets}
        if unrecorded := sorted({p.name for p in folder.glob("*_net_*.pth")} - recorded - written):
            log.warning("no record says that a run wrote %s: not deleted", ", ".join(unrecorded))


def check_networks(model: BaseModel, opt: Any, checkpoint: dict[str, Any]) -> None:
    """Raise a ValueError if the checkpoint was saved by a model with other networks."""
    path, saved = state_path(opt), checkpoint["networks"]
    if saved.keys() != model.nets.keys():
        raise ValueError(
            f"{path}: holds the networks {', '.join(saved)}, this training has "
            f"{', '.join(model.nets)}{changes_as_hint(opt, checkpoint)}"
        )
    for name, net in model.nets.items():
        try:
            weights.check_fit(net, saved[name], path, opt)
        except ValueError as error:
            raise ValueError(f"{error}{changes_as_hint(opt, checkpoint)}") from None


def restore(state: TrainingState, checkpoint: dict[str, Any]) -> None:
    """Load a checkpoint: networks, optimizers, schedules, image pools, EMA, random states.

    The learning rate follows from the options and the epoch; `plateau` restores its own, unless
    one of `RATES` has changed.
    """
    opt, model = state.opt, state.model
    rates = not RATES & differences(opt, checkpoint["options"], ()).keys()
    try:
        pools = {"pools": pools_of_rank(checkpoint["pools"])}
        model.load_state_dict(checkpoint | pools, rates=rates)
        state.ema = EMA(model.nets, opt.ema) if opt.ema else None
        if state.ema and "averages" in checkpoint:
            state.ema.load_state_dict(checkpoint["averages"])
        state.files = SavedFiles.from_state(checkpoint.get("files"))
        if distributed.rank() < len(checkpoint["random"]):
            set_random_states(checkpoint["random"][distributed.rank()])
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ValueError(
            f"{state_path(opt)}: does not fit this training ({one_line(error, 160)})"
            f"{changes_as_hint(opt, checkpoint)}"
        ) from None


def pools_of_rank(saved: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the states of this rank's image pools.

    With another world size than before, the stored images are redistributed; a new rank keeps
    its own random state.
    """
    rank, world_size, before = distributed.rank(), distributed.world_size(), len(saved)
    if before == world_size:
        return saved[rank]
    log.info(
        "world size changed from %d to %d: image pools are redistributed, random noise differs",
        *(before, world_size),
    )
    pools = {}
    for name in saved[0]:
        images = [image for pools_of_one in saved for image in pools_of_one[name]["images"]]
        pools[name] = {"images": images[rank::world_size]}
        if rank < before:
            pools[name]["random"] = saved[rank][name]["random"]
    return pools
