"""A display outside the process, whatever it does: no call waits, one warning, two seconds."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.servers import AT_ONCE, HANG, ROUNDING, note_waits, seconds_of, wait_for, warnings

from util.displays import display
from util.displays.display import FAREWELL, BackgroundDisplay, Display, close_all
from util.displays.loss_log import Entry

ROOT = Path(__file__).resolve().parents[2]
IMAGES = {"real_A": np.zeros((2, 2, 3), np.uint8)}


def entry(n: int) -> Entry:
    return Entry(1, n, {"G": float(n)}, 0.1, 0.1)


class Recorder(Display):
    """Notes what it is to show, after `work` on it."""

    def __init__(self, work: Callable[[], Any] = lambda: None):
        self.seen: list[Any] = []
        self.work = work

    def show_losses(self, entry: Entry, total: int) -> None:
        self.work()
        self.seen.append((entry, total))

    def show_images(self, images: dict[str, np.ndarray], epoch: int, total: int) -> None:
        self.work()
        self.seen.append((images, epoch, total))

    def close(self) -> None:
        self.work()
        self.seen.append("closed")


def fail() -> None:
    raise RuntimeError("no\nanswer")


def hand_to(display: Display) -> BackgroundDisplay:
    return BackgroundDisplay("fake", lambda: display, "is lost")


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Displays hang on it until the test ends."""
    event = threading.Event()
    yield event
    event.set()


def stuck(gate: threading.Event, building: bool = False) -> tuple[Recorder, BackgroundDisplay]:
    """Return a display that hangs in its first update or before, and what hands that over."""
    inside = threading.Event()
    display = Recorder(lambda: (inside.set(), gate.wait()))
    background = BackgroundDisplay("fake", display.work if building else lambda: display, "is lost")
    background.show_losses(entry(1), 1)
    assert inside.wait(60)
    return display, background


def test_updates_are_shown_unchanged_in_order_and_close_waits_for_them(caplog) -> None:
    display = Recorder(lambda: time.sleep(0.002))
    background = hand_to(display)
    updates: list[Any] = []
    for n in range(20):
        updates += [(entry(n), 7 * n), (IMAGES, 2, 8 * n)]
        background.show_losses(*updates[-2])
        background.show_images(*updates[-1])
    background.close(60)
    assert display.seen == [*updates, "closed"]
    assert not background.thread.is_alive()
    assert warnings(caplog) == []


def test_the_display_is_built_and_used_in_one_thread_of_its_own() -> None:
    threads: list[int] = []

    def note() -> None:
        threads.append(threading.get_ident())

    def build() -> Display:
        note()
        return Recorder(note)

    background = BackgroundDisplay("fake", build, "is lost")
    background.show_losses(entry(1), 1)
    background.close(60)
    assert len(threads) == 3 and len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


def test_there_is_no_thread_before_the_first_update(caplog) -> None:
    background = BackgroundDisplay("unused", fail, "is lost")
    background.ask_to_close()
    background.close()
    assert background.thread is None
    assert "unused" not in [thread.name for thread in threading.enumerate()]
    assert warnings(caplog) == []


