"""The elements of a page: the empty page, images with captions, rows, notes.

Inside `with page.body:` dominate adds each new element to the page.
"""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dominate
from dominate.tags import (
    a,
    details,
    div,
    figcaption,
    figure,
    h2,
    img,
    link,
    meta,
    p,
    script,
    small,
    span,
    style,
    summary,
)
from dominate.util import raw
from PIL import Image

from util.names import escaped

Classes = Sequence[tuple[str, str]]  # "#rrggbb" and name of each class of label maps
ASSETS = Path(__file__).resolve().parent


def blank_page(title: str) -> dominate.document:
    """Return an empty page with the common style."""
    page = dominate.document(title=title)
    page["lang"] = "en"
    with page.head:
        meta(charset="utf-8")
        meta(name="viewport", content="width=device-width, initial-scale=1")
        link(rel="icon", href="data:,")
        style(raw(asset("page.css")))
    return page


def asset(name: str) -> str:
    """Return the text of a file beside this one; pages contain it and need no other file."""
    return (ASSETS / name).read_text(encoding="utf-8")


def scripts(*names: str) -> list[script]:
    """Return script elements that hold these files; they run once the page above is there."""
    return [script(raw(asset(name))) for name in names]


def image_figure(
    source: str,
    what: str,
    *,
    label: str = "",
    of: str = "",
    file: Path | None = None,
    link: str = "",
    width: int,
) -> figure:
    """Return an image with its caption; it opens closer when clicked, or opens `link` if given.

    `source` is its URL, `what` its caption, `label` a small text beside it, such as real_A or a
    score, `of` the name of its row, `file` the image, if it exists already, `width` its maximum
    width in pixels.
    """
    image = img(src=source, alt=f"{what} of {of}" if of else what, loading="lazy")
    if file is not None and file.is_file():
        image["width"], image["height"] = size = image_size(file)
        if 2 * size[0] <= width:
            image["class"] = "pixels"  # rather than blurred
    caption = figcaption(what)
    if label not in ("", what):
        caption.add(" ", small(label))
    return figure(a(image, href=link or source), caption, data_what=what)


def image_row(figures: Sequence[figure], width: int, columns: int = 0) -> div:
    """Return figures side by side, or in lines of `columns`, each at most `width` pixels wide.

    A phone shows lines of more than three in two columns; figures of equal `--run` stay together.
    """
    count = columns or len(figures)
    name = "row many" if count > 3 else "row"
    return div(*figures, cls=name, style=f"--n: {count}; --w: {width}px")


def folded_notes(notes: Sequence[str]) -> details:
    """Return how the images were made, folded away."""
    return details(summary("How these were made"), *(p(note) for note in notes))


def settings_line(flags: Sequence[str], of: str = "") -> p:
    """Return a line of the non-default flags; `of` is the run that they belong to, if several."""
    start = f"Settings of {escaped(of)}" if of else "Settings that are not default"
    return p(f"{start}: ", *(small(escaped(flag)) for flag in flags or ["none"]), cls="settings")


def class_legend(classes: Classes) -> details:
    """Return the colours "#rrggbb" and the names of the classes of label maps."""
    marks = [
        small(span(style=f"background: {colour}"), escaped(name), cls="class")
        for colour, name in classes
    ]
    return details(summary(f"{len(classes)} classes of label maps"), *marks, open=True)


def add_values(sides: Mapping[str, Any], plot: str) -> None:
    """Add a plot of the values of each side's images, and which of them become -1 and 1."""
    h2("Values of the training images")
    div(img(src=plot, alt="histograms of the values of the images"), cls="plot")
    for title, of in sides.items():
        low, high = of.range
        kinds = " and ".join(sorted(of.types))
        p(
            f"{title}: {of.values.min():g} to {of.values.max():g} ({kinds}); "
            f"{low:g} becomes -1, {high:g} becomes 1 (dashed)."
        )


def image_size(path: Path) -> tuple[int, int]:
    """Return (width, height) of an image; that of a PNG file from its header, however large."""
    with path.open("rb") as file:
        start = file.read(24)
    if start.startswith(b"\x89PNG"):
        return struct.unpack(">II", start[16:24])
    with Image.open(path) as image:
        return image.size
