"""What the tests of the downloader share: a server with switchable faults, and what to expect."""

import http.server
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.archives import BIG, content_of, noise

from scripts import download
from scripts.downloads.resumable import NetworkError

DATA = noise()
HALF = BIG // 2
ANEW = (None, None)  # Range and If-Range
REST = (f"bytes={HALF}-", '"v1"')


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as the site's plan says."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        site = self.server.site
        site.asked.append(Asked(self.path, self.headers["Range"], self.headers["If-Range"]))
        content, plan = site.files.get(self.path, (b"", [Answer(status=404)]))
        answer = plan.pop(0) if len(plan) > 1 else plan[0]
        content = content if answer.content is None else answer.content
        try:
            if answer.status:
                self.refuse(answer)
            else:
                self.give(answer, content)
        except ConnectionError:
            pass  # the client went away

    def refuse(self, answer: "Answer") -> None:
        """Answer with a status and nothing else."""
        self.send_response(answer.status)
        self.send_headers(answer.headers | {"Content-Length": "0"})

    def give(self, answer: "Answer", content: bytes) -> None:
        """Answer with the content, or the part of it that is asked for."""
        begin, headers = self.begin(answer, len(content)), answer.named()
        if begin >= len(content) > 0:
            self.send_response(416)
            self.send_headers({"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"})
            return
        body = content[begin + answer.shift :][: answer.most]
        if begin:
            first, last = begin + answer.shift, begin + answer.shift + len(body) - 1
            headers |= {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
        if answer.chunked:
            headers |= {"Transfer-Encoding": "chunked"}
        elif answer.length:
            headers |= {"Content-Length": str(len(body))}
        self.send_response(206 if begin else 200)
        self.send_headers(headers)
        sent = body[: answer.sent]
        self.wfile.write(b"%x\r\n%b\r\n" % (len(sent), sent) if answer.chunked else sent)
        if len(sent) < len(body):
            answer.end(self)
        elif answer.chunked:
            self.wfile.write(b"0\r\n\r\n")

    def begin(self, answer: "Answer", size: int) -> int:
        """Return where the answer begins: 0 if it is the whole."""
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        tags = (None, answer.etag, answer.modified)
        same = not answer.if_range or self.headers["If-Range"] in tags
        return int(asked[1]) if asked and answer.ranges and same else 0

    def send_headers(self, headers: dict[str, str]) -> None:
        for name, value in (headers | {"Connection": "close"}).items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


def close(handler: Handler) -> None:
    """End the connection as if all were sent."""


def reset(handler: Handler) -> None:
    """Break the connection off."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.close(handler.connection.detach())


def stall(handler: Handler) -> None:
    """Hold the connection, and send no more."""
    handler.server.site.over.wait(60)


@dataclass(frozen=True)
class Answer:
    """How a request is answered; the default is a good server."""

    status: int | None = None  # and nothing else
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes | None = None  # instead of the file's
    etag: str | None = '"v1"'
    modified: str | None = None
    ranges: bool = True  # whether Range is obeyed
    if_range: bool = True  # whether If-Range is
    shift: int = 0  # a part begins so many bytes off
    most: int | None = None  # bytes of the file in one answer
    length: bool = True  # whether Content-Length is said
    chunked: bool = False
    sent: int | None = None  # bytes after which comes the `end`
    end: Callable[[Handler], None] = close

    def named(self) -> dict[str, str]:
        """Return the headers that tell this version of the file from others."""
        marks = {"ETag": self.etag, "Last-Modified": self.modified}
        return self.headers | {name: mark for name, mark in marks.items() if mark}


class Asked(NamedTuple):
    """A request that reached the server."""

    path: str
    range: str | None = None
    if_range: str | None = None


@dataclass
class Site:
    """Files, how each request for them is answered, and what was asked."""

    address: str
    files: dict[str, tuple[bytes, list[Answer]]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def put(self, path: str, content: bytes, *answers: Answer) -> str:
        """Offer a file and return its URL; the last answer is given again and again."""
        self.files[path] = (content, list(answers or [Answer()]))
        return self.address + path

    def ranges(self) -> list[tuple[str | None, str | None]]:
        """Return Range and If-Range of each request."""
        return [(asked.range, asked.if_range) for asked in self.asked]


class Server(http.server.ThreadingHTTPServer):
    """A server of one site."""

    site: Site


@contextmanager
def serving() -> Iterator[Site]:
    """Give the site of a real server."""
    with Server(("127.0.0.1", 0), Handler) as server:
        server.site = Site(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.site
        finally:
            server.site.over.set()
            server.shutdown()
            thread.join()


def tag_of(part: Path) -> str | None:
    """Return what a download is remembered to be a part of."""
    path = part.with_name(f"{part.name}.tag")
    return path.read_text() if path.exists() else None


def comes(site: Site, part: Path, *asked: tuple[str | None, str | None]) -> None:
    """Expect the download of /set.zip to come whole by requests with these ranges."""
    download.download(f"{site.address}/set.zip", part)
    assert part.read_bytes() == DATA
    assert site.ranges() == list(asked)


def fails(url: str, part: Path, *words: str, final: bool = False) -> None:
    """Expect a failure that is told on one line."""
    with pytest.raises(NetworkError) as error:
        download.download(url, part)
    message = str(error.value)
    assert message and "\n" not in message
    assert [word for word in words if word not in message] == [], message
    assert error.value.final == final


def said(done: Any, *words: str) -> None:
    """Expect the command to have failed, saying why on one line, with how to go on."""
    assert done.status == 2 and len(done.err.splitlines()) == 1, done.err
    for word in (*words, "could not be downloaded", "run this again", "--mirror"):
        assert word in done.err


def left(folder: str = ".") -> dict[str, bytes | None]:
    """Return the files of the folder that the command ran in, without folders."""
    return {name: data for name, data in content_of(Path(folder)).items() if data is not None}


DROP = Answer(sent=HALF)
