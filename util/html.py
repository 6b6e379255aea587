"""HTML pages of images, without a server; tested with 2000 rows and on a phone."""

import struct
from pathlib import Path

import dominate
from dominate.tags import (
    a,
    div,
    figcaption,
    figure,
    h1,
    h2,
    img,
    input_,
    link,
    main,
    meta,
    p,
    script,
    section,
    style,
)
from dominate.util import raw
from PIL import Image

from util.names import escaped, url_of, utf8
from util.same_names import name_key

CSS = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 0 auto; padding: 0 16px 48px; max-width: 1800px; }
h1 { font-size: 1.35rem; margin: 20px 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 0.95rem; font-weight: 600; margin: 0 0 6px; overflow-wrap: anywhere; }
p { margin: 4px 0; max-width: 80ch; opacity: 0.8; }
input { font: inherit; padding: 6px 10px; margin: 12px 0; width: min(320px, 100%);
  box-sizing: border-box; border: 1px solid #8886; border-radius: 6px; }
main { display: grid; gap: 0 32px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, var(--row)), 1fr)); }
section { padding: 12px 0; border-top: 1px solid #8884; content-visibility: auto;
  contain-intrinsic-size: auto 330px; }
section.wide { grid-column: 1 / -1; }
section.hidden { display: none; }
.row { display: flex; flex-wrap: wrap; gap: 10px; }
.row > figure { margin: 0; flex: 0 1 var(--w); min-width: min(var(--w), 30%); }
img { display: block; width: 100%; height: auto; background: #8882; border-radius: 3px; }
img.pixels { image-rendering: pixelated; }
figcaption { font-size: 0.8rem; opacity: 0.75; text-align: center; overflow-wrap: anywhere; }
@media (max-width: 700px) { .row { gap: 4px; } .row > figure { flex: 1 1 30%; min-width: 0; } }
"""

_FILTER = """
document.querySelector("input").addEventListener("input", event => {
  const words = event.target.value.toLowerCase();
  for (const row of document.querySelectorAll("section")) {
    const name = row.querySelector("h2").textContent.toLowerCase();
    row.classList.toggle("hidden", !name.includes(words));
  }
});
"""


class HTML:
    """`WEB_DIR/index.html` with rows of images from `WEB_DIR/images`."""

    def __init__(self, web_dir: str | Path, title: str, refresh: int = 0):
        """`refresh` is the seconds between reloads of the page; 0: none."""
        self.web_dir = Path(web_dir)
        self.title, self.refresh = title, refresh
        self.img_dir = self.web_dir / "images"
        self.img_dir.mkdir(parents=True, exist_ok=True)
        self.notes: list[str] = []
        self.rows: list[section] = []
        self._names: set[str] = set()
        self._row_width = 0

    @property
    def path(self) -> Path:
        """Path of the page."""
        return self.web_dir / "index.html"

    def get_image_dir(self) -> Path:
        """Return the folder for the image files."""
        return self.img_dir

    def unique_name(self, name: str) -> str:
        """Return `name`, with a number appended if this page already uses it.

        Names that some file systems cannot tell apart count as one, such as A and a.
        """
        unique, n = name, 1
        while name_key(unique) in self._names:
            n += 1
            unique = f"{name}_{n}"
        self._names.add(name_key(unique))
        return unique

    def add_note(self, text: str) -> None:
        """Add a line under the title; a repeated line is ignored."""
        text = escaped(text)
        if text not in self.notes:
            self.notes.append(text)

    def add_header(self, text: str) -> None:
        """Start a row with a heading."""
        self.rows.append(section(h2(escaped(text))))

    def add_images(
        self, ims: list[str], txts: list[str], links: list[str], width: int = 400
    ) -> None:
        """Add image files of `images/` to the row, with captions and links, `width` pixels wide."""
        if not self.rows:
            self.add_header("")
        if len(ims) == 1 and width > 600:
            self.rows[-1]["class"] = "wide"  # across all columns of the page
        else:
            self._row_width = max(self._row_width, len(ims) * (width + 10))
        row = div(cls="row", style=f"--w: {width}px")
        for name, text, target in zip(ims, txts, links, strict=True):
            image = img(src=_url(name), alt=text, loading="lazy")
            if (self.img_dir / name).is_file():  # a file may also be written later
                image["width"], image["height"] = size = image_size(self.img_dir / name)
                if size[0] <= width:
                    image["class"] = "pixels"
            row.add(figure(a(image, href=_url(target)), figcaption(text)))
        self.rows[-1].add(row)

    def save(self) -> None:
        """Write the page."""
        page = blank_page(self.title)
        if self.refresh:
            page.head.add(meta(http_equiv="refresh", content=str(self.refresh)))
        with page.body:
            h1(self.title)
            for note in self.notes:
                p(note)
            if len(self.rows) > 20:
                input_(type="search", placeholder="Filter by name", aria_label="Filter by name")
            main(*self.rows, style=f"--row: {self._row_width}px")
            if len(self.rows) > 20:
                script(raw(_FILTER))
        self.path.write_bytes(utf8(page.render(pretty=False)))


def image_size(path: Path) -> tuple[int, int]:
    """Return (width, height) of an image; that of a PNG file from its header, however large."""
    with path.open("rb") as file:
        start = file.read(24)
    if start.startswith(b"\x89PNG"):
        return struct.unpack(">II", start[16:24])
    with Image.open(path) as image:
        return image.size


def blank_page(title: str, css: str = "") -> dominate.document:
    """Return an empty page with the common CSS and `css`."""
    page = dominate.document(title=title)
    page["lang"] = "en"
    with page.head:
        meta(charset="utf-8")
        meta(name="viewport", content="width=device-width, initial-scale=1")
        link(rel="icon", href="data:,")
        style(raw(CSS + css))
    return page


def _url(name: str) -> str:
    return url_of(f"images/{name}")
