"""The page of scripts/draw.py in a browser."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
import requests
from conftest import draw, draw_pairs
from PIL import Image
from support.drawing import (
    COLOURS,
    Page,
    draw_labels,
    draw_lines,
    png,
    served,
    untrained,
)

pytest_plugins = ["support.drawing_pages"]
pytestmark = pytest.mark.slow  # servers, browsers: seconds each


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server for a run from label maps."""
    root = tmp_path_factory.mktemp("labels")
    with served(untrained(root, draw_labels(root / "labels"))) as address:
        yield address


def colour_of(page: Page, number: int) -> np.ndarray:
    code = page.page.locator("#palette button").nth(number).get_attribute("data-colour")
    return np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)])


# Drawing --------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_same_drawing_and_seed_give_the_same_bytes(show, labels):
    outputs = []
    for seed in ("0", "0", "5"):
        page = show(labels)
        page.page.fill("#seed", seed)
        page.press("Clear")
        page.press("Rectangle")
        page.page.locator("#palette button").nth(2).click()
        page.drag((10, 10), (30, 40))
        outputs.append(page.output())
    assert outputs[0] == outputs[1] != outputs[2]


def test_every_tool_paints_the_pixels_it_should(show, labels):
    page = show(labels)
    page.press("Clear")
    paper, wanted = colour_of(page, 0), np.tile(colour_of(page, 0), (64, 64, 1))
    assert np.array_equal(page.input(), wanted)
    page.press("Rectangle")
    page.page.locator("#palette button").nth(1).click()
    page.drag((40, 30), (20, 10))  # from the lower right to the upper left
    wanted[10:31, 20:41] = colour_of(page, 1)
    assert np.array_equal(page.input(), wanted)
    page.press("Fill")
    page.page.locator("#palette button").nth(2).click()
    page.drag((0, 0), (0, 0))
    wanted[(wanted == paper).all(2)] = colour_of(page, 2)
    assert np.array_equal(page.input(), wanted)
    page.press("Brush")
    page.page.locator("#palette button").nth(3).click()
    page.page.fill("#size", "5")
    page.drag((5, 50), (58, 50))
    drawn = page.input()
    changed = (drawn != wanted).any(2)
    assert changed[48:53, 5:59].all() and changed.sum() == pytest.approx(54 * 5 + 14, abs=12)
    assert (drawn[changed] == colour_of(page, 3)).all()
    page.press("Eraser")
    page.drag((5, 50), (58, 50))
    assert (page.input()[changed] == paper).all()


@pytest.mark.slow
def test_undo_and_redo_go_through_what_was_drawn(show, labels):
    page = show(labels)
    states = [(page.input().tobytes(), page.output())]
    page.press("Rectangle")
    for n, colour in enumerate((1, 2, 3)):
        page.page.locator("#palette button").nth(colour).click()
        page.drag((5 + 15 * n, 5), (15 + 15 * n, 60))
        states.append((page.input().tobytes(), page.output()))
    page.press("Undo")
    page.wait()
    assert (page.input().tobytes(), page.output()) == states[2]
    page.page.keyboard.press("Control+z")
    page.page.keyboard.press("Control+z")
    page.wait()
    assert (page.input().tobytes(), page.output()) == states[0]
    assert page.page.is_disabled("#undo") and page.page.is_enabled("#redo")
    for state in states[1:]:
        page.page.keyboard.press("Control+Shift+z")
        page.wait()
        assert (page.input().tobytes(), page.output()) == state


def test_examples_are_loaded_and_can_be_undone(show, labels):
    page = show(labels)
    first = page.input()
    page.press("Next example")
    page.until(lambda: page.shows_example(2))
    page.page.fill("#example", "99")
    page.page.keyboard.press("Enter")
    page.until(lambda: page.shows_example(3))
    assert page.page.locator("#example").input_value() == "3"
    assert page.message() == "The examples are 1 to 3."
    page.press("Undo")
    page.press("Undo")
    page.wait()
    assert np.array_equal(page.input(), first)


def test_a_broken_file_is_said_and_harms_nothing(show, labels):
    page = show(labels)
    before = page.input(), page.output()
    page.upload("broken.png", png(draw((64, 64)))[:900])
    assert "damaged" in page.message()
    page.press("Close")
    page.upload("list.png", b"milk, eggs")
    assert "not an image" in page.message()
    assert np.array_equal(page.input(), before[0]) and page.output() == before[1]
    page.upload("good.png", png(Image.new("RGB", (30, 30), COLOURS[2])))
    page.page.wait_for_selector("#message[hidden]", state="attached")
    page.wait()
    assert (page.input() == COLOURS[2]).all() and page.output() != before[1]


