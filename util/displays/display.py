"""The interface of displays, and a background thread that isolates the run from a display."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from util.displays.loss_log import Entry
from util.displays.val_log import Scores
from util.errors import one_line

log = logging.getLogger(__name__)

PATIENCE = 60.0  # seconds that a display may spend on one update
BACKLOG = 64  # updates in the queue; further ones are dropped
FAREWELL = 2.0  # seconds that all displays together get to finish when the run ends


class Display:
    """Shows a run; `total` is the number of images that the run has trained on.

    A subclass overrides the methods for what it can show.
    """

    def show_losses(self, entry: Entry, total: int) -> None:
        """Show the losses of one log entry."""

    def show_images(self, images: dict[str, np.ndarray], epoch: int, total: int) -> None:
        """Show images by label, each (H, W, 1 or 3) in 0..255."""

    def show_scores(self, scores: Scores, total: int) -> None:
        """Show the scores of a validation."""

    def close(self) -> None:
        """Finish pending updates."""


class BackgroundDisplay(Display):
    """Forwards updates to another display, which runs in its own thread.

    Every call returns at once. If the display fails or hangs, it is dropped after one warning; if
    it is too slow, updates are dropped.
    """

    def __init__(self, name: str, build: Callable[[], Display], unfinished: str):
        """`build` makes the display, in the thread; `name` starts each warning; `unfinished` is
        the warning's text if the display has pending updates when the run ends.
        """
        self.name, self.build, self.unfinished = name, build, unfinished
        self.jobs: queue.SimpleQueue[tuple[str, tuple]] = queue.SimpleQueue()
        self.lock = threading.Lock()
        self.thread: threading.Thread | None = None
        self.working_since: float | None = None
        self.given_up = False

    def show_losses(self, entry: Entry, total: int) -> None:
        self._hand_over("show_losses", entry, total)

    def show_images(self, images: dict[str, np.ndarray], epoch: int, total: int) -> None:
        self._hand_over("show_images", images, epoch, total)

    def show_scores(self, scores: Scores, total: int) -> None:
        self._hand_over("show_scores", scores, total)

    def ask_to_close(self) -> None:
        """Ask the thread to finish, without waiting."""
        if self.thread is not None and not self.given_up:
            self._hand_over("close")

    def close(self, seconds: float = FAREWELL) -> None:
        """Let the display finish, for at most `seconds`."""
        self.ask_to_close()
        self.wait(seconds)

    def wait(self, seconds: float) -> None:
        """Wait at most `seconds` for the thread to finish, then give it up."""
        if self.thread is not None and not self.given_up:
            self.thread.join(max(seconds, 0))
            if self.thread.is_alive():
                self._give_up(self.unfinished)

    def _hand_over(self, method: str, *values: Any) -> None:
        if self.given_up:
            return
        if self.working_since and time.monotonic() - self.working_since > PATIENCE:
            self._give_up(f"has not answered for {PATIENCE:.0f} s; the run continues without it")
            return
        if self.thread is None:  # started late, because the loader forks its workers before
            self.thread = threading.Thread(target=self._work, name=self.name, daemon=True)
            self.thread.start()
        if method == "close" or self.jobs.qsize() < BACKLOG:
            self.jobs.put((method, values))

    def _work(self) -> None:
        try:
            self.working_since = time.monotonic()
            display, method = self.build(), ""
            while method != "close" and not self.given_up:
                self.working_since = None
                method, values = self.jobs.get()
                self.working_since = time.monotonic()
                getattr(display, method)(*values)
        except (Exception, SystemExit) as error:  # a library may raise anything
            why = one_line(error) or type(error).__name__
            self._give_up(f"{why}; the run continues without it")

    def _give_up(self, why: str) -> None:
        with self.lock:  # one warning, logged before the flag is set
            if not self.given_up:
                log.warning("%s: %s", self.name, why)
                self.given_up = True


def close_all(displays: list[BackgroundDisplay]) -> None:
    """Let all displays finish in parallel, for at most `FAREWELL` seconds in total."""
    end = time.monotonic() + FAREWELL
    for display in displays:
        display.ask_to_close()
    for display in displays:
        display.wait(end - time.monotonic())
