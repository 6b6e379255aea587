"""Arguments of the tools: a mistake is a ValueError of one line that names the argument."""

import argparse
from pathlib import Path
from typing import NoReturn

from data.image_folder import make_dataset


class Parser(argparse.ArgumentParser):
    """ArgumentParser without abbreviations and usage lines in its errors."""

    def __init__(self, **kwargs: str | None):
        super().__init__(allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise a ValueError that starts with the argument."""
        raise ValueError(" ".join(message.removeprefix("argument ").split()))


def pictures(folder: Path, argument: str) -> list[Path]:
    """Return the pictures in a folder and its subfolders; ValueError names `argument`."""
    try:
        return [Path(path) for path in make_dataset(folder)]
    except ValueError as error:
        raise ValueError(str(error).replace("--dataroot", argument)) from None
