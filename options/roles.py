"""What each flag is for: its role, which is given where the flag is added."""

import json
from collections.abc import Collection, Mapping
from typing import Any

ROLES = {
    "launch": "how a command is started: names, folders, devices, which checkpoint, which shard",
    "data": "which images are read, and how they are prepared",
    "network": "what the networks are, and how they run",
    "training": "how they are trained; a flag without a role counts as this",
    "speed": "how fast, with the same results",
    "display": "what is printed and shown",
    "saving": "which checkpoints are kept",
}
# Two commands that differ in these only have the same results.
SAME_RESULTS = ("launch", "speed", "display", "saving")


def names(opt: Any, without: Collection[str] = ()) -> set[str]:
    """Return the options whose role is not one of `without`.

    An option without a role counts as training, and so do all of a plain Namespace.
    """
    roles = getattr(opt, "roles", {})
    return {name for name in vars(opt) if roles.get(name, "training") not in without}


def differences(
    opt: Any, saved: Mapping[str, Any], without: Collection[str]
) -> dict[str, tuple[Any, Any]]:
    """Return name: (saved, now) for the options that differ, except those of the roles `without`.

    `saved` is read from a file, which may be older than a flag: an option that is not in it had
    its default, and one that no longer exists is ignored.
    """
    now = _plain({name: vars(opt)[name] for name in sorted(names(opt, without))})
    before = {**_plain(getattr(opt, "defaults", {})), **saved}
    pairs = {name: (before[name], value) for name, value in now.items() if name in before}
    return {name: (old, new) for name, (old, new) in pairs.items() if str(old) != str(new)}


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as a JSON file holds them."""
    return json.loads(json.dumps(values, default=str))
