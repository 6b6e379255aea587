"""Files that belong together, such as those of a patient: a part of a split has all or none."""

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath


def group_pattern(text: str) -> re.Pattern[str]:
    """Return the regular expression of --group; ValueError if it is none."""
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"--group {text}: is no regular expression ({error})") from None


def group_of(name: PurePath, pattern: re.Pattern[str]) -> str:
    """Return what a regular expression finds in a file's path: its first parentheses, else all.

    ValueError if it finds nothing.
    """
    found = pattern.search(name.as_posix())
    if not found:
        raise ValueError(f"--group {pattern.pattern}: finds nothing in {name.as_posix()}")
    return found[1] if pattern.groups else found[0]


def shared_groups(parts: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Return the groups that are in several parts of a split, each with these parts."""
    found: dict[str, list[str]] = {}
    for part, groups in parts.items():
        for group in dict.fromkeys(groups):
            found.setdefault(group, []).append(part)
    return {group: of for group, of in sorted(found.items()) if len(of) > 1}
