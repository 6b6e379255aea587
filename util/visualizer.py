"""What a run shows: progress, lines of losses, and pages of pictures."""

import logging
from pathlib import Path
from statistics import fmean
from typing import Any

from torch import Tensor
from tqdm import tqdm

from util.html import HTML
from util.loss_log import Entry, LossLog
from util.util import save_image, short_stem, tensor2im

log = logging.getLogger(__name__)


def save_images(
    webpage: HTML,
    visuals: dict[str, Tensor],
    image_path: list[str],
    aspect_ratio: float = 1.0,
    width: int = 256,
) -> None:
    """Write the pictures of one input as STEM_LABEL.png and add them to the page as a row."""
    name = webpage.unique_name(short_stem(image_path[0]))
    files = {label: f"{name}_{label}.png" for label in visuals}
    for label, picture in visuals.items():
        save_image(tensor2im(picture), webpage.get_image_dir() / files[label], aspect_ratio)
    webpage.add_header(name)
    webpage.add_images(list(files.values()), list(files), list(files.values()), width=width)


class Visualizer:
    """Shows a training run: a progress bar or plain lines, `loss_log.txt`, `web/index.html`."""

    def __init__(self, opt: Any):
        self.opt = opt
        folder = Path(opt.checkpoints_dir) / opt.name
        self.loss_log = LossLog(folder / "loss_log.txt", continued=opt.continue_train)
        self.web_dir = folder / "web"
        self.bar: tqdm | None = None
        self.shown_in_epoch = 0  # the last epoch whose pictures are on the page
        for flag in ("use_wandb", "display_id"):
            if getattr(opt, flag) not in (False, 0, -1):
                log.warning("--%s: this version has the page %s only", flag, self.web_dir)

    def start_epoch(self, epoch: int, pictures: int) -> None:
        """Start the progress bar of an epoch; without a terminal there is none."""
        self.bar = tqdm(
            total=pictures,
            desc=f"epoch {epoch}",
            unit="img",
            leave=False,
            disable=None,
            dynamic_ncols=True,
        )

    def advance(self, pictures: int) -> None:
        """Move the progress bar on."""
        self.bar.update(min(pictures, self.bar.total - self.bar.n))

    def end_epoch(self, message: str) -> None:
        """Close the progress bar and say `message`."""
        self.bar.close()
        log.info("%s", message)

    def print_current_losses(
        self, epoch: int, iters: int, losses: dict[str, float], t_comp: float, t_data: float
    ) -> None:
        """Write a line to the log and show it; times are seconds a picture."""
        line = self.loss_log.add(Entry(epoch, iters, losses, t_comp, t_data))
        if self.bar is None or self.bar.disable:
            log.info("%s", line)
        else:
            self.bar.set_postfix_str(" ".join(f"{k} {v:.3g}" for k, v in losses.items()))

    def display_current_results(self, visuals: dict[str, Tensor], epoch: int) -> None:
        """Put the first pictures of a batch and the loss curves on `web/index.html`."""
        self.shown_in_epoch = epoch
        if self.opt.no_html:
            return
        page = HTML(self.web_dir, f"Experiment name = {self.opt.name}", refresh=30)
        for label, picture in visuals.items():
            save_image(tensor2im(picture), page.get_image_dir() / f"epoch{epoch:03d}_{label}.png")
        entries = self.loss_log.entries()
        if entries:
            plot_losses(entries, page.get_image_dir() / "losses.png")
            page.add_header("losses")
            page.add_images(["losses.png"], ["by epoch"], ["losses.png"], width=1000)
        for e in range(epoch, 0, -1):
            names = [f"epoch{e:03d}_{label}.png" for label in visuals]
            if all((page.get_image_dir() / name).exists() for name in names):
                page.add_header(f"epoch {e}")
                page.add_images(names, list(visuals), names, width=self.opt.display_winsize)
        page.save()


def plot_losses(entries: list[Entry], path: Path) -> None:
    """Draw each loss over the epochs, with its mean over a tenth of the lines."""
    from matplotlib.figure import Figure

    names = list(entries[-1].losses)
    epoch_size = max(e.iters for e in entries)
    columns = min(len(names), 4)
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(2.5 * columns + 0.5, 2.2 * rows), layout="constrained")
    window = max(len(entries) // 10, 1)
    for i, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, i + 1)
        points = [
            (e.epoch - 1 + e.iters / epoch_size, e.losses[name])
            for e in entries
            if name in e.losses
        ]
        x, y = zip(*points, strict=True)
        smooth = [fmean(y[max(k - window, 0) : k]) for k in range(1, len(y) + 1)]
        axes.plot(x, y, color="tab:blue", alpha=0.3, linewidth=1)
        axes.plot(x, smooth, color="tab:blue", linewidth=1.5)
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
