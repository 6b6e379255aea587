"""The folder and the page of test.py's results: RESULTS_DIR/NAME/PHASE_EPOCH/index.html."""

from pathlib import Path
from typing import Any

from data.labels.class_names import named_classes
from util.checkpoint import saved_progress
from util.files import make_folder, run_folder
from util.html import HTML


def results_folder(opt: Any) -> Path:
    """Return RESULTS_DIR/NAME/PHASE_EPOCH."""
    return Path(opt.results_dir) / opt.name / f"{opt.phase}_{weights_tag(opt)}"


def weights_tag(opt: Any) -> str:
    """Return the name of the chosen weights: EPOCH or iter_N, with _ema for EMA weights."""
    return (f"iter_{opt.load_iter}" if opt.load_iter else opt.epoch) + "_ema" * opt.use_ema


def of_epoch(opt: Any) -> str:
    """Return " of epoch N" if the chosen weights are the best of a run that says which; else ""."""
    is_best = opt.epoch == "best" and not opt.load_iter
    epoch = saved_progress(run_folder(opt)).get("best_epoch") if is_best else 0
    return f" of epoch {epoch}" if epoch else ""


def results_page(opt: Any) -> HTML:
    """Return an empty page in the folder of the results."""
    folder = make_folder(results_folder(opt), "--results_dir")
    weights = weights_tag(opt) + of_epoch(opt)
    page = HTML(folder, f"{opt.name}: {opt.phase} images, weights {weights}")
    page.settings = opt.non_default_flags()
    page.classes = named_classes(opt) if opt.dataset_mode == "labels" else ()
    return page
