"""The roles of flags: what each flag affects. A flag gets its role where it is added."""

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

ROLES = {
    "launch": "how a command starts: names, folders, devices, checkpoint, shard",
    "data": "which images are read, and how they are preprocessed",
    "network": "the architecture of the networks, and how they run",
    "training": "how the networks are trained; the default role",
    "speed": "how fast a command runs, with the same results",
    "display": "what is printed and displayed",
    "saving": "which checkpoints are kept",
}
# Flags of these roles do not change the results that given weights have; `launch` also chooses the
# weights, which are compared by themselves.
SAME_RESULTS = ("launch", "speed", "display", "saving")


def names(opt: Any, without: Collection[str] = ()) -> set[str]:
    """Return the names of the options, except those with a role in `without`.

    An option without a role counts as training, so all options of a plain Namespace do.
    """
    roles = getattr(opt, "roles", {})
    return {name for name in vars(opt) if roles.get(name, "training") not in without}


def differences(
    opt: Any, saved: Mapping[str, Any], without: Collection[str]
) -> dict[str, tuple[Any, Any]]:
    """Return {name: (saved, now)} of the options that differ, except the roles in `without`.

    `saved` may come from an older version: an option missing from it had its default, and an
    option that no longer exists is ignored.
    """
    now = _plain({name: vars(opt)[name] for name in sorted(names(opt, without))})
    before = {**_plain(getattr(opt, "defaults", {})), **saved}
    pairs = {name: (before[name], value) for name, value in now.items() if name in before}
    return {name: (old, new) for name, (old, new) in pairs.items() if str(old) != str(new)}


def commas(values: Iterable[Any]) -> str:
    """Return the values of an option as its flag takes them, whole numbers without a point."""
    whole = (int(v) if isinstance(v, float) and v.is_integer() else v for v in values)
    return ",".join(map(str, whole))


def as_flags(values: Mapping[str, Any]) -> list[str]:
    """Return options as texts, one for each flag: `--no_flip`, `--netG unet_128`."""
    text = {k: commas(v) if isinstance(v, list) else str(v) for k, v in values.items()}
    return [f"--{name}" if value == "True" else f"--{name} {value}" for name, value in text.items()]


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values after a round trip through JSON."""
    return json.loads(json.dumps(values, default=str))
