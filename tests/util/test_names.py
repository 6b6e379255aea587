"""Names that are no UTF-8: one rule of escapes, with a way back."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from util.names import (
    ESCAPE,
    command_line,
    escaped,
    natural_key,
    path_bytes,
    unescaped,
    url_of,
    utf8,
)

CAFE = os.fsdecode(b"caf\xe9")  # in Latin-1
ODD = st.text(st.sampled_from("ax59eufdU\\\x00\x1f\x7f\x85\u2028é×😀\ud800\udc80\udce9\udcff"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (CAFE, r"caf\xe9"),
        ("café", "café"),
        ("a\nb", r"a\x0ab"),
        ("a\x1b[31m", r"a\x1b[31m"),
        ("a\u2028b", r"a\u2028b"),
        ("\ud83d", r"\ud83d"),
        (r"caf\xe9", r"caf\x5cxe9"),
        (r"C:\data\é", r"C:\data\é"),
        ("a\\\udce9", r"a\\xe9"),
    ],
)
def test_a_name_is_escaped_where_a_line_of_utf8_cannot_hold_it(name: str, text: str) -> None:
    assert escaped(name) == text
    assert unescaped(text) == name
    assert text.encode() and len(text.splitlines()) == 1


@settings(max_examples=50)
@given(ODD | st.text())
@example("\\x5cxe9")
@example("\\\udce9\\u2028")
def test_every_name_comes_back(name: str) -> None:
    text = escaped(name)
    assert unescaped(text) == name
    assert text.encode("utf-8").decode("utf-8") == text
    assert len(text.splitlines()) <= 1


@settings(max_examples=50)
@given(ODD, ODD)
def test_two_names_never_become_one(one: str, other: str) -> None:
    assert (escaped(one) == escaped(other)) == (one == other)


@settings(max_examples=50)
@given(st.binary().map(os.fsdecode))
def test_every_name_of_a_disk_comes_back(name: str) -> None:
    assert unescaped(escaped(name)) == name
    assert unescaped(utf8(escaped(name)).decode()) == name


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8", "latin-1", "shift-jis", "utf-16"])
@settings(max_examples=20)
@given(text=st.text() | ODD)
def test_no_text_is_refused_by_an_encoding(encoding: str, text: str) -> None:
    content = text.encode(encoding, ESCAPE)
    if "\\" not in text and encoding != "shift-jis":  # it turns a yen sign into a backslash
        assert unescaped(content.decode(encoding)) == text


def test_bytes_and_characters_differ_in_an_encoding_that_lacks_both() -> None:
    assert f"{CAFE} é× 😀".encode("ascii", ESCAPE) == rb"caf\xe9 \u00e9\u00d7 \U0001f600"
    with pytest.raises(UnicodeDecodeError):
        b"\xe9".decode("ascii", ESCAPE)


@pytest.mark.skipif(sys.getfilesystemencoding() != "utf-8", reason="the bytes of this system")
@pytest.mark.parametrize(
    ("name", "url"),
    [(CAFE, "caf%E9"), ("café", "caf%C3%A9"), ("a b/#?.png", "a%20b/%23%3F.png"), ("a%b", "a%25b")],
)
def test_a_url_holds_the_bytes_of_the_name(name: str, url: str) -> None:
    assert url_of(name) == url
    assert path_bytes(name) == os.fsencode(name)


def test_names_are_sorted_by_their_numbers() -> None:
    names = ["", "02", "2", "٣", "10", "a", "a9b", "a10", "house 9/3", "house 10/2", "①2"]
    assert sorted(sorted(names), key=natural_key) == names


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_a_shell_reads_a_command_as_it_was_meant(tmp_path) -> None:
    words = [CAFE, "a b", "a\nb", "it's", f"{CAFE}'\\x41", "$HOME", "é", "", "--flag=x y", "a\\b"]
    code = "import os, sys; sys.stdout.buffer.write(b'|'.join(map(os.fsencode, sys.argv[1:])))"
    line = command_line([sys.executable, "-c", code, *words])
    assert not re.search(r"[\n\udc80-\udcff]", line)
    done = subprocess.run(["bash", "-c", line], capture_output=True)
    assert [os.fsdecode(word) for word in done.stdout.split(b"|")] == words


def test_windows_gets_the_quotes_of_its_own_shell(monkeypatch) -> None:
    monkeypatch.setattr(os, "name", "nt")
    assert command_line(["python", r"C:\my data\train.py"]) == r'python "C:\my data\train.py"'
