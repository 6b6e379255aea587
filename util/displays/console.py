"""Show a run on the terminal."""

import logging

from tqdm import tqdm

from util.displays.display import Display
from util.displays.loss_log import Entry, format_line
from util.displays.val_log import Scores, format_scores
from util.distributed import is_main_process

log = logging.getLogger(__name__)


class Console(Display):
    """A progress bar on a terminal; plain lines if the output is a file or a pipe."""

    def __init__(self) -> None:
        self.bar: tqdm | None = None

    def start_epoch(self, epoch: int, images: int) -> None:
        """Start the progress bar of an epoch of `images` images; hidden without a terminal."""
        self.bar = tqdm(
            total=images,
            desc=f"epoch {epoch}",
            unit="img",
            leave=False,
            disable=None if is_main_process() else True,
            dynamic_ncols=True,
        )

    def show_losses(self, entry: Entry, total: int) -> None:
        if self.bar is None or self.bar.disable:
            log.info("%s", format_line(entry))
        else:
            self.bar.set_postfix_str(" ".join(f"{k} {v:.3g}" for k, v in entry.losses.items()))

    def show_scores(self, scores: Scores, total: int) -> None:
        if self.bar is not None:
            self.bar.clear()
        log.info("%s", format_scores(scores))
