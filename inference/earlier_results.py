"""Files of an earlier test in the same folder, which a new one replaces or does not make."""

import glob
import json
import logging
from pathlib import Path
from typing import Any

from util.files import atomic_write
from util.same_names import name_key

log = logging.getLogger(__name__)

VALUES = "values"  # the folder of outputs in the values of the target, beside images/
BESIDE = ("deep", VALUES)  # folders with the same outputs as numbers, under the same stems
REMEMBERED = "earlier.json"  # beside the lines of the manifest, until the new test is complete


def listed_files(folder: Path) -> list[str]:
    """Return the files of images that the lines of a manifest's folder name."""
    files: set[str] = set()
    for path in folder.glob("*.jsonl"):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            files.update(_files(line))
    return sorted(files | set(_remembered(folder)))


def remember(folder: Path, files: list[str]) -> None:
    """Keep the list of an earlier test's files, until `delete_replaced`."""
    if files:
        with atomic_write(folder / REMEMBERED) as file:
            file.write(json.dumps(files).encode() + b"\n")


def delete_replaced(results: Path, folder: Path) -> None:
    """Delete the files of an earlier test that the present one has not made; all others stay."""
    if not (earlier := _remembered(folder)):
        return
    (folder / REMEMBERED).unlink()
    # Names that a file system takes for one are one file.
    current = set(map(name_key, listed_files(folder)))
    stale = [name for name in earlier if name_key(name) not in current and Path(name).name == name]
    paths = [results / "images" / name for name in stale]
    paths += [
        file
        for name in stale
        for subfolder in BESIDE
        for file in (results / subfolder).glob(f"{glob.escape(Path(name).stem)}.*")
    ]
    count = 0
    for path in paths:
        try:
            path.unlink()
            count += 1
        except FileNotFoundError:
            pass
        except OSError as error:
            log.warning("%s: could not be deleted (%s)", path, error.strerror)
    if count:
        log.info("deleted %d files of an earlier test in %s", count, results)


def _files(line: str) -> list[str]:
    try:
        entry: Any = json.loads(line)
        return [str(name) for name in entry["files"].values()]
    except (ValueError, TypeError, KeyError, AttributeError):  # a note, or a damaged line
        return []


def _remembered(folder: Path) -> list[str]:
    try:
        return [str(name) for name in json.loads((folder / REMEMBERED).read_text())]
    except (OSError, ValueError, TypeError):
        return []
