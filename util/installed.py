"""Says in one line what this Python lacks to run the commands; imported before anything else."""

import importlib.util
import sys

OLDEST = (3, 10)
# What every command imports at its start; requirements.txt and pyproject.toml list versions.
PACKAGES = ("torch", "numpy", "PIL", "yaml", "tqdm", "dominate")


def what_is_missing() -> str:
    """Return what is wrong with this Python, as a sentence; "" if nothing is."""
    if sys.version_info < OLDEST:
        version = ".".join(map(str, sys.version_info[:3]))
        oldest = ".".join(map(str, OLDEST))
        return f"Python {oldest} or newer is needed; {sys.executable} is {version}"
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    return f"{sys.executable} lacks {', '.join(missing)}" if missing else ""


if problem := what_is_missing():
    sys.stderr.write(
        f"error: {problem}; start the command with uv, as in `uv run train.py`, or first run "
        f"`pip install -r requirements.txt` (docs/install.md)\n"
    )
    raise SystemExit(2)
