"""Rows of images on a page, and what writes their files."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from util.files import short_stem
from util.html import HTML
from util.util import save_image, tensor2im


class ImageRow(NamedTuple):
    """A row of images on a page: its heading, what the files begin with, label → file."""

    header: str
    name: str
    files: dict[str, str]

    def add_to(self, webpage: HTML, width: int) -> None:
        """Show the images, once they are written."""
        names = list(self.files.values())
        webpage.add_header(self.header)
        webpage.add_images(names, list(self.files), names, width=width)


def result_row(
    webpage: HTML,
    visuals: dict[str, Tensor],
    path: str,
    aspect_ratio: float = 1.0,
    name: str | None = None,
) -> tuple[ImageRow, list[Callable[[], None]]]:
    """Return the row of one input's images, and what writes each as NAME_LABEL.png into the
    page's folder; NAME is the stem of the input's file, or what is given.
    """
    stem = short_stem(path)
    name = webpage.unique_name(stem) if name is None else name
    files = {label: f"{name}_{label}.png" for label in visuals}
    folder = webpage.get_image_dir()
    jobs = [
        partial(_write_image, image, folder / files[label], aspect_ratio)
        for label, image in visuals.items()
    ]
    # Of equal names in different folders, all but the first say where they are from.
    return ImageRow(name if name == stem else f"{name} ({path})", name, files), jobs


def _write_image(image: Tensor, path: Path, aspect_ratio: float) -> None:
    save_image(tensor2im(image), path, aspect_ratio)
