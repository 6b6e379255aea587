"""Show a run on a visdom server."""

import logging
from typing import Any

import numpy as np

from util.displays.display import Display
from util.displays.loss_log import Entry
from util.displays.val_log import Scores

ANSWER = 10.0  # timeout of a request, in seconds


class Visdom(Display):
    """Curves in the window `display_id` of a visdom server, images in the next ones."""

    def __init__(self, *, server: str, port: int, env: str, window: int, columns: int, title: str):
        """`columns` is the number of images in a row of one window; 0: one window per image."""
        import requests  # visdom depends on it
        import visdom

        class Client(visdom.Visdom):
            def _handle_post(self, url: str, data: Any = None) -> str:
                # visdom means this to be overridden; its own version has no timeout.
                try:
                    answer = self.session.post(url, data=data, timeout=ANSWER)
                    answer.raise_for_status()
                except requests.Timeout:  # the client would print these instead of raising
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
        self.begun: set[str] = set()  # windows with a curve

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
            opts={"title": f"{self.title}: {what}", "legend": list(values), "xlabel": "images"},
        )
        self.begun.add(window)

    def show_images(self, images: dict[str, np.ndarray], epoch: int, total: int) -> None:
        rgb = {k: np.broadcast_to(p, (*p.shape[:2], 3)) for k, p in images.items()}
        planes = {label: p.transpose(2, 0, 1) for label, p in rgb.items()}
        if self.columns > 0 and len({p.shape for p in planes.values()}) == 1:
            self.client.images(
                np.stack([*planes.values()]),
                nrow=self.columns,
                win=str(self.window + 1),
                opts={"title": f"{self.title}, epoch {epoch}: {', '.join(planes)}"},
            )
            return
        for i, (label, image) in enumerate(planes.items(), start=1):
            title = f"{self.title}, epoch {epoch}: {label}"
            self.client.image(image, win=str(self.window + i), opts={"title": title})
