"""One HTTP download into a file, resumed if the server supports it."""

import re
import socket
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path

from tqdm import tqdm

TIMEOUT = 30.0  # seconds without data
BLOCK = 1 << 14  # bytes per read: the most that a broken connection loses

# Errors of the network; a full disk raises other OSErrors.
_FAILURES = (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError)


class NetworkError(Exception):
    """A failed download; `final` if a retry cannot succeed."""

    def __init__(self, reason: object, final: bool = False):
        super().__init__(" ".join(str(reason).split()) or type(reason).__name__)
        self.final = final


def size_of(path: Path) -> int:
    """Return the size of a file in bytes, 0 if it is missing."""
    return path.stat().st_size if path.exists() else 0


def discard(part: Path) -> None:
    """Delete a partial download and its tag (ETag or date of the remote file)."""
    part.unlink(missing_ok=True)
    _tag(part).unlink(missing_ok=True)


def download_rest(url: str, part: Path) -> None:
    """Download the missing rest of `part` from `url`, or everything if the remote file changed.

    NetworkError if the download is incomplete; `part` is kept.
    """
    have = size_of(part)
    headers = {"User-Agent": "pix2pix (Python)"}
    if (
        have and _tag(part).exists()
    ):  # the server sends the rest if the tag matches, else everything
        headers |= {"Range": f"bytes={have}-", "If-Range": _tag(part).read_text(encoding="utf-8")}
    try:
        request = urllib.request.Request(url, headers=headers)
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # range not satisfiable: `part` may be complete
            if error.headers.get("Content-Range") != f"bytes */{have}":
                discard(part)
                raise NetworkError("the file on the server has changed") from None
            return
        raise NetworkError(error, final=error.code < 500) from None
    except ValueError as error:
        raise NetworkError(error, final=True) from None
    except _FAILURES as error:
        reason = getattr(error, "reason", error)
        hopeless = isinstance(
            reason, socket.gaierror | str | InvalidURL
        )  # unknown host or invalid address
        raise NetworkError(reason, final=hopeless) from None
    with response:
        _save(response, part, have)


def _save(response: HTTPResponse, part: Path, have: int) -> None:
    """Append a partial response to the first `have` bytes, or write a full one from the start."""
    tag = response.headers.get("ETag") or response.headers.get("Last-Modified")
    total = response.headers.get("Content-Length")
    if response.status == 206:
        match = re.match(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        saved_tag = _tag(part).read_text(encoding="utf-8") if _tag(part).exists() else tag
        if match is None or int(match[1]) != have or tag not in (None, saved_tag):
            discard(part)
            raise NetworkError("the server sent a part that does not match the partial download")
        total = match[2] if match[2] != "*" else str(have + int(total)) if total else None
    else:
        have = 0
        discard(part)
        if tag and not tag.startswith("W/"):
            _tag(part).write_text(tag, encoding="utf-8")
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
