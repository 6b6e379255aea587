"""Translate a dataset, write the results, and add notes to their page."""

import contextlib
import glob
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from data import Loader
from data.builtin_facades import is_builtin
from data.files.high_depth_output import write_high_depth
from data.files.large_images import LargeImage
from data.image_folder import side_folders
from data.value_range import StoredRange, read_ranges
from inference.image_writer import ImageWriter
from inference.shards import Share
from inference.subjects import subject_rows
from inference.timing import Stopwatch, describe_time
from inference.visuals import visuals_of
from models.tiling import Tiles
from options.config_files import read_run
from translator import Translator
from util.errors import RunStopped
from util.files import make_folder, run_folder
from util.html import HTML
from util.image_rows import ImageRow, result_row
from util.signals import handle_signals, status_of
from util.variants import (
    check_variants,
    grey_levels_apart,
    note_on_variants,
    plain_label,
    variants_of,
)

log = logging.getLogger(__name__)

# The number of an image, its row of the page, and what writes its files.
Row = tuple[int, ImageRow, list[Callable[[], None]]]
LABEL_MODELS = ("spade", "pix2pixHD")  # tested with running statistics, and without dropout
RESIZED = "Images do not have their original size"


def write_results(
    opt: Any, translator: Translator, dataset: Loader, page: HTML, share: Share
) -> int:
    """Translate the chosen images, write them in threads, and return their number.

    `RunStopped` after a signal, once the images in work are written.
    """
    done, whole, loading = 0, Stopwatch(), Stopwatch()
    arguments = {"translator": translator, "page": page, "share": share}
    rows_of = partial(image_rows, opt=opt, ranges=read_ranges(opt), **arguments)
    if opt.dataset_mode == "measurements":
        rows_of = partial(subject_rows, dataset=dataset, **arguments)
    with (
        whole.running(),
        handle_signals() as signals,
        ImageWriter() as writer,
        tqdm(total=share.most, unit="img", disable=None) as bar,
        contextlib.closing(iter(dataset)) as batches,
    ):
        while done < share.most and not signals.received:
            with loading.running():
                batch = next(batches, None)
            if not batch:
                break
            inputs = dict(zip(batch["index"].tolist(), batch["input"], strict=True))
            rows = skipping_unreadable(rows_of(batch), batch, opt)
            for number, row, jobs in islice(rows, share.most - done):
                jobs.append(partial(share.add, number, row, inputs[number], page.notes))
                writer.run(run_all, [share.wait, *jobs])
                share.seen.add(number)
                done += 1
                bar.update()
    if signals.received and done < share.most:
        command = "the same command" + ("" if opt.num_shards else " with --skip_finished")
        raise RunStopped(
            f"stopped after {done} images; {command} goes on", status_of(signals.received)
        )
    share.finish(tried_all=done < share.most)
    if done:
        times = whole.seconds, loading.seconds, writer.waits.seconds
        log.info("%s", describe_time(done, *times))
    return done


def skipping_unreadable(rows: Iterator[Row], batch: dict[str, Any], opt: Any) -> Iterator[Row]:
    """Yield rows; an image that is read in windows while it is translated, and cannot be read, is
    left out with --on_bad_image skip, as the loader leaves out others.
    """
    try:
        yield from rows
    except ValueError as error:
        large = any(isinstance(value, LargeImage) for value in batch.values())
        if not large or opt.on_bad_image != "skip":
            raise
        log.warning("skipped: %s", error)


