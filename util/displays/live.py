"""The live displays: visdom, TensorBoard, Weights & Biases. Each package is imported where used."""

import importlib.util
import logging
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from util.displays.display import Background, Display
from util.displays.loss_log import Entry
from util.displays.val_log import Scores

log = logging.getLogger(__name__)

ANSWER = 10.0  # seconds in which a visdom server must answer
INSTALL = {
    "tensorboard": "pip install tensorboard",
    "wandb": "pip install wandb",
    "visdom": "echo 'setuptools<81' > old.txt && PIP_CONSTRAINT=old.txt PIP_BUILD_CONSTRAINT="
    "old.txt pip install visdom",
}


class Visdom(Display):
    """Curves in the window `display_id` of a visdom server, pictures in the next ones."""

    def __init__(self, *, server: str, port: int, env: str, window: int, columns: int, title: str):
        """`columns` pictures stand in a row of one window; with 0 each has a window."""
        import requests  # of visdom's own
        import visdom

        class Client(visdom.Visdom):
            def _handle_post(self, url: str, data: Any = None) -> str:
                # Meant to be overridden; the original waits for an answer without end.
                try:
                    answer = self.session.post(url, data=data, timeout=ANSWER)
                    answer.raise_for_status()
                except requests.Timeout:  # the client would print these errors of requests
                    raise RuntimeError(f"no answer in {ANSWER:g} s") from None
                except requests.ConnectionError:
                    raise RuntimeError("no connection; is the server running?") from None
                except requests.RequestException as error:
                    raise RuntimeError(str(error)) from None
                return answer.text

        logging.getLogger("visdom").setLevel(logging.ERROR)
        self.client = Client(
            server=server, port=port, env=env, raise_exceptions=True, use_incoming_socket=False
        )
        self.window, self.columns, self.title = window, columns, title
        self.begun: set[str] = set()  # windows

    def show_losses(self, entry: Entry, total: int) -> None:
        self._curves("losses", str(self.window), entry.losses, total)

    def show_scores(self, scores: Scores, total: int) -> None:
        for name, value in scores.values.items():  # their scales differ
            self._curves(f"val {name}", f"{self.window}_val_{name}", {name: value}, total)

    def _curves(self, what: str, window: str, values: dict[str, float], total: int) -> None:
        self.client.line(
            X=np.full((1, len(values)), total),
            Y=np.array([list(values.values())]),
            win=window,
            update="append" if window in self.begun else None,
            opts={"title": f"{self.title}: {what}", "legend": list(values), "xlabel": "pictures"},
        )
        self.begun.add(window)

    def show_pictures(self, pictures: dict[str, np.ndarray], epoch: int, total: int) -> None:
        rgb = {k: np.broadcast_to(p, (*p.shape[:2], 3)) for k, p in pictures.items()}
        planes = {label: p.transpose(2, 0, 1) for label, p in rgb.items()}
        if self.columns > 0 and len({p.shape for p in planes.values()}) == 1:
            self.client.images(
                np.stack([*planes.values()]),
                nrow=self.columns,
                win=str(self.window + 1),
                opts={"title": f"{self.title}, epoch {epoch}: {', '.join(planes)}"},
            )
            return
        for i, (label, picture) in enumerate(planes.items(), start=1):
            title = f"{self.title}, epoch {epoch}: {label}"
            self.client.image(picture, win=str(self.window + i), opts={"title": title})


class TensorBoard(Display):
    """An event file, for `tensorboard --logdir CHECKPOINTS_DIR`; steps are pictures."""

    def __init__(self, folder: Path):
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(folder, flush_secs=30)

    def show_losses(self, entry: Entry, total: int) -> None:
        for name, value in entry.losses.items():
            self.writer.add_scalar(f"loss/{name}", value, total)

    def show_scores(self, scores: Scores, total: int) -> None:
        for name, value in scores.values.items():
            self.writer.add_scalar(f"val/{name}", value, total)

    def show_pictures(self, pictures: dict[str, np.ndarray], epoch: int, total: int) -> None:
        for label, picture in pictures.items():
            self.writer.add_image(label, picture, total, dataformats="HWC")

    def close(self) -> None:
        self.writer.close()


class Wandb(Display):
    """A run at Weights & Biases, by a process of its own (`wandb_process.py`).

    Their client keeps a process from ending until all is uploaded. This one may go on for a
    while after the training has ended, but holds up nobody.
    """

    def __init__(self, *, project: str, name: str, config: dict[str, Any]):
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("wandb_process.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self.errors,
            start_new_session=True,  # Ctrl-C is not for it
        )
        self._send({"project": project, "name": name, "config": config})

    def show_losses(self, entry: Entry, total: int) -> None:
        self._send(({**entry.losses, "epoch": entry.epoch}, {}, total))

    def show_scores(self, scores: Scores, total: int) -> None:
        values = {f"val/{name}": value for name, value in scores.values.items()}
        self._send(({**values, "epoch": scores.epoch}, {}, total))

    def show_pictures(self, pictures: dict[str, np.ndarray], epoch: int, total: int) -> None:
        self._send(({}, pictures, total))

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


def live_displays(opt: Any, folder: Path) -> list[Background]:
    """Return the displays that the options ask for; ValueError if a package is missing."""
    displays = []
    if opt.display_id > 0:
        _require("visdom", "--display_id")
        place = {"server": opt.display_server, "port": opt.display_port, "env": opt.display_env}
        look = {"window": opt.display_id, "columns": opt.display_ncols, "title": opt.name}
        where = f"visdom at {opt.display_server}:{opt.display_port}"
        lost = "does not answer; the run has ended without showing all there"
        displays.append(Background(where, lambda: Visdom(**place, **look), lost))
    if opt.use_tensorboard:
        _require("tensorboard", "--use_tensorboard")
        board = folder / "tensorboard"
        lost = f"{board} could not be finished in time"
        displays.append(Background("TensorBoard", lambda: TensorBoard(board), lost))
    if opt.use_wandb:
        _require("wandb", "--use_wandb")
        config = {k: v if v != float("inf") else "inf" for k, v in vars(opt).items()}
        run = {"project": opt.wandb_project_name, "name": opt.name, "config": config}
        more = (
            "goes on for up to a minute; later, `wandb sync wandb/latest-run` sends what is missing"
        )
        displays.append(Background("Weights & Biases", lambda: Wandb(**run), more))
    return displays


def _require(package: str, flag: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ValueError(
            f"{flag}: wants the package {package}, which is not installed; {INSTALL[package]}"
        )
