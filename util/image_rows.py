"""Rows of images on a page, and the functions that write their files."""

import os
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from torch import Tensor

from util.files import short_stem
from util.html import HTML
from util.pages.captions import captions
from util.util import save_image, tensor2im

PNG_END = b"IEND\xaeB`\x82"  # a PNG file's last bytes


class ImageRow(NamedTuple):
    """A row of images on a page: its heading, the prefix of its files, file name by label."""

    header: str
    name: str
    files: dict[str, str]

    def add_to(self, webpage: HTML, width: int) -> None:
        """Add the row to the page; call it once the files are written, so that sizes are known."""
        labels = list(captions(self.files))
        names = [self.files[label] for label in labels]
        webpage.add_header(self.header)
        webpage.add_images(names, labels, names, width=width)


def result_row(
    webpage: HTML,
    visuals: dict[str, Tensor],
    path: str,
    aspect_ratio: float = 1.0,
    name: str | None = None,
    label_maps: Collection[str] = (),
    remark: str = "",
) -> tuple[ImageRow, list[Callable[[], None]]]:
    """Return the row of one input's images, and the functions that write NAME_LABEL.png.

    NAME is `name`, by default the stem of the input's file. `visuals` are (1, C, H, W) by label;
    those in `label_maps` keep their colours when they are stretched. A `remark` follows the row's
    heading.
    """
    stem = short_stem(path)
    name = webpage.unique_name(stem) if name is None else name
    files = {label: f"{name}_{label}.png" for label in visuals}
    folder = webpage.get_image_dir()
    jobs = [
        partial(_write_image, image, folder / files[label], aspect_ratio, label in label_maps)
        for label, image in visuals.items()
    ]
    # With equal names in several folders, all rows but the first show the path.
    heading = name if name == stem else f"{name} ({path})"
    return ImageRow(f"{heading}{remark and ', '}{remark}", name, files), jobs


def _write_image(image: Tensor, path: Path, aspect_ratio: float, exact: bool) -> None:
    arguments = {"method": Image.Resampling.NEAREST} if exact else {}
    save_image(tensor2im(image), path, aspect_ratio, **arguments)


def is_complete(image: Path) -> bool:
    """Return whether a PNG file exists and is not truncated."""
    try:
        with image.open("rb") as file:
            file.seek(-len(PNG_END), os.SEEK_END)
            return file.read() == PNG_END
    except OSError:
        return False
