"""An error in mid-run: what is in memory is saved before the training ends (--save_on_error)."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from training.state import state_path
from training.trainer import Trainer
from util import distributed
from util.errors import RunStopped, one_line, with_advice, with_source_line

log = logging.getLogger(__name__)

RESUME = "resume with the same command and --continue_train"


@contextlib.contextmanager
def save_on_error(trainer: Trainer, opt: Any) -> Iterator[None]:
    """Save the training after an error in the block that --save_on_error chooses, and say so.

    While images are loaded, the last step is complete. An error inside a step may have updated D
    and not G; such weights are saved if that is asked for, but never ones that are not finite.
    """
    progress = trainer.progress
    began = progress.total
    try:
        yield
    except Exception as error:
        loading = getattr(error, "while_loading", False)
        deliberate = isinstance(error, RunStopped) and not loading  # saved already, or not finite
        if deliberate or progress.total == began or not (loading or opt.save_on_error == "all"):
            raise
        ending = _saved(trainer, opt)
        if isinstance(error, RunStopped):
            raise RunStopped(f"{error}; {ending}", error.status) from error
        if not isinstance(error, ValueError | OSError):
            log.warning("after %s: %s", one_line(error) or type(error).__name__, ending)
            raise
        raise ValueError(f"{with_advice(with_source_line(error))}; {ending}") from error


def _saved(trainer: Trainer, opt: Any) -> str:
    """Save, and return what that means for a resume."""
    progress = trainer.progress
    if opt.save_on_error == "none" or several_processes():
        return _last_save(opt)
    try:
        trainer.save("latest")
    except Exception as error:  # a full disk, weights that are not finite, a lost GPU
        return f"it could not be saved ({one_line(error)}); {_last_save(opt)}"
    return f"saved in epoch {progress.epoch} after {progress.iters} of its images; {RESUME}"


def several_processes() -> bool:
    """Return whether other ranks, which would have to save too, wait inside a step."""
    return distributed.world_size() > 1


def _last_save(opt: Any) -> str:
    if not state_path(opt).exists():
        return "there is no save to resume from"
    return "--continue_train resumes from the last save"
