"""Says in one line what this Python lacks to run the commands; imported before anything else."""

import importlib.util
import os
import sys
from typing import Any

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


def is_command(argv0: str) -> bool:
    """Return whether this process runs a command of the project; `python -m` has no name yet."""
    folder = os.path.basename(os.path.dirname(os.path.abspath(argv0)))
    return os.path.basename(argv0) in ("-m", "train.py", "test.py") or folder == "scripts"


def say_interrupted(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """Say one line about a Ctrl-C during the imports, which take seconds."""
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write(f"{os.path.basename(sys.argv[0])}: interrupted\n")
    else:
        sys.__excepthook__(kind, error, trace)


if is_command(sys.argv[0]):
    sys.excepthook = say_interrupted

if problem := what_is_missing():
    sys.stderr.write(
        f"error: {problem}; start the command with uv, as in `uv run train.py`, or first run "
        f"`pip install -r requirements.txt` (docs/install.md)\n"
    )
    raise SystemExit(2)
