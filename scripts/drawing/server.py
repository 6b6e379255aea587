"""The web server of scripts/draw.py: page, examples and translation, with limits on load."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import numpy as np
from PIL import Image
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from data.files.image_files import in_mode
from data.holes.mask_files import alpha_mask
from data.transforms import Geometry
from scripts.drawing.guard import Guard, refused
from scripts.drawing.labels import ClassCanvas
from scripts.drawing.subject import Inputs, Subject, function_to_show, with_hole
from scripts.drawing.uploads import (
    MOST_PIXELS,
    file_in_form,
    height_of_each,
    image_in,
    parts_of,
    stacked,
)
from translator import Translator
from util.util import tensor2im

PAGE = Path(__file__).resolve().parent / "page"
MOST_BYTES = 16 * 2**20  # maximum size of an upload
MOST_TRANSLATED = 4 * 2**20  # maximum number of pixels given to the network
MOST_SECONDS = 60  # timeout for receiving a body, and for waiting in the queue
NO_HOLE = "where is the hole? Make it transparent, or put the mask below the image: ?parts={}"


class Studio:
    """Answers the page's requests about one run, one translation at a time."""

    def __init__(self, translator: Translator, subject: Subject, examples: Inputs | None):
        """ValueError if what the page shows would be resized and cropped once more."""
        self.translator, self.subject, self.examples = translator, subject, examples
        self.geometry = Geometry.from_options(translator.opt)
        self.check_geometry()
        self.canvas = ClassCanvas(translator.opt) if subject.classes else None
        self.fills_holes = subject.kind == "holes"
        self.turn = anyio.CapacityLimiter(1)

    def check_geometry(self) -> None:
        """Raise a ValueError if a resized and cropped image would not stay as it is."""
        geometry = self.geometry
        size = geometry.output_size((geometry.crop_size, geometry.crop_size))
        if geometry.resized_size(size) != size:
            raise ValueError(
                f"--load_size {geometry.load_size} above --crop_size {geometry.crop_size}: the "
                f"page shows cropped images, and would crop them once more; use --load_size "
                f"{geometry.crop_size}"
            )

    async def page(self, request: Request) -> Response:
        return FileResponse(PAGE / "index.html")

    async def about(self, request: Request) -> Response:
        settings = {"preprocess": self.geometry.preprocess}
        return JSONResponse(self.subject._asdict() | settings)

    async def example(self, request: Request) -> Response:
        """GET: return input image `number` as PNG."""
        number = request.path_params["number"]
        if self.examples is None or number >= self.subject.examples:
            raise HTTPException(404, f"there are {self.subject.examples} examples, from 0")
        return await self.answer(request, lambda: self.examples[number])

    async def open(self, request: Request) -> Response:
        """POST an image file: return the network's input for it, as PNG."""
        body = await self.body(request)
        shown = self.canvas.shown if self.canvas else function_to_show(self.translator.opt)
        if self.fills_holes:
            return await self.answer(request, lambda: self.fitted(body))
        return await self.answer(request, lambda: shown(self.prepared(body)))

    async def translate(self, request: Request) -> Response:
        """POST an image file, ?seed=N: return its translation as PNG.

        With ?parts=mask, ?parts=mask,sketch or ?parts=instances, the file holds an image and below
        it its parts.
        """
        try:
            seed = int(request.query_params.get("seed", "0"))
        except ValueError:
            seed = -1
        if not 0 <= seed < 2**63:
            raise HTTPException(400, "seed: must be a whole number from 0")
        parts = parts_of(request.query_params, self.translator.input.parts)
        body = await self.body(request)
        return await self.answer(request, lambda: self.translated(body, seed, parts))

    def prepared(self, body: bytes, parts: Sequence[str] = ()) -> Any:
        """Return the network's input for an image file, (input_nc, H, W) in [-1, 1]; for a run on
        label maps class numbers and edges, (1 or 2, H, W).

        `parts` are what lies below the image in the file. HTTPException if it is too large, from
        the file's header where that tells.
        """
        numbers = self.canvas is not None and self.canvas.of_numbers
        count = 1 + len(parts)

        def check(size: tuple[int, int]) -> None:
            self.check_size((size[0], height_of_each(size, count)))

        alpha = self.fills_holes or self.translator.opt.alpha != "ignore"
        image, *below = stacked(image_in(body, check, numbers, alpha), count)
        self.check_size(image.size)
        if self.fills_holes and "mask" not in parts and alpha_mask(image) is None:
            raise HTTPException(422, NO_HOLE.format(",".join(self.translator.input.parts)))
        image = self.canvas.classes(image) if self.canvas else image
        real = self.translator.prepare(image, **dict(zip(parts, below, strict=True)))
        height, width = real.shape[1:]  # of a user's dataset, any size
        refuse_larger((width, height), MOST_TRANSLATED)
        return real

    def fitted(self, body: bytes) -> np.ndarray:
        """Return an image to fill as the network will get it, (H, W, 3) uint8; (H, W, 4) if it is
        transparent where the hole is.
        """
        image = image_in(body, self.check_size, alpha=True)
        self.check_size(image.size)
        if alpha_mask(image) is None:
            return np.asarray(self.translator.input.fitted(in_mode(image, "RGB")))
        return with_hole(self.translator.prepare(image)[:4])

    def check_size(self, size: tuple[int, int]) -> None:
        """Raise an HTTPException if an image of (width, height) is too large when it is resized."""
        resized, final = self.geometry.resized_size(size), self.geometry.output_size(size)
        refuse_larger(resized, MOST_PIXELS, size)
        refuse_larger(final, MOST_TRANSLATED, size)

    def translated(self, body: bytes, seed: int, parts: Sequence[str] = ()) -> np.ndarray:
        """Return the translation of an image file, (H, W, 1 or 3) uint8."""
        real = self.prepared(body, parts)[None]
        fake = self.translator.translate(real, seed=seed)
        return tensor2im(self.translator.model.to_image(real.to(fake), fake))

    async def body(self, request: Request) -> bytes:
        """Read a request's file, bare or in a form; HTTPException if too large or too slow."""
        announced = request.headers.get("content-length", "0")
        too_large = HTTPException(413, f"the file is larger than {MOST_BYTES >> 20} MB")
        if not announced.isdecimal() or int(announced) > MOST_BYTES:
            raise too_large
        parts, size = [], 0
        with anyio.move_on_after(MOST_SECONDS) as scope:
            async for part in request.stream():
                parts.append(part)
                size += len(part)
                if size > MOST_BYTES:
                    raise too_large
        if scope.cancelled_caught:
            raise HTTPException(408, "the file did not arrive in time")
        body = b"".join(parts)
        if request.headers.get("content-type", "").startswith("multipart/form-data"):
            return await file_in_form(body, request.headers)
        return body

    async def answer(self, request: Request, make: Callable[[], np.ndarray]) -> Response:
        """Wait in the queue, call `make` in a thread, and send its image."""
        with anyio.move_on_after(MOST_SECONDS):
            await self.turn.acquire()
            try:
                if await request.is_disconnected():
                    return Response(status_code=499)
                with anyio.CancelScope(shield=True):
                    content = await anyio.to_thread.run_sync(lambda: png(make()))
            finally:
                self.turn.release()
            return Response(content, media_type="image/png")
        raise HTTPException(503, "the server is busy; try again")


