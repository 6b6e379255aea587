"""The elements of a page: the empty page, images with captions, rows, notes.

Inside `with page.body:` dominate adds each new element to the page.
"""

import re
import struct
from collections.abc import Sequence
from pathlib import Path

import dominate
from dominate.tags import (
    a,
    details,
    div,
    figcaption,
    figure,
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
FEW_CLASSES = 40  # of a legend that is open from the start
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
    """Return figures side by side, or in lines of `columns`, each `width` pixels wide; less in a
    window without the place, and more in one with place left.

    A phone shows lines of more than three in two columns; figures of equal `--run` stay together.
    """
    count = columns or len(figures)
    css_class = "row many" if count > 3 else "row"
    most = max((_most(image, width) for tag in figures for image in tag.get(img)), default=width)
    return div(*figures, cls=css_class, style=f"--n: {count}; --w: {width}px; --most: {most}px")


def _most(image: img, width: int) -> int:
    """Return how many pixels wide an image may be on a page where it normally has `width`.

    That is the double; a blurred image only up to the double of its own pixels.
    """
    if "width" not in image.attributes or "class" in image.attributes:
        return 2 * width
    return 2 * min(image["width"], width)


def folded_notes(notes: Sequence[str]) -> details:
    """Return how the images were made, folded away."""
    return details(summary("How these were made"), *map(paragraph, notes))


def paragraph(text: str, **attributes: str) -> p:
    """Return a paragraph of which no line ends inside a flag, such as after the "--"."""
    parts = re.split(r"(--\w[\w-]*)", text)  # every second part is a flag
    return p(*(span(x, cls="flag") if i % 2 else x for i, x in enumerate(parts)), **attributes)


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
    opened = {"open": True} if len(classes) <= FEW_CLASSES else {}
    return details(summary(f"{len(classes)} classes of label maps"), *marks, **opened)


def image_size(path: Path) -> tuple[int, int]:
    """Return (width, height) of an image; that of a PNG file from its header, however large."""
    with path.open("rb") as file:
        start = file.read(24)
    if start.startswith(b"\x89PNG"):
        return struct.unpack(">II", start[16:24])
    with Image.open(path) as image:
        return image.size
