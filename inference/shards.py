"""Results split into shards: several commands translate one shard each, and can resume."""

import hashlib
import json
import logging
import math
import os
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from data.base_dataset import paths_of
from inference.pages import results_folder, results_page
from options.roles import SAME_RESULTS, differences, names
from util.checkpoint import fingerprint
from util.errors import one_line
from util.files import atomic_write, make_folder, short_stem
from util.html import HTML
from util.image_rows import ImageRow

log = logging.getLogger(__name__)

PNG_END = b"IEND\xaeB`\x82"  # a PNG file's last bytes

# These flags set the number of images, which the manifest holds as "count".
AMOUNT = {"num_test", "max_dataset_size"}


class ShardLog:
    """The log of finished images in a results folder.

    `shards/*.jsonl` has one line per image, appended after its files are written;
    `shards/made_by.json` is the manifest: flags, images and weights of the results.
    """

    def __init__(self, results: Path):
        self.results, self.folder = results, results / "shards"
        self.file = self.folder / "made_by.json"
        self.lock = threading.Lock()
        self.notes: list[str] = []  # for the page

    def begin(self, manifest: dict[str, Any], opt: Any) -> None:
        """Save the manifest; ValueError if the folder holds results with another manifest."""
        if self.file.exists():
            if differing := _differences(self.read_manifest(), manifest, opt):
                raise ValueError(
                    f"--results_dir: {self.results} holds different results ("
                    f"{', '.join(differing)}); choose another --results_dir or delete that folder"
                )
            return
        make_folder(self.folder, "--results_dir")
        with atomic_write(self.file) as file:
            file.write(json.dumps(manifest, indent=1).encode() + b"\n")

    def complete(self, count: float = math.inf) -> bool:
        """Return whether exactly the first `count` images are finished."""
        return set(self.rows()) == set(range(int(min(self.read_manifest()["count"], count))))

    def read_manifest(self) -> dict[str, Any]:
        """Return the manifest; ValueError if it is missing or damaged."""
        if not self.file.exists():
            raise ValueError(
                f"--page_only: {self.results} holds no results of shards; "
                f"run test.py --num_shards N --shard_id I first"
            )
        try:
            manifest = json.loads(self.file.read_text(encoding="utf-8"))
            return manifest | {"count": int(manifest["count"]), "flags": dict(manifest["flags"])}
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"{self.file}: damaged ({one_line(error)}); delete {self.results} and start over"
            ) from None

    def rows(self) -> dict[int, ImageRow]:
        """Return the rows of finished images by the image's number; also read the notes.

        Truncated lines, and images with missing or truncated files, are ignored.
        """
        found: dict[int, ImageRow] = {}
        for path in sorted(self.folder.glob("*.jsonl")):
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                    if "note" in entry:
                        self.notes += [entry["note"]] if entry["note"] not in self.notes else []
                    else:
                        row = ImageRow(entry["header"], entry["name"], dict(entry["files"]))
                        found[int(entry["index"])] = row
                except (ValueError, TypeError, KeyError):
                    continue
        images = self.results / "images"
        whole = (
            i
            for i, row in found.items()
            if all(_is_complete(images / n) for n in row.files.values())
        )
        return {i: found[i] for i in sorted(whole)}

    def open(self, shard: int, shards: int) -> None:
        """Choose the file of this shard."""
        self.path = self.folder / f"{shard:05d}_of_{shards:05d}.jsonl"
        if self.path.exists() and not self.path.read_bytes().endswith(b"\n"):
            self._append("")  # ends the truncated line of a killed command

    def add(self, index: int, row: ImageRow) -> None:
        """Log that the files of an image are written."""
        self._append(json.dumps({"index": index, **row._asdict()}))

    def add_note(self, text: str) -> None:
        """Log a note for the top of the page; a repeated note is ignored."""
        with self.lock:
            known = text in self.notes
            self.notes += [] if known else [text]
        if not known:
            self._append(json.dumps({"note": text}))

    def _append(self, line: str) -> None:
        try:
            with self.lock, self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except FileNotFoundError:
            raise ValueError(
                f"--results_dir: another command has overwritten {self.results}; run this shard "
                f"again, or with another --results_dir"
            ) from None


