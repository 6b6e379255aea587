"""Mirrors are tried in order until one brings the very file; wrong bytes are never kept."""

import errno
import hashlib
import os
import socket
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.archives import BIG, content_of, member, noise, tar_of
from support.download_site import ANEW, Answer, Asked, Site, left, said
from support.servers import free_port

from scripts import download

pytest_plugins = ["support.downloading"]
pytestmark = pytest.mark.timeout(60)
ROOT = Path(__file__).resolve().parents[2]
FILES = {"train/1.jpg": noise(BIG // 2), "test/1.jpg": noise(BIG // 2, seed=1)}
ARCHIVE = tar_of({f"facades/{name}": content for name, content in FILES.items()})
DIGEST = hashlib.sha256(ARCHIVE).hexdigest()
WRONG = bytes(b ^ (i == 1000) for i, b in enumerate(ARCHIVE))  # one bit of it
HALF = len(ARCHIVE) // 2
DROP = Answer(sent=HALF)
REST = (f"bytes={HALF}-", '"v1"')
FACADES = ("pix2pix_dataset", "facades")
READY = {f"datasets/facades/{name}": content for name, content in FILES.items()}
PART = "datasets/facades.tar.gz.part"
STOPPED = {PART: ARCHIVE[:HALF], f"{PART}.tag": b'"v1"'}
ONE, TWO = "/one/facades.tar.gz", "/two/facades.tar.gz"


def paths(site: Site) -> list[str]:
    """Return which files were asked for."""
    return [asked.path for asked in site.asked]


def test_the_second_mirror_is_not_asked_if_the_first_has_it(fetch: Callable, site: Site) -> None:
    site.put(ONE, ARCHIVE)
    site.put(TWO, ARCHIVE)
    assert fetch(*FACADES).status == 0
    assert paths(site) == [ONE] and left() == READY


BAD = {
    "missing": (Answer(status=404), 1),
    "forbidden": (Answer(status=403), 1),
    "broken": (Answer(status=500), download.TRIES),
    "a web page": (Answer(content=b"<!DOCTYPE html>\n<p>Sign in</p>\n"), 1),
    "nothing": (Answer(content=b""), 1),
    "truncated for good": (Answer(content=ARCHIVE[:HALF]), 1),
    "cut off, length unknown": (Answer(length=False, sent=HALF), 1),
    "leads outside": (Answer(content=tar_of({"../../out": b"bad"})), 1),
    "absolute": (Answer(content=tar_of({"/tmp/pix2pix_out": b"bad"})), 1),
    "link": (Answer(content=tar_of({"a": b""}, member("b", tarfile.SYMTYPE, "/"))), 1),
    "device": (Answer(content=tar_of({"a": b""}, member("b", tarfile.CHRTYPE))), 1),
}


@pytest.mark.parametrize("answer, tries", BAD.values(), ids=BAD)
def test_a_bad_mirror_is_followed_by_the_next(
    fetch: Callable, site: Site, tmp_path: Path, answer: Answer, tries: int
) -> None:
    site.put(ONE, ARCHIVE, answer)
    site.put(TWO, ARCHIVE, Answer(etag='"v2"'))
    assert fetch(*FACADES).status == 0
    assert paths(site) == [ONE] * tries + [TWO] and left() == READY
    assert {p.name for p in tmp_path.iterdir()} == {"work", "sources.yaml"}
    assert {p.name for p in Path("datasets").iterdir()} == {"facades"}


@pytest.mark.parametrize("answer, tries", BAD.values(), ids=BAD)
def test_if_all_mirrors_are_bad_each_is_named_and_nothing_is_left(
    fetch: Callable, site: Site, tmp_path: Path, answer: Answer, tries: int
) -> None:
    urls = [site.put(path, ARCHIVE, answer) for path in (ONE, TWO)]
    said(fetch(*FACADES), "facades: ", *urls)
    assert len(site.asked) == 2 * tries and left() == {}
    assert list(Path("datasets").iterdir()) == []
    assert {p.name for p in tmp_path.iterdir()} == {"work", "sources.yaml"}
    assert not Path("/tmp/pix2pix_out").exists()


@pytest.mark.parametrize("known", [{"sha256": DIGEST}, {"sha256": DIGEST, "size": len(ARCHIVE)}])
def test_the_right_bytes_are_said_to_be_so(
    fetch: Callable, site: Site, caplog: pytest.LogCaptureFixture, known: dict[str, Any]
) -> None:
    site.put(ONE, ARCHIVE)
    assert fetch(*FACADES, **known).status == 0 and left() == READY
    assert f"SHA-256 {DIGEST} (as expected)" in caplog.text


def test_a_size_alone_does_not_verify(
    fetch: Callable, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.put(ONE, ARCHIVE)
    assert fetch(*FACADES, size=len(ARCHIVE)).status == 0
    assert f"SHA-256 {DIGEST} (unverified" in caplog.text


UNEQUAL = {
    "hash": (WRONG, {"sha256": DIGEST}, [hashlib.sha256(WRONG).hexdigest(), DIGEST]),
    "size": (ARCHIVE + b"0", {"size": len(ARCHIVE)}, [str(len(ARCHIVE) + i) for i in (0, 1)]),
}


@pytest.mark.parametrize("content, known, words", UNEQUAL.values(), ids=UNEQUAL)
def test_wrong_bytes_are_deleted_and_the_next_mirror_tried(
    fetch: Callable, site: Site, content: bytes, known: dict[str, Any], words: list[str]
) -> None:
    urls = [site.put(path, ARCHIVE, Answer(content=content)) for path in (ONE, TWO)]
    said(fetch(*FACADES, **known), *urls, *words, "deleted")
    assert left() == {} and site.ranges() == [ANEW, ANEW]
    site.put(TWO, ARCHIVE)
    assert fetch(*FACADES, **known).status == 0 and left() == READY


def test_a_part_that_was_damaged_on_disk_is_not_kept(fetch: Callable, site: Site) -> None:
    Path("datasets").mkdir()
    Path(PART).write_bytes(WRONG[:HALF])
    Path(f"{PART}.tag").write_text('"v1"')
    site.put(ONE, ARCHIVE)
    said(fetch(*FACADES, sha256=DIGEST), hashlib.sha256(WRONG).hexdigest())
    assert site.ranges()[0] == REST and left() == {}
    assert fetch(*FACADES, sha256=DIGEST).status == 0 and left() == READY


def test_the_address_by_hand_comes_first_and_the_table_after_it(
    fetch: Callable, site: Site
) -> None:
    site.put(ONE, ARCHIVE)
    site.put("/mine/facades.tgz", ARCHIVE, Answer(status=404), Answer())
    assert fetch(*FACADES, "--mirror", site.address + "/mine/{name}.tgz").status == 0
    assert paths(site) == ["/mine/facades.tgz", ONE] and left() == READY


def test_the_address_by_hand_alone_is_enough(fetch: Callable, site: Site) -> None:
    url = site.put("/mine/x?id=1", ARCHIVE)
    assert fetch(*FACADES, "--mirror", url).status == 0
    assert paths(site) == ["/mine/x?id=1"] and left() == READY


@pytest.mark.parametrize("etag", ['"v1"', '"v2"', None])
def test_what_one_mirror_began_another_ends_only_if_it_has_the_same_file(
    fetch: Callable, site: Site, etag: str | None
) -> None:
    other = Answer(content=WRONG, sent=HALF)
    site.put(ONE, ARCHIVE, DROP if etag == '"v1"' else other, Answer(status=404))
    site.put(TWO, ARCHIVE, Answer(etag=etag))
    assert fetch(*FACADES, sha256=DIGEST).status == 0
    assert [a for a in site.asked if a.path == TWO] == [Asked(TWO, *REST)] and left() == READY


def test_what_came_before_all_mirrors_failed_is_kept_and_the_next_run_goes_on(
    fetch: Callable, site: Site
) -> None:
    urls = [site.put(ONE, ARCHIVE, DROP, Answer(sent=0)), site.put(TWO, b"", Answer(status=404))]
    said(fetch(*FACADES), *urls, f"after {HALF} of {len(ARCHIVE)} bytes", "404")
    assert left() == STOPPED
    site.asked.clear()
    site.put(ONE, ARCHIVE)
    assert fetch(*FACADES).status == 0
    assert site.ranges() == [REST] and left() == READY


def test_a_host_that_is_not_reached_is_named(
    fetch: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://127.0.0.1:{free_port()}/facades.tar.gz"
    said(fetch(*FACADES, "--mirror", url), f"{url}: ", "refused")

    def getaddrinfo(*args: Any, **kwargs: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    url = "http://nowhere.invalid/facades.tar.gz"
    said(fetch(*FACADES, "--mirror", url), f"{url}: ", "Name or service not known")
    assert left() == {}


def test_a_disk_too_full_to_unpack_keeps_the_download(
    fetch: Callable, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    site.put(ONE, ARCHIVE)
    with monkeypatch.context() as patch:
        patch.setattr(tarfile, "copyfileobj", full)
        done = fetch(*FACADES)
    assert done.status == 1 and len(done.err.splitlines()) == 1 and "No space left" in done.err
    assert left() == {PART: ARCHIVE, f"{PART}.tag": b'"v1"'} and paths(site) == [ONE]
    assert {p.name for p in Path("datasets").iterdir()} == {Path(name).name for name in left()}
    assert fetch(*FACADES).status == 0 and left() == READY
    assert site.ranges() == [ANEW, (f"bytes={len(ARCHIVE)}-", '"v1"')]


@pytest.mark.slow
def test_the_script_itself_fetches_a_data_set(site: Site, tmp_path: Path) -> None:
    url = site.put("/mine/facades.tar.gz", ARCHIVE, DROP, Answer())
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    script = [ROOT / "datasets/download_pix2pix_dataset.sh", "facades", "--mirror", url]
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    assert f"SHA-256 {DIGEST} (unverified" in done.stdout and "trying again" in done.stdout
    assert {k: v for k, v in content_of(tmp_path).items() if v is not None} == READY