def image_rows(
    batch: dict[str, Any],
    translator: Translator,
    page: HTML,
    share: Share,
    opt: Any,
    ranges: dict[str, StoredRange],
) -> Iterator[Row]:
    """Translate a batch of images; yield the number of each, its row of the page, and what writes
    its files.
    """
    label_maps = ("real_A",) if opt.dataset_mode == "labels" else ()
    # With `fixed`, and in the training, the ratio is that of the network's input.
    stretches = "aspect_ratio" in opt.given and opt.preprocess != "fixed"
    stretch = opt.aspect_ratio if stretches else 1.0
    if opt.num_variants == 1:
        share.begin()
    visuals = visuals_of(translator, batch)
    if not share.begun and ("mask" not in batch or batch["mask"].any()):  # a hole may be cut off
        for variants in variants_of(visuals).values():
            check_variants(variants)
    share.begin()  # without noise for variants, earlier results stay
    if opt.tile:
        note_tiling(page, translator, batch)
    note_resizing(page, opt, batch)
    paths = translator.model.get_image_paths()
    for i, (number, path) in enumerate(zip(batch["index"].tolist(), paths, strict=True)):
        images = {label: tensor[i : i + 1] for label, tensor in visuals.items()}
        remark = difference_of_variants(page, images, opt.seed)
        row, jobs = result_row(page, images, path, stretch, share.name(number), label_maps, remark)
        jobs.append(partial(save_high_depth, page, images, row.name, opt, ranges))
        yield number, row, jobs


def difference_of_variants(page: HTML, images: dict[str, Tensor], seed: int) -> str:
    """Return how far the variants of an image's outputs are apart, "" without variants; note on
    the page what they are, the first of `seed`.
    """
    differences = [grey_levels_apart(variants) for variants in variants_of(images).values()]
    if not differences:
        return ""
    page.add_note(note_on_variants(seed))
    return f"variants {sum(differences) / len(differences):.1f} grey levels apart"


def run_all(jobs: Sequence[Callable[[], None]]) -> None:
    """Run the functions in order."""
    for job in jobs:
        job()


def check_images_are_chosen(opt: Any) -> None:
    """Raise ValueError if --dataroot is missing, and the run was trained on images of its own."""
    root = read_run(run_folder(opt)).get("dataroot", "")
    if "dataroot" not in opt.given and is_builtin(opt.dataroot) and root and not is_builtin(root):
        raise ValueError(
            f"--model {opt.model}: needs --dataroot, the folder of the images to translate; the "
            f"run was trained on {root}"
        )


def check_results_folder(opt: Any) -> None:
    """Raise ValueError if the results folder is inside the input folder."""
    root, results = Path(opt.dataroot), Path(opt.results_dir).resolve()
    phase_folders = [root / opt.phase, *side_folders(root, opt.phase).values()]
    whole_root = opt.dataset_mode == "single"
    whole_root |= opt.dataset_mode == "inpaint" and not (root / opt.phase).is_dir()
    flags = ("label_dir", "image_dir", "instance_dir", "mask_dir")
    others = [Path(folder) for flag in flags if (folder := getattr(opt, flag, None))]
    others += root.glob(f"{glob.escape(opt.phase)}A[1-9]")  # of several inputs
    for folder in [root] if whole_root else [*phase_folders, *others]:
        if results.is_relative_to(folder.resolve()):
            raise ValueError(
                f"--results_dir {opt.results_dir}: lies in the input folder {folder}; "
                f"choose another folder"
            )


def add_notes(opt: Any, page: HTML) -> None:
    """Add notes about batch norm, dropout, holes and tiling to the page or the log."""
    if note := statistics_and_noise(opt):
        page.add_note(note)
    if opt.dataset_mode == "inpaint":
        page.add_note(f"Holes: {source_of_holes(opt)}.")
        if opt.guided:
            sketches = Path(opt.dataroot) / f"{opt.phase}_sketch"
            source = f"those in {sketches.name}/" if sketches.is_dir() else "edges of the image"
            page.add_note(f"Lines, black in the hole: {source}.")
    if opt.dataset_mode == "measurements":
        grey = " Grey: no data." if opt.nodata == "mask" else ""
        page.add_note(
            f"Outputs in the values of the target, in files of the inputs' kind, are in "
            f"values/.{grey}"
        )
    elif opt.tile and opt.preprocess.endswith("crop") and opt.crop_size <= opt.tile:
        log.warning(
            "--tile %d: has no effect, because --preprocess %s makes images of %d pixels; "
            "--preprocess none keeps their size",
            *(opt.tile, opt.preprocess, opt.crop_size),
        )


