"""Prepared images are read once, shared by all workers, and exactly those of the files."""

import errno
import gc
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import draw, draw_pairs, draw_sets, refusal
from PIL import Image

import data.image_cache
from data import Loader, create_dataset
from data.dataset_files import all_files
from data.files.image_types import ImageArray
from data.image_cache import ImageCache
from data.transforms import PREPROCESS
from options.base_options import Options
from options.train_options import TrainOptions

SMALL = ["--load_size", "24", "--crop_size", "16", "--gpu_ids", "-1", "--num_threads", "0"]
KINDS = ["auto", "ram", "disk"]


def loader(root: Path, *flags: Any) -> Loader:
    opt = TrainOptions().read(["--dataroot", str(root), *SMALL, *map(str, flags)])
    return create_dataset(Options(**vars(opt)))  # which can be handed to workers


def epochs(loader: Loader, count: int = 3) -> list[list[tuple]]:
    return [
        [(b["A_paths"], b["A"].tolist(), b["B"].tolist() if "B" in b else 0) for b in loader]
        for _ in range(count)
    ]


def first_file(loader: Loader) -> str:
    return all_files(loader.dataset.files_by_side())[0]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set of every mode, read from the folder above it."""
    monkeypatch.chdir(tmp_path)
    draw_sets(draw_pairs(tmp_path / "data"))
    return tmp_path / "data"


@pytest.mark.parametrize("preprocess", PREPROCESS)
@pytest.mark.parametrize("mode", ["aligned", "unaligned", "colorization", "single"])
def test_images_are_those_without_a_cache(root, mode, preprocess):
    flags = ["--dataset_mode", mode, "--preprocess", preprocess]
    flags += ["--input_nc", 1, "--output_nc", 2] if mode == "colorization" else []
    expected = epochs(loader(root, *flags, "--cache", "none"))
    assert expected[0] != expected[1] or preprocess == "none"
    for kind in KINDS:
        cached = loader(root, *flags, "--cache", kind)
        assert epochs(cached) == expected
        assert cached.dataset.cache.get(first_file(cached))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_share_what_one_of_them_has_read(root, method, kind):
    flags = ["--num_threads", 2, "--max_dataset_size", 3]
    expected = epochs(loader(root, "--cache", "none"))
    cached = loader(root, *flags, "--cache", kind)
    cached.loader.multiprocessing_context = method
    first = epochs(cached, 1)
    shutil.rmtree(root)
    assert first + epochs(cached, 2) == expected


def test_deep_images_keep_their_values_and_range(tmp_path):
    for side, dtype in (("A", np.uint16), ("B", np.float32)):
        (tmp_path / f"train{side}").mkdir()
        for i in range(2):
            values = np.random.default_rng(i).uniform(0, 900, (30, 40, 2)).astype(dtype)
            np.save(tmp_path / f"train{side}" / f"{i}.npy", values)
    flags = ["--input_nc", 2, "--output_nc", 2, "--range_B", "percentile", "--checkpoints_dir"]
    expected = epochs(loader(tmp_path, *flags, tmp_path / "1", "--cache", "none"))
    assert epochs(loader(tmp_path, *flags, tmp_path / "2", "--cache", "ram")) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left(root, kind):
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    cached = loader(root, "--cache", kind)
    epochs(cached, 1)
    assert len(os.listdir("/proc/self/fd")) > before
    assert not any(path.is_file() for path in Path("checkpoints").rglob("*"))
    del cached
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def test_auto_leaves_a_quarter_of_the_memory_free(root, monkeypatch):
    expected = epochs(loader(root, "--cache", "none"))
    monkeypatch.setattr(data.image_cache, "free_memory", lambda: 0.2)
    full, asked = loader(root), loader(root, "--cache", "ram")
    assert epochs(full) == epochs(asked) == expected
    file = first_file(full)
    assert full.dataset.cache.get(file) is None and asked.dataset.cache.get(file)
    monkeypatch.setattr(data.image_cache, "free_memory", lambda: 0.3)
    epochs(full, 1)
    assert full.dataset.cache.get(file)


def test_without_room_it_goes_on_without(root, monkeypatch, caplog):
    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    expected = epochs(loader(root, "--cache", "none"))
    monkeypatch.setattr(os, "pwrite", full)
    assert epochs(loader(root, "--cache", "disk")) == expected
    assert caplog.text.count("no room for more images (No space left") == 1


def test_large_images_are_read_each_time(root, monkeypatch):
    expected = epochs(loader(root, "--cache", "none"))
    monkeypatch.setattr(data.image_cache, "SLOT", 3000)
    cached = loader(root, "--cache", "ram")
    assert epochs(cached) == expected and not cached.dataset.cache.get(first_file(cached))


def test_the_cache_of_very_many_files_is_no_larger_than_a_file_may_be():
    cache = ImageCache([str(number) for number in range(2**19)])
    assert os.fstat(cache.descriptor).st_size <= 2**43 and cache.slot == 2**24
    images = [ImageArray(np.full((4, 5, 3), 7, np.uint8))]
    cache.put("9", (images, (10, 8)))
    ((found,), size) = cache.get("9")
    assert size == (10, 8) and (found.array() == 7).all() and cache.get("8") is None


def test_what_cannot_be_had_is_refused_only_if_asked_for(root, monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    for kind in ("ram", "disk"):
        refusal(lambda kind=kind: loader(root, "--cache", kind), f"--cache {kind}", "Linux")
    assert loader(root).dataset.cache is None


def test_a_file_that_cannot_be_read_is_not_kept(root):
    flags = ["--cache", "ram", "--on_bad_image", "skip"]
    cached = loader(root, *flags)
    good = (root / "train/1.png").read_bytes()
    (root / "train/1.png").write_bytes(b"bad")
    assert epochs(cached, 1)
    (root / "train/1.png").write_bytes(good)
    assert epochs(cached, 2) == epochs(loader(root, "--cache", "none"))[1:]


def test_images_that_are_cut_never_change_what_is_kept(root):
    cached = loader(root, "--cache", "ram", "--preprocess", "none", "--no_flip")
    for batch in cached:
        batch["A"].zero_()
    again = [batch["A"].abs().sum() for batch in cached]
    assert all(again)
    left = np.array(draw((96, 80)))  # of the same pixels as the file's image
    kept, size = cached.dataset.cache.get(str(root / "train/0.png"))
    assert size == (96, 80) and kept[0].array().shape == left.shape
    assert np.array_equal(kept[0].array(), np.array(Image.open(root / "train/0.png"))[:, :96])


def test_a_cache_on_disk_leaves_room_for_checkpoints(root, monkeypatch, caplog):
    monkeypatch.setattr(data.image_cache, "free_on_disk", lambda descriptor: 10**9)
    cached = loader(root, "--cache", "disk")
    assert len(epochs(cached, 1)[0]) == len(cached)
    assert cached.dataset.cache.get(first_file(cached)) is None
    assert caplog.text.count("no room for more images") == 1
