"""Which images a command translates: all, the unfinished ones, or the unfinished of a shard."""

import logging
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from data.dataset_files import input_hash, paths_of, tells_paths
from inference.earlier_results import delete_replaced
from inference.manifest import Entry, Manifest, made_from, naming_path, states_of
from inference.pages import results_folder, results_page
from util.files import short_stem, shortened
from util.html import HTML
from util.image_rows import ImageRow
from util.variants import variant_count

log = logging.getLogger(__name__)

HASHING = 4  # threads that hash files


class Share:
    """The images that a command translates, and their entries in the manifest.

    With --num_shards N and --shard_id I, these are the images I, I + N, I + 2N, … that are not
    finished; with --skip_finished, all that are not; else all, finished or not.
    """

    def __init__(self, opt: Any, page: HTML, dataset: Any, nets: dict[str, nn.Module]):
        """`dataset` is the `Loader` of all images; it is restricted to this share.

        ValueError if finished images are to be kept that were made from something else.
        """
        self.opt, self.dataset, self.manifest = opt, dataset.dataset, Manifest(page.web_dir)
        self.again = not (opt.num_shards or opt.skip_finished)
        files_known = not self.again or tells_paths(self.dataset)
        files = all_files(self.dataset, len(dataset)) if files_known else None
        subjects = getattr(self.dataset, "subjects", None) if files else None
        if subjects:  # of measurements, whose files may lie deep in a subject's folder
            stems = [shortened(Path(subject.name).name) for subject in subjects[: len(files)]]
        else:
            stems = [short_stem(naming_path(item, opt.direction)) for item in files or []]
        self.names = [page.unique_name(stem) for stem in stems]
        self.seen: set[int] = set()
        self._made_from = partial(made_from, opt, files, len(dataset), states_of(nets))
        self._opened: Future | None = None
        if not self.again:
            self.manifest.begin(self._made_from(), opt, overwrite=False)
        self.todo, self.most, self.there = self._choose(len(dataset))
        dataset.restrict_to(set(self.todo))

    def begin(self) -> None:
        """Open the manifest in a thread, since hashing the weights takes up to a second.

        To be called after the loader has forked its workers, as threads and forks do not mix.
        """
        if self._opened is None:
            thread = ThreadPoolExecutor(1)
            self._opened = thread.submit(self._open)
            thread.shutdown(wait=False)

    def _open(self) -> None:
        if self.again:
            self.manifest.begin(self._made_from(), self.opt, overwrite=True)
        self.manifest.forget(set(self.todo[: self.most] if self.again else self.todo))
        self.manifest.open(self.opt.shard_id, self.opt.num_shards)
        if not self.opt.num_shards:
            save_page(self.opt)  # says what is missing, should this command be killed

    @property
    def begun(self) -> bool:
        """Whether `begin` has been called."""
        return self._opened is not None

    def wait(self) -> None:
        """Wait until the manifest is open; no file of an image is written before."""
        self.begin()
        self._opened.result()

    def save_page(self) -> None:
        """Write the page of the finished images, if the manifest has been opened."""
        if self._opened:
            self._opened.result()
            save_page(self.opt)

    def _choose(self, count: int) -> tuple[list[int], int, int]:
        """Return the images to try, how many of them to translate, and how many are finished."""
        wanted = int(min(count, self.opt.num_test))
        if self.again:  # an image that cannot be read is replaced by a further one
            return list(range(count)), wanted, 0
        if self.opt.num_shards:
            share = range(self.opt.shard_id, wanted, self.opt.num_shards)
            done = finished(self._entries(share))
            return [n for n in share if n not in done], len(share) - len(done), len(done)
        entries = self._entries(range(count))
        first_done, *_ = chosen(entries, count, wanted, self.opt.serial_batches)
        done = finished(entries)
        todo = [n for n in range(count) if n not in done] if len(first_done) < wanted else []
        return todo, wanted - len(first_done), len(first_done)

    def _entries(self, numbers: Collection[int]) -> dict[int, Entry]:
        """Return the valid entries, but not those of fewer variants than are wanted now."""
        entries = valid_entries(self.manifest, self.dataset, numbers)
        wanted = self.opt.num_variants
        return {
            number: entry
            for number, entry in entries.items()
            if not entry.row or variant_count(entry.row.files) >= wanted
        }

    def name(self, number: int) -> str | None:
        """Return the name of an image's results; None if the dataset has not told its files."""
        return self.names[number] if self.names else None

    def add(self, number: int, row: ImageRow, input: str, notes: Sequence[str]) -> None:
        """Log that the files of an image are written, and the notes for the page."""
        for note in notes:
            self.manifest.add_note(note)
        self.manifest.add(number, row, input)

    def finish(self, tried_all: bool) -> None:
        """Log the images that the loader left out (--on_bad_image skip), and delete the files of
        an earlier test that this one has not made.
        """
        self.wait()
        last = max(self.seen, default=-1) if self.opt.serial_batches else -1
        for number in self.todo:
            if number not in self.seen and (tried_all or number < last):
                hashed = input_hash(paths_of(self.dataset, number)) if self.names else ""
                self.manifest.add_unreadable(number, hashed)
        if not self.opt.num_shards:
            delete_replaced(self.manifest.results, self.manifest.folder)

    def describe(self, done: int) -> str:
        """Return the log line of a finished command; `done` is the number of new images."""
        text = f"{done} image{'s' * (done != 1)} translated"
        if not self.opt.num_shards:
            return f"{text}, {self.there} already finished" if self.opt.skip_finished else text
        return (
            f"shard {self.opt.shard_id} of 0..{self.opt.num_shards - 1}: {text}, {self.there} "
            f"already finished; after all shards, run --page_only instead of --num_shards and "
            f"--shard_id to write the page"
        )


