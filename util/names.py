"""File names as text: what a place cannot show is escaped, by one rule with a way back.

A byte that is no UTF-8 becomes \\xe9 (two hexadecimal digits), as a shell writes it in $'…'. A
character that would break a line, or that an output's encoding lacks, becomes \\u0085 (four
digits) or \\U0001f600 (eight); \\x0a is a line break.
"""

import codecs
import os
import re
import shlex
import subprocess
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

ESCAPE = "escape"  # an `errors` of str.encode and of text streams, which never raises

_ESCAPES = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))")
_UNPRINTABLE = r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"
_TO_ESCAPE = re.compile(rf"{_UNPRINTABLE}|\\(?={_ESCAPES.pattern[2:]})")


def escaped(name: Any) -> str:
    """Return a name as one line of text that every UTF-8 file can hold.

    A backslash that would read as an escape becomes \\x5c, so that `unescaped` is the inverse.
    """
    return _TO_ESCAPE.sub(lambda match: _code(match[0]), str(name))


def unescaped(text: str) -> str:
    """Return the name that `escaped` has turned into this text."""
    return _ESCAPES.sub(_character, text)


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Return a key that sorts names by the numbers in them: 1, 2, 10."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if part.isdecimal() else part for part in parts], name


def url_of(name: Any) -> str:
    """Return a relative path as a URL: its bytes, percent-encoded."""
    return quote(path_bytes(str(name)))


def path_bytes(name: str) -> bytes:
    """Return the bytes of a name on the disk."""
    try:
        return os.fsencode(name)
    except UnicodeEncodeError:  # not a name of this system
        return name.encode("utf-8", "surrogatepass")


def legible(text: str) -> str:
    """Return text that may hold names as Unicode; bytes that are no UTF-8 are escaped."""
    return utf8(text).decode()


def utf8(text: str) -> bytes:
    """Encode text that may hold names; bytes that are no UTF-8 are escaped."""
    return text.encode("utf-8", ESCAPE)


def command_line(words: Iterable[Any]) -> str:
    """Join the words of a command so that the system's shell reads them as they are."""
    if os.name == "nt":
        return subprocess.list2cmdline(map(str, words))
    return " ".join(map(_quoted, map(str, words)))


def _quoted(word: str) -> str:
    if not re.search(_UNPRINTABLE, word):
        return shlex.quote(word)
    safe = word.replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{re.sub(_UNPRINTABLE, lambda match: _code(match[0]), safe)}'"


def _code(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # Python's stand-in for an undecodable byte
        return f"\\x{number - 0xDC00:02x}"
    if number < 0x80:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _character(match: re.Match) -> str:
    byte, *others = match.groups()
    if byte is None:
        number = int(next(filter(None, others)), 16)
        return chr(number) if number < 0x110000 else match[0]
    number = int(byte, 16)
    return chr(number if number < 0x80 else 0xDC00 + number)


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_code, error.object[error.start : error.end])), error.end


codecs.register_error(ESCAPE, _escape)