def test_a_display_that_hangs_does_not_keep_the_process_alive() -> None:
    code = (
        "import time; from util.displays import display; display.FAREWELL = 0.1\n"
        "slow = display.BackgroundDisplay('fake', lambda: time.sleep(600), 'is lost')\n"
        "slow.show_losses(None, 1); display.close_all([slow])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, timeout=60, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "fake: is lost\n")


def test_calls_return_at_once_while_the_display_hangs(gate) -> None:
    display, background = stuck(gate)
    for n in range(5):
        assert seconds_of(lambda n=n: background.show_losses(entry(n), n)) < AT_ONCE
        assert seconds_of(lambda n=n: background.show_images(IMAGES, 1, n)) < AT_ONCE
    assert display.seen == []


def test_an_error_gives_one_warning_on_one_line_and_no_more_calls(caplog) -> None:
    calls: list[int] = []
    background = hand_to(Recorder(lambda: (calls.append(1), fail())))
    for n in range(5):
        background.show_losses(entry(n), n)
    background.thread.join(60)
    background.show_images(IMAGES, 1, 9)
    background.close()
    assert len(calls) == 1
    assert warnings(caplog) == ["fake: no answer; the run continues without it"]


@pytest.mark.parametrize("error", [ImportError("half a package"), OSError(28, "disk full")])
@pytest.mark.parametrize("when", ["while it is built", "while it finishes"])
def test_an_error_before_or_after_all_updates_gives_one_warning(
    caplog, error: Exception, when: str
) -> None:
    class Unfinished(Display):
        def close(self) -> None:
            raise error

    display = Unfinished()
    build = display.close if when == "while it is built" else lambda: display
    background = BackgroundDisplay("fake", build, "is lost")
    background.show_losses(entry(1), 1)
    background.close(60)
    background.show_losses(entry(2), 2)
    assert len(warnings(caplog)) == 1 and str(error) in warnings(caplog)[0]


def test_a_display_that_wants_to_exit_ends_alone_with_one_warning(caplog) -> None:
    background = hand_to(Recorder(lambda: sys.exit(1)))
    background.show_losses(entry(1), 1)
    background.thread.join(60)
    background.show_losses(entry(2), 2)
    background.close()
    assert len(warnings(caplog)) == 1


@pytest.mark.slow
def test_displays_that_hang_cost_two_seconds_together(gate, caplog, monkeypatch) -> None:
    all_displays = [stuck(gate)[1] for _ in range(3)]
    finished = Recorder()
    all_displays.append(hand_to(finished))
    all_displays[-1].show_losses(entry(1), 1)
    waits = note_waits(monkeypatch)
    close_all(all_displays)
    assert FAREWELL == 2 and sum(waits) < FAREWELL + ROUNDING
    assert warnings(caplog) == 3 * ["fake: is lost"]
    assert finished.seen == [(entry(1), 1), "closed"]
    waits.clear()
    close_all(all_displays[:3])
    assert waits == []  # they are given up
    assert len(warnings(caplog)) == 3


@pytest.mark.parametrize("building", [False, True])
def test_a_hang_is_given_up_after_patience_and_then_costs_nothing(
    gate, caplog, monkeypatch, building: bool
) -> None:
    monkeypatch.setattr(display, "PATIENCE", 0.05)
    _, background = stuck(gate, building)
    time.sleep(0.1)
    for n in range(3):
        assert seconds_of(lambda n=n: background.show_losses(entry(n), n)) < AT_ONCE
    assert len(warnings(caplog)) == 1 and "the run continues without it" in warnings(caplog)[0]
    monkeypatch.setattr(display, "FAREWELL", HANG)
    assert seconds_of(lambda: close_all([background])) < AT_ONCE
    assert len(warnings(caplog)) == 1


def test_an_idle_display_is_not_taken_for_one_that_hangs(caplog, monkeypatch) -> None:
    idle = Recorder()
    background = hand_to(idle)
    background.show_losses(entry(1), 1)
    wait_for(lambda: idle.seen and background.working_since is None, "the update")
    monkeypatch.setattr(display, "PATIENCE", 0.0)
    time.sleep(0.05)
    background.show_losses(entry(2), 2)
    monkeypatch.setattr(display, "PATIENCE", 60.0)
    background.close(60)
    assert idle.seen == [(entry(1), 1), (entry(2), 2), "closed"]
    assert warnings(caplog) == []


def test_an_error_after_a_hang_was_given_up_is_not_warned_of_again(caplog) -> None:
    gate, inside = threading.Event(), threading.Event()
    background = hand_to(Recorder(lambda: (inside.set(), gate.wait(), fail())))
    background.show_losses(entry(1), 1)
    assert inside.wait(60)
    background.close(0.01)
    gate.set()
    background.thread.join(60)
    assert warnings(caplog) == ["fake: is lost"]


def test_updates_are_left_out_when_the_display_is_far_behind(caplog) -> None:
    gate = threading.Event()
    display, background = stuck(gate)
    seconds = [seconds_of(lambda n=n: background.show_losses(entry(n), n)) for n in range(2, 300)]
    assert max(seconds) < AT_ONCE
    gate.set()
    wait_for(lambda: background.jobs.empty(), "the display")
    background.show_losses(entry(300), 300)
    background.close(60)
    shown = [total for _, total in display.seen[:-1]]
    assert shown == sorted(shown) and 10 < len(shown) < 200
    assert shown[-1] == 300 and display.seen[-1] == "closed"
    assert warnings(caplog) == []


def test_a_display_that_is_behind_at_the_end_still_finishes(caplog) -> None:
    gate = threading.Event()
    display, background = stuck(gate)
    for n in range(2, 300):
        background.show_losses(entry(n), n)
    display.work = lambda: None
    threading.Timer(0.2, gate.set).start()
    close_all([background])
    assert display.seen[-1] == "closed"
    assert warnings(caplog) == []
