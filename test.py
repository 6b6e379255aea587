"""Translate pictures with a trained model and write a page of results.

    python test.py --name facades

takes the data and the networks from the run `checkpoints/facades`; flags override them.
"""

import logging
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data import create_dataset
from options.test_options import TestOptions
from translator import Translator, infer_options
from util.html import HTML
from util.util import make_folder, run_command, setup_logging, write_options
from util.visualizer import save_images

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    """Translate the pictures that the flags choose; ValueError for a user's mistake."""
    setup_logging()
    opt = TestOptions(infer_options).parse(argv)
    dataset = create_dataset(opt)
    translator = Translator(opt)
    log.info("%s", opt.text())

    page = results_page(opt)
    count = min(len(dataset), opt.num_test)
    for batch in tqdm(islice(dataset, count), total=count, unit="img", disable=None):
        visuals = translator.visuals(batch)
        paths = translator.model.get_image_paths()
        save_images(page, visuals, paths, opt.aspect_ratio, opt.display_winsize)
        note_resizing(page, opt, batch)
    page.save()
    log.info("%d pictures translated; results page: %s", count, page.path)


def results_page(opt: Any) -> HTML:
    """Return the empty page RESULTS_DIR/NAME/PHASE_EPOCH/index.html, the options beside it."""
    tag = f"iter_{opt.load_iter}" if opt.load_iter else opt.epoch
    folder = Path(opt.results_dir) / opt.name / f"{opt.phase}_{tag}"
    make_folder(folder, "--results_dir")
    page = HTML(folder, f"Experiment = {opt.name}, Phase = {opt.phase}, Epoch = {tag}")
    write_options(opt, folder, "test_opt")
    page.add_note(_statistics_and_noise(opt))
    return page


def _statistics_and_noise(opt: Any) -> str:
    if opt.eval:
        return "--eval: batch norm uses its running statistics, dropout is off."
    own = "As in §3.3 of the paper, batch norm uses each picture's own statistics"
    if opt.dropout_at_test == "off":
        return f"{own}; dropout is off (--dropout_at_test off)."
    return (
        f"{own} and dropout stays on, its noise drawn from --seed {opt.seed} and the file's name; "
        f"--dropout_at_test off switches dropout off, --eval both."
    )


def note_resizing(page: HTML, opt: Any, batch: dict[str, Any]) -> None:
    """Say once on the page that a picture does not have its file's size."""
    if page.notes[1:] or "A_size" not in batch:
        return
    size = tuple(int(n) for n in batch["A_size"])
    height, width = batch["A"].shape[-2:]
    if size != (width, height):
        page.add_note(
            f"Pictures do not have their files' size: --preprocess {opt.preprocess} brought the "
            f"first from {size[0]}×{size[1]} to {width}×{height}; --preprocess none keeps it."
        )


if __name__ == "__main__":
    raise SystemExit(run_command(main))
