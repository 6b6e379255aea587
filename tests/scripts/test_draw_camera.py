"""A camera on the drawing page, of the server and of a static site."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import draw_pairs
from support.drawing import Page, a_browser, a_page, draw_labels, served, untrained
from support.sites import hosted, site_of

from translator import Translator

pytestmark = pytest.mark.slow  # servers, browsers: seconds each
FAKE = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run from photos, A to B."""
    root = tmp_path_factory.mktemp("camera")
    return untrained(root, draw_pairs(root / "photos"), "--direction", "AtoB")


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """A browser whose camera shows moving shapes."""
    with a_browser(*FAKE) as browser:
        yield browser


@pytest.fixture(params=["server", "site"])
def page(request: pytest.FixtureRequest, browser: object, run: Path) -> Iterator[Page]:
    with contextlib.ExitStack() as stack:
        if request.param == "server":
            address = stack.enter_context(served(run, "--dropout_at_test", "off"))
        else:
            address = stack.enter_context(hosted(site_of(run)))
        yield stack.enter_context(a_page(browser, address))


def on(page: Page, button: str) -> bool:
    """Return whether a button says that it stops what is going on."""
    said = page.page.inner_text(f"#{button}").startswith("Stop ")
    assert said == ("on" in (page.page.get_attribute(f"#{button}", "class") or ""))
    return said


def test_frames_of_the_camera_are_translated_until_it_is_stopped(page: Page, run: Path) -> None:
    assert not on(page, "camera") and page.page.is_hidden("#record")
    before = page.input()
    page.press("Camera")
    page.page.locator("#state", has_text="frames a second").wait_for()
    first = page.input()
    page.until(lambda: not np.array_equal(page.input(), first))
    assert not np.array_equal(first, before)
    page.press("Stop camera")
    page.until(lambda: not on(page, "camera"))
    page.page.wait_for_timeout(300)
    frame = page.input()
    page.page.wait_for_timeout(300)
    assert np.array_equal(page.input(), frame)
    t = Translator.load(run, gpu_ids=-1, dropout_at_test="off")
    assert np.abs(page.pixels()[..., :3] - t(frame).astype(int)).max() <= 2
    page.press("Undo")  # the image of before
    page.until(lambda: np.array_equal(page.input(), before))


def test_what_the_camera_sees_is_recorded(page: Page, tmp_path: Path) -> None:
    page.press("Camera")
    page.page.locator("#record").wait_for()
    page.press("Record")
    assert on(page, "record") and page.page.inner_text("#length") in ("0:00", "0:01")
    page.page.wait_for_timeout(4000)
    assert page.page.inner_text("#length") in ("0:03", "0:04", "0:05")
    name, content = page.download("Stop recording")
    assert page.page.is_hidden("#length")
    assert name.startswith("run.") and not on(page, "record")
    assert len(content) > 1000, content
    (tmp_path / name).write_bytes(content)
    with av.open(str(tmp_path / name)) as film:
        frames = [frame.to_image() for frame in film.decode(video=0)]
    assert len(frames) > 3 and {frame.size for frame in frames} == {(64, 64)}
    shown = np.asarray(frames[-1].convert("RGB"), int)
    assert np.ptp(shown) > 20  # something is to be seen
    page.press("Stop camera")


# In Firefox a stream asks for frames, not its track.
AS_FIREFOX = """() => {
    const prototype = CanvasCaptureMediaStreamTrack.prototype, ask = prototype.requestFrame;
    delete prototype.requestFrame;
    MediaStream.prototype.requestFrame = function () { ask.call(this.getVideoTracks()[0]); };
}"""


def test_a_film_is_recorded_where_streams_ask_for_frames(page: Page) -> None:
    page.page.evaluate(AS_FIREFOX)
    page.press("Camera")
    page.page.locator("#record").wait_for()
    page.press("Record")
    page.page.wait_for_timeout(1500)
    _, content = page.download("Stop recording")
    assert len(content) > 1000 and on(page, "camera")
    page.press("Stop camera")


def test_a_camera_is_asked_for_once(page: Page) -> None:
    page.page.evaluate(
        """() => { const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        window.asked = 0;
        navigator.mediaDevices.getUserMedia = async how => {
            window.asked += 1;
            await new Promise(resolve => setTimeout(resolve, 300));
            return ask(how);
        }; }"""
    )
    page.press("Camera")
    page.press("Camera")
    page.page.locator("#state", has_text="frames a second").wait_for()
    assert page.page.evaluate("window.asked") == 1 and on(page, "camera")
    page.press("Stop camera")


def test_another_image_stops_the_camera(page: Page) -> None:
    page.press("Camera")
    page.page.locator("#state", has_text="frames a second").wait_for()
    page.press("Next example")
    page.until(lambda: not on(page, "camera"))
    page.until(lambda: page.page.input_value("#example") == "2")
    assert page.page.is_hidden("#record")


def test_a_camera_that_is_not_there_is_said(page: Page) -> None:
    page.page.evaluate(
        """() => { navigator.mediaDevices.getUserMedia =
        () => Promise.reject(new DOMException("", "NotFoundError")); }"""
    )
    page.press("Camera")
    assert page.message() == "There is no camera." and not on(page, "camera")


def test_label_maps_are_not_taken_by_a_camera(browser: object, tmp_path: Path) -> None:
    with served(untrained(tmp_path, draw_labels(tmp_path / "labels"))) as address:
        with a_page(browser, address) as page:
            assert page.page.is_hidden("#camera")
