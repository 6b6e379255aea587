"""What is given to a translation beside each image: instance maps, masks, sketches."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

from PIL import Image

from data.image_folder import check_partners, make_dataset, one_by_stem

Parts = dict[str, Any]  # of one image, or of several: by name, such as mask
# The runs that take each part.
OWNERS = {"instances": "label maps", "mask": "--model inpaint", "sketch": "--guided"}


def with_parts(images: Iterable[Any], parts: Parts) -> Iterator[tuple[Any, Parts]]:
    """Yield each image with its own parts; ValueError unless all have one of each kind."""
    for name, of in parts.items():
        if isinstance(of, str | Path | Image.Image):
            raise ValueError(f"{name}: expected a list, one for each image, got {of}")
    every = {name: iter(of) for name, of in parts.items()}
    for number, image in enumerate(images):
        own = {name: next(of, every) for name, of in every.items()}
        for name, one in own.items():
            if one is every:
                raise ValueError(f"{name}: expected one for each image, got {number}")
        yield image, own


def parts_of_each(files: Sequence[str], folder: str | Path, parts: Parts) -> Parts:
    """Return the parts, by the same stem, of files of a folder, from the folders of the parts."""
    return {name: partners(files, folder, given, f"--{name}") for name, given in parts.items()}


def partners(files: Sequence[str], folder: str | Path, given: str | Path, flag: str) -> list[str]:
    """Return the files of a folder `given`, by the same stem, of files of a folder.

    ValueError names `flag` and a file that has no partner.
    """
    images = one_by_stem(Path(folder), list(files), "images")
    found = one_by_stem(Path(given), make_dataset(given, flag=flag), flag)
    check_partners(images, found, Path(given), flag)
    stems = {path: stem for stem, path in images.items()}
    return [found[stems[path]] for path in files]


def files_of_parts(parts: Parts, source: str | Path, files: Sequence[str]) -> list[Parts]:
    """Return the files of the parts of each image: each part is a file, or as `source` a folder."""
    lists: dict[str, Iterable[Any]] = {}
    for name, given in parts.items():
        if not Path(given).exists():
            raise ValueError(f"--{name} {given}: no such file or folder")
        if Path(given).is_dir() != Path(source).is_dir():
            raise ValueError(f"--{name} {given}: must be a file or a folder as IN is")
        folder = Path(given).is_dir()
        lists[name] = partners(files, source, given, f"--{name}") if folder else repeat(str(given))
    return [parts for _, parts in with_parts(files, lists)]


def refuse_parts(parts: Parts, known: Sequence[str], what: str) -> None:
    """Raise a ValueError for a part that a run on `what` does not take."""
    for name in parts:
        if name not in OWNERS:
            raise ValueError(f"{name}: unknown; known are {', '.join(OWNERS)}")
        if name not in known:
            raise ValueError(f"{name}: needs {OWNERS[name]}; this run {what}")
