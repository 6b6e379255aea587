"""Volumes and rasters translated to files, for scripts.translate."""

from pathlib import Path

from tqdm import tqdm

from data.measurements.dicom import holds_series
from data.measurements.folders import files_in
from data.measurements.subject_input import SubjectInput
from translator import Translator


def translate_measurements(
    translator: Translator, source: Path, out: Path, overwrite: bool
) -> list[Path]:
    """Translate a file, a DICOM series or a folder of them; return the files that were written.

    `out` is a file, or a folder if `source` holds several or `out` has no ending. ValueError for
    an output that exists, or a run with several inputs.
    """
    taken: SubjectInput = translator.input
    if len(taken.sides) > 1:
        raise ValueError(
            f"IN {source}: the run has {len(taken.sides)} inputs; translate with test.py, or in "
            f"Python: t((file_A1, file_A2))"
        )
    one = source.is_file() or holds_series(source)
    files = {source.name: source} if one else files_in(source)
    jobs = []
    for name, path in files.items():
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
    for path, target in tqdm(jobs, unit="file", disable=None):
        target.parent.mkdir(parents=True, exist_ok=True)
        translator.save(path, target)
    return [target for _, target in jobs]
