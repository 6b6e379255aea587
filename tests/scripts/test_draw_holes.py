"""The drawing page of a run that fills holes: the brush is a hole, another one draws lines."""

import contextlib
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import draw, refusal
from PIL import Image
from support.documents import PAGES
from support.drawing import Page, array, png, post, served
from support.holes import draw_photos, save_mask, saved_run

from scripts.drawing.subject import describe_run
from translator import Translator

pytest_plugins = ["support.drawing_pages"]
STRONG = ["--init_type", "normal", "--init_gain", "0.4"]  # untrained, and yet it answers
GUIDED = ["--guided", "--hole_noise", "1", *STRONG]
SIDE = 32


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_photos(tmp_path_factory.mktemp("holes"))


@pytest.fixture(scope="module")
def run(root: Path) -> Path:
    return saved_run(root, *GUIDED)


def sheet(*images: np.ndarray) -> bytes:
    """Return images (H, W, 3) below each other as a PNG file."""
    return png(Image.fromarray(np.concatenate(images)))


def parts(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return an image, its mask and lines, (H, W, 3) uint8 each."""
    image = np.asarray(draw((SIDE, SIDE), seed))
    mask, lines = np.zeros_like(image), np.zeros_like(image)
    mask[8:24, 10:20] = lines[12, 10:20] = 255
    return image, mask, lines


# The server -----------------------------------------------------------------------------


def test_the_brushes_are_a_hole_and_if_guided_lines(root: Path, run: Path) -> None:
    subject, examples = describe_run(Translator.load(run, gpu_ids=-1))
    assert subject.kind == "holes" and [name for _, name in subject.colours] == ["Hole", "Line"]
    assert subject.noise and subject.examples == len(examples) == 3
    assert subject.size == (SIDE, SIDE) and examples[0].shape == (SIDE, SIDE, 3)
    plain = saved_run(root / "plain")
    subject, _ = describe_run(Translator.load(plain, gpu_ids=-1, dataroot=root))
    assert [name for _, name in subject.colours] == ["Hole"] and not subject.noise
    t = Translator.load(plain, gpu_ids=-1, dataroot=root / "none")
    refusal(lambda: describe_run(t), "--dataroot", "none")


def test_a_hole_below_the_image_or_transparent_is_filled(page: SimpleNamespace) -> None:
    image, mask, lines = parts()
    hole = mask[..., 0] > 0
    filled = array(post(page, "translate?seed=3&parts=mask,sketch", sheet(image, mask, lines)))
    t = Translator.load(page.run, gpu_ids=-1)
    wanted = t.translate(t.prepare(image, mask=hole, sketch=lines[..., 0] > 0)[None], ["0"], 3)
    wanted = ((wanted[0].permute(1, 2, 0).numpy() + 1) / 2 * 255).clip(0, 255).astype(np.uint8)
    assert np.array_equal(filled[hole], wanted[hole])
    assert np.array_equal(filled[~hole], image[~hole]) and (filled != image).any()
    none = np.zeros_like(lines)
    without = array(post(page, "translate?seed=3&parts=mask,sketch", sheet(image, mask, none)))
    rgba = transparent(image, hole)
    assert np.array_equal(array(post(page, "translate?seed=3", png(rgba))), without)
    assert (without != filled).any()
    both = np.asarray(Image.fromarray(lines).convert("RGBA"))
    below = sheet(np.asarray(rgba), both)
    assert np.array_equal(array(post(page, "translate?seed=3&parts=sketch", below)), filled)


def transparent(image: np.ndarray, hole: np.ndarray) -> Image.Image:
    """Return an image that is transparent in its hole (H, W)."""
    return Image.fromarray(np.dstack([image, np.where(hole, 0, 255).astype(np.uint8)]))


def test_parts_lie_below_the_image_in_the_order_they_are_named_in(page: SimpleNamespace) -> None:
    image, mask, lines = parts()
    wanted = array(post(page, "translate?parts=mask,sketch", sheet(image, mask, lines)))
    for address in ("parts=sketch,mask", "parts=sketch&parts=mask", "parts=sketch,%20mask"):
        found = array(post(page, f"translate?{address}", sheet(image, lines, mask)))
        assert np.array_equal(found, wanted)


def test_the_commands_of_the_documents_fill_a_hole(root: Path) -> None:
    image, mask, _ = parts()
    files = {
        "transparent.png": png(transparent(image, mask[..., 0] > 0)),
        "photo_and_mask.png": sheet(image, mask),
    }
    text = PAGES["using.md"] + PAGES["inpainting.md"]
    asked = re.findall(r"^curl --data-binary @(\S+) -o filled\.png \S+8000/([^\s\"]+)", text, re.M)
    assert {name for name, _ in asked} == files.keys()
    with served(saved_run(root / "of_documents")) as address:
        found = [array(post(SimpleNamespace(address=address), what, files[n])) for n, what in asked]
    kept = mask[..., 0] == 0
    assert all(np.array_equal(one[kept], image[kept]) for one in found)


def test_what_is_opened_is_the_image_as_the_network_gets_it(page: SimpleNamespace) -> None:
    image = parts()[0]
    assert np.array_equal(array(post(page, "open", png(Image.fromarray(image)))), image)
    assert array(post(page, "open", png(draw((80, 60), 1)))).shape == (SIDE, SIDE, 3)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_an_image_that_is_opened_keeps_its_transparent_hole(page: SimpleNamespace, mode) -> None:
    image, mask, _ = parts()
    hole = mask[..., 0] > 0
    if mode == "P":
        file = transparent(image, hole).quantize(200)
    else:
        file = transparent(image, hole).convert(mode)
    found = array(post(page, "open", png(file)))
    assert np.array_equal(found[..., 3] == 0, hole) and set(np.unique(found[..., 3])) == {0, 255}
    wanted = np.asarray(file.convert("RGBA"))
    assert np.array_equal(found[~hole], wanted[~hole])
    assert np.array_equal(array(post(page, "translate", png(file)))[~hole], wanted[..., :3][~hole])
    opaque = Image.fromarray(image).convert("RGBA")
    assert array(post(page, "open", png(opaque))).shape == (SIDE, SIDE, 3)


def test_an_example_shows_its_transparent_hole_unless_a_mask_counts(tmp_path: Path) -> None:
    run, (image, mask, _) = saved_run(tmp_path), parts()
    (tmp_path / "test").mkdir()
    transparent(image, mask[..., 0] > 0).save(tmp_path / "test" / "0.png")
    Image.fromarray(image).save(tmp_path / "test" / "1.png")  # its hole is drawn
    _, examples = describe_run(Translator.load(run, gpu_ids=-1))
    assert np.array_equal(examples[0][..., 3] == 0, mask[..., 0] > 0)
    assert examples[1].shape == (SIDE, SIDE, 3)
    for name in ("0.png", "1.png"):
        save_mask(tmp_path / "test_mask" / name, (SIDE, SIDE), (2, 2, 9, 9))
    _, examples = describe_run(Translator.load(run, gpu_ids=-1))
    assert examples[0].shape == (SIDE, SIDE, 3)


@pytest.mark.parametrize(
    ("query", "height", "words"),
    [
        ("parts=mask,sketch", 97, "parts: 97 rows are no 3 images of one height"),
        ("parts=mask,sketch", 96, "the mask is empty"),
        ("parts=mask", 96, "parts=mask: this run takes parts=mask,sketch; a black sketch has no"),
        ("parts=sketch", 64, "where is the hole? Make it transparent, or put the mask below"),
        ("parts=mask,sketch,x", 128, "parts=mask,sketch,x: this run takes parts=mask,sketch"),
        ("parts=mask,sketch,mask", 128, "this run takes parts=mask,sketch"),
        ("parts=instances", 64, "parts=instances: this run takes parts=mask,sketch"),
        ("", SIDE, "where is the hole? Make it transparent, or put the mask below the image: "
         "?parts=mask,sketch"),
    ],
)  # fmt: skip
def test_what_cannot_be_filled_is_refused_in_one_line(page, query, height, words) -> None:
    answer = post(page, f"translate?{query}", png(Image.new("RGB", (SIDE, height))))
    said = answer.json()["error"]
    assert 400 <= answer.status_code < 500 and words in said and "\n" not in said


# The page -------------------------------------------------------------------------------


def pixels(file: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))


def painted(page: Page, corners: tuple[tuple[int, int], tuple[int, int]]) -> np.ndarray:
    """Paint a box with the chosen brush; return where the canvas has changed, (H, W)."""
    before = page.input()
    page.press("Rectangle")
    page.drag(*corners)
    return (page.input() != before).any(2)


@pytest.mark.slow
def test_a_painted_hole_is_filled_and_the_rest_stays_equal_to_the_byte(show, page) -> None:
    window = show(page.address)
    image = window.input()
    assert window.shows_example(1) and np.array_equal(pixels(window.output()), image)
    assert window.page.inner_text("#state") == "nothing to fill yet"
    hole = painted(window, ((6, 8), (20, 25)))
    assert hole.sum() == 15 * 18 and hole[8:26, 6:21].all()
    filled = pixels(window.output())
    assert np.array_equal(filled[~hole], image[~hole])
    assert (filled[hole] != image[hole]).any(1).mean() > 0.9
    window.press("Another")  # seed
    window.wait()
    other = pixels(window.output())
    assert np.array_equal(other[~hole], image[~hole])
    assert (other[hole] != filled[hole]).any(1).mean() > 0.5


@pytest.mark.slow
def test_lines_in_the_hole_change_what_fills_it(show, page) -> None:
    window = show(page.address)
    image, hole = window.input(), painted(window, ((6, 8), (20, 25)))
    filled = pixels(window.output())
    window.page.locator("#palette button").nth(1).click()
    lines = painted(window, ((8, 14), (18, 15)))
    assert lines[hole].sum() == lines.sum() == 22
    steered = pixels(window.output())
    assert np.array_equal(steered[~hole], image[~hole])
    assert (steered[hole] != filled[hole]).any()
    window.press("Undo")
    window.wait()
    assert np.array_equal(pixels(window.output()), filled)


@pytest.mark.slow
def test_the_eraser_and_undo_bring_the_image_back(show, page) -> None:
    window = show(page.address)
    image, hole = window.input(), painted(window, ((4, 4), (27, 27)))
    window.press("Eraser")
    window.page.fill("#size", "9")
    window.drag((10, 10), (20, 10))
    back = (window.input() == image).all(2) & hole
    assert 60 < back.sum() < hole.sum()
    assert np.array_equal(pixels(window.output())[back], image[back])
    for _ in range(2):
        window.press("Undo")
    window.wait()
    assert np.array_equal(window.input(), image) and window.page.is_disabled("#undo")
    assert np.array_equal(pixels(window.output()), image)
    window.press("Redo")
    window.wait()
    assert np.array_equal((window.input() != image).any(2), hole)
    window.press("Clear")
    window.wait()
    assert np.array_equal(window.input(), image)


@pytest.mark.slow
def test_an_image_that_is_opened_has_no_hole_and_can_be_saved(show, page) -> None:
    window = show(page.address)
    painted(window, ((4, 4), (20, 20)))
    opened = parts(7)[0]
    window.upload("photo.png", png(Image.fromarray(opened)))
    window.until(lambda: np.array_equal(window.input(), opened))
    assert np.array_equal(pixels(window.download("Save input")[1]), opened)
    hole = painted(window, ((2, 2), (9, 9)))
    filled = pixels(window.output())
    assert np.array_equal(filled[~hole], opened[~hole]) and (filled != opened).any()
    window.press("Undo")
    window.press("Undo")
    window.until(lambda: window.input().shape == (SIDE, SIDE, 3))
    assert not np.array_equal(window.input(), opened)


@pytest.mark.slow
def test_a_transparent_image_that_is_opened_shows_its_hole_and_keeps_it(show, page) -> None:
    window = show(page.address)
    image, mask, _ = parts(9)
    hole = mask[..., 0] > 0
    window.upload("cut.png", png(transparent(image, hole)))
    window.until(lambda: np.array_equal(window.input()[~hole], image[~hole]))
    brush = np.array([0xFF, 0x3D, 0xF2])
    assert (window.input()[hole] == brush).all()
    window.wait()
    filled = pixels(window.output())
    wanted = array(post(page, "translate?seed=0", png(transparent(image, hole))))
    assert np.array_equal(filled, wanted)
    painted(window, ((2, 2), (5, 5)))
    window.press("Eraser")
    window.page.fill("#size", "30")
    window.drag((3, 3), (28, 28))
    window.wait()
    assert (window.input()[hole] == brush).all()
    assert np.array_equal(window.input()[~hole], image[~hole])
    window.press("Clear")
    window.wait()
    assert np.array_equal(pixels(window.output()), filled)
    kept = np.asarray(Image.open(io.BytesIO(window.download("Save input")[1])))
    assert np.array_equal(kept[..., 3] == 0, hole)
    for _ in range(4):  # clear, eraser, rectangle, open
        window.press("Undo")
    window.until(lambda: window.shows_example(1))


@pytest.mark.slow
def test_without_examples_the_page_waits_for_an_image(show, root: Path, tmp_path: Path) -> None:
    run = saved_run(tmp_path)
    with served(run) as address, a_blank(show, address) as w:
        assert w.page.is_visible("#drop") and w.page.inner_text("#palette").strip() == "Hole"
        opened = parts(8)[0]
        w.upload("photo.png", png(Image.fromarray(opened)))
        w.until(lambda: np.array_equal(w.input(), opened))
        assert not w.page.is_visible("#drop")


@contextlib.contextmanager
def a_blank(show: Callable[..., Page], address: str) -> Iterator[Page]:
    """Open a page that shows no image yet."""
    wait, Page.wait = Page.wait, lambda self: self.page.wait_for_selector("#drop:not([hidden])")
    try:
        window = show(address)
    finally:
        Page.wait = wait
    yield window
