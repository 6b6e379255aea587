"""Volumes and rasters translated to files, for scripts.translate."""

import logging
from pathlib import Path

from tqdm import tqdm

from data.measurements.folders import is_measured
from data.measurements.subject_input import SubjectInput
from translator import Translator
from util.files import make_folder

log = logging.getLogger(__name__)


def translate_measurements(
    translator: Translator, source: Path, out: Path, overwrite: bool
) -> list[Path]:
    """Translate a file, a DICOM series or a folder of them; return the files that were written.

    Of a run with several inputs, `source` holds their folders. `out` is a file, or a folder if
    `source` holds several or `out` has no ending. With --on_bad_image skip, inputs that cannot be
    translated are left out. ValueError for an output that exists.
    """
    subject_input: SubjectInput = translator.input
    files = subject_input.subjects_in(source) if source.is_dir() else {}
    single = not files
    if not single and is_measured(out.name) and not out.is_dir():
        raise ValueError(f"OUT {out}: is the name of a file, but IN holds {len(files)} subjects")
    if out.resolve() != source.resolve() and out.resolve().is_relative_to(source.resolve()):
        raise ValueError(f"OUT {out}: lies in IN, whose files are all translated; choose another")
    jobs = []
    for name, path in (files or {source.name: source}).items():
        try:
            subject = subject_input.open(path)
        except ValueError as error:
            raise_unless_skipped(error, translator)
            continue
        ending = subject_input.ending(subject)
        out_is_file = single and out.suffix and not out.is_dir()
        target = out if out_is_file else out / f"{subject.name if single else name}{ending}"
        try:
            subject_input.check_place(subject, target)
        except ValueError as error:
            raise ValueError(f"OUT {error}") from None
        if target.exists() and not overwrite:
            raise ValueError(f"OUT {target}: exists; --overwrite replaces it")
        jobs.append((path, target))
    for folder in {target.parent for _, target in jobs}:
        make_folder(folder, "OUT")
    written = []
    for path, target in tqdm(jobs, unit="file", disable=None):
        try:
            translator.save(path, target)
            written.append(target)
        except ValueError as error:
            raise_unless_skipped(error, translator)
    return written


def raise_unless_skipped(error: ValueError, translator: Translator) -> None:
    """Raise the error of a file, or with --on_bad_image skip only log it."""
    if translator.opt.on_bad_image != "skip":
        raise error
    log.warning("skipped: %s", error)
