"""Shows a run: progress, losses, scores and images."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from tqdm import tqdm

from util.displays.console import Console
from util.displays.display import Display, close_all
from util.displays.live import live_displays
from util.displays.log_files import LogFiles
from util.displays.loss_log import Entry, LossLog
from util.displays.val_log import ScoreLog, Scores
from util.displays.web_page import WebPage
from util.distributed import is_main_process
from util.files import run_folder
from util.html import HTML
from util.image_rows import result_row
from util.pages.elements import Classes
from util.util import tensor2im

log = logging.getLogger(__name__)


def save_images(
    webpage: HTML,
    visuals: dict[str, Tensor],
    image_path: list[str],
    aspect_ratio: float = 1.0,
    width: int = 256,
    use_wandb: bool = False,
) -> None:
    """Write the images of one input as STEM_LABEL.png and add them to the page as a row.

    `use_wandb` is accepted for compatibility and ignored.
    """
    row, jobs = result_row(webpage, visuals, image_path[0], aspect_ratio)
    for write in jobs:
        write()
    row.add_to(webpage, width)


class Visualizer:
    """Shows a training run on the console, in its folder, and on the chosen live displays."""

    def __init__(
        self,
        opt: Any,
        since: tuple[int, int] | None = None,
        best_epoch: int = 0,
        best_metric: str = "",
    ):
        """`since` is the (epoch, iters) that a continued run resumes from, `best_epoch` the best
        so far by `best_metric`, 0 if there is none.

        Only rank 0 shows the run.
        """
        self.epoch_size = 0
        self.console, self.page, self.live = Console(), None, []
        self.displays: list[Display] = []
        if not is_main_process():
            return
        folder = run_folder(opt)
        loss_log = LossLog(folder / "loss_log.txt", opt.continue_train, since)
        path, since_epoch = folder / "val_log.csv", since[0] if since else None
        score_log = ScoreLog(path, opt.continue_train, since_epoch)
        if not opt.no_html:
            self.page = WebPage(
                folder / "web",
                f"{opt.name}: training",
                settings=opt.non_default_flags(),
                continued=opt.continue_train,
                width=opt.display_winsize,
                loss_log=loss_log,
                score_log=score_log,
                best_epoch=best_epoch,
                best_metric=best_metric,
            )
        self.live = live_displays(opt, folder)
        files = LogFiles(loss_log, score_log)
        self.displays = [self.console, files, *self.live, *([self.page] if self.page else [])]

    def show_data(
        self, remarks: list[str], statistics: Mapping[str, Any], classes: Classes = ()
    ) -> None:
        """Show what the data check has found, on the page; see `WebPage.show_data`."""
        self._on_page(lambda page: page.show_data(remarks, statistics, classes))

    @property
    def bar(self) -> tqdm | None:
        """The progress bar of the current epoch."""
        return self.console.bar

    def start_epoch(self, epoch: int, images: int) -> None:
        """Start the progress bar of an epoch of `images` images."""
        self.epoch_size = images
        self.console.start_epoch(epoch, images)

    def advance(self, images: int) -> None:
        """Advance the progress bar by `images`."""
        self.bar.update(min(images, self.bar.total - self.bar.n))

    def end_epoch(self, message: str) -> None:
        """Close the progress bar and log `message`."""
        self.bar.close()
        log.info("%s", message)

    def print_current_losses(
        self, epoch: int, iters: int, losses: dict[str, float], t_comp: float, t_data: float
    ) -> None:
        """Show the losses on all displays; `iters` counts images, times are seconds per image."""
        entry, total = Entry(epoch, iters, losses, t_comp, t_data), self._total(epoch, iters)
        self._each(self.displays, lambda display: display.show_losses(entry, total))

    def print_scores(self, scores: Scores) -> None:
        """Show the scores of a validation on all displays."""
        total = self._total(scores.epoch, self.epoch_size)
        self._each(self.displays, lambda display: display.show_scores(scores, total))

    def display_current_results(
        self, visuals: dict[str, Tensor], epoch: int, save_result: bool = True, iters: int = 0
    ) -> None:
        """Show the first image of each (N, C, H, W) in [-1, 1]; on the page only if `save_result`.

        `iters` counts the epoch's images, as in `print_current_losses`.
        """
        images = {label: tensor2im(image) for label, image in visuals.items()}
        shown = [d for d in self.displays if save_result or d is not self.page]
        total = self._total(epoch, iters or self.epoch_size)
        self._each(shown, lambda display: display.show_images(images, epoch, total))

    def show_samples(self, make: Callable[[], Mapping[str, Any]], epoch: int) -> None:
        """Show on the page the images that `make` returns; it is not called without a page.

        It returns, by the name of each input, (H, W, C) in 0..255 by label.
        """
        self._on_page(lambda page: page.show_samples(make(), epoch))

    def reset(self) -> None:
        """Kept for compatibility; does nothing."""

    def plot_current_losses(self, epoch: int, ratio: float, losses: dict[str, float]) -> None:
        """Kept for compatibility; does nothing: `print_current_losses` plots the losses."""

    def close(self) -> None:
        """Finish the page, and let the live displays finish, for at most two seconds."""
        self._on_page(WebPage.close)
        close_all(self.live)

    def _total(self, epoch: int, iters: int) -> int:
        """Return how many images the run has trained on. The last batch of an epoch may exceed the
        epoch's images, and counts as its end.
        """
        most = self.epoch_size or iters
        return (epoch - 1) * self.epoch_size + min(iters, most)

    def _on_page(self, show: Callable[[WebPage], None]) -> None:
        # A page that failed is no longer among the displays.
        self._each([page for page in self.displays if page is self.page], show)

    def _each(self, displays: list[Display], show: Callable[[Display], None]) -> None:
        for display in list(displays):
            try:
                show(display)
            except Exception as error:  # a display must not end the run
                log.warning("%s: %s; the run continues without it", type(display).__name__, error)
                self.displays.remove(display)
