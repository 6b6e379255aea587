"""Plot the losses and scores of a run."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from util.displays.loss_log import Entry
from util.displays.val_log import Scores


def plot_losses(entries: list[Entry], path: Path, scores: Sequence[Scores] = ()) -> None:
    """Plot losses, their moving averages over a tenth of the entries, and scores, by epoch."""
    from matplotlib.figure import Figure

    losses = list(entries[-1].losses)
    plain = [name for name in (scores[-1].values if scores else ()) if not name.endswith("_ema")]
    count = len(losses) + len(plain)
    columns = min(count, 4)
    rows = -(-count // columns)
    figure = Figure(figsize=(2.5 * columns + 0.5, 2.2 * rows), layout="constrained")
    panels = iter([figure.add_subplot(rows, columns, i + 1) for i in range(count)])
    epoch_size = max(e.iters for e in entries)
    window = max(len(entries) // 10, 1)
    for name in losses:
        points = [
            (e.epoch - 1 + e.iters / epoch_size, e.losses[name])
            for e in entries
            if name in e.losses
        ]
        x, y = zip(*points, strict=True)
        smooth = [fmean(y[max(k - window, 0) : k]) for k in range(1, len(y) + 1)]
        axes = _panel(next(panels), name)
        axes.plot(x, y, color="tab:blue", alpha=0.3, linewidth=1)
        axes.plot(x, smooth, color="tab:blue", linewidth=1.5)
    for name in plain:
        axes = _panel(next(panels), f"val {name}")
        for label, color in ((name, "tab:green"), (f"{name}_ema", "tab:olive")):
            points = [(s.epoch, s.values[label]) for s in scores if label in s.values]
            if points:
                axes.plot(*zip(*points, strict=True), ".-", color=color)
        if len(axes.lines) > 1:
            axes.legend(["G", "EMA of G"], fontsize=7)
    figure.savefig(path, dpi=110)


def _panel(axes: Any, title: str) -> Any:
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
    return axes