class Shard:
    """The images I, I + N, I + 2N, … of --shard_id I and --num_shards N that are not finished."""

    def __init__(self, opt: Any, page: HTML, dataset: Any, nets: dict[str, nn.Module]):
        """`dataset` is the `Loader` of all images; it is restricted to this shard.

        ValueError if the folder holds results with another manifest.
        """
        self.opt, self.log = opt, ShardLog(page.web_dir)
        paths = _paths_of(dataset, opt)
        self.log.begin(_make_manifest(opt, paths, nets), opt)
        self.names = [page.unique_name(short_stem(path)) for path in paths]
        done, count = self.log.rows(), int(min(len(paths), opt.num_test))
        share = range(opt.shard_id, count, opt.num_shards)
        self.left = [index for index in share if index not in done]
        self.there = len(share) - len(self.left)
        self.log.open(opt.shard_id, opt.num_shards)
        dataset.restrict_to(set(self.left))

    def add(self, index: int, row: ImageRow, notes: Sequence[str]) -> None:
        """Log that the files of an image are written, and the notes for the page."""
        for note in notes:
            self.log.add_note(note)
        self.log.add(index, row)

    def describe(self, done: int) -> str:
        """Return the log line of a finished shard; `done` is the number of new images."""
        return (
            f"shard {self.opt.shard_id} of 0..{self.opt.num_shards - 1}: {done} images "
            f"translated, {self.there} already finished; after all shards, run --page_only instead "
            f"of --num_shards and --shard_id to write the page"
        )


def add_finished(page: HTML, opt: Any) -> str:
    """Add the finished images of all shards to a page; return a sentence with their number."""
    shard_log = ShardLog(page.web_dir)
    rows, count = shard_log.rows(), int(min(shard_log.read_manifest()["count"], opt.num_test))
    for note in shard_log.notes:
        page.add_note(note)
    shown = [row for index, row in rows.items() if index < count]
    for row in shown:
        row.add_to(page, opt.display_winsize)
    missing = f"{count - len(shown)} images are missing; their shards are not finished"
    if len(shown) < count:
        page.add_note(f"{missing[0].upper()}{missing[1:]}.")
        return f"{len(shown)} of {count} images ({missing})"
    return f"all {count} images"


def show_finished(opt: Any) -> None:
    """Write the page of all finished images (--page_only)."""
    ShardLog(results_folder(opt)).read_manifest()  # raises if no shard has run
    page = results_page(opt)
    shown = add_finished(page, opt)
    page.save()
    log.info("%s; results page: %s", shown, page.path)


def delete_stale_log(opt: Any, page: HTML, dataset: Any, nets: dict[str, nn.Module]) -> None:
    """Delete the shard log if this unsharded run will produce different results."""
    shard_log = ShardLog(page.web_dir)
    if not shard_log.file.exists():
        return
    manifest = _make_manifest(opt, _paths_of(dataset, opt), nets)
    if differing := _differences(shard_log.read_manifest(), manifest, opt):
        log.warning("overwriting results of shards with different ones (%s)", ", ".join(differing))
        shutil.rmtree(shard_log.folder)


def _is_complete(image: Path) -> bool:
    """Return whether a PNG file exists and is not truncated."""
    try:
        with image.open("rb") as file:
            file.seek(-len(PNG_END), os.SEEK_END)
            return file.read() == PNG_END
    except OSError:
        return False


def _paths_of(dataset: Any, opt: Any) -> list[str]:
    """Return the input file of each item, which names its results."""
    items = (paths_of(dataset.dataset, index) for index in range(len(dataset)))
    return [of.get(f"{opt.direction[0]}_paths") or next(iter(of.values())) for of in items]


def _make_manifest(opt: Any, paths: Sequence[str], nets: dict[str, nn.Module]) -> dict[str, Any]:
    """Return the manifest: the flags that change results, hashes of image paths and weights."""
    flags = {name: vars(opt)[name] for name in names(opt, SAME_RESULTS) - AMOUNT}
    flags = json.loads(json.dumps(flags, default=str, sort_keys=True))
    digest = hashlib.sha256("\0".join(paths).encode("utf-8", "surrogateescape")).hexdigest()
    weights = fingerprint(net.state_dict() for net in nets.values())
    return {"count": len(paths), "pictures": digest[:16], "weights": weights, "flags": flags}


def _differences(before: dict[str, Any], now: dict[str, Any], opt: Any) -> list[str]:
    flags = differences(opt, before["flags"], SAME_RESULTS)
    found = [
        f"--{name} {old}, now {new}" for name, (old, new) in flags.items() if name not in AMOUNT
    ]
    named = {"images": "pictures", "weights": "weights"}  # by their keys in the file
    return found + [f"other {kind}" for kind, key in named.items() if before[key] != now[key]]
