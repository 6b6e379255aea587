"""One HTTP download into a file, resumed where the server and the file allow it."""

import re
import socket
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path

from tqdm import tqdm

TIMEOUT = 30.0  # seconds of silence
BLOCK = 1 << 14  # what is lost, at most, when a connection breaks

# What opening and reading raise when the network fails; writing to a full disk raises others.
_FAILURES = (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError)


class NetworkError(Exception):
    """A download that failed on its way; `final` if trying again is of no use."""

    def __init__(self, reason: object, final: bool = False):
        super().__init__(" ".join(str(reason).split()) or type(reason).__name__)
        self.final = final


def size_of(path: Path) -> int:
    """Return the size of a file, 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def discard(part: Path) -> None:
    """Delete a partial download, with the note of what it is a part of."""
    part.unlink(missing_ok=True)
    _tag(part).unlink(missing_ok=True)


def download_rest(url: str, part: Path) -> None:
    """Download what `part` lacks of the file at `url`, or all where it is not the same file.

    NetworkError if the rest does not come whole; what came stays.
    """
    have = size_of(part)
    headers = {"User-Agent": "pix2pix (Python)"}
    if have and _tag(part).exists():  # the server sends the rest of that very file, or all again
        headers |= {"Range": f"bytes={have}-", "If-Range": _tag(part).read_text(encoding="utf-8")}
    try:
        request = urllib.request.Request(url, headers=headers)
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # there is nothing behind what is here
            if error.headers.get("Content-Range") != f"bytes */{have}":
                discard(part)
                raise NetworkError("the file there has changed") from None
            return
        raise NetworkError(error, final=error.code < 500) from None
    except ValueError as error:
        raise NetworkError(error, final=True) from None
    except _FAILURES as error:
        reason = getattr(error, "reason", error)
        hopeless = isinstance(reason, socket.gaierror | str | InvalidURL)  # no host, no address
        raise NetworkError(reason, final=hopeless) from None
    with response:
        _save(response, part, have)


def _save(response: HTTPResponse, part: Path, have: int) -> None:
    """Write the answer behind the first `have` bytes, or from the start if it is the whole."""
    mark = response.headers.get("ETag") or response.headers.get("Last-Modified")
    total = response.headers.get("Content-Length")
    if response.status == 206:
        place = re.match(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        begun = _tag(part).read_text(encoding="utf-8") if _tag(part).exists() else mark
        if place is None or int(place[1]) != have or mark not in (None, begun):
            discard(part)
            raise NetworkError("the server sent a part that does not belong to what is here")
        total = place[2] if place[2] != "*" else str(have + int(total)) if total else None
    else:
        have = 0
        discard(part)
        if mark and not mark.startswith("W/"):
            _tag(part).write_text(mark, encoding="utf-8")
    total = int(total) if total else None
    with (
        part.open("ab") as file,
        tqdm(total=total, initial=have, unit="B", unit_scale=True, disable=None) as bar,
    ):
        while block := _read(response):
            file.write(block)
            bar.update(len(block))
    if total is not None and size_of(part) < total:
        raise NetworkError(f"the connection ended after {size_of(part)} of {total} bytes")


def _read(response: HTTPResponse) -> bytes:
    try:
        return response.read(BLOCK)
    except (OSError, HTTPException) as error:
        raise NetworkError(error) from None


def _tag(part: Path) -> Path:
    return part.with_name(f"{part.name}.tag")