def statistics_and_noise(opt: Any) -> str:
    """Return a note on batch norm and dropout at test time; "" without them."""
    if opt.model in LABEL_MODELS:
        return of_label_model(opt)
    batch_norm, dropout = opt.norm in ("batch", "sync_batch"), not opt.no_dropout
    notes = []
    if batch_norm and opt.eval:
        notes.append("Batch norm uses its running statistics (--eval).")
    elif batch_norm:
        notes.append("Batch norm uses each image's own statistics, as in §3.3 of the paper.")
    if dropout and (opt.eval or opt.dropout_at_test == "off"):
        notes.append(f"Dropout is off ({'--eval' if opt.eval else '--dropout_at_test off'}).")
    elif dropout:
        notes.append(
            f"Dropout stays on, as in §3.3 of the paper; its noise is drawn from --seed {opt.seed} "
            f"and the file's name; --dropout_at_test off switches it off."
        )
    if batch_norm and not opt.eval:
        notes.append("--eval uses running statistics and no dropout.")
    return " ".join(notes)


def source_of_holes(opt: Any) -> str:
    """Return where the holes of a test's images come from."""
    if (Path(opt.dataroot) / f"{opt.phase}_mask").is_dir():
        return f"the masks in {opt.phase}_mask/"
    by_seed = f"drawn from --seed {opt.seed} and the file's name"
    if opt.mask_dir and Path(opt.mask_dir).is_dir():
        return f"the masks of --mask_dir, of the same name or {by_seed}"
    return f"where an image is transparent, else {by_seed} (--masks {opt.masks})"


def of_label_model(opt: Any) -> str:
    """Return a note on batch norm and styles at test time; "" without them."""
    notes = []
    if "batch" in (opt.norm_G if opt.model == "spade" else opt.norm):
        notes.append("Batch norm uses its running statistics.")
    texts = {"use_vae": "The style of each image is", "instance_feat": "The looks of instances are"}
    for name, text in texts.items():
        if getattr(opt, name, False) and not getattr(opt, "use_encoded_image", False):
            notes.append(f"{text} drawn from --seed {opt.seed} and the file's name.")
    return " ".join(notes)


def save_high_depth(
    page: HTML, visuals: dict[str, Tensor], stem: str, opt: Any, ranges: dict[str, StoredRange]
) -> None:
    """Also write outputs with high-bit-depth targets in the stored type of the targets."""
    for label, image in visuals.items():
        side = plain_label(label)[0][-1]
        side = side if side in "AB" else "B"  # --model test has only "fake"
        side = side if opt.direction == "AtoB" else "BA"["AB".index(side)]
        if side in ranges and label.startswith(("fake", "rec")):
            stored_type, low, high = ranges[side]
            values = image[0].float().cpu().numpy()
            folder = make_folder(page.get_image_dir().parent / "deep", "--results_dir")
            write_high_depth(
                values, stored_type, low, high, folder / f"{stem}_{label}{stored_type.ending}"
            )


def note_tiling(page: HTML, translator: Translator, batch: dict[str, Any]) -> None:
    """Note the tiling on the page if an image is larger than a tile."""
    tiles: Tiles = translator.model.generator().model
    sides = [max(batch[side].shape[-2:]) for side in ("A", "B", "label") if side in batch]
    if max(sides) > tiles.tile:
        page.add_note(f"Translated in {tiles.describe()}.")


def note_resizing(page: HTML, opt: Any, batch: dict[str, Any]) -> None:
    """Note on the page if an image was resized or cropped; only the first time."""
    noted = any(note.startswith(RESIZED) for note in page.notes)
    if noted or "A_size" not in batch:
        return
    size = tuple(int(n[0]) for n in batch["A_size"])
    height, width = batch["label" if "label" in batch else "A"].shape[-2:]
    if size != (width, height):
        page.add_note(
            f"{RESIZED}: --preprocess {opt.preprocess} changed the first from {size[0]}×{size[1]} "
            f"to {width}×{height}; --preprocess none keeps it."
        )
