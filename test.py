"""Translate images with a trained model and write a page of results.

    python test.py --name facades

reads the options and networks of the run `checkpoints/facades`; flags override the options.
"""

import contextlib
import logging
from collections.abc import Sequence

import util.installed  # noqa: F401  (names missing packages in one line)
from data import create_dataset
from inference.pages import results_page
from inference.results import (
    add_notes,
    check_images_are_chosen,
    check_results_folder,
    write_results,
)
from inference.shards import Share, show_finished
from translator import Translator, run_options
from util.command import run_command, setup_logging, words_of
from util.device import tune_malloc
from util.distributed import launch
from util.files import write_options

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    """Translate images and write the page; ValueError for a user's mistake."""
    setup_logging()
    tune_malloc()
    refuse_torchrun()
    opt = run_options(words_of(argv), batches=True)
    check_images_are_chosen(opt)
    if opt.page_only:
        show_finished(opt)
        return
    translator = Translator(opt)  # first, so that a missing run fails before images are drawn
    check_results_folder(opt)
    dataset = create_dataset(opt)
    log.info("%s", opt.text())

    page = results_page(opt)
    share = Share(opt, page, dataset, translator.model.nets)
    write_options(opt, page.web_dir, "test_opt")
    add_notes(opt, page)
    if opt.num_shards:
        done = write_results(opt, translator, dataset, page, share)
        log.info("%s", share.describe(done))
        return
    try:
        done = write_results(opt, translator, dataset, page, share)
    except BaseException:
        with contextlib.suppress(Exception):
            share.save_page()
        raise
    share.save_page()
    log.info("%s; results page: %s", share.describe(done), page.path)


def refuse_torchrun() -> None:
    """Raise ValueError if torchrun started this process; only one rank reports it."""
    if launch.started_by_torchrun():
        why = "is for train.py; use test.py --num_shards N --shard_id I to split the images"
        with launch.process_group():  # so that only one rank reports the error
            raise ValueError(f"torchrun: {why}")


if __name__ == "__main__":
    raise SystemExit(run_command(main))
