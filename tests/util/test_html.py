"""Pages of images, read back as a browser would."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from conftest import draw

from util.html import HTML
from util.image_rows import ImageRow
from util.pages.captions import captions, columns_of

NAMES = [
    "plain.png",
    "#1.png",
    "what?.png",
    "100%.png",
    "%20.png",
    "two  spaces.png",
    'it\'s "quoted".png',
    "<script>alert(1)<script>.png",
    "a&amp;b.png",
    "Fassade Köln 🏠.png",
    "a:b;c=d,e+f.png",
    "back\\slash.png",
]


class Page(HTMLParser):
    """The elements of a page as (tag, attributes), and the text within each kind."""

    def __init__(self, html: HTML):
        super().__init__()
        self.url = html.path.resolve().as_uri()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(html.path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "input"):
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, text: str) -> None:
        if self._open:
            self.texts[self._open[-1]][-1] += text

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def file(self, reference: str) -> Path:
        """The file that a browser opens for a reference on this page."""
        parts = urlsplit(urljoin(self.url, reference))
        assert (parts.scheme, parts.query, parts.fragment) == ("file", "", "")
        return Path(unquote(parts.path))


def page_of(folder: Path, rows: int = 1, **more) -> HTML:
    """A page of equal rows that share one image."""
    page = HTML(folder, "title", **more)
    draw((6, 4)).save(page.img_dir / "x.png")
    for i in range(rows):
        page.add_header(f"row {i}")
        page.add_images(["x.png"], ["real_A"], ["x.png"])
    page.save()
    return page


def test_page_and_images_have_their_places(tmp_path):
    page = HTML(tmp_path / "deep" / "web", "title")
    assert page.path == tmp_path / "deep" / "web" / "index.html"
    assert page.get_image_dir() == tmp_path / "deep" / "web" / "images"
    assert page.get_image_dir().is_dir()


def test_images_load_lazily_and_say_their_size(tmp_path):
    html = HTML(tmp_path, "title")
    for name, size in (("a.png", (6, 4)), ("b.png", (3, 9))):
        draw(size).save(html.img_dir / name)
    html.add_header("row")
    html.add_images(["a.png", "b.png"], ["real_A", "fake_B"], ["a.png", "b.png"])
    html.save()
    images = Page(html).all("img")
    assert [(p["width"], p["height"], p["loading"]) for p in images] == [
        ("6", "4", "lazy"),
        ("3", "9", "lazy"),
    ]
    assert [p["alt"] for p in images] == ["input of row", "output of row"]
    assert Page(html).texts["figcaption"] == ["input ", "output "]
    assert Page(html).texts["small"] == ["real_A", "fake_B"]


def test_any_file_name_resolves_from_the_page(tmp_path):
    html = HTML(tmp_path / "res #1?", "title")
    for i, name in enumerate(NAMES):
        draw((6, 4), seed=i).save(html.img_dir / name)
        html.add_header(name)
        html.add_images([name], [name], [name])
    html.save()
    page = Page(html)
    for kind, attribute in (("img", "src"), ("a", "href")):
        files = [page.file(element[attribute]) for element in page.all(kind)]
        assert files == [(html.img_dir / name).resolve() for name in NAMES]
        assert all(file.is_file() for file in files)


def test_titles_names_captions_and_notes_are_text_not_markup(tmp_path):
    evil = "<script>alert(\"1\")</script> & <b>'bold'</b>"
    html = HTML(tmp_path, evil)
    draw((6, 4)).save(html.img_dir / "x.png")
    html.add_note(evil)
    html.add_header(evil)
    html.add_images(["x.png"], [evil], ["x.png"])
    html.save()
    page = Page(html)
    assert len(page.all("script")) == 1 and not page.all("b")  # that of the page itself
    for tag in ("h1", "h2", "p", "figcaption"):
        assert page.texts[tag] == [evil]
    assert page.all("img")[0]["alt"] == f"{evil} of {evil}"
    assert "<script>alert" not in html.path.read_text(encoding="utf-8")


def test_page_needs_nothing_from_elsewhere(tmp_path):
    text = page_of(tmp_path, rows=25).path.read_text(encoding="utf-8")
    assert "http:" not in text and "https:" not in text and "@import" not in text
    heads = Page(page_of(tmp_path)).all("meta")
    assert {"charset": "utf-8"} in heads
    assert any(meta.get("name") == "viewport" for meta in heads)


def test_a_note_is_said_once(tmp_path):
    html = HTML(tmp_path, "title")
    for note in ("one", "two", "one"):
        html.add_note(note)
    html.save()
    assert Page(html).texts["p"] == ["one", "two"]


def test_rows_keep_their_order_and_number(tmp_path):
    page = Page(page_of(tmp_path, rows=3))
    assert page.texts["h2"] == ["row 0", "row 1", "row 2"]
    assert len(page.all("section")) == 3


def test_images_without_a_header_get_a_row(tmp_path):
    html = HTML(tmp_path, "title")
    draw((6, 4)).save(html.img_dir / "x.png")
    html.add_images(["x.png"], ["real_A"], ["x.png"])
    html.save()
    assert len(Page(html).all("section")) == len(Page(html).all("img")) == 1


def test_saving_again_gives_the_same_page(tmp_path):
    html = page_of(tmp_path, rows=22)
    first = html.path.read_text(encoding="utf-8")
    html.save()
    assert html.path.read_text(encoding="utf-8") == first


def test_unique_name_numbers_repeated_names(tmp_path):
    html = HTML(tmp_path, "title")
    names = [html.unique_name(name) for name in ("a", "a", "b", "a", "a_2")]
    assert names == ["a", "a_2", "b", "a_3", "a_2_2"]


@pytest.mark.parametrize(
    "pair", ["A a", "Straße STRASSE", "É é", "\u00e9 e\u0301", "\u00c9 e\u0301", "x.Y X.y"]
)
def test_unique_name_tells_names_apart_that_are_one_file_elsewhere(tmp_path, pair):
    first, second = pair.split()
    html = HTML(tmp_path, "title")
    assert [html.unique_name(name) for name in (first, second)] == [first, f"{second}_2"]
    assert html.unique_name(f"{first}_2") == f"{first}_2_2"


@pytest.mark.parametrize(("rows", "boxes"), [(0, 0), (20, 0), (21, 1)])
def test_filter_box_stands_above_more_than_20_rows_only(tmp_path, rows, boxes):
    page = Page(page_of(tmp_path, rows=rows))
    assert len(page.all("input")) == len(page.all("script")) - 1 == boxes
    assert all(box["type"] == "search" and box["aria-label"] for box in page.all("input"))


def test_refresh_reloads_the_page_only_if_asked_for(tmp_path):
    def seconds(html: HTML) -> list[str]:
        metas = Page(html).all("meta")
        return [m["content"] for m in metas if m.get("http-equiv") == "refresh"]

    assert seconds(page_of(tmp_path, refresh=30)) == ["30"]
    assert seconds(page_of(tmp_path)) == []


def test_five_thousand_rows_render(tmp_path):
    page = Page(page_of(tmp_path, rows=5000))
    assert len(page.all("img")) == len(page.all("section")) == 5000
    assert page.texts["h2"][-1] == "row 4999"


def test_how_the_images_were_made_folds_away_and_a_warning_does_not(tmp_path):
    html = HTML(tmp_path, "title")
    html.settings = ["--direction BtoA", "--crop_size 128"]
    html.add_note("Dropout is off.")
    html.add_warning("3 images are missing.")
    html.save()
    text = html.path.read_text(encoding="utf-8")
    (folded,) = re.findall(r"<details>.*?</details>", text, re.S)
    assert "How these were made" in folded and "Dropout is off." in folded
    assert "3 images are missing." in text.replace(folded, "")
    assert Page(html).texts["small"] == ["--direction BtoA", "--crop_size 128"]


def test_a_row_is_input_output_target_whatever_order_the_model_has(tmp_path):
    labels = ("real_A", "real_B_rgb", "fake_B_rgb")  # of --model colorization
    html = HTML(tmp_path, "title")
    ImageRow("row", "row", {label: f"{label}.png" for label in labels}).add_to(html, 256)
    html.save()
    assert Page(html).texts["figcaption"] == ["input ", "output ", "target "]
    assert Page(html).texts["small"] == ["real_A", "fake_B_rgb", "real_B_rgb"]


@pytest.mark.parametrize(
    ("labels", "what", "columns"),
    [
        ("real fake", ["input", "output"], 2),
        ("real_A fake_B rec_A", ["input", "output", "input reconstructed"], 3),
        ("real_A fake_B extra real_B", ["input", "output", "target", "extra"], 4),
        (
            "real_A fake_B rec_A real_B fake_A rec_B",
            ["input A", "output B", "A reconstructed", "input B", "output A", "B reconstructed"],
            3,
        ),
    ],
)
def test_captions_say_what_an_image_is(labels, what, columns):
    assert list(captions(labels.split()).values()) == what
    assert columns_of(labels.split()) == columns