def test_an_image_of_another_ratio_is_said_to_be_stretched(show, labels):
    page = show(labels)
    for size, said in (
        ((90, 30), "This image of 90×30 pixels is stretched to 64×64."),
        ((80, 40), "This image of 80×40 pixels is stretched to 64×64. If it is a pair, input and "
         "target, open the input alone."),
    ):  # fmt: skip
        page.upload("wide.png", png(Image.new("RGB", size, COLOURS[2])))
        page.until(lambda said=said: page.message() == said)
        assert page.page.get_attribute("#message", "class") == "note"
    page.page.wait_for_timeout(300)
    assert page.page.is_visible("#message")  # the translation of the image leaves it
    page.press("Next example")
    page.page.wait_for_selector("#message", state="hidden")


def test_a_message_covers_no_button_and_its_own_stays_on_a_line(show, labels):
    for size in ((1280, 800), (390, 844)):
        page = show(labels, viewport={"width": size[0], "height": size[1]})
        page.page.route("**/translate*", lambda route: route.fulfill(
            status=500, json={"error": "a long reason, " * 14}
        ))  # fmt: skip
        page.page.fill("#seed", "1")
        assert page.message().startswith("a long reason")
        close = page.page.locator("#message button").bounding_box()
        assert close["height"] < 45
        box = page.page.locator("#message").bounding_box()
        button = page.page.locator("#download").bounding_box()
        assert box["y"] + box["height"] < button["y"]


def test_a_message_goes_once_what_failed_succeeds(show, labels):
    page = show(labels)
    page.page.route("**/translate*", lambda route: route.abort())
    page.page.fill("#seed", "1")
    assert "still running" in page.message()
    page.page.unroute("**/translate*")
    page.page.fill("#seed", "2")
    page.page.wait_for_selector("#message", state="hidden")


@pytest.mark.parametrize(
    ("typed", "used"), [("-3", "0"), ("1.5", "1"), ("1e20", "9007199254740991"), ("", "0")]
)
def test_the_noise_field_says_the_seed_that_is_used(show, labels, typed, used):
    page = show(labels)
    asked = []
    page.page.on("request", lambda request: asked.append(request.url))
    page.page.fill("#seed", typed)
    page.page.keyboard.press("Tab")
    assert page.page.input_value("#seed") == used
    page.until(lambda: any(f"seed={used}" in url for url in asked))
    assert "translated in" in page.page.inner_text("#state")


def test_the_first_colour_shows_on_the_paper(show, labels):
    page = show(labels)
    chosen = page.page.locator("#palette [aria-checked=true]").get_attribute("data-colour")
    about = requests.get(f"{labels}about", timeout=9).json()
    assert chosen != about["paper"] == about["colours"][0][0]


def test_a_image_can_be_dropped_and_pasted(show, labels):
    page = show(labels)
    for kind, colour in (("drop", COLOURS[1]), ("paste", COLOURS[3])):
        page.page.evaluate(
            """([kind, bytes]) => {
                const data = new DataTransfer();
                data.items.add(new File([new Uint8Array(bytes)], "a.png", {type: "image/png"}));
                const event = kind === "drop"
                    ? new DragEvent("drop", {dataTransfer: data, bubbles: true})
                    : new ClipboardEvent("paste", {clipboardData: data, bubbles: true});
                document.body.dispatchEvent(event);
            }""",
            [kind, list(png(Image.new("RGB", (64, 64), colour)))],
        )
        page.until(lambda colour=colour: (page.input() == colour).all())


def test_downloads_are_the_files_that_are_shown(show, labels):
    page = show(labels)
    name, content = page.download("Save input")
    saved = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    assert name == "run_input.png" and np.array_equal(saved, page.input())
    name, content = page.download("Download")
    answer = requests.post(f"{labels}translate?seed=0", data=png(Image.fromarray(saved)), timeout=9)
    assert name == "run_output.png" and content == answer.content


def test_the_keyboard_is_enough(show, labels):
    page = show(labels)
    keyboard = page.page.keyboard
    page.press("Clear")
    page.page.locator("#palette button").first.focus()
    keyboard.press("ArrowRight")
    assert page.page.locator("#palette [aria-checked=true]").get_attribute("tabindex") == "0"
    page.page.locator("#canvas").focus()
    keyboard.press("r")
    keyboard.press("Shift+ArrowUp")  # from the middle: (32, 22)
    keyboard.press("Space")
    for key in ("Shift+ArrowRight", "ArrowRight", "ArrowDown"):
        keyboard.press(key)
    keyboard.press("Enter")
    page.wait()
    wanted = np.tile(colour_of(page, 0), (64, 64, 1))
    wanted[22:24, 32:44] = colour_of(page, 2)  # the first one that shows is 1
    assert np.array_equal(page.input(), wanted)
    assert page.page.locator("#cursor").is_visible()


