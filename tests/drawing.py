"""What the tests of the drawing page share: runs to draw for, the server, a browser."""

import contextlib
import io
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
import torch
import uvicorn
from conftest import TINY
from PIL import Image, ImageDraw

from models import create_model
from options.train_options import TrainOptions
from scripts.draw import LOOPBACK
from scripts.draw_server import Studio, make_app
from scripts.draw_subject import look_at
from translator import Translator

COLOURS = [(0, 48, 255), (255, 159, 1), (192, 255, 63), (174, 0, 1)]
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]


def draw_labels(root: Path, count: int = 3) -> Path:
    """Write label maps of a few colours, and their inverses, as A|B into root/{train,test}."""
    for n, phase in enumerate(("train", "test")):
        (root / phase).mkdir(parents=True)
        for i in range(count):
            rng = np.random.default_rng(10 * n + i)
            labels = Image.new("RGB", (64, 64), COLOURS[0])
            for colour in COLOURS[1:]:
                x, y = rng.integers(0, 40, 2).tolist()
                ImageDraw.Draw(labels).rectangle((x, y, x + 20, y + 20), fill=colour)
            stitch(labels, Image.eval(labels, lambda value: 255 - value), root / phase / f"{i}.png")
    return root


def draw_lines(root: Path, count: int = 3) -> Path:
    """Write black lines on white, with a partner, as A|B into root/{train,test}."""
    for n, phase in enumerate(("train", "test")):
        (root / phase).mkdir(parents=True)
        for i in range(count):
            rng, lines = np.random.default_rng(10 * n + i), Image.new("RGB", (64, 64), "white")
            for _ in range(4):
                ImageDraw.Draw(lines).line(rng.integers(0, 64, 4).tolist(), fill="black")
            stitch(lines, lines.rotate(90), root / phase / f"{i}.png")
    return root


def stitch(A: Image.Image, B: Image.Image, path: Path) -> None:
    pair = Image.new("RGB", (128, 64))
    pair.paste(A, (0, 0))
    pair.paste(B, (64, 0))
    pair.save(path)


def untrained(folder: Path, dataroot: Path, *flags: str) -> Path:
    """Save a run that has learnt nothing but answers, and return its folder."""
    places = ["--dataroot", str(dataroot), "--checkpoints_dir", str(folder), "--name", "run"]
    opt = TrainOptions().read([*TINY, "--load_size", "64", *places, "--init_gain", "0.2", *flags])
    torch.manual_seed(0)
    model = create_model(opt)
    model.setup(opt)
    model.save_networks("latest")
    return folder / "run"


@contextlib.contextmanager
def served(run: Path, *flags: str) -> Iterator[str]:
    """Serve the page of a run, and yield its address."""
    translator = Translator.load(run, "--gpu_ids", "-1", *flags)
    app = make_app(Studio(translator, *look_at(translator)), LOOPBACK)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", limit_concurrency=100))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()
    assert not thread.is_alive()


def png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def array(answer: requests.Response) -> np.ndarray:
    """Return the picture of an answer."""
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def the_browser() -> str:
    """Return the file of a Chromium on this machine; the test is skipped where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    for name in names:
        if path := shutil.which(name):
            return path
    pytest.skip(f"no browser ({', '.join(names)})")
