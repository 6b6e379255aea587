"""The manifest of a folder of results: what they were made from, and which images are finished."""

import contextlib
import glob
import hashlib
import json
import logging
import os
import shutil
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from inference.earlier_results import VALUES, listed_files, remember
from options.roles import SAME_RESULTS, differences, names
from util.checkpoint import fingerprint
from util.errors import one_line
from util.files import atomic_write, make_folder
from util.image_rows import ImageRow, is_complete

log = logging.getLogger(__name__)

WHOLE = "whole.jsonl"  # the lines of tests without --num_shards

# These flags set the number of images, which the manifest holds as "count".
AMOUNT = {"num_test", "max_dataset_size"}
# These flags decide whether an image is read, and change none.
READING = {"on_bad_image", "max_pixels"}
# These flags of the networks count in a training only.
OF_TRAINING = {"netD", "ndf", "n_layers_D", "init_type", "init_gain"}


class Entry(NamedTuple):
    """An image that has been tried: its row, None if it cannot be read, and its input's hash."""

    row: ImageRow | None
    input: str  # "" if unknown, as in results of version 1


class Manifest:
    """What the results in a folder were made from, and which of them are finished.

    `shards/made_by.json` holds flags, weights, and the list of images. `shards/*.jsonl` has one
    line per image, appended after its files are written; a test without --num_shards writes them
    to whole.jsonl. File times say nothing: copies have new ones.
    """

    def __init__(self, results: Path):
        self.results, self.folder = results, results / "shards"
        self.file = self.folder / "made_by.json"
        self.lock = threading.Lock()
        self.notes: list[str] = []  # for the page

    def exists(self) -> bool:
        """Return whether the folder holds results of this version, or of shards."""
        return self.file.exists()

    def begin(self, made_from: dict[str, Any], opt: Any, overwrite: bool) -> None:
        """Start to make results, or go on with those that are there.

        Results that were made from something else are forgotten if `overwrite`; shards overwrite
        those of a whole test too. Else a ValueError.
        """
        shards = self.has_shards()  # first: once a shard has a line, the manifest is that of shards
        earlier_files: list[str] = []
        if self.exists():
            differing = different(self.read(), made_from, opt)
            if not differing:
                if overwrite:  # it may make fewer files (--num_variants)
                    remember(self.folder, listed_files(self.folder))
                return
            if not overwrite and (shards or not opt.num_shards):
                raise ValueError(
                    f"--results_dir: {self.results} holds different results ("
                    f"{', '.join(differing)}); choose another --results_dir or delete that folder"
                )
            kind = "results of shards" if shards else "results"
            message = "overwriting %s with different ones (%s); --results_dir keeps both"
            log.warning(message, kind, ", ".join(differing))
            if overwrite:
                # The images of another model have other labels: they do not collide, and stay.
                same_model = self.read()["flags"].get("model") == opt.model
                earlier_files = listed_files(self.folder) if same_model else []
                shutil.rmtree(self.folder)
            else:  # as other shards may do at the same time
                (self.folder / WHOLE).unlink(missing_ok=True)
        make_folder(self.folder, "--results_dir")
        with atomic_write(self.file) as file:
            file.write(json.dumps(made_from, indent=1).encode() + b"\n")
        remember(self.folder, earlier_files)

    def read(self) -> dict[str, Any]:
        """Return what the results were made from; ValueError if that is missing or damaged."""
        if not self.exists():
            raise ValueError(
                f"--page_only: {self.results} holds no results of shards, nor of a whole test; run "
                f"test.py first, or test.py --num_shards N --shard_id I"
            )
        try:
            content = json.loads(self.file.read_text(encoding="utf-8"))
            values = {"count": int(content["count"]), "flags": dict(content["flags"])}
            return values | {name: content[name] for name in ("pictures", "weights")}
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"{self.file}: damaged ({one_line(error)}); delete {self.results} and start over"
            ) from None

    def entries(self) -> dict[int, Entry]:
        """Return the images that have been tried, by number; also read the notes.

        Truncated lines, and images with missing or truncated files, are ignored; so are images
        that are logged with different inputs.
        """
        entries: dict[int, Entry] = {}
        doubtful = set()
        for path in sorted(self.folder.glob("*.jsonl")):
            for number, entry in self._lines(path):
                if entries.get(number, entry).input != entry.input:
                    doubtful.add(number)
                entries[number] = entry
        images = self.results / "images"
        measured = False
        with contextlib.suppress(ValueError):  # damaged, as `read` will say
            measured = self.exists() and self.read()["flags"].get("dataset_mode") == "measurements"
        complete = (
            number
            for number, entry in entries.items()
            if number not in doubtful
            and (not entry.row or all(is_complete(images / n) for n in entry.row.files.values()))
            and not (measured and entry.row and self.value_file(entry.row.name) is None)
        )
        return {number: entries[number] for number in sorted(complete)}

    def value_file(self, name: str) -> Path | None:
        """Return the file in the values of the target that a test of measurements has written."""
        files = (self.results / VALUES).glob(f"{glob.escape(name)}_fake_B.*")
        return next(iter(sorted(files)), None)

    def forget(self, numbers: set[int]) -> None:
        """Drop the entries of images that are about to be translated again."""
        for path in sorted(self.folder.glob("*.jsonl")):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
            number_by_line = {
                line: parsed[0] for line in lines if isinstance(parsed := _parsed(line), tuple)
            }
            if number_by_line and numbers >= set(number_by_line.values()):
                path.unlink()  # with its notes
            elif any(number in numbers for number in number_by_line.values()):
                remaining = (line for line in lines if number_by_line.get(line) not in numbers)
                with atomic_write(path) as file:
                    file.write("".join(remaining).encode())

    def open(self, shard: int | None = None, shards: int | None = None) -> None:
        """Choose the file for lines: that of shard `shard` of `shards`, or of a whole test."""
        self.path = self.folder / (f"{shard:05d}_of_{shards:05d}.jsonl" if shards else WHOLE)
        self.begun = self.file.read_bytes() if self.exists() else None
        if self.path.exists() and not self.path.read_bytes().endswith(b"\n"):
            self._append("")  # ends the truncated line of a killed command

    def add(self, number: int, row: ImageRow, input: str) -> None:
        """Log that the files of an image are written."""
        self._append(json.dumps({"index": number, "input": input, **row._asdict()}))

    def add_unreadable(self, number: int, input: str) -> None:
        """Log that an image cannot be read."""
        self._append(json.dumps({"index": number, "input": input, "unreadable": True}))

    def add_note(self, text: str) -> None:
        """Log a note for the top of the page; a repeated note is ignored."""
        with self.lock:
            repeated = text in self.notes
            self.notes += [] if repeated else [text]
        if not repeated:
            self._append(json.dumps({"note": text}))

    def has_shards(self) -> bool:
        """Return whether some results were made with --num_shards."""
        return any(path.name != WHOLE for path in self.folder.glob("*.jsonl"))

    def _lines(self, path: Path) -> Iterable[tuple[int, Entry]]:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            parsed = _parsed(line)
            if isinstance(parsed, tuple):
                yield parsed
            elif parsed and parsed not in self.notes:
                self.notes.append(parsed)

    def _append(self, line: str) -> None:
        try:
            with self.lock, self.path.open("a", encoding="utf-8") as file:
                if self.begun is not None and self.file.read_bytes() != self.begun:
                    raise FileNotFoundError
                file.write(line + "\n")
        except FileNotFoundError:
            raise ValueError(
                f"--results_dir: another command has overwritten {self.results}; run this one "
                f"again, or with another --results_dir"
            ) from None


