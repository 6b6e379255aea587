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
    """Return what a regular expression finds in a file's path: its first parentheses that take
    part, else all.

    ValueError if it finds nothing.
    """
    match = pattern.search(name.as_posix())
    if not match:
        raise ValueError(f"--group {pattern.pattern}: finds nothing in {name.as_posix()}")
    return next((group for group in match.groups() if group is not None), match[0])


def shared_groups(parts: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Return the groups that are in several parts of a split, each with these parts."""
    parts_by_group: dict[str, list[str]] = {}
    for part, groups in parts.items():
        for group in dict.fromkeys(groups):
            parts_by_group.setdefault(group, []).append(part)
    return {group: names for group, names in sorted(parts_by_group.items()) if len(names) > 1}
