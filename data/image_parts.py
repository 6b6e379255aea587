"""What is given to a translation beside each image: instance maps, masks, sketches."""

from collections.abc import Iterable, Iterator, Sequence, Sized
from pathlib import Path
from typing import Any

from PIL import Image

from data.image_folder import make_dataset, one_by_stem, unread_partner

Parts = dict[str, Any]  # of one image, or of several: by name, such as mask
# The runs that take each part.
OWNERS = {"instances": "label maps", "mask": "--model inpaint", "sketch": "--guided"}


def with_parts(images: Iterable[Any], parts: Parts) -> Iterator[tuple[Any, Parts]]:
    """Yield each image with its own parts; ValueError unless all have one of each kind."""
    for name, values in parts.items():
        check_several(name, values, images)
    iterators = {name: iter(values) for name, values in parts.items()}
    for number, image in enumerate(images):
        own_parts = {name: next(iterator, iterators) for name, iterator in iterators.items()}
        for name, part in own_parts.items():
            if part is iterators:
                raise ValueError(f"{name}: expected one for each image, got {number}")
        yield image, own_parts


def check_several(name: str, of: Any, images: Iterable[Any]) -> None:
    """Raise a ValueError for parts that are none for several images, or another number of them."""
    shape = getattr(of, "shape", None)
    single = isinstance(of, str | Path | Image.Image) or not isinstance(of, Iterable)
    if single or (shape is not None and len(shape) < 3):
        got = of if isinstance(of, str | Path) else f"one {type(of).__name__}"
        raise ValueError(f"{name}: expected a list, one for each image, got {got}")
    if isinstance(of, Sized) and isinstance(images, Sized) and len(of) != len(images):
        got = len(of) if shape is None else f"the shape {tuple(shape)}"
        raise ValueError(f"{name}: expected one for each image, got {got} for {len(images)} images")


def parts_of_each(files: Sequence[str], folder: str | Path, parts: Parts) -> Parts:
    """Return the parts, by the same stem, of files of a folder, from the folders of the parts."""
    for name, given in parts.items():
        if not isinstance(given, str | Path):
            raise ValueError(
                f"{name}: expected a folder, as that of the images, got one {type(given).__name__}"
            )
    arguments = {"files": files, "folder": folder}
    return {name: partners(name, given, flag=name, **arguments) for name, given in parts.items()}


def partners(
    part: str, given: str | Path, *, flag: str, files: Sequence[str], folder: str | Path
) -> list[str]:
    """Return the files of a folder `given`, by the same stem, of files of a folder.

    ValueError names `flag` and a file that has no partner.
    """
    images = one_by_stem(Path(folder), list(files), "images")
    part_files = one_by_stem(Path(given), make_dataset(given, flag=flag), flag)
    check_parts(part, images, part_files, folder=Path(given), flag=flag)
    return [part_files[stem] for stem in images]


def check_parts(
    part: str,
    images: dict[str, str],
    found: dict[str, str],
    *,
    folder: Path,
    flag: str = "--dataroot",
    otherwise: str = "",
) -> None:
    """Raise a ValueError if an image has no part of its stem among those `found` in a folder.

    `images` and `found` are files by stem; `otherwise` is another fix.
    """
    missing = sorted(images.keys() - found.keys())
    if not missing:
        return
    fix = f"; add {missing[0]}.png there{otherwise}"
    if len(missing) == len(images):
        name = Path(next(iter(found.values()))).name
        fix = f"; name {name} and the others as their images are named{otherwise}"
    share = f"{len(missing)} of {len(images)} images lack one"
    fix = unread_partner(folder, missing[0]) or fix
    raise ValueError(f"{flag}: no {part} for {images[missing[0]]} in {folder} ({share}){fix}")


def files_of_parts(parts: Parts, source: str | Path, files: Sequence[str]) -> list[Parts]:
    """Return the files of the parts of each image: each part is a file, or as `source` a folder."""
    lists: dict[str, Sequence[str]] = {}
    for name, path in parts.items():
        if not Path(path).exists():
            raise ValueError(f"--{name} {path}: no such file or folder")
        if Path(path).is_dir() != Path(source).is_dir():
            raise ValueError(f"--{name} {path}: must be a file or a folder as IN is")
        if Path(path).is_dir():
            lists[name] = partners(name, path, flag=f"--{name}", files=files, folder=source)
        else:
            lists[name] = [str(path)] * len(files)
    return [parts for _, parts in with_parts(files, lists)]


def refuse_parts(parts: Parts, known: Sequence[str], what: str) -> None:
    """Raise a ValueError for a part that a run on `what` does not take."""
    for name in parts:
        if name not in OWNERS:
            raise ValueError(f"{name}: unknown; known are {', '.join(OWNERS)}")
        if name not in known:
            raise ValueError(f"{name}: needs {OWNERS[name]}; this run {what}: leave it out")
