"""The options of train.py: its flags and, with --continue_train, the saved options."""

import logging
from pathlib import Path
from typing import Any

from options.base_options import BaseOptions, Options
from options.config_files import read_run
from options.parser import FlagParser

log = logging.getLogger(__name__)


def last_epoch(opt: Any) -> int:
    """Return the number of the last epoch of a training that does not stop early."""
    return opt.n_epochs + opt.n_epochs_decay


class TrainOptions(BaseOptions):
    """Train a model on a folder of images."""

    is_train = True

    def saved_options(
        self, parser: FlagParser, run: Path, by_hand: dict[str, Any]
    ) -> dict[str, Any]:
        # --continue_train keeps the saved flags unless they are given again.
        ours = any((run / name).exists() for name in ("latest_state.pth", "train_opt.json"))
        return read_run(run) if by_hand.get("continue_train") and ours else {}

    def carried_options(self, parser: FlagParser) -> set[str]:
        return {name for name, role in parser.roles(self.phase).items() if role != "launch"}

    def finish(self, parser: FlagParser, opt: Options) -> None:
        super().finish(parser, opt)
        if not opt.continue_train and (opt.epoch != "latest" or opt.load_iter):
            flag = "--load_iter" if opt.load_iter else "--epoch"
            log.warning("%s is ignored: without --continue_train a run starts from scratch", flag)
        if opt.continue_train and opt.overwrite:
            parser.error("--overwrite: would delete what --continue_train resumes; leave one out")
        follows = opt.best_metric or opt.early_stop or opt.lr_policy == "plateau"
        opt.val_freq = opt.val_freq or (1 if follows else 0)
        last = last_epoch(opt)
        if opt.epoch_count > last:
            parser.error(
                f"--epoch_count {opt.epoch_count}: nothing to train: the last epoch is {last}; "
                f"raise --n_epochs {opt.n_epochs} or --n_epochs_decay {opt.n_epochs_decay}"
            )
