"""Log a run to Weights & Biases, from a separate process."""

import logging
import os
import pickle
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np

from util.displays.display import Display
from util.displays.loss_log import Entry
from util.displays.val_log import Scores
from util.files import ROOT

log = logging.getLogger(__name__)


class Wandb(Display):
    """Sends a run to `wandb_process.py`, a separate process that logs to Weights & Biases.

    The wandb client blocks the exit of its process until all is uploaded. In a separate process
    it can finish the upload after the training has ended.
    """

    def __init__(self, *, project: str, name: str, config: dict[str, Any]):
        self.errors = tempfile.TemporaryFile()
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "util.displays.wandb_process"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self.errors,
            start_new_session=True,  # so that Ctrl-C does not reach it
        )
        self._send({"project": project, "name": name, "config": config})

    def show_losses(self, entry: Entry, total: int) -> None:
        self._send(({**entry.losses, "epoch": entry.epoch}, {}, total))

    def show_scores(self, scores: Scores, total: int) -> None:
        values = {f"val/{name}": value for name, value in scores.values.items()}
        self._send(({**values, "epoch": scores.epoch}, {}, total))

    def show_images(self, images: dict[str, np.ndarray], epoch: int, total: int) -> None:
        self._send(({}, images, total))

    def close(self) -> None:
        self.process.stdin.close()
        words = self._last_words()
        if self.process.returncode:
            raise RuntimeError(words)
        log.info("Weights & Biases: %s", words)

    def _send(self, message: Any) -> None:
        try:
            pickle.dump(message, self.process.stdin)
            self.process.stdin.flush()
        except BrokenPipeError:
            raise RuntimeError(self._last_words()) from None

    def _last_words(self) -> str:
        self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"ended with status {self.process.returncode}"
