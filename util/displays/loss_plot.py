"""Plot the losses and scores of a run, and the values of its data."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from util.displays.loss_log import Entry
from util.displays.val_log import Scores

POINTS = 400  # maximum number of points of a curve; groups of entries are averaged
CURVES_DPI, VALUES_DPI = 150, 110  # pixels an inch; the page scales the curves to its width
FONT = 8  # points, 1/72 inch: text at the axes
GREY = "#808080"  # text and axes, legible on white and on black


class Panel(NamedTuple):
    """Where a plot with an axis of epochs lies: in parts of the image, from its left and top."""

    left: float
    top: float
    width: float
    height: float
    first_epoch: float  # at the left end of the axis
    last_epoch: float


def plot_losses(
    entries: Sequence[Entry],
    path: Path,
    scores: Sequence[Scores] = (),
    *,
    resumes: Sequence[tuple[int, int]] = (),
    best_epoch: int = 0,
    columns: int = 3,
) -> list[Panel]:
    """Plot losses, their moving averages over a tenth of the points, and scores, by epoch.

    Dotted lines mark where the run was resumed, a star the best epoch. `columns` is the maximum
    number of panels in a row. Returns the panels.
    """
    losses = list(entries[-1].losses)
    metrics = [name for name in (scores[-1].values if scores else ()) if not name.endswith("_ema")]
    figure, panels = _panels(len(losses) + len(metrics), columns)
    epoch_size = max(e.iters for e in entries)
    for axes, name in zip(panels, losses, strict=False):
        logged = [e for e in entries if name in e.losses]
        _draw_loss(axes, [(e.epoch - 1 + e.iters / epoch_size, e.losses[name]) for e in logged])
        _title(axes, name)
    for axes, name in zip(panels[len(losses) :], metrics, strict=True):
        _draw_scores(axes, name, scores, best_epoch)
        _title(axes, f"val {name}")
    for axes in panels:
        for epoch, iters in resumes:
            axes.axvline(epoch - 1 + iters / epoch_size, color=GREY, linestyle=":", linewidth=1)
    figure.savefig(path, dpi=CURVES_DPI, transparent=True)
    return [_place(axes) for axes in panels]


def plot_values(sides: Mapping[str, Any], path: Path) -> None:
    """Plot a histogram of the values of each side's images.

    `sides` holds, by title, statistics with `values` and `range`, the values that become -1 and 1;
    lines mark these.
    """
    figure, panels = _panels(len(sides), len(sides))
    for axes, (title, side) in zip(panels, sides.items(), strict=True):
        axes.hist(side.values, bins=64, color="tab:blue")
        _title(axes, title)
        axes.set_yticks([])
        for end in side.range:
            axes.axvline(end, color="tab:orange", linestyle="--", linewidth=1)
    figure.savefig(path, dpi=VALUES_DPI, transparent=True)


def _draw_loss(axes: Any, points: Sequence[tuple[float, float]]) -> None:
    x, y = zip(*thinned(points), strict=True)
    window = max(len(y) // 10, 1)
    smooth = [fmean(y[max(k - window, 0) : k]) for k in range(1, len(y) + 1)]
    axes.plot(x, y, color="tab:blue", alpha=0.35, linewidth=1)
    axes.plot(x, smooth, color="tab:blue", linewidth=1.5)


def _draw_scores(axes: Any, name: str, scores: Sequence[Scores], best_epoch: int) -> None:
    has_ema = any(f"{name}_ema" in s.values for s in scores)
    for label, color in ((name, "tab:green"), (f"{name}_ema", "tab:olive")):
        points = [(s.epoch, s.values[label]) for s in scores if label in s.values]
        if points:
            axes.plot(*zip(*points, strict=True), ".-", color=color, markersize=3)
        decides = label.endswith("_ema") or not has_ema
        for epoch, score in points if decides else ():
            if epoch == best_epoch:
                axes.scatter(epoch, score, marker="*", color=color, s=70)
    if has_ema:
        style = {"fontsize": FONT, "framealpha": 0, "labelcolor": GREY}
        axes.legend(axes.lines, ["G", "EMA of G"], **style)


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return at most `POINTS` points: the means of groups of consecutive points."""
    size = -(-len(points) // POINTS)
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(fmean(x for x, _ in group), fmean(y for _, y in group)) for group in groups]


def rows_of(count: int, columns: int) -> list[int]:
    """Return how many of `count` panels each row has, `columns` at most, about equally many."""
    rows = -(-count // columns)
    return [count // rows + (row < count % rows) for row in range(rows)]


def _panels(count: int, columns: int) -> tuple[Any, list[Any]]:
    """Return a figure, and its panels in rows of at most `columns`; each row is full."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    rows = rows_of(count, columns)
    # Small in inches, so that the text is large beside the curves.
    size = (max(1.8 * rows[0] + 0.6, 3.2), 1.75 * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    subfigures = figure.subfigures(len(rows), squeeze=False)[:, 0]
    panels = [
        subfigure.add_subplot(1, number, i + 1)
        for subfigure, number in zip(subfigures, rows, strict=True)
        for i in range(number)
    ]
    for axes in panels:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.tick_params(labelsize=FONT, colors=GREY)
        axes.grid(alpha=0.3)
        for spine in axes.spines.values():
            spine.set_color(GREY)
    return figure, panels


def _title(axes: Any, text: str) -> None:
    axes.set_title(text, fontsize=9, color=GREY)


def _place(axes: Any) -> Panel:
    box = axes.bbox.transformed(axes.figure.figure.transFigure.inverted())
    return Panel(box.x0, 1 - box.y1, box.width, box.height, *axes.get_xlim())