def all_files(dataset: Dataset, count: int) -> list[dict[str, str]]:
    """Return the files of the first `count` items."""
    return [paths_of(dataset, number) for number in range(count)]


def valid_entries(
    manifest: Manifest, dataset: Dataset, numbers: Collection[int]
) -> dict[int, Entry]:
    """Return the entries of those of the images whose input files are still the same.

    Results of version 1 do not say what their inputs held; their names alone are compared.
    """
    entries = {n: entry for n, entry in manifest.entries().items() if n in numbers}
    files = [paths_of(dataset, n) for n in entries if entries[n].input]
    with ThreadPoolExecutor(HASHING) as pool:
        hashes = iter(list(pool.map(input_hash, files)))
    hash_now = {n: next(hashes) if entry.input else "" for n, entry in entries.items()}
    if any(entry.row and not entry.input for entry in entries.values()):
        log.info(
            "%s: does not say what the images held, since an earlier version made it; images of "
            "the same names are taken as unchanged",
            manifest.file,
        )
    return {n: entry for n, entry in entries.items() if entry.input == hash_now[n]}


def finished(entries: Mapping[int, Entry]) -> set[int]:
    """Return the images that have been translated; the others cannot be read."""
    return {number for number, entry in entries.items() if entry.row}


def chosen(
    entries: Mapping[int, Entry], count: int, most: float, in_order: bool = True
) -> tuple[list[int], list[int], list[int]]:
    """Return the numbers of the first `most` readable images of `count`: finished, missing; and
    of those that cannot be read.

    Without `in_order`, the finished ones count as the first.
    """
    order = range(count) if in_order else sorted(range(count), key=lambda n: n not in entries)
    done, missing, unreadable = [], [], []
    for number in order:
        if len(done) + len(missing) >= most:
            break
        entry = entries.get(number)
        (missing if entry is None else done if entry.row else unreadable).append(number)
    return done, missing, unreadable


def save_page(opt: Any) -> str:
    """Write the page of all finished images; return a sentence with their number."""
    page = results_page(opt)
    summary = add_finished(page, opt)
    page.save()
    return summary


def add_finished(page: HTML, opt: Any) -> str:
    """Add the finished images to a page; return a sentence with their number."""
    manifest = Manifest(page.web_dir)
    entries, count = manifest.entries(), manifest.read()["count"]
    if manifest.has_shards():  # they share the first ones out, readable or not
        count = int(min(count, opt.num_test))
    done, missing, unreadable = chosen(entries, count, opt.num_test, opt.serial_batches)
    for note in manifest.notes:
        page.add_note(note)
    for number in done:
        entries[number].row.add_to(page, opt.display_winsize)
    if unreadable:
        page.add_warning(f"{images_are(len(unreadable))} left out, as unreadable.")
    if missing:
        why = (
            "the test has not ended, or was stopped; test.py --page_only writes this page again, "
            "--skip_finished translates them"
        )
        why = "their shards are not finished" if manifest.has_shards() else why
        warning = f"{images_are(len(missing))} missing; {why}"
        page.add_warning(f"{warning}.")
        return f"{len(done)} of {len(done) + len(missing)} images ({warning})"
    return f"all {len(done)} images"


def images_are(count: int) -> str:
    """Return a number of images and the verb that goes with it."""
    return "1 image is" if count == 1 else f"{count} images are"


def show_finished(opt: Any) -> None:
    """Write the page of all finished images (--page_only)."""
    made_with = Manifest(results_folder(opt)).read()["flags"]  # raises if nothing has run
    vars(opt).update({name: value for name, value in made_with.items() if name in vars(opt)})
    log.info("%s; results page: %s", save_page(opt), results_page(opt).path)
