"""What a display of a run is, and how one outside the process can neither block nor fail it."""

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

PATIENCE = 60.0  # seconds after which a display that still works on one update is given up
BACKLOG = 64  # updates that may wait for a display
FAREWELL = 2.0  # seconds that all displays together may take to finish when the run ends


class Display:
    """Where a run is shown; `total` counts the images that the run has trained on.

    A subclass overrides what it can show.
    """

    def show_losses(self, entry: Entry, total: int) -> None:
        """Show a line of losses."""

    def show_images(self, images: dict[str, np.ndarray], epoch: int, total: int) -> None:
        """Show images by label, each (H, W, 1 or 3) in 0..255."""

    def show_scores(self, scores: Scores, total: int) -> None:
        """Show what a validation has measured."""

    def close(self) -> None:
        """Finish what is not shown yet."""


class BackgroundDisplay(Display):
    """Hands updates to another display, which lives in a thread of its own.

    Whatever that does, a call here returns at once. An error or a hang ends it with one warning;
    updates that it is too slow for are left out.
    """

    def __init__(self, name: str, build: Callable[[], Display], unfinished: str):
        """`build` makes the display, in the thread; `name` says in a warning which it is, and
        `unfinished` what it means that it was not done when the run ended.
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
        """Let the thread finish by itself."""
        if self.thread is not None and not self.given_up:
            self._hand_over("close")

    def close(self, seconds: float = FAREWELL) -> None:
        """Let the display finish, for at most so many seconds."""
        self.ask_to_close()
        self.wait(seconds)

    def wait(self, seconds: float) -> None:
        """Wait for the thread, which was asked to close, and give it up if it takes longer."""
        if self.thread is not None and not self.given_up:
            self.thread.join(max(seconds, 0))
            if self.thread.is_alive():
                self._give_up(self.unfinished)

    def _hand_over(self, method: str, *values: Any) -> None:
        if self.given_up:
            return
        if self.working_since and time.monotonic() - self.working_since > PATIENCE:
            self._give_up(f"has not answered for {PATIENCE:.0f} s; training goes on without it")
            return
        if self.thread is None:  # only now, so that the loader's workers are forked without it
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
        except (Exception, SystemExit) as error:  # whatever a foreign library raises
            why = one_line(error) or type(error).__name__
            self._give_up(f"{why}; the run goes on without it")

    def _give_up(self, why: str) -> None:
        with self.lock:  # so that whoever sees the flag finds the warning said, and said once
            if not self.given_up:
                log.warning("%s: %s", self.name, why)
                self.given_up = True


def close_all(displays: list[BackgroundDisplay]) -> None:
    """Let the displays finish at the same time, for at most `FAREWELL` seconds in all."""
    end = time.monotonic() + FAREWELL
    for display in displays:
        display.ask_to_close()
    for display in displays:
        display.wait(end - time.monotonic())
