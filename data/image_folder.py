"""Lists of image files, and the folders of a dataset."""

import functools
import importlib.util
import logging
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from PIL import features

log = logging.getLogger(__name__)

IMG_EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".tif", ".tiff", ".npy"),
)
HEIF = (".heic", ".heif", ".hif")
VOLUMES = (".nii", ".nii.gz", ".dcm", ".dicom", ".ima")  # read by --dataset_mode measurements
# What other programs leave beside images, in lower case: thumbnails of network drives, archives.
HIDDEN = {
    *("@eadir", "@recycle", "@recently-snapshot", "@tmp", "#recycle", "#snapshot", "lost+found"),
    *("__macosx", "__pycache__", "$recycle.bin", "system volume information"),
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
}
HIDDEN_ENDINGS = (":zone.identifier", "@synoeastream", "@synoresource")
# The folders of A and B of a phase; the later ones are those of pix2pixHD.
SIDES = (("{}A", "{}B"), ("{}_A", "{}_B"), ("{}_label", "{}_img"))


@functools.cache
def read_extensions() -> tuple[str, ...]:
    """Return the extensions that are read here: HEIC and AVIF need a library each."""
    avif = (".avif",) if features.check("avif") else ()
    heif = HEIF if importlib.util.find_spec("pillow_heif") else ()
    return (*IMG_EXTENSIONS, *avif, *heif)


def is_hidden(name: str) -> bool:
    """Return whether the name of a file or folder is hidden, or another program's own."""
    lower = name.lower()
    return name.startswith((".", "~$")) or lower in HIDDEN or lower.endswith(HIDDEN_ENDINGS)


def is_image_file(filename: str) -> bool:
    """Return whether the name has an image extension and is not hidden."""
    name = os.path.basename(filename)
    return name.lower().endswith(read_extensions()) and not is_hidden(name)


class Listing(NamedTuple):
    """The images in a folder and its subfolders, sorted, and the number of other files."""

    images: list[str]
    others: Counter[str]  # by extension, or by name without one

    def of_others(self) -> str:
        """Name and count the other files, with what reads them if a package is missing."""
        counts = sorted(self.others.items(), key=lambda item: (-item[1], item[0]))
        parts = [f"{count} {kind}" for kind, count in counts[:6]]
        parts += [f"{sum(count for _, count in counts[6:])} others"] if counts[6:] else []
        missing = " (`pip install pillow-heif` reads HEIC)" if {*HEIF} & self.others.keys() else ""
        volumes = {*VOLUMES} & self.others.keys()
        mode = "; --dataset_mode measurements reads volumes" if volumes else ""
        return ", ".join(parts) + missing + mode


def ending_of(name: str) -> str:
    """Return the extension of a file in lower case, .nii.gz as a whole; its name without one."""
    lower = name.lower()
    return ".nii.gz" if lower.endswith(".nii.gz") else os.path.splitext(lower)[1] or name


def list_images(folder: str | Path) -> Listing:
    """List the images in `folder` and its subfolders; hidden files and folders are left out.

    Links are followed. A folder that several paths lead to counts once, under the first of them in
    sorted order.
    """
    images, seen, top = [], set(), Path(os.path.realpath(folder))
    others: Counter[str] = Counter()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen or Path(real) in top.parents:  # of two links, or to a folder above
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not is_hidden(name)]
        folders.sort(key=lambda name: name + os.sep)  # as their paths, whatever the disk's order
        for name in names:
            if is_image_file(name):
                images.append(os.path.join(root, name))
            elif not is_hidden(name):
                others[ending_of(name)] += 1
    return Listing(sorted(images), others)


