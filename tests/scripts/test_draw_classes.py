"""The drawing page of a run on label maps: the brush is a class."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import requests
from conftest import draw, near, refusal
from PIL import Image
from support.drawing import array, draw_labels, png, post, served, untrained
from support.label_folders import draw_label_folders
from support.label_maps import SPADE

from scripts.drawing.labels import ClassCanvas
from scripts.drawing.subject import describe_run
from translator import Translator
from util.palette import default_colours

pytest_plugins = ["support.drawing_pages"]
NAMES = ["sky", "sea", "sand", ""]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("classes")


@pytest.fixture(scope="module")
def run(root: Path) -> Path:
    """A run on class numbers, three of which have names."""
    data = draw_label_folders(root / "data", classes=4, size=64)
    (data / "classes.txt").write_text("0: sky\n1: sea\n2: sand\n")
    return untrained(root, data, *SPADE)


@pytest.fixture(scope="module")
def many(root: Path) -> Path:
    """A run with more classes than are shown at once."""
    flags = ("--label_nc", "60", "--contain_dontcare_label")
    made = untrained(root / "many", root / "data", *SPADE, *flags)
    (made / "classes.txt").write_text("\n".join(f"kind {n}" for n in range(59)))
    return made


# The server -----------------------------------------------------------------------------


def test_the_brush_colours_are_the_classes_with_their_names(run: Path) -> None:
    subject, examples = describe_run(Translator.load(run, gpu_ids=-1))
    codes = ["#000000", "#800000", "#008000", "#808000"]  # of Pascal VOC
    assert subject.colours == list(zip(codes, ["sky", "sea", "sand", "3"], strict=True))
    assert subject.classes and subject.kind == "labels" and not subject.noise
    assert subject.size == (64, 64) and subject.examples == len(examples) == 2
    counts = [np.bincount(np.ravel(Image.open(path)), minlength=4) for path in labels_of(run)]
    assert subject.paper == codes[np.sum(counts, 0).argmax()]


def labels_of(run: Path) -> list[Path]:
    return sorted((run.parent / "data/test_label").iterdir())


def test_unknown_pixels_are_a_brush_too(many: Path) -> None:
    subject, _ = describe_run(Translator.load(many, gpu_ids=-1))
    assert [name for _, name in subject.colours] == [
        *(f"kind {n}" for n in range(59)),
        "59",
        "unknown",
    ]


def test_the_colours_of_coloured_labels_are_the_runs(tmp_path: Path) -> None:
    run = untrained(tmp_path, draw_labels(tmp_path / "data"), *SPADE)
    subject, examples = describe_run(Translator.load(run, gpu_ids=-1))
    codes = Translator.load(run, gpu_ids=-1).opt.label_colours
    assert subject.colours == [(code, str(n)) for n, code in enumerate(codes)] and subject.classes
    pair = np.asarray(Image.open(tmp_path / "data/test/0.png"))
    assert np.array_equal(examples[0], pair[:, :64])


def test_a_style_that_is_drawn_has_a_seed(tmp_path: Path, root: Path) -> None:
    run = untrained(tmp_path, root / "data", *SPADE, "--use_vae")
    assert describe_run(Translator.load(run, gpu_ids=-1))[0].noise


def test_a_wrong_line_of_class_names_is_named(tmp_path: Path, root: Path) -> None:
    run = untrained(tmp_path, root / "data", *SPADE)
    (run / "classes.txt").write_text("9: moon\n")
    refusal(lambda: describe_run(Translator.load(run, gpu_ids=-1)), "classes.txt", "9: moon")


def test_a_drawing_is_translated_as_its_class_numbers(page: SimpleNamespace) -> None:
    index = np.random.default_rng(0).integers(0, 4, (64, 64))
    drawing = Image.fromarray(default_colours(4)[index])
    found = array(post(page, "translate?seed=0", png(drawing)))
    wanted = Translator.load(page.run, gpu_ids=-1)(index, seed=0)
    assert near({"": found}, {"": wanted})
    smooth = Image.fromarray(np.asarray(drawing.convert("RGBA")))  # as a canvas sends it
    assert np.array_equal(array(post(page, "translate?seed=0", png(smooth))), found)


def test_a_file_of_numbers_or_of_colours_is_opened_as_colours(page: SimpleNamespace) -> None:
    index = np.random.default_rng(1).integers(0, 4, (64, 64)).astype(np.uint8)
    colours = default_colours(4)[index]
    near_ones = (colours.astype(int) + 9).clip(0, 255).astype(np.uint8)
    for image in (index, colours, near_ones):
        assert np.array_equal(array(post(page, "open", png(Image.fromarray(image)))), colours)
    example = requests.get(f"{page.address}example/0", timeout=9)
    labels = np.asarray(Image.open(labels_of(page.run)[0]))
    assert np.array_equal(array(example), default_colours(4)[labels])


def test_instance_maps_may_lie_below_the_labels(page: SimpleNamespace) -> None:
    rng = np.random.default_rng(2)
    index, ids = rng.integers(0, 4, (2, 64, 64)).astype(np.uint8)
    both = png(Image.fromarray(np.concatenate([index, ids])))
    found = array(post(page, "translate?parts=instances", both))
    wanted = Translator.load(page.run, gpu_ids=-1)(index, instances=ids, seed=0)
    assert near({"": found}, {"": wanted})
    said = post(page, "translate?parts=mask", both).json()["error"]
    assert said == "parts=mask: this run takes parts=instances"


def test_what_is_no_label_map_is_refused_in_one_line(page: SimpleNamespace) -> None:
    numbers = np.full((64, 64), 77, np.uint8)
    for image, words in (
        (Image.fromarray(numbers), "class number 77"),
        (draw((64, 64), 3).point(lambda value: 128 + value // 2), "none of the 4 label colours"),
    ):
        answer = post(page, "open", png(image))
        assert answer.status_code == 422 and words in answer.json()["error"]
        assert "\n" not in answer.json()["error"]


def test_a_run_without_examples_has_its_classes_all_the_same(tmp_path: Path, caplog: Any) -> None:
    data = draw_label_folders(tmp_path / "data", classes=4, size=64)
    run = untrained(tmp_path, data, *SPADE)
    data.rename(tmp_path / "away")
    subject, examples = describe_run(Translator.load(run, gpu_ids=-1))
    assert examples is None and len(subject.colours) == 4 and subject.paper == "#000000"
    assert "the page lacks examples: --dataroot" in caplog.text
    t = Translator.load(run, gpu_ids=-1, dataroot=tmp_path / "gone")
    refusal(lambda: describe_run(t), "--dataroot", "gone")


def test_every_class_comes_back_from_its_colour() -> None:
    opt = {"label_nc": 182, "contain_dontcare_label": True, "label_colours": None}
    opt |= {"label_offset": 0, "max_pixels": 10**9, "dataroot": "-", "checkpoints_dir": "-"}
    canvas = ClassCanvas(SimpleNamespace(**opt, name="none", isTrain=False))
    index = np.arange(183)[None]
    image = Image.fromarray(canvas.colours[index])
    assert np.array_equal(canvas.classes(image), index)


# The page in a browser ------------------------------------------------------------------


def changes(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return np.abs(after - before).mean(2)


@pytest.mark.slow
def test_a_class_that_is_painted_changes_its_region(show, page: SimpleNamespace) -> None:
    shown = show(page.address)
    assert shown.page.get_by_role("radio").all_inner_texts() == ["sky", "sea", "sand", "3"]
    shown.press("Clear")
    shown.wait()
    before = shown.pixels()
    shown.press("Rectangle")
    shown.page.get_by_role("radio", name="sand").click()
    shown.drag((8, 8), (31, 31))
    drawn, after = shown.input(), shown.pixels()
    assert (drawn[8:32, 8:32] == (0, 128, 0)).all()
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) == 2  # no other colours at the edges
    apart = changes(before, after)
    assert apart[8:32, 8:32].mean() > 3 * apart[48:, 48:].mean()
    about = requests.get(f"{page.address}about", timeout=9).json()
    index = np.full((64, 64), [code for code, _ in about["colours"]].index(about["paper"]))
    index[8:32, 8:32] = 2
    wanted = Translator.load(page.run, gpu_ids=-1)(index, seed=0)
    assert near({"": after.astype(np.uint8)}, {"": wanted})


@pytest.mark.slow
def test_neighbouring_colours_stay_apart_when_an_area_is_filled(show, many: Path) -> None:
    with served(many) as address:
        shown = show(address)
        shown.press("Clear")
        shown.press("Rectangle")
        for number, columns in ((16, (0, 31)), (24, (32, 63))):  # (64, 0, 0), (64, 128, 0)
            shown.page.fill("#find", f"kind {number}")
            shown.page.keyboard.press("Enter")
            shown.drag((columns[0], 0), (columns[1], 63))
        before = shown.input()
        shown.press("Fill")
        shown.page.fill("#find", "kind 8")
        shown.page.keyboard.press("Enter")
        shown.drag((5, 5), (5, 5))
        after = shown.input()
        assert np.array_equal(after[:, 32:], before[:, 32:])
        assert (after[:, :32] == default_colours(9)[8]).all()


@pytest.mark.slow
def test_many_classes_are_searched_and_picked(show, many: Path) -> None:
    with served(many) as address:
        shown = show(address, viewport={"width": 390, "height": 800})
        assert shown.page.get_by_role("radio").count() == 61
        first = shown.page.get_by_role("radio").first.inner_text()  # the example has it
        assert first in {f"kind {n}" for n in range(4)}
        about = requests.get(f"{address}about", timeout=9).json()
        current = shown.page.inner_text("#current")  # of those of the example, one that shows
        assert current in {f"kind {n}" for n in range(4)}
        assert current != dict(about["colours"])[about["paper"]]
        shown.page.fill("#find", "kind 5")
        assert shown.page.locator("#palette button:visible").count() == 10  # 5, 50 to 58
        shown.page.get_by_role("radio", name="kind 57").click()
        assert shown.page.inner_text("#current") == "kind 57"
        shown.press("Rectangle")
        shown.drag((0, 0), (20, 20))
        shown.page.fill("#find", "")
        shown.page.get_by_role("radio", name="unknown").click()
        shown.press("Pick")
        shown.drag((5, 5), (5, 5))
        assert shown.page.inner_text("#current") == "kind 57"
        assert shown.page.locator("[data-tool=brush]").get_attribute("aria-pressed") == "true"
        assert shown.page.inner_text("#under") == "kind 57"
        wide = shown.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 390