def test_a_cursor_stays_on_an_image_that_is_smaller(show, tmp_path):
    root = draw_labels(tmp_path / "labels")
    small = Image.open(root / "test/1.png")
    small.resize((small.width // 2, small.height // 2), Image.Resampling.NEAREST).save(
        root / "test/1.png"
    )
    with served(untrained(tmp_path, root), "--preprocess", "none") as address:
        page = show(address)
        page.page.locator("#canvas").focus()
        for _ in range(4):
            page.page.keyboard.press("Shift+ArrowDown")
        page.press("Next example")
        page.until(lambda: page.input().shape[0] == 32)
        page.page.locator("#canvas").focus()
        page.page.keyboard.press("f")
        page.page.keyboard.press("Space")
        page.wait()
        assert page.input().shape[0] == 32


def test_a_finger_draws(show, labels):
    page = show(labels, has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844})
    page.press("Fill")
    page.page.locator("#palette button").nth(3).tap()
    page.page.locator("#canvas").tap(position={"x": 3, "y": 3})
    page.wait()
    assert (page.input()[0, 0] == colour_of(page, 3)).all()
    wide = page.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390


@pytest.mark.slow
def test_the_latest_drawing_wins_over_slower_answers(show, labels):
    page, kept = show(labels), []

    def slow_once(route) -> None:
        if not kept:
            kept.append(page.page.wait_for_timeout(600))
        route.continue_()

    page.page.route("**/translate*", slow_once)
    page.press("Fill")
    page.page.locator("#palette button").nth(1).click()
    page.drag((0, 0), (0, 0))
    page.page.locator("#palette button").nth(2).click()
    page.drag((0, 0), (0, 0))
    last = page.output()
    page.page.unroute("**/translate*")
    page.page.fill("#seed", "1")
    page.wait()
    page.page.fill("#seed", "0")
    page.wait()
    assert page.output() == last


def test_a_server_that_is_gone_is_said(show, labels):
    page = show(labels)
    page.page.route("**/translate*", lambda route: route.abort())
    page.page.fill("#seed", "1")
    assert "still running" in page.message()


# Other inputs than labels ----------------------------------------------------------------


def test_lines_get_a_pen_on_white_paper(show, tmp_path):
    with served(untrained(tmp_path, draw_lines(tmp_path / "lines"))) as address:
        page = show(address)
        assert not page.page.locator("#palette").is_visible()
        page.press("Clear")
        assert (page.input() == 255).all()
        page.drag((10, 20), (50, 20))
        assert (page.input()[20, 10:50] == 0).all() and (page.input() == 0).mean() < 0.05


def test_photos_get_a_place_to_drop_them_and_no_pen(show, tmp_path):
    with served(untrained(tmp_path, draw_pairs(tmp_path / "photos"), "--no_dropout")) as address:
        page = show(address)
        for name in ("#drawing", "#palette", "#clear", "#noise"):
            assert not page.page.locator(name).is_visible(), name
        before = page.input()
        page.drag((10, 20), (50, 20))
        assert np.array_equal(page.input(), before)
        page.upload("photo.jpg", png(draw((200, 100), 9)))
        page.until(lambda: page.page.is_enabled("#undo"))
        opened = page.input()
        assert opened.shape == (64, 64, 3) and not np.array_equal(opened, before)
        page.page.keyboard.press("Control+z")
        page.until(lambda: np.array_equal(page.input(), before))
        page.page.keyboard.press("Control+Shift+z")
        page.until(lambda: np.array_equal(page.input(), opened))
        page.until(lambda: page.page.is_enabled("#download"))
        with page.page.expect_download():
            page.page.keyboard.press("d")


def test_a_run_whose_images_are_gone_has_a_page_all_the_same(browser, tmp_path):
    run = untrained(tmp_path, tmp_path / "gone")
    with served(run) as address:
        context = browser.new_context()
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector("#drop")
        assert not page.locator("#examples").is_visible() and page.is_disabled("#save")
        assert page.evaluate("getComputedStyle(canvas).visibility") == "hidden"
        page.set_input_files("#file", {"name": "a", "mimeType": "x/y", "buffer": png(draw((9, 9)))})
        page.wait_for_selector("#output[aria-busy=false] #result:not([hidden])")
        assert not page.locator("#drop").is_visible() and page.is_enabled("#save")
        context.close()
