"""The pages of results, evaluation and training in a browser, opened as files."""

import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import draw
from PIL import Image
from support.drawing import a_browser

from options.train_options import TrainOptions
from scripts.evaluation.compare import ImageSet, Result, measure
from scripts.evaluation.page import write_page
from util.displays.loss_log import CONTINUED, Entry, format_line
from util.displays.loss_plot import CURVES_DPI, FONT
from util.displays.val_log import Scores
from util.displays.web_page import REFRESH
from util.html import HTML
from util.image_rows import ImageRow
from util.visualizer import Visualizer

pytestmark = pytest.mark.slow  # a browser: seconds each
LABELS = ("real_A", "fake_B", "real_B")
KINDS = ("outputs", "real photos", "mean colour")
WIDTHS = (390, 1440)
ABORTED = "net::ERR_ABORTED"  # by the page's own reload


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with a_browser() as browser:
        yield browser


@pytest.fixture
def show(browser: Any) -> Iterator[Any]:
    """Open a file in a window; no script may fail, no request may leave the machine."""
    wrong: list[str] = []
    contexts = []

    def opened(path: Path, width: int = 1440, **how: Any) -> Any:
        contexts.append(browser.new_context(viewport={"width": width, "height": 800}, **how))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("requestfailed", lambda r: wrong.append(r.url) if r.failure != ABORTED else None)
        page.on(
            "request",
            lambda r: None if r.url.startswith(("file:", "data:")) else wrong.append(r.url),
        )
        page.goto(path.resolve().as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of 24 results of 32x24 pixels."""
    page = HTML(tmp_path_factory.mktemp("results"), "run: test images")
    for i in range(24):
        for n, label in enumerate(LABELS):
            draw((32, 24), seed=10 * i + n).save(page.img_dir / f"house {i}_{label}.png")
        files = {label: f"house {i}_{label}.png" for label in LABELS}
        ImageRow(f"house {i}", f"house {i}", files).add_to(page, 256)
    page.save()
    return page.path


def test_a_click_shows_an_image_and_arrows_lead_to_the_next(results: Path, show: Any) -> None:
    page = show(results)
    page.locator(".row a").nth(1).click()
    dialog = page.locator("dialog")
    assert dialog.locator(".title").text_content() == "house 0 (1 of 24)"
    assert dialog.locator(".under").get_attribute("src").endswith("house%200_fake_B.png")
    page.keyboard.press("ArrowRight")
    assert dialog.locator(".title").text_content() == "house 1 (2 of 24)"
    assert dialog.locator(".under").get_attribute("alt") == "output of house 1"
    page.keyboard.press("ArrowDown")
    assert dialog.locator(".under").get_attribute("alt") == "target of house 1"
    page.keyboard.press("1")
    assert dialog.locator(".under").get_attribute("alt") == "input of house 1"
    dialog.locator(".images button", has_text="output").click()
    page.keyboard.press("ArrowRight")  # keys work after a click, too
    assert dialog.locator(".under").get_attribute("alt") == "output of house 2"
    page.keyboard.press("Escape")
    assert not dialog.is_visible()


@pytest.mark.parametrize(
    ("row", "title", "end", "inwards"),
    [
        (0, "house 0 (1 of 24)", "before", "after"),
        (23, "house 23 (24 of 24)", "after", "before"),
    ],
)
def test_the_arrows_show_the_first_and_the_last_row(
    results: Path, show: Any, row: int, title: str, end: str, inwards: str
) -> None:
    page = show(results)
    page.locator(".row a").nth(3 * row).click()
    ending, other = (page.locator(f"dialog button[name={name}]") for name in (end, inwards))
    states = [button.get_attribute("aria-disabled") for button in (ending, other)]
    assert states == ["true", "false"]
    ending.focus()
    page.keyboard.press("Enter")
    assert page.locator("dialog .title").text_content() == title
    page.keyboard.press("ArrowLeft" if end == "before" else "ArrowRight")
    assert page.locator("dialog .title").text_content() == title
    other.click()
    assert ending.get_attribute("aria-disabled") == "false"


def test_only_rows_that_are_shown_are_neighbours(results: Path, show: Any) -> None:
    page = show(results)
    page.locator("input[type=search]").fill("house 2")
    assert page.locator("section:visible").count() == 5  # 2, 20 to 23
    page.locator(".row:visible a").first.click()
    page.keyboard.press("ArrowRight")
    assert page.locator("dialog .title").text_content() == "house 20 (2 of 5)"


def test_a_filter_without_a_match_says_so(results: Path, show: Any) -> None:
    page = show(results)
    said = page.get_by_role("status")
    page.locator("input[type=search]").fill("tree")
    assert page.locator("section:visible").count() == 0
    assert said.text_content() == "No image has this text in its name."
    page.locator("input[type=search]").fill("house")
    assert said.text_content() == ""


def test_zoom_keeps_the_pixels_and_shows_its_scale(results: Path, show: Any) -> None:
    page = show(results)
    page.locator(".row a").first.click()
    width = "document.querySelector('.frame').clientWidth"
    fitting = page.evaluate(width)
    assert fitting > 32
    page.keyboard.press("+")
    assert page.evaluate(width) == pytest.approx(2 * fitting, abs=1)
    scale = int(page.locator("dialog output").text_content().rstrip("%"))
    assert scale == pytest.approx(100 * 2 * fitting / 32, abs=2)
    rendering = "getComputedStyle(document.querySelector('.under')).imageRendering"
    assert page.evaluate(rendering) == "pixelated"
    page.locator("dialog button[name=fit]").click()
    assert page.evaluate(width) == fitting


def test_a_divider_between_output_and_target_can_be_dragged(results: Path, show: Any) -> None:
    page = show(results)
    page.locator(".row a").nth(1).click()
    page.keyboard.press("c")
    over = page.locator("dialog .over")
    assert over.is_visible() and over.get_attribute("src").endswith("house%200_real_B.png")
    box = page.locator(".frame").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 20)
    page.mouse.up()
    assert float(page.locator("dialog .divider").input_value()) == pytest.approx(25, abs=1)
    place = "getComputedStyle(document.querySelector('.frame')).getPropertyValue('--at')"
    assert float(page.evaluate(place).rstrip("%")) == pytest.approx(25, abs=1)
    page.locator("dialog .divider").focus()
    page.keyboard.press("ArrowRight")  # moves the divider, not the row
    assert page.locator("dialog .title").text_content() == "house 0 (1 of 24)"
    page.keyboard.press("c")
    assert not over.is_visible()


def test_the_keyboard_alone_is_enough(results: Path, show: Any) -> None:
    page = show(results)
    page.locator(".row a").nth(4).focus()
    page.keyboard.press("Enter")
    assert page.locator("dialog .title").text_content() == "house 1 (2 of 24)"
    page.locator("dialog button[name=close]").focus()
    page.keyboard.press("Enter")
    assert not page.locator("dialog").is_visible()
    assert page.evaluate("document.activeElement.getAttribute('href')").endswith("1_fake_B.png")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone_and_follow_its_colours(
    results: Path, show: Any, width: int, scheme: str
) -> None:
    page = show(results, width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.locator(".row a").first.click()
    dark = page.evaluate("getComputedStyle(document.querySelector('dialog')).backgroundColor")
    assert (dark != "rgb(255, 255, 255)") == (scheme == "dark")
    tools = page.locator("dialog .tools").bounding_box()
    assert tools["x"] == 0 and tools["width"] <= width
    for button in page.locator("dialog button").all():
        box = button.bounding_box()
        assert 0 <= box["x"] and box["x"] + box["width"] <= width


def test_rows_use_the_width_of_the_window(results: Path, tmp_path: Path, show: Any) -> None:
    page = show(results)
    first, second = (page.locator("section").nth(i).bounding_box() for i in (0, 1))
    assert first["y"] == second["y"] and second["x"] + second["width"] == 1424
    last = show(compared(tmp_path, runs=1)).locator("figure").nth(3).bounding_box()
    assert last["x"] + last["width"] > 1350


@pytest.mark.parametrize(("pixels", "shown"), [(64, 462), (200, 400), (1000, 462)])
def test_few_results_are_as_wide_as_the_window_or_twice_their_pixels(
    tmp_path: Path, show: Any, pixels: int, shown: int
) -> None:
    made = HTML(tmp_path, "run: test images")
    for label in LABELS:
        draw((pixels, pixels)).save(made.img_dir / f"{label}.png")
    for name in ("house 0", "house 1"):
        ImageRow(name, name, {label: f"{label}.png" for label in LABELS}).add_to(made, 256)
    made.save()
    page = show(made.path)
    widths = {image.bounding_box()["width"] for image in page.locator(".row img").all()}
    assert all(width == pytest.approx(shown, abs=1) for width in widths)
    phone = show(made.path, 390)
    assert phone.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.parametrize("width", range(300, 900, 60))
def test_no_line_of_a_note_ends_inside_a_flag(tmp_path: Path, show: Any, width: int) -> None:
    made = HTML(tmp_path, "run: test images")
    made.add_note(", ".join(f"--load_size {i} --no-flip --num_test={i}" for i in range(9)))
    made.add_warning(" ".join(9 * ["without --skip_finished"]))
    made.save()
    page = show(made.path, width)
    page.locator("summary").click()
    flags = page.locator(".flag").all()
    assert len(flags) == 36
    assert all(flag.evaluate("flag => flag.getClientRects().length") == 1 for flag in flags)
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_five_thousand_results_can_be_scrolled_and_filtered(tmp_path: Path, show: Any) -> None:
    page = HTML(tmp_path, "run: test images")
    for label in LABELS:
        draw((32, 24)).save(page.img_dir / f"{label}.png")
    for i in range(5000):
        ImageRow(f"{i:04d}", f"{i:04d}", {x: f"{x}.png" for x in LABELS}).add_to(page, 256)
    page.save()
    window = show(page.path)
    window.locator("input[type=search]").fill("4321")
    assert window.locator("section:visible").count() == 1
    window.locator(".row:visible a").first.click()
    assert window.locator("dialog .title").text_content() == "4321 (1 of 1)"


def compared(folder: Path, runs: int, names: Sequence[str] = "012", each: bool = True) -> Path:
    """Write the page of an evaluation of runs on images; run 0 is the best.

    With `each` the images have a metric, else only the set of them has one.
    """
    rng, results = np.random.default_rng(0), []
    for run in range(runs):
        sides = {"fake": {}, "real": {}, "source": {}}
        for i, name in enumerate(names):
            for side in sides:
                image = np.full((24, 32, 3), 100, np.uint8)
                if side == "fake":
                    image += rng.integers(0, 10 * (i + 1) * (run + 1), image.shape, np.uint8)
                path = folder / f"{run}_{i}_{side}.png"
                Image.fromarray(image).save(path)
                sides[side][f"house {name}"] = path
        settings = ["--direction BtoA", f"--lambda_L1 {run}"]
        images = ImageSet(f"run {run}", **sides, settings=settings)
        together = {"FID": {"outputs": 1.0}, "FCN class IoU": dict.fromkeys(KINDS, 0.1)}
        results.append(measure(images, ["L1"], 1) if each else Result(images, {}, together))
    (folder / "out").mkdir()
    write_page(results, ["N = 3 images"], folder / "out", 1)
    return folder / "out" / "index.html"


def test_an_evaluation_shows_input_output_target_error_and_sorts(tmp_path: Path, show: Any) -> None:
    page = show(compared(tmp_path, runs=1))
    row = page.locator(".row").first
    assert [f.get_attribute("data-what") for f in row.locator("figure").all()] == [
        *("input", "output", "target", "error")
    ]
    names = page.locator("main h2").all_text_contents
    assert names() == ["house 2", "house 1", "house 0"]  # the worst first
    page.get_by_text("Best first").click()
    assert names() == ["house 0", "house 1", "house 2"]
    page.locator(".row a").first.click()
    page.keyboard.press("ArrowRight")
    assert page.locator("dialog .title").text_content() == "house 1 (2 of 3)"


@pytest.mark.parametrize("width", WIDTHS)
def test_the_colours_of_errors_have_a_scale(tmp_path: Path, show: Any, width: int) -> None:
    page = show(compared(tmp_path, runs=2), width)
    assert page.locator(".scale .ends").inner_text() == "0  0.5 or more"
    assert "black and white differ by 1" in page.locator(".scale").inner_text()
    shades = page.locator(".colours").evaluate("bar => getComputedStyle(bar).backgroundImage")
    assert "(to right, rgb(0, 0, 3)" in shades and shades.endswith("rgb(252, 254, 164))")
    assert page.locator(".colours").bounding_box()["width"] > 100


def test_all_numbers_of_a_difference_have_a_sign(tmp_path: Path, show: Any) -> None:
    page = show(compared(tmp_path, runs=2))
    assert page.locator("tbody td:nth-child(2) div").count() == 0
    (text,) = page.locator("tbody td:nth-child(3) div").all_text_contents()
    assert re.fullmatch(r"\+0\.\d+ \[\+0\.\d+, \+0\.\d+\]", text)
    (interval,) = page.locator("tbody td:nth-child(3) > small").first.all_text_contents()
    assert "+" not in interval


def test_rows_are_sorted_by_the_numbers_in_their_names(tmp_path: Path, show: Any) -> None:
    page = show(compared(tmp_path, runs=1, names=["1", "10", "2", "100"]))
    page.get_by_text("By name").click()
    names = page.locator("main h2").all_text_contents()
    assert names == ["house 1", "house 2", "house 10", "house 100"]


def test_without_a_metric_of_each_image_nothing_is_sorted(tmp_path: Path, show: Any) -> None:
    page = show(compared(tmp_path, runs=1, names=["10", "2"], each=False))
    assert page.locator("main h2").all_text_contents() == ["house 2", "house 10"]
    assert page.get_by_text("Sort by").count() == 0


def places(page: Any) -> dict[str, Any]:
    """Return the boxes of the first row's images by what they are."""
    figures = page.locator(".row").first.locator("figure").all()
    return {figure.get_attribute("data-what"): figure.bounding_box() for figure in figures}


def test_a_comparison_has_a_column_for_each_run(tmp_path: Path, show: Any) -> None:
    page = show(compared(tmp_path, runs=3))
    place = places(page)
    order = ["input", "output of run 0", "output of run 1", "output of run 2", "target"]
    assert [place[what]["x"] for what in order] == sorted(place[what]["x"] for what in order)
    for run in range(3):
        output, error = place[f"output of run {run}"], place[f"error of run {run}"]
        assert output["x"] == error["x"] and output["y"] < error["y"]
    assert page.evaluate("document.documentElement.scrollWidth") == 1440
    assert page.locator(".settings").all_text_contents() == [
        "Settings that are not default: --direction BtoA",
        *(f"Settings of run {run}: --lambda_L1 {run}" for run in range(3)),
    ]


def test_a_comparison_has_a_line_for_each_run_on_a_phone(tmp_path: Path, show: Any) -> None:
    page = show(compared(tmp_path, runs=8), 390)
    place = places(page)
    pairs = [("input", "target"), *((f"output of run {i}", f"error of run {i}") for i in range(8))]
    for left, right in pairs:
        assert place[left]["y"] == place[right]["y"] and place[left]["x"] < place[right]["x"]
        assert place[left]["width"] > 160 and place[right]["x"] + place[right]["width"] <= 390
    heights = [place[left]["y"] for left, _ in pairs]
    assert heights == sorted(set(heights))
    assert page.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.parametrize("each", [False, True])
def test_numbers_are_legible_on_a_phone(tmp_path: Path, show: Any, each: bool) -> None:
    page = show(compared(tmp_path, runs=8, each=each), 390)
    head = page.locator("tbody th").first
    assert head.bounding_box()["height"] < 70 and head.bounding_box()["x"] == 16
    page.locator(".scroll").evaluate("one => one.scrollLeft = 200")
    assert head.bounding_box()["x"] == 16  # it stays
    over = "th => document.elementFromPoint(th.getBoundingClientRect().right - 3, {y}) === th"
    middle = head.bounding_box()["y"] + head.bounding_box()["height"] / 2
    assert head.evaluate(over.replace("{y}", str(middle)))


def test_many_images_leave_the_closer_look_its_place(tmp_path: Path, show: Any) -> None:
    page = show(compared(tmp_path, runs=8), 390)
    page.locator(".row a").last.click()
    assert page.locator(".stage").bounding_box()["height"] > 600
    button = page.locator("dialog [aria-pressed=true]")
    assert button.text_content() == "error of run 7"
    box = button.bounding_box()
    assert 0 <= box["x"] and box["x"] + box["width"] <= 390


def a_training(
    folder: Path, epochs: int, lines: int = 2, ended: bool = True, losses: Sequence[str] = ("G_L1",)
) -> Path:
    """Write the page of a training with `lines` lines of losses an epoch; it was resumed once."""
    place = ["--checkpoints_dir", str(folder), "--name", "run", "--gpu_ids", "-1"]
    visualizer = Visualizer(TrainOptions().read([*place, "--n_epochs", str(epochs)]))
    visualizer.page.loss_log.add(Entry(1, lines, dict.fromkeys(losses, 1.0), 0.1, 0.0))
    with (folder / "run" / "loss_log.txt").open("a") as log:
        for epoch in range(2, epochs + 1):
            if epoch == 3:
                log.write(f"===== Training Loss (now{CONTINUED}) =====\n")
            for i in range(lines):
                values = dict.fromkeys(losses, 1 / epoch)
                log.write(format_line(Entry(epoch, i + 1, values, 0.1, 0.0)) + "\n")
    image = np.zeros((24, 32, 3), np.uint8)
    samples = {f"house {i}": dict.fromkeys(LABELS, image) for i in range(4)}
    for epoch in range(1, epochs + 1):
        visualizer.print_scores(Scores(epoch, {"L1": 0.5}, best_epoch=2))
        visualizer.show_samples(lambda: samples, epoch)
    if ended:
        visualizer.close()
    else:
        visualizer.page.write()
    return folder / "run" / "web" / "index.html"


def test_the_slider_of_a_training_leads_through_its_epochs(tmp_path: Path, show: Any) -> None:
    page = show(a_training(tmp_path, epochs=5))
    source = page.locator(".row img").nth(4)
    said = page.locator(".bar output")
    assert said.text_content() == "epoch 5"
    assert source.get_attribute("src").startswith("images/epoch005_fake_B_2.png?")
    page.locator(".epochs input").fill("0")
    assert said.text_content() == "epoch 1"
    assert source.get_attribute("src") == "images/epoch001_fake_B_2.png"
    page.get_by_role("button", name="best").click()
    assert said.text_content() == "epoch 2, best, resumed after it"
    assert page.locator(".marks span").all_text_contents() == ["★", "resumed"]
    best, resumed = (mark.bounding_box() for mark in page.locator(".marks span").all())
    assert best["y"] + best["height"] <= resumed["y"] + 1  # not one over the other
    left = "parseFloat(document.querySelector('.curves i').style.left)"
    second = page.evaluate(left)
    page.get_by_role("button", name="last").click()
    assert page.evaluate(left) > second
    page.locator(".row a").nth(4).click()
    assert page.locator("dialog .title").text_content() == "house 1 (2 of 4)"


@pytest.mark.parametrize("width", WIDTHS)
def test_the_buttons_of_a_training_stay_together(tmp_path: Path, show: Any, width: int) -> None:
    page = show(a_training(tmp_path, epochs=5), width)
    buttons = page.locator(".bar button")
    assert buttons.all_text_contents() == ["★ best", "last", "▶"]
    boxes = [button.bounding_box() for button in buttons.all()]
    assert len({box["y"] for box in boxes}) == 1
    said, slider = (page.locator(f".bar {name}").bounding_box() for name in ("output", "input"))
    assert (slider["y"] > said["y"] + said["height"]) == (width == 390)
    assert boxes[0]["y"] < said["y"] + said["height"]  # beside the epoch
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize(
    ("width", "file", "least"),
    [(1440, "losses.png", 10), (1100, "losses.png", 9), (390, "losses_narrow.png", 11)],
)
def test_the_text_of_curves_is_legible(
    tmp_path: Path, show: Any, width: int, file: str, least: float
) -> None:
    page = show(a_training(tmp_path, epochs=3, losses=list("abcdef")), width)
    plot = page.locator(".curves img")
    page.wait_for_function("document.querySelectorAll('.curves i').length === 7")
    source = plot.evaluate("one => one.currentSrc")
    assert re.search(rf"/{file}\?\d+$", source)  # another one after each change
    inches = plot.evaluate("one => one.naturalWidth") / CURVES_DPI
    assert FONT / 72 * plot.bounding_box()["width"] / inches > least


def test_lines_in_curves_follow_a_window_that_becomes_narrow(tmp_path: Path, show: Any) -> None:
    page = show(a_training(tmp_path, epochs=3, losses=list("abcdef")))
    tops = "new Set([...document.querySelectorAll('.curves i')].map(i => i.style.top)).size === {}"
    page.wait_for_function(tops.format(3))
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_function(tops.format(7))


def test_images_of_other_data_keep_their_names(tmp_path: Path, show: Any) -> None:
    a_training(tmp_path, epochs=2)
    place = ["--checkpoints_dir", str(tmp_path), "--name", "run", "--gpu_ids", "-1"]
    visualizer = Visualizer(TrainOptions().read([*place, "--continue_train"]), (3, 0))
    image = np.zeros((24, 32, 3), np.uint8)
    visualizer.show_samples(lambda: {"tree": dict.fromkeys(LABELS, image)}, 3)
    visualizer.close()
    page = show(tmp_path / "run" / "web" / "index.html")
    assert page.locator(".name:visible").all_text_contents() == ["tree"]
    page.locator(".epochs input").fill("0")
    assert page.locator(".name:visible").all_text_contents() == ["house 0"]


def test_the_page_of_a_running_training_keeps_its_epoch(tmp_path: Path, show: Any) -> None:
    page = show(a_training(tmp_path, epochs=4, ended=False))
    page.clock.install()
    page.reload()
    page.locator(".epochs input").fill("1")
    page.evaluate("window.before = true")
    with page.expect_navigation():
        page.clock.fast_forward(1000 * REFRESH)
    assert page.evaluate("window.before") is None
    assert page.locator(".bar output").text_content().startswith("epoch 2")
    page.locator(".row a").first.click()  # no reload while an image is open
    page.evaluate("window.before = true")
    page.clock.fast_forward(1000 * REFRESH)
    page.wait_for_timeout(300)
    assert page.evaluate("window.before") and page.locator("dialog").is_visible()


def test_a_training_that_has_ended_is_not_loaded_again(tmp_path: Path) -> None:
    assert '"refresh": 0}' in a_training(tmp_path, epochs=2).read_text()


def test_two_hundred_epochs_and_ten_thousand_lines_stay_light(tmp_path: Path, show: Any) -> None:
    path = a_training(tmp_path, epochs=200, lines=50)
    assert path.stat().st_size < 50_000
    assert (path.parent / "images" / "losses.png").stat().st_size < 200_000
    started = time.monotonic()
    page = show(path)
    assert page.locator(".row img").count() == 12 and time.monotonic() - started < 30
    page.locator(".epochs input").fill("100")
    assert page.locator(".bar output").text_content() == "epoch 101"
