"""Put a site into its folder: in place of what an earlier export wrote, and of nothing else."""

import contextlib
import filecmp
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from util.files import make_folder

LIST = "files.json"  # of all that an export wrote, by which the next one knows what is its own


@contextlib.contextmanager
def new_files(folder: Path) -> Iterator[Path]:
    """Yield an empty folder, and put the files that are written into it into `folder`.

    They replace those of an earlier export; other files stay. ValueError names one that would be
    overwritten. After an error `folder` is as it was.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--site {folder}: is a file; choose a folder")
    existed = folder.is_dir()
    earlier = earlier_files(folder)
    part = Path(tempfile.mkdtemp(prefix=".site-", dir=make_folder(folder, "--site")))
    try:
        yield part
        names = files_in(part)
        check_free(folder, part, earlier)
        (part / LIST).write_text(json.dumps([*names, LIST], indent=1) + "\n", encoding="utf-8")
        for name in [*names, LIST]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (part / name).replace(folder / name)
        for name in earlier - {*names, LIST}:
            remove(folder, name)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if not existed:
            with contextlib.suppress(OSError):
                folder.rmdir()  # if nothing was written


def files_in(folder: Path) -> list[str]:
    """Return the files below a folder, relative to it."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in files)


def earlier_files(folder: Path) -> set[str]:
    """Return the files that an earlier export wrote into a folder, relative to it.

    ValueError if their list is damaged.
    """
    file = folder / LIST
    if not file.exists():
        return set()
    try:
        names = json.loads(file.read_text(encoding="utf-8"))
        root = folder.resolve()
        if all((root / name).resolve().is_relative_to(root) for name in names):
            return set(names)
    except (ValueError, TypeError, OSError):
        pass
    raise ValueError(
        f"--site {folder}: {file} is not the list that an export writes; choose another folder"
    )


def check_free(folder: Path, part: Path, earlier: set[str]) -> None:
    """Raise a ValueError for a file of `folder` that no export wrote, and that one of `part` would
    overwrite; one of the same content may stay.
    """
    for name in [*files_in(part), LIST]:
        path, new = folder / name, part / name
        same = path.is_file() and new.is_file() and filecmp.cmp(path, new, shallow=False)
        if path.is_dir() or (path.exists() and name not in earlier and not same):
            conflict = path
        else:
            above = (folder / parent for parent in Path(name).parents)
            conflict = next((p for p in above if p.exists() and not p.is_dir()), None)
        if conflict:
            raise ValueError(
                f"--site {folder}: {conflict} would be overwritten, and no export wrote it; move "
                f"it, or choose another folder"
            )


def remove(folder: Path, name: str) -> None:
    """Delete a file of an earlier export, and the folders that it leaves empty."""
    path = folder / name
    with contextlib.suppress(OSError):  # it, or a folder, is gone already
        path.unlink()
        for above in list(path.relative_to(folder).parents)[:-1]:
            (folder / above).rmdir()
