"""Write the page of a training run: web/index.html."""

import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from dominate.tags import (
    button,
    div,
    h1,
    h2,
    input_,
    main,
    output,
    script,
    section,
    small,
    span,
)
from dominate.util import raw

from util.displays.curves import add_curves, add_values, plot_curves
from util.displays.display import Display
from util.displays.loss_log import LossLog
from util.displays.loss_plot import plot_values
from util.displays.val_log import ScoreLog, Scores
from util.files import atomic_write
from util.names import escaped, url_of, utf8
from util.pages.captions import captions, columns_of
from util.pages.elements import (
    Classes,
    blank_page,
    class_legend,
    image_figure,
    image_row,
    paragraph,
    scripts,
    settings_line,
)
from util.util import save_image

REFRESH = 30  # seconds between reloads of the page of a training that goes on
SHARE = 0.05  # maximum fraction of the time that is spent on writing the page

# The images of one input by their label, each (H, W, 1 or 3) in 0..255.
Images = Mapping[str, np.ndarray]


class WebPage(Display):
    """Writes `web/index.html`: the samples of each epoch, the curves, the values of the data.

    Images are `width` pixels wide on the page, in files `images/epochNNN_LABEL.png`; those of the
    second image and further ones end in _2, _3, ….
    """

    def __init__(
        self,
        web_dir: Path,
        title: str,
        *,
        settings: Sequence[str] = (),
        continued: bool = False,
        width: int = 256,
        loss_log: LossLog,
        score_log: ScoreLog,
        best_epoch: int = 0,
        best_metric: str = "",
    ):
        """`settings` are the run's flags that are not default; a run that is `continued` shows the
        epochs before its own, too. `best_metric` is the score by which `best_epoch` is the best.
        """
        self.web_dir, self.title, self.settings, self.width = web_dir, title, settings, width
        self.images = web_dir / "images"
        self.images.mkdir(parents=True, exist_ok=True)
        self.continued, self.own_epochs = continued, set[int]()
        self.loss_log, self.score_log = loss_log, score_log
        self.best_epoch, self.best_metric = best_epoch, best_metric
        self.warnings: list[str] = []
        self.classes: Classes = ()  # of label maps
        self.data: dict[str, Any] = {}  # statistics of the data by title
        self.shown: dict[str, Images] = {}  # the last images, by the name of their input
        self.names = read_names(web_dir / "samples.json")  # (epoch, names of samples from it on)
        self.version = 0  # of the page, whose images keep their names
        self.written = self.spent = 0.0  # when the last page was finished, and its seconds

    def show_data(self, remarks: list[str], sides: Mapping[str, Any], classes: Classes) -> None:
        """Show remarks of the data check, each side's values (`plot_values`), and the classes."""
        self.warnings, self.data, self.classes = [*map(escaped, remarks)], dict(sides), classes

    def show_images(self, images: Images, epoch: int, total: int) -> None:
        self._save_images({"": images}, epoch)
        self.write()

    def show_samples(self, samples: Mapping[str, Images], epoch: int) -> None:
        """Save the images of an epoch, by the name of their input.

        The page is written too, unless that would take more than `SHARE` of the time.
        """
        self._save_images(samples, epoch)
        if time.monotonic() - self.written > self.spent / SHARE:
            self.write()

    def _save_images(self, samples: Mapping[str, Images], epoch: int) -> None:
        self.shown = dict(samples)
        self.own_epochs.add(epoch)
        self._note_names(epoch, list(samples))
        for number, images in enumerate(samples.values(), 1):
            for label, image in images.items():
                save_image(image, self.images / file_name(epoch, label, number))

    def _note_names(self, epoch: int, names: list[str]) -> None:
        """Record the names of the samples if they change, as after a resume with other data."""
        changes = [(start, samples) for start, samples in self.names if start < epoch]
        if not changes or changes[-1][1] != names:
            changes.append((epoch, names))
        if changes != self.names:
            self.names = changes
            with atomic_write(self.web_dir / "samples.json") as file:
                file.write(json.dumps(self.names).encode() + b"\n")

    def show_scores(self, scores: Scores, total: int) -> None:
        self.best_epoch, self.best_metric = scores.best_epoch, scores.best_metric

    def close(self) -> None:
        """Write the page of a training that has ended."""
        if self.shown:
            self.write(refresh=0)

    def write(self, refresh: int = REFRESH) -> None:
        """Write the page; a browser reloads it after `refresh` seconds, 0: never."""
        started, entries = time.monotonic(), self.loss_log.entries()
        self.version = time.time_ns() // 10**6
        resumes, panels = self.loss_log.resumes(), {}
        if entries:
            marks = {"resumes": resumes, "best_epoch": self.best_epoch}
            panels = plot_curves(entries, self.images, self.score_log.lines, **marks)
        if self.data and not self.written:
            plot_values(self.data, self.images / "data.png")
        page, epochs = blank_page(self.title), self.epochs()
        with page.body:
            h1(self.title)
            settings_line(self.settings)
            for text in self.warnings:
                paragraph(text, cls="warning")
            if self.classes:
                class_legend(self.classes)
            with main(cls="training"):
                self._add_images(epochs, [epoch for epoch, _ in resumes])
                self._add_curves(bool(panels))
            run = {
                "version": self.version,
                "epochs": epochs,
                "names": [(epoch, [*map(escaped, names)]) for epoch, names in self.names],
                "best": self.best_epoch,
                "resumed": [epoch for epoch, _ in resumes],
                "panels": {
                    name: [[round(float(x), 4) for x in panel] for panel in plot]
                    for name, plot in panels.items()
                },
                "refresh": refresh,
            }
            script(raw(json.dumps(run).replace("<", "\\u003c")), type="application/json", id="run")
            scripts("look.js", "epochs.js")
        with atomic_write(self.web_dir / "index.html") as file:  # a browser may read it now
            file.write(utf8(page.render(pretty=False)))
        self.written = time.monotonic()
        self.spent = self.written - started

    @property
    def best_in_words(self) -> str:
        """What the best epoch is, such as "the best epoch by val L1"."""
        by = f" by val {self.best_metric}" if self.best_metric else ""
        return "the best epoch" + re.sub("_ema$", " of the EMA of G", by)

    def epochs(self) -> list[tuple[int, int]]:
        """Return (epoch, number of complete samples) of each epoch that has one at least.

        A complete sample has a file for every label. Later images of an earlier run, which has been
        replaced or gone back, do not count.
        """
        labels = list(next(iter(self.shown.values())))
        names = {path.name for path in self.images.glob("epoch*.png")}
        numbers = {int(m[1]) for name in names if (m := re.match(r"epoch(\d+)_", name))}
        before = min(self.own_epochs, default=0) if self.continued else 0
        numbers = sorted(n for n in numbers if n < before or n in self.own_epochs)
        epochs = []
        for epoch in numbers:
            count = 0
            while count < len(self.shown) and all(
                file_name(epoch, label, count + 1) in names for label in labels
            ):
                count += 1
            if count:
                epochs.append((epoch, count))
        return epochs

    def _add_images(self, epochs: list[tuple[int, int]], resumed: list[int]) -> None:
        numbers = [epoch for epoch, _ in epochs]
        marks = [(self.best_epoch, "best"), *((epoch, "resumed") for epoch in resumed)]
        with section():
            h2("Samples by epoch")
            with div(cls="bar"):
                output()
                with div(cls="epochs"):
                    last = len(epochs) - 1
                    input_(type="range", min=0, max=last, value=last, aria_label="epoch")
                    with div(cls="marks", aria_hidden="true"):
                        before = dict.fromkeys(("best", "resumed"), -100.0)
                        for epoch, kind in marks:
                            if epoch in numbers:
                                at = 100 * numbers.index(epoch) / max(last, 1)
                                near = at - before[kind] < 24  # its text would cover the last one
                                text = "·" if near else "★" if kind == "best" else kind
                                span(text, cls=kind, style=f"--at: {at:.2f}%")
                                before[kind] = before[kind] if near else at
                with div(cls="buttons"):
                    if self.best_epoch in numbers:
                        best = numbers.index(self.best_epoch)
                        button("★ best", type="button", data_epoch=best, title=self.best_in_words)
                    button("last", type="button", data_epoch=last, title="the last epoch")
                    button("▶", type="button", value="play", aria_label="play", title="all epochs")
            for number, (name, images) in enumerate(self.shown.items(), 1):
                self._add_row(name, list(images), numbers[-1], number)

    def _add_row(self, name: str, labels: list[str], epoch: int, number: int) -> None:
        figures = []
        for label, caption in captions(labels).items():
            file = self.images / file_name(epoch, label, number)
            url = url_of(f"images/{file.name}")
            arguments = {"label": label, "of": escaped(name), "file": file, "width": self.width}
            figures.append(image_figure(url, caption, **arguments))
            figures[-1]["data-label"] = label
        small(escaped(name), cls="name")
        row = image_row(figures, self.width, columns_of(labels))
        row["data-name"] = escaped(name)

    def _add_curves(self, curves: bool) -> None:
        with section():
            if curves:
                add_curves(self.best_in_words if self.best_epoch else "", self.version)
            if self.data:
                add_values(self.data)


def file_name(epoch: int, label: str, number: int) -> str:
    """Return the file of an epoch's image; `number` counts the inputs from 1."""
    return f"epoch{epoch:03d}_{label}{f'_{number}' if number > 1 else ''}.png"


def read_names(path: Path) -> list[tuple[int, list[str]]]:
    """Return (epoch, names) for each change of the samples."""
    try:
        changes = json.loads(path.read_text(encoding="utf-8"))
        return [(int(epoch), [str(name) for name in names]) for epoch, names in changes]
    except (OSError, ValueError, TypeError):  # an earlier version kept no names
        return []
