"""HTML pages of images, without a server; tested with 5000 rows and on a phone."""

from pathlib import Path

from dominate.tags import h1, h2, input_, main, meta, output, section

from util.files import atomic_write
from util.names import escaped, url_of, utf8
from util.pages.captions import captions, columns_of
from util.pages.elements import (
    Classes,
    blank_page,
    class_legend,
    folded_notes,
    image_figure,
    image_row,
    paragraph,
    scripts,
    settings_line,
)
from util.same_names import name_key

FEW = 3  # rows that each have the whole width of the window


class HTML:
    """`WEB_DIR/index.html` with rows of images from `WEB_DIR/images`."""

    def __init__(self, web_dir: str | Path, title: str, refresh: int = 0):
        """`refresh` is the seconds between reloads of the page; 0: none."""
        self.web_dir = Path(web_dir)
        self.title, self.refresh = title, refresh
        self.img_dir = self.web_dir / "images"
        self.img_dir.mkdir(parents=True, exist_ok=True)
        self.settings: list[str] | None = None  # the flags that are not default; None: not shown
        self.classes: Classes = ()  # of label maps
        self.warnings: list[str] = []
        self.notes: list[str] = []
        self.rows: list[section] = []
        self._header = ""
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

    def add_warning(self, text: str) -> None:
        """Add a line under the title that says what is wrong with the images."""
        self.warnings.append(escaped(text))

    def add_note(self, text: str) -> None:
        """Add a line on how the images were made; a repeated line is ignored."""
        text = escaped(text)
        if text not in self.notes:
            self.notes.append(text)

    def add_header(self, text: str) -> None:
        """Start a row with a heading."""
        self._header = escaped(text)
        self.rows.append(section(h2(self._header)))

    def add_images(
        self, ims: list[str], txts: list[str], links: list[str], width: int = 400
    ) -> None:
        """Add image files of `images/` to the row, `width` pixels wide.

        `txts` are their labels, such as real_A, which the page explains; `links` are files of
        `images/` that a click opens, as a rule the image itself.
        """
        if not self.rows:
            self.add_header("")
        if len(ims) == 1 and width > 600:
            self.rows[-1]["class"] = "wide"  # across all columns of the page
        else:
            self._row_width = max(self._row_width, columns_of(txts) * (width + 10))
        caption_of = captions(txts)
        figures = [
            image_figure(
                url_of(f"images/{name}"),
                caption_of[label],
                label=label,
                of=self._header,
                file=self.img_dir / name,
                link=url_of(f"images/{target}"),
                width=width,
            )
            for name, label, target in zip(ims, txts, links, strict=True)
        ]
        self.rows[-1].add(image_row(figures, width, columns_of(txts)))

    def save(self) -> None:
        """Write the page."""
        page, many = blank_page(self.title), len(self.rows) > 20
        row_width = "100%" if len(self.rows) <= FEW else f"{self._row_width}px"
        if self.refresh:
            page.head.add(meta(http_equiv="refresh", content=str(self.refresh)))
        with page.body:
            h1(self.title)
            if self.settings is not None:
                settings_line(self.settings)
            for warning in self.warnings:
                paragraph(warning, cls="warning")
            if self.classes:
                class_legend(self.classes)
            if self.notes:
                folded_notes(self.notes)
            if many:
                input_(type="search", placeholder="Filter by name", aria_label="Filter by name")
                output(cls="found")  # a live region: what changes is read aloud
            main(*self.rows, cls="rows", style=f"--row: {row_width}")
            scripts("look.js", *(["filter.js"] if many else []))
        with atomic_write(self.path) as file:  # a browser may read it now
            file.write(utf8(page.render(pretty=False)))
