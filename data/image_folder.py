"""Lists of image files."""

import os
from collections.abc import Iterable
from pathlib import Path

IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".tif", ".tiff", ".webp", ".npy")


def is_image_file(filename: str) -> bool:
    """Return whether the name has an image extension and is not hidden."""
    name = os.path.basename(filename)
    return name.lower().endswith(IMG_EXTENSIONS) and not name.startswith(".")


def make_dataset(
    folder: str | Path, max_dataset_size: float = float("inf"), *, flag: str = "--dataroot"
) -> list[str]:
    """Return the paths of the images in `folder` and its subfolders, sorted, at most
    `max_dataset_size`.

    Links are followed. A folder that several paths lead to counts once, under the first of them in
    sorted order. ValueError names `flag` if the folder does not exist or holds no images.
    """
    if not os.path.isdir(folder):
        raise ValueError(f"{flag}: {folder} is not a folder")
    found, seen = [], set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:  # another link led here, or this one leads to a folder above
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        folders.sort(key=lambda name: name + os.sep)  # as their paths, whatever the disk's order
        found += [os.path.join(root, name) for name in names if is_image_file(name)]
    if not found:
        raise ValueError(
            f"{flag}: {folder} holds no images ({', '.join(IMG_EXTENSIONS)}); "
            f"found {describe(folder)}"
        )
    return sorted(found)[: int(min(max_dataset_size, len(found)))]


def by_stem(folder: Path, paths: Iterable[str]) -> dict[str, list[str]]:
    """Return the files in a folder by relative path without extension."""
    found: dict[str, list[str]] = {}
    for path in paths:
        stem = Path(path).relative_to(folder).with_suffix("").as_posix()
        found.setdefault(stem, []).append(path)
    return found


def describe(folder: str | Path) -> str:
    """Return a short summary of a folder's contents, for error messages."""
    entries = sorted(Path(folder).iterdir())
    parts = [f"{e.name}/" for e in entries if e.is_dir() and not e.name.startswith(".")]
    images = sum(e.is_file() and is_image_file(e.name) for e in entries)
    others = sum(e.is_file() for e in entries) - images
    more = [f"… {len(parts) - 6} folders more"] if len(parts) > 6 else []
    parts = parts[:6] + more
    parts += [f"{images} images"] if images else []
    parts += [f"{others} other files"] if others else []
    return ", ".join(parts) or "nothing"