def _parsed(line: str) -> tuple[int, Entry] | str:
    """Return the number and the entry of a line, or its note; "" for a damaged line."""
    try:
        fields = json.loads(line)
        if "note" in fields:
            return str(fields["note"])
        row = None
        if not fields.get("unreadable"):
            row = ImageRow(fields["header"], fields["name"], dict(fields["files"]))
        return int(fields["index"]), Entry(row, str(fields.get("input", "")))
    except (ValueError, TypeError, KeyError, AttributeError):
        return ""


def states_of(nets: dict[str, nn.Module]) -> list[dict[str, Tensor]]:
    """Return the networks' weights; the buffers are copied, since forward passes change them."""
    return [
        net.state_dict() | {name: buffer.clone() for name, buffer in net.named_buffers()}
        for net in nets.values()
    ]


def made_from(
    opt: Any,
    files: Sequence[dict[str, str]] | None,
    count: int,
    states: Iterable[dict[str, Tensor]],
) -> dict[str, Any]:
    """Return what results are made from: the flags that change them, the images, the weights.

    `files` are the input files of the `count` images, None if they are not known yet; `states`
    are the networks' state dicts.
    """
    flags = {name: vars(opt)[name] for name in names(opt, SAME_RESULTS) - AMOUNT}
    flags = json.loads(json.dumps(flags, default=str, sort_keys=True))
    digest = None
    if files is not None:
        paths = "\0".join(naming_path(item, opt.direction) for item in files)
        digest = hashlib.sha256(paths.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    weights = fingerprint(states)
    return {"count": count, "pictures": digest, "weights": weights, "flags": flags}


def naming_path(files: dict[str, str], direction: str) -> str:
    """Return the input file of an item, which names its results."""
    return files.get(f"{direction[0]}_paths") or next(iter(files.values()))


def different(before: dict[str, Any], now: dict[str, Any], opt: Any) -> list[str]:
    """Return in words what differs between two results of `made_from`."""
    keys = {"images": "pictures", "weights": "weights"}  # by their keys in the file
    values = {kind: (before[key], now[key]) for kind, key in keys.items()}
    changed = [f"other {kind}" for kind, (a, b) in values.items() if a and b and a != b]
    return different_flags(before, opt) + changed


def different_flags(before: dict[str, Any], opt: Any) -> list[str]:
    """Return in words the flags of results that differ from `opt`.

    Without those of `AMOUNT`, `READING` and `OF_TRAINING`, and other names of the same folder of
    images.
    """
    flags = differences(opt, before["flags"], SAME_RESULTS)
    roots = {os.path.abspath(str(root)) for root in flags.get("dataroot", ())}
    skip = {*AMOUNT, *READING, *OF_TRAINING, *(["dataroot"] if len(roots) == 1 else [])}
    return [f"--{name} {old}, now {new}" for name, (old, new) in flags.items() if name not in skip]