def make_dataset(
    folder: str | Path, max_dataset_size: float = float("inf"), *, flag: str = "--dataroot"
) -> list[str]:
    """Return the paths of the images in `folder` and its subfolders, sorted, at most
    `max_dataset_size`; files of other kinds are counted in the log.

    ValueError names `flag` if the folder does not exist or holds no images.
    """
    if not os.path.isdir(folder):
        problem = "is a file, not a folder" if os.path.exists(folder) else "does not exist"
        raise ValueError(f"{flag}: {folder} {problem}")
    listing = list_images(folder)
    if not listing.images:
        beside = f" ({listing.of_others()})" if listing.others else ""
        raise ValueError(
            f"{flag}: {folder} holds no images ({', '.join(read_extensions())}); "
            f"found {describe(folder)}{beside}"
        )
    if listing.others:
        _say_once(f"{folder} also holds files that are ignored: {listing.of_others()}")
    return listing.images[: int(min(max_dataset_size, len(listing.images)))]


@functools.cache
def _say_once(text: str) -> None:
    log.info("%s", text)


def side_folders(root: Path, phase: str) -> dict[str, Path]:
    """Return the folders of A and B of a phase that exist, of the first naming with most of them.

    Namings: trainA, trainB; of pix2pixHD train_A, train_B; train_label, train_img.
    """
    namings = [
        {side: root / name.format(phase) for side, name in zip("AB", names, strict=True)}
        for names in SIDES
    ]
    existing = [{s: folder for s, folder in names.items() if folder.is_dir()} for names in namings]
    return max(existing, key=len)


def by_stem(folder: Path, paths: Iterable[str]) -> dict[str, list[str]]:
    """Return the files that `list_images` finds in a folder, by relative path without extension."""
    paths_by_stem: dict[str, list[str]] = {}
    prefix = os.path.join(os.path.normpath(folder), "").removeprefix(os.path.join(".", ""))
    for path in paths:
        stem = os.path.splitext(os.path.normpath(path).removeprefix(prefix))[0]
        paths_by_stem.setdefault(stem.replace(os.sep, "/"), []).append(path)
    return paths_by_stem


def one_by_stem(folder: Path, paths: Iterable[str], flag: str = "--dataroot") -> dict[str, str]:
    """Return `by_stem` with the one file of each; ValueError names `flag` if two have one stem."""
    paths_by_stem = by_stem(folder, paths)
    for same in paths_by_stem.values():
        if len(same) > 1:
            raise ValueError(f"{flag}: {same[0]} and {same[1]} have the same name; keep one")
    return {stem: path for stem, (path,) in paths_by_stem.items()}


def check_partners(
    here: dict[str, str], there: dict[str, str], folder: Path, flag: str = "--dataroot"
) -> None:
    """Raise a ValueError if a file of `here` has no partner of equal key `there`, in `folder`."""
    if missing := sorted(here.keys() - there.keys()):
        unread = unread_partner(folder, missing[0])
        raise ValueError(
            f"{flag}: {here[missing[0]]} has no partner {missing[0]}.* in {folder} ({len(missing)} "
            f"without one){unread or '; give both images of a pair the same name'}"
        )


def unread_partner(folder: Path, stem: str) -> str:
    """Say which file of that stem a folder holds that is not read; "" if it holds none."""
    place = (folder / stem).parent
    names = sorted(p.name for p in place.iterdir()) if place.is_dir() else []
    unread = [name for name in names if not is_image_file(name)]
    same = [name for name in unread if os.path.splitext(name)[0] == Path(stem).name]
    if not same:
        return ""
    kind = os.path.splitext(same[0])[1]
    fix = "`pip install pillow-heif` reads it" if kind.lower() in HEIF else "convert it"
    return f"; {place / same[0]} is there, but {kind or 'its kind'} is not read: {fix}"


def describe(folder: str | Path) -> str:
    """Return a short summary of a folder's contents, for error messages."""
    entries = [e for e in sorted(Path(folder).iterdir()) if not is_hidden(e.name)]
    parts = [f"{e.name}/" for e in entries if e.is_dir()]
    images = sum(e.is_file() and is_image_file(e.name) for e in entries)
    others = sum(e.is_file() for e in entries) - images
    rest = [f"… {len(parts) - 6} folders more"] if len(parts) > 6 else []
    parts = parts[:6] + rest
    parts += [f"{images} images"] if images else []
    parts += [f"{others} other files"] if others else []
    return ", ".join(parts) or "nothing"
