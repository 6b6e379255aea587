"""What is wrong with label maps and their instance maps."""

import contextlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from data.checks.image_check import Finding
from data.files.image_files import BadImageError
from data.labels_dataset import LabelsDataset
from options.base_options import Options


def label_findings(asked: Iterable[Options]) -> tuple[set[str], list[Finding]]:
    """Return the files of label and instance maps, and what is wrong with items of label maps."""
    label_files: set[str] = set()
    findings = []
    for opt in asked:
        with contextlib.suppress(ValueError):  # `data_remarks` says it
            dataset = LabelsDataset(opt)
            label_files |= {*dataset.label_paths, *dataset.instance_paths} - {*dataset.image_paths}
            with ThreadPoolExecutor() as pool:
                findings += filter(
                    None, pool.map(partial(label_finding, dataset), range(len(dataset)))
                )
    return label_files, findings


def label_finding(dataset: LabelsDataset, index: int) -> Finding | None:
    """Return why an item of label maps cannot be used; None if it can, or `inspect` says why."""
    try:
        dataset.read(index)
    except BadImageError:
        return None
    except ValueError as error:
        files = dataset.paths(index).values()
        path = next(file for file in files if str(error).startswith(file))
        return Finding.of(path, error)
    return None
