"""What the server of scripts/draw.py refuses whatever the run, and how it says so."""

import logging
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from util.errors import one_line

log = logging.getLogger(__name__)

MOST_WAITING = 8  # concurrent POST requests; further ones are refused
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Guard:
    """Refuses requests from pages of other sites, and POSTs beyond `MOST_WAITING` at once."""

    def __init__(self, app: ASGIApp):
        self.app, self.working = app, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        posted, answer = scope["method"] == "POST", self.app
        if origin and urlsplit(origin).netloc != headers.get("host"):
            answer = error_response(403, "only the page of this server may send images")
        elif posted and self.working >= MOST_WAITING:
            answer = error_response(503, "too many images at once; try again")
        self.working += posted
        try:
            await answer(scope, receive, with_headers)
        finally:
            self.working -= posted


async def refused(request: Request, error: Exception) -> Response:
    """Return an error response: 4xx for a bad request, 500 for a RuntimeError."""
    if isinstance(error, HTTPException):
        return error_response(error.status_code, error.detail)
    if isinstance(error, ValueError):
        return error_response(422, one_line(error))
    log.error("%s", one_line(error))
    return error_response(500, "the translation failed; see the server's log for the reason")


def error_response(status: int, why: str) -> Response:
    """Return a JSON response with an error message."""
    return JSONResponse({"error": why}, status)
