"""Write the page of a training run: web/index.html."""

from pathlib import Path

import numpy as np

from util.displays.display import Display
from util.displays.loss_log import LossLog
from util.displays.loss_plot import plot_losses
from util.displays.val_log import ScoreLog, Scores
from util.html import HTML
from util.util import save_image


class WebPage(Display):
    """Writes `web/index.html`: the plot, and the last images of each epoch, `width` pixels wide."""

    def __init__(
        self, web_dir: Path, title: str, width: int, loss_log: LossLog, score_log: ScoreLog
    ):
        self.web_dir, self.title, self.width = web_dir, title, width
        self.notes: list[str] = []  # at the top of the page
        self.loss_log, self.score_log = loss_log, score_log

    def show_images(self, images: dict[str, np.ndarray], epoch: int, total: int) -> None:
        page = HTML(self.web_dir, self.title, refresh=30)
        for note in self.notes:
            page.add_note(note)
        for label, image in images.items():
            save_image(image, page.get_image_dir() / f"epoch{epoch:03d}_{label}.png")
        if self._plot():
            page.add_header("losses")
            page.add_images([self.curves.name], ["by epoch"], [self.curves.name], width=1000)
        for e in range(epoch, 0, -1):
            names = [f"epoch{e:03d}_{label}.png" for label in images]
            if all((page.get_image_dir() / name).exists() for name in names):
                page.add_header(f"epoch {e}")
                page.add_images(names, list(images), names, width=self.width)
        page.save()

    def show_scores(self, scores: Scores, total: int) -> None:
        if self.curves.exists():  # the page shows this file already
            self._plot()

    @property
    def curves(self) -> Path:
        """Path of the plot."""
        return self.web_dir / "images" / "losses.png"

    def _plot(self) -> bool:
        """Write the plot; return False if nothing is logged yet."""
        entries = self.loss_log.entries()
        if entries:
            plot_losses(entries, self.curves, self.score_log.lines)
        return bool(entries)
