"""Write images of a data set without overwriting others."""

import io
import os
from pathlib import Path
from typing import Any

from PIL import Image

from util.files import naming


def write_new(image: Image.Image, path: Path, flag: str, **how: Any) -> None:
    """Write an image in the format of its name; `how` goes to PIL's `save`.

    A file that is there already stays: if it holds this image, all is well, so that a command can
    be run again; if not, a ValueError names `flag`.
    """
    content = io.BytesIO()
    image.save(content, Image.registered_extensions()[path.suffix.lower()], **how)
    check_new(content.getvalue(), path, flag)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with naming(path):
        temporary.write_bytes(content.getvalue())
    temporary.replace(path)


def check_new(content: bytes, path: Path, flag: str) -> None:
    """Raise ValueError if a file holds anything else than `content`."""
    if os.path.lexists(path) and not (path.is_file() and path.read_bytes() == content):
        raise ValueError(
            f"{flag}: {path} is there already, with other content, and is not overwritten; move it "
            f"away, or choose another folder"
        )
