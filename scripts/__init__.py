"""The commands beside train.py and test.py: `python -m scripts.NAME`."""

import util.installed  # noqa: F401  (names missing packages in one line)
