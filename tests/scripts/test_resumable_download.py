"""A dropped download goes on where it stopped, if that is a part of the very same file."""

from pathlib import Path

import pytest
from support.archives import BIG, noise
from support.download_site import (
    ANEW,
    DATA,
    DROP,
    HALF,
    REST,
    Answer,
    Site,
    comes,
    fails,
    reset,
    stall,
    tag_of,
)

from scripts import download
from scripts.downloads import resumable
from scripts.downloads.resumable import NetworkError

OTHER = noise(seed=1)
pytest_plugins = ["support.downloading"]
pytestmark = pytest.mark.timeout(30)


HONEST = {
    "with a length": Answer(),
    "without a length": Answer(length=False),
    "in chunks": Answer(chunked=True),
    "without a tag": Answer(etag=None),
    "without ranges": Answer(ranges=False),
}


@pytest.mark.parametrize("answer", HONEST.values(), ids=HONEST)
def test_a_good_server_is_asked_once(site: Site, part: Path, answer: Answer) -> None:
    site.put("/set.zip", DATA, answer)
    comes(site, part, ANEW)
    assert tag_of(part) == answer.etag


DROPS = {
    "closed": DROP,
    "closed in chunks": Answer(sent=HALF, chunked=True),
    "reset": Answer(sent=HALF, end=reset),
    "silent": Answer(sent=HALF, end=stall),
}


@pytest.mark.parametrize("drop", DROPS.values(), ids=DROPS)
def test_a_dropped_download_goes_on_behind_what_came(
    site: Site, part: Path, drop: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resumable, "TIMEOUT", 0.2)
    site.put("/set.zip", DATA, drop, Answer())
    download.download(f"{site.address}/set.zip", part)
    assert part.read_bytes() == DATA
    first, (range_, same) = site.ranges()
    at = int(range_[len("bytes=") : -1])
    assert first == ANEW and same == '"v1"' and HALF - resumable.BLOCK <= at <= HALF
    assert at == HALF or drop is not DROP


def test_a_server_that_drops_each_time_is_used_as_long_as_it_brings_something(
    site: Site, part: Path
) -> None:
    size = BIG // 20  # more drops than tries
    site.put("/set.zip", DATA, Answer(sent=size))
    later = [(f"bytes={i * size}-", '"v1"') for i in range(1, 20)]
    comes(site, part, ANEW, *later)


def test_a_server_that_brings_nothing_is_given_up_and_what_came_stays(
    site: Site, part: Path
) -> None:
    url = site.put("/set.zip", DATA, DROP, Answer(sent=0))
    fails(url, part, f"after {HALF} of {BIG} bytes")
    assert part.read_bytes() == DATA[:HALF] and tag_of(part) == '"v1"'
    assert site.ranges() == [ANEW, *[REST] * (download.TRIES - 1)]
    site.asked.clear()
    site.put("/set.zip", DATA)
    comes(site, part, REST)


UNSURE = {
    "ranges ignored": (Answer(sent=HALF, ranges=False), Answer(ranges=False), REST),
    "no tag": (Answer(sent=HALF, etag=None), Answer(etag=None), ANEW),
    "a weak tag": (Answer(sent=HALF, etag='W/"v1"'), Answer(etag='W/"v1"'), ANEW),
}


@pytest.mark.parametrize("first, then, asked", UNSURE.values(), ids=UNSURE)
def test_what_cannot_be_resumed_comes_anew(
    site: Site, part: Path, first: Answer, then: Answer, asked: tuple[str | None, str | None]
) -> None:
    site.put("/set.zip", DATA, first, then)
    comes(site, part, ANEW, asked)


def test_a_server_that_ignores_ranges_and_always_drops_is_given_up(site: Site, part: Path) -> None:
    url = site.put("/set.zip", DATA, Answer(sent=HALF, ranges=False))
    fails(url, part, "the connection ended")
    assert 1 < len(site.asked) <= download.TRIES + 1 and part.read_bytes() == DATA[:HALF]


def test_a_date_serves_where_there_is_no_tag(site: Site, part: Path) -> None:
    date = "Mon, 02 Jan 2017 03:04:05 GMT"
    answers = [Answer(etag=None, modified=date, sent=sent) for sent in (HALF, None)]
    site.put("/set.zip", DATA, *answers)
    comes(site, part, ANEW, (f"bytes={HALF}-", date))


def test_a_file_that_changes_between_two_tries_comes_anew(site: Site, part: Path) -> None:
    site.put("/set.zip", DATA, Answer(sent=HALF, content=OTHER, etag='"v0"'), Answer())
    comes(site, part, ANEW, (f"bytes={HALF}-", '"v0"'))
    assert tag_of(part) == '"v1"'


def test_a_part_of_another_version_is_not_appended(site: Site, part: Path) -> None:
    old = Answer(sent=HALF, content=OTHER, etag='"v0"')
    site.put("/set.zip", DATA, old, Answer(if_range=False))
    download.download(f"{site.address}/set.zip", part)
    assert part.read_bytes() == DATA


@pytest.mark.parametrize("shift", [-HALF, -1, 1])
def test_another_part_than_asked_for_is_not_appended(site: Site, part: Path, shift: int) -> None:
    site.put("/set.zip", DATA, DROP, Answer(shift=shift), Answer())
    comes(site, part, ANEW, REST, ANEW)


def test_a_shorter_part_than_asked_for_is_followed_by_the_rest(site: Site, part: Path) -> None:
    site.put("/set.zip", DATA, DROP, Answer(most=1000), Answer())
    comes(site, part, ANEW, REST, (f"bytes={HALF + 1000}-", '"v1"'))


ENDLESS = {"other parts": Answer(shift=1), "416": Answer(status=416)}


@pytest.mark.parametrize("refusal", ENDLESS.values(), ids=ENDLESS)
def test_a_server_that_drops_and_never_resumes_is_given_up(
    site: Site, part: Path, refusal: Answer
) -> None:
    url = site.put("/set.zip", DATA, *[DROP, refusal] * 20, Answer(status=404))
    with pytest.raises(NetworkError):
        download.download(url, part)
    assert len(site.asked) < 40, "it would have gone on for ever"


def test_a_part_that_is_the_whole_is_not_downloaded_again(site: Site, part: Path) -> None:
    site.put("/set.zip", DATA)
    comes(site, part, ANEW)
    comes(site, part, ANEW, (f"bytes={BIG}-", '"v1"'))  # 416, nothing is behind it


@pytest.mark.parametrize("headers", [{}, {"Content-Range": "bytes */7"}])
def test_a_416_about_another_size_starts_anew(
    site: Site, part: Path, headers: dict[str, str]
) -> None:
    site.put("/set.zip", DATA, DROP, Answer(status=416, headers=headers), Answer())
    comes(site, part, ANEW, REST, ANEW)
