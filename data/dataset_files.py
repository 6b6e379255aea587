"""The files of a dataset's items, also of datasets that users have written."""

from collections.abc import Mapping
from typing import Any

from torch.utils.data import Dataset

from data.base_dataset import BaseDataset
from util.hashes import hash_files


def all_files(files_by_side: dict[str, list[str]]) -> list[str]:
    """Return the files of all sides, sorted, without repetition."""
    return sorted({path for files in files_by_side.values() for path in files})


def paths_of(dataset: Dataset, index: int) -> dict[str, str]:
    """Return `dataset.paths(index)`; read the item if the dataset lacks that method.

    Datasets that do not derive from BaseDataset lack it; datasets written for the original
    repository may use the name for an attribute.
    """
    paths = getattr(dataset, "paths", None)
    return paths(index) if callable(paths) else BaseDataset.paths(dataset, index)


def tells_paths(dataset: Dataset) -> bool:
    """Return whether `paths_of` knows the files without reading the item."""
    paths_method = getattr(type(dataset), "paths", BaseDataset.paths)
    return paths_method is not BaseDataset.paths and callable(getattr(dataset, "paths", None))


def input_hash(item: Mapping[str, Any]) -> str:
    """Return the hash of the contents of an item's files, from an item or its `paths`.

    Files are those of the keys that end in _paths; "" is none. "" if a value is not a readable
    file.
    """
    files = (str(item[key]) for key in sorted(item) if key.endswith("_paths") and item[key] != "")
    return hash_files(dict.fromkeys(files))
