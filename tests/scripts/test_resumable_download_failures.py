"""A download that fails says why, and stops or tries again as that asks for."""

import errno
import io
import signal
import socket
import ssl
import sys
import threading
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest
from support.archives import BIG
from support.download_site import (
    ANEW,
    DATA,
    DROP,
    HALF,
    REST,
    Answer,
    Handler,
    Site,
    comes,
    fails,
    stall,
    tag_of,
)
from support.servers import deaf_server, free_port, wait_for

from scripts import download
from scripts.downloads import resumable
from scripts.downloads.resumable import NetworkError

pytest_plugins = ["support.downloading"]
pytestmark = pytest.mark.timeout(30)


def test_a_missing_file_is_asked_for_once(site: Site, part: Path) -> None:
    fails(f"{site.address}/nothing", part, "404", final=True)
    assert len(site.asked) == 1 and not part.exists()


def test_a_server_that_is_busy_is_asked_again(site: Site, part: Path) -> None:
    site.put("/set.zip", DATA, Answer(status=500), Answer(status=503), Answer())
    comes(site, part, ANEW, ANEW, ANEW)


def test_a_server_that_stays_broken_is_given_up(site: Site, part: Path) -> None:
    fails(site.put("/set.zip", DATA, Answer(status=500)), part, "500")
    assert len(site.asked) == download.TRIES


def test_a_redirect_is_followed_with_the_range(site: Site, part: Path) -> None:
    site.put("/old", b"", Answer(status=302, headers={"Location": "/set.zip"}))
    site.put("/set.zip", DATA, DROP, Answer())
    download.download(f"{site.address}/old", part)
    assert part.read_bytes() == DATA
    assert [a.path for a in site.asked] == ["/old", "/set.zip"] * 2
    assert site.ranges() == [ANEW, ANEW, REST, REST]


@pytest.mark.parametrize("to", ["/set.zip", "file:///etc/passwd"])
def test_a_redirect_in_a_circle_or_to_a_local_file_is_refused(
    site: Site, part: Path, to: str
) -> None:
    url = site.put("/set.zip", b"", Answer(status=302, headers={"Location": to}))
    fails(url, part, final=True)
    assert not part.exists()


def test_a_server_that_never_answers_is_given_up(
    site: Site, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resumable, "TIMEOUT", 0.05)
    with deaf_server() as port:
        fails(f"http://127.0.0.1:{port}/set.zip", part, "timed out")


def test_nobody_listening_is_said(site: Site, part: Path) -> None:
    fails(f"http://127.0.0.1:{free_port()}/set.zip", part, "refused")


def test_a_host_without_address_is_not_asked_for_twice(
    site: Site, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def getaddrinfo(host: str, *args: Any, **kwargs: Any) -> None:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    fails("http://nowhere.invalid/set.zip", part, "Name or service not known", final=True)
    assert asked == ["nowhere.invalid"]


@pytest.mark.parametrize("url", ["set.zip", "htps://host/x", "http://a..b/x", "http://host:x/x"])
def test_what_is_no_address_is_said_and_not_tried_again(part: Path, url: str) -> None:
    with pytest.raises(NetworkError, match=".") as error:
        resumable.download_rest(url, part)
    assert "\n" not in str(error.value) and error.value.final


BROKEN = {
    "reset": ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    "no route": OSError(errno.EHOSTUNREACH, "No route to host"),
    "no network": OSError(errno.ENETDOWN, "Network is down"),
    "TLS": ssl.SSLError(1, "bad record mac"),
}


@pytest.mark.parametrize("failure", BROKEN.values(), ids=BROKEN)
def test_a_network_that_goes_away_while_reading_is_tried_again(
    site: Site, part: Path, failure: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.put("/set.zip", DATA)
    read, failures = HTTPResponse.read, [None, failure]

    def failing(self: HTTPResponse, *args: Any) -> bytes:
        if failures and (error := failures.pop(0)):
            raise error
        return read(self, *args)

    monkeypatch.setattr(HTTPResponse, "read", failing)
    comes(site, part, ANEW, (f"bytes={resumable.BLOCK}-", '"v1"'))


def test_a_full_disk_is_no_network_failure(
    site: Site, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullDisk(io.BufferedWriter):
        def write(self, data: bytes) -> int:
            if self.tell() + len(data) > HALF:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    def open_on_it(path: Path, mode: str, **text: Any) -> Any:
        return FullDisk(io.FileIO(path, mode)) if mode == "ab" else open(path, mode, **text)

    url = site.put("/set.zip", DATA)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_on_it)
        with pytest.raises(OSError, match="No space left"):
            download.download(url, part)
    kept = HALF // resumable.BLOCK * resumable.BLOCK
    assert site.ranges() == [ANEW] and tag_of(part) == '"v1"'
    assert kept and part.read_bytes() == DATA[:kept]
    comes(site, part, ANEW, (f"bytes={kept}-", '"v1"'))


def test_an_interrupted_download_goes_on_in_the_next_run(site: Site, part: Path) -> None:
    def interrupt(handler: Handler) -> None:
        wait_for(
            lambda: part.exists() and part.stat().st_size >= resumable.BLOCK, "the first block"
        )
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        stall(handler)

    url = site.put("/set.zip", DATA, Answer(sent=HALF, end=interrupt), Answer())
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            download.download(url, part)
    finally:
        signal.signal(signal.SIGINT, before)
    have = part.stat().st_size
    assert part.read_bytes() == DATA[:have] and tag_of(part) == '"v1"' and have < BIG
    comes(site, part, ANEW, (f"bytes={have}-", '"v1"'))


class Terminal(io.StringIO):
    """Takes what is written to a terminal."""

    def isatty(self) -> bool:
        return True


def test_the_progress_bar_counts_from_what_is_there_and_only_on_a_terminal(
    site: Site, part: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = site.put("/set.zip", DATA, DROP, DROP, Answer())
    with pytest.raises(NetworkError):
        resumable.download_rest(url, part)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys, "stderr", Terminal())
    resumable.download_rest(url, part)
    shown = sys.stderr.getvalue()
    assert "50%" in shown.split("\r")[1] and "100k/200k" in shown and "200k/200k" in shown
