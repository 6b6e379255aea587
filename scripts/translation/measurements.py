"""Volumes and rasters translated to files, for scripts.translate."""

from pathlib import Path

from tqdm import tqdm

from data.measurements.folders import is_measured
from data.measurements.subject_input import SubjectInput
from translator import Translator
from util.files import make_folder


def translate_measurements(
    translator: Translator, source: Path, out: Path, overwrite: bool
) -> list[Path]:
    """Translate a file, a DICOM series or a folder of them; return the files that were written.

    Of a run with several inputs, `source` holds their folders. `out` is a file, or a folder if
    `source` holds several or `out` has no ending. ValueError for an output that exists.
    """
    taken: SubjectInput = translator.input
    files = taken.subjects_in(source) if source.is_dir() else {}
    one = not files
    if not one and is_measured(out.name) and not out.is_dir():
        raise ValueError(f"OUT {out}: is the name of a file, but IN holds {len(files)} subjects")
    jobs = []
    for name, path in (files or {source.name: source}).items():
        subject = taken.open(path)
        ending = taken.ending(subject)
        whole = one and out.suffix and not out.is_dir()
        target = out if whole else out / f"{subject.name if one else name}{ending}"
        try:
            taken.check_place(subject, target)
        except ValueError as error:
            raise ValueError(f"OUT {error}") from None
        if target.exists() and not overwrite:
            raise ValueError(f"OUT {target}: exists; --overwrite replaces it")
        jobs.append((path, target))
    for folder in {target.parent for _, target in jobs}:
        make_folder(folder, "OUT")
    for path, target in tqdm(jobs, unit="file", disable=None):
        translator.save(path, target)
    return [target for _, target in jobs]
