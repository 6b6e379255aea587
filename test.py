"""Translate pictures with a trained model and write a page of results.

    python test.py --name facades

takes the data and the networks from the run `checkpoints/facades`; flags override them.
"""

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from data import create_dataset
from data.deep import write_deep
from data.ranges import Range, read_ranges
from options.test_options import TestOptions
from translator import Translator, infer_options
from util.background import Background
from util.files import make_folder
from util.html import HTML
from util.util import run_command, setup_logging, write_options
from util.visualizer import write_images

log = logging.getLogger(__name__)

RESIZED = "Pictures do not have their files' size"


def main(argv: Sequence[str] | None = None) -> None:
    """Translate the pictures that the flags choose; ValueError for a user's mistake."""
    setup_logging()
    opt = TestOptions(infer_options, batches=True).parse(argv)
    translator = Translator(opt)  # first: without a run no picture is looked for or drawn
    check_apart(opt)
    dataset = create_dataset(opt)
    log.info("%s", opt.text())

    page, kinds, rows = results_page(opt), read_ranges(opt), []
    if opt.tile:
        page.add_note(f"Translated in {translator.model.generator().model.describe()}.")
    count = min(len(dataset), opt.num_test)
    with (
        Background() as background,
        tqdm(total=count, unit="img", disable=None) as bar,
        contextlib.closing(iter(dataset)) as batches,
    ):
        while len(rows) < count and (batch := next(batches, None)):
            visuals = translator.visuals(batch)
            for i, path in enumerate(translator.model.get_image_paths()[: count - len(rows)]):
                one = {label: pictures[i : i + 1] for label, pictures in visuals.items()}
                row = write_images(page, one, path, opt.aspect_ratio, background.run)
                save_deep(page, one, row.name, opt, kinds)
                rows.append(row)
                bar.update()
            note_resizing(page, opt, batch)
    for row in rows:
        row.add_to(page, opt.display_winsize)
    page.save()
    log.info("%d pictures translated; results page: %s", len(rows), page.path)


def check_apart(opt: Any) -> None:
    """Raise a ValueError if the results would be the input of the next test."""
    root, results = Path(opt.dataroot), Path(opt.results_dir).resolve()
    phase = [root / f"{opt.phase}{side}" for side in ("", "A", "B")]
    for folder in [root] if opt.dataset_mode == "single" else phase:
        if results.is_relative_to(folder.resolve()):
            raise ValueError(
                f"--results_dir {opt.results_dir}: lies in {folder}, which is what is translated; "
                f"choose another folder"
            )


def results_page(opt: Any) -> HTML:
    """Return the empty page RESULTS_DIR/NAME/PHASE_EPOCH/index.html, the options beside it."""
    tag = f"iter_{opt.load_iter}" if opt.load_iter else opt.epoch
    tag += "_ema" if opt.use_ema else ""
    folder = Path(opt.results_dir) / opt.name / f"{opt.phase}_{tag}"
    make_folder(folder, "--results_dir")
    page = HTML(folder, f"Experiment = {opt.name}, Phase = {opt.phase}, Epoch = {tag}")
    write_options(opt, folder, "test_opt")
    if note := statistics_and_noise(opt):
        page.add_note(note)
    return page


def statistics_and_noise(opt: Any) -> str:
    """Return what a reader must know of batch norm and dropout, if the network has them."""
    batch_norm, dropout = opt.norm in ("batch", "sync_batch"), not opt.no_dropout
    notes = []
    if batch_norm and opt.eval:
        notes.append("Batch norm uses its running statistics (--eval).")
    elif batch_norm:
        notes.append("Batch norm uses each picture's own statistics, as in §3.3 of the paper.")
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


def save_deep(
    page: HTML, visuals: dict[str, Tensor], stem: str, opt: Any, kinds: dict[str, Range]
) -> None:
    """Write outputs whose targets are deep pictures as such, in the values of their files, too."""
    for label, picture in visuals.items():
        side = label[-1] if label[-1] in "AB" else "B"  # of --model test: fake
        side = side if opt.direction == "AtoB" else "BA"["AB".index(side)]
        if side in kinds and label.startswith(("fake", "rec")):
            kind, low, high = kinds[side]
            values = picture[0].float().cpu().numpy()
            folder = make_folder(page.get_image_dir().parent / "deep", "--results_dir")
            write_deep(values, kind, low, high, folder / f"{stem}_{label}{kind.ending}")


def note_resizing(page: HTML, opt: Any, batch: dict[str, Any]) -> None:
    """Say once on the page that a picture does not have its file's size."""
    said = any(note.startswith(RESIZED) for note in page.notes)
    if said or "A_size" not in batch:
        return
    size = tuple(int(n[0]) for n in batch["A_size"])
    height, width = batch["A"].shape[-2:]
    if size != (width, height):
        page.add_note(
            f"{RESIZED}: --preprocess {opt.preprocess} brought the first from {size[0]}×{size[1]} "
            f"to {width}×{height}; --preprocess none keeps it."
        )


if __name__ == "__main__":
    raise SystemExit(run_command(main))
