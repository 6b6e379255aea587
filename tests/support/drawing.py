"""What the tests of the drawing page share: runs to draw for, the server, a browser."""

import contextlib
import io
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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
from scripts.drawing.server import Studio, make_app
from scripts.drawing.subject import describe_run
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
    for net in model.nets.values():
        settle_spectral_norms(net)
    model.save_networks("latest")
    return folder / "run"


def settle_spectral_norms(net: torch.nn.Module) -> None:
    """Find the largest singular values, as training does step by step."""
    for module in net.modules():
        for hook in module._forward_pre_hooks.values() if hasattr(module, "weight_orig") else ():
            for _ in range(20):
                hook.compute_weight(module, do_power_iteration=True)


@contextlib.contextmanager
def served(run: Path, *flags: str) -> Iterator[str]:
    """Serve the page of a run, and yield its address."""
    translator = Translator.load(run, "--gpu_ids", "-1", *flags)
    app = make_app(Studio(translator, *describe_run(translator)), LOOPBACK)
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


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def post(page: Any, what: str, body: bytes, **how: Any) -> requests.Response:
    """Send a file to a server, the `address` of a page."""
    return requests.post(f"{page.address}{what}", data=body, timeout=60, **how)


def array(answer: requests.Response) -> np.ndarray:
    """Return the image of an answer."""
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


class Page:
    """An open page, and what went wrong on it."""

    def __init__(self, page: Any, address: str):
        self.page, self.wrong, self.address = page, [], address
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("request", lambda request: self.outside(request.url))
        page.goto(address)
        self.wait()

    def outside(self, url: str) -> None:
        if not url.startswith((self.address, f"blob:{self.address}", "data:")):
            self.wrong.append(url)

    def wait(self) -> None:
        """Wait until the translation of what is drawn is shown."""
        self.page.wait_for_selector("#output[aria-busy=false] #result:not([hidden])")

    def until(self, holds: Callable[[], object]) -> None:
        """Wait until something holds, and until its translation is shown."""
        end = time.monotonic() + 20
        while not holds():
            assert time.monotonic() < end
            self.page.wait_for_timeout(30)
        self.wait()

    def press(self, button: str) -> None:
        self.page.get_by_role("button", name=button, exact=True).click()

    def drag(self, a: tuple[int, int], b: tuple[int, int]) -> None:
        """Draw from pixel `a` of the image to pixel `b`."""
        box = self.page.locator("#canvas").bounding_box()
        width = self.page.evaluate("document.getElementById('canvas').width")
        scale = box["width"] / width
        at = [[box["x"] + (x + 0.5) * scale, box["y"] + (y + 0.5) * scale] for x, y in (a, b)]
        self.page.mouse.move(*at[0])
        self.page.mouse.down()
        self.page.mouse.move(*at[1], steps=4)
        self.page.mouse.up()
        self.wait()

    def input(self) -> np.ndarray:
        """Return what is drawn, (H, W, 3)."""
        found = self.page.evaluate(
            """() => { const c = document.getElementById("canvas");
            const p = c.getContext("2d").getImageData(0, 0, c.width, c.height);
            return [p.height, p.width, Array.from(p.data)]; }"""
        )
        return np.array(found[2], np.uint8).reshape(found[0], found[1], 4)[..., :3]

    def output(self) -> bytes:
        """Return the file that is shown beside it."""
        return self.download("Download")[1]

    def download(self, button: str) -> tuple[str, bytes]:
        """Return the name and the content of what a button saves."""
        with self.page.expect_download() as download:
            self.press(button)
        return download.value.suggested_filename, Path(download.value.path()).read_bytes()

    def pixels(self) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(self.output())), int)

    def shows_example(self, number: int) -> bool:
        """Return whether the input is an example, counted from 1."""
        answer = requests.get(f"{self.address}example/{number - 1}", timeout=20)
        return np.array_equal(self.input(), array(answer))

    def message(self) -> str:
        self.page.wait_for_selector("#message:not([hidden])")
        return self.page.inner_text("#message span")

    def upload(self, name: str, content: bytes) -> None:
        file = {"name": name, "mimeType": "application/octet-stream", "buffer": content}
        self.page.set_input_files("#file", file)


@contextlib.contextmanager
def a_browser(*flags: str) -> Iterator[Any]:
    """Start a Chromium without a window; the test is skipped where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip(f"no browser ({', '.join(names)})")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*FLAGS, *flags])
        yield browser
        browser.close()


@contextlib.contextmanager
def a_page(browser: Any, address: str, **how: Any) -> Iterator[Page]:
    """Open a page in a window of its own; nothing may go wrong on it."""
    context = browser.new_context(**how)
    page = Page(context.new_page(), address)
    yield page
    context.close()
    assert page.wrong == []