def make_app(studio: Studio, hosts: list[str]) -> Starlette:
    """Return the application; it accepts only requests for the host names in `hosts`."""
    return Starlette(
        routes=[
            Route("/", studio.page),
            Route("/about", studio.about),
            Route("/example/{number:int}", studio.example),
            Route("/open", studio.open, methods=["POST"]),
            Route("/translate", studio.translate, methods=["POST"]),
            Mount("/page", StaticFiles(directory=PAGE)),
        ],
        middleware=[
            Middleware(Guard),
            Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False),
        ],
        exception_handlers={
            **dict.fromkeys((HTTPException, ValueError, RuntimeError), refused),
            ClientDisconnect: gone,
        },
    )


async def gone(request: Request, error: Exception) -> Response:
    """Answer a client that is no longer there."""
    return Response(status_code=499)


def refuse_larger(
    size: tuple[int, int], most: int, uploaded: tuple[int, int] | None = None
) -> None:
    """Raise an HTTPException if (width, height) are more than `most` pixels."""
    width, height = size
    if width * height > most:
        before = ""
        if uploaded not in (None, size):
            before = f"{uploaded[0]}x{uploaded[1]} pixels become "
        raise HTTPException(
            413, f"{before}{width}x{height} pixels, too many for this page; test.py has no limit"
        )


def png(array: np.ndarray) -> bytes:
    """Return (H, W, 1, 3 or 4) uint8 as a PNG file."""
    file = io.BytesIO()
    image = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()
