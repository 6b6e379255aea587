"""The section of a training's page with its curves and the values of its data."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dominate.tags import div, h2, html_tag, img, p, source

from util.displays.loss_log import Entry
from util.displays.loss_plot import Panel, plot_losses
from util.displays.val_log import Scores

# The maximum number of panels in a row, by the file of the plot.
PLOTS = {"losses.png": 3, "losses_narrow.png": 1}
NARROW = "(max-width: 560px)"  # windows that show the narrow plot, of which the text is larger


class picture(html_tag):  # noqa: N801  as the tags of dominate, which lacks it
    """An image of which the window chooses the file."""


def plot_curves(
    entries: Sequence[Entry], folder: Path, scores: Sequence[Scores], **marks: Any
) -> dict[str, list[Panel]]:
    """Write the plots to a folder; return their panels by file. See `plot_losses`."""
    return {
        name: plot_losses(entries, folder / name, scores, columns=columns, **marks)
        for name, columns in PLOTS.items()
    }


def add_curves(best: str, version: int) -> None:
    """Add the curves to the page; `best` says what the star marks, "" if there is none. `version`
    is another number each time that the plots are written.
    """
    h2("Losses and scores by epoch")
    # A browser keeps an image of a name that it knows; the plots change.
    wide, narrow = (f"images/{name}?{version}" for name in PLOTS)
    with div(cls="plot curves"), picture():
        source(srcset=narrow, media=NARROW)
        img(src=wide, alt="curves of the losses and scores by epoch")
    star = f"★: {best}; " if best else ""
    p(
        "Pale: losses, averaged to at most 400 points; dark: their moving average. "
        f"Orange: the slider's epoch; {star}dotted: the run was resumed."
    )


def add_values(data: Mapping[str, Any]) -> None:
    """Add the histograms of the data to the page; see `plot_values`."""
    h2("Values of the training images")
    div(img(src="images/data.png", alt="histograms of the values of the images"), cls="plot")
    for title, side in data.items():
        low, high = side.range
        kinds = " and ".join(sorted(side.types))
        p(
            f"{title}: {side.values.min():g} to {side.values.max():g}{kinds and f' ({kinds})'}; "
            f"{low:g} becomes -1, {high:g} becomes 1 (dashed)."
        )
