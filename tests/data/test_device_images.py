"""data/device_images.py: a device makes the items that the CPU makes, or leaves them to it."""

import numpy as np
import pytest
import torch
from conftest import draw
from PIL import Image
from torch import Tensor

from data import Loader, create_dataset
from data.aligned_dataset import AlignedDataset
from data.device_images import SHARE, DeviceCache, on_device
from options.train_options import TrainOptions

CPU = torch.device("cpu")
FLAGS = ["--load_size", "24", "--crop_size", "16", "--gpu_ids", "-1", "--num_threads", "0"]


@pytest.fixture
def sides(tmp_path):
    """A folder of pairs in two folders, of which B is grey."""
    for i in range(3):
        for side, mode in (("trainA", "RGB"), ("trainB", "L")):
            path = tmp_path / "sides" / side / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            draw((40, 30), seed=i).convert(mode).save(path)
    return tmp_path / "sides"


def loader(root, *flags: object) -> Loader:
    return create_dataset(TrainOptions().read(["--dataroot", root, *FLAGS, *flags]))


def passes(found: Loader, count: int = 3) -> list[list[dict[str, object]]]:
    return [[*found] for _ in range(count)]


def equal(one: object, other: object) -> bool:
    return torch.equal(one, other) if isinstance(one, Tensor) else str(one) == str(other)


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--batch_size", 2],
        ["--preprocess", "none"],
        ["--range_A", "10,200", "--output_nc", 1],
        ["--dataset_mode", "unaligned", "--serial_batches"],
        ["--cache", "ram", "--num_threads", 2],
    ],
)
@pytest.mark.parametrize("kind", ["stitched", "two folders"])
def test_a_device_makes_the_items_of_the_cpu(pairs, sides, kind, flags):
    root = pairs if kind == "stitched" else sides
    flags = [*flags, *(["--output_nc", 1] if kind == "two folders" else [])]
    plain, moved = loader(root, *flags), loader(root, *flags)
    moved.keep_on(CPU)
    expected = passes(plain)
    for number, (found, wanted) in enumerate(zip(passes(moved), expected, strict=True)):
        for one, other in zip(found, wanted, strict=True):
            assert one.keys() == other.keys() and all(equal(one[k], other[k]) for k in one)
        assert not number or isinstance(moved.dataset.cache, DeviceCache)
    assert moved.without_workers
    assert any(not torch.equal(a["A"], b["A"]) for a, b in zip(*expected[:2], strict=True))


def test_unpaired_images_move_once_all_are_cached(sides):
    flags = ["--dataset_mode", "unaligned", "--output_nc", 1]  # B is drawn at random
    plain, moved = loader(sides, *flags), loader(sides, *flags)
    moved.keep_on(CPU)
    for _ in range(8):
        for one, other in zip(moved, plain, strict=True):
            assert all(equal(one[k], other[k]) for k in one)
    assert isinstance(moved.dataset.cache, DeviceCache)


class Own(AlignedDataset):
    """A user's data set, which may do anything with the images."""


def test_other_images_stay(pairs, sides, monkeypatch):
    def moves(root, *flags: object) -> bool:
        found = loader(root, *flags)
        found.keep_on(CPU)
        passes(found, 2)
        return isinstance(found.dataset.cache, DeviceCache)

    assert moves(pairs)
    for flags in (["--cache", "none"], ["--cache", "disk"], ["--label_aug", 0.01]):
        assert not moves(pairs, *flags), flags
    Image.fromarray(np.full((30, 40), 30000, np.uint16)).save(sides / "trainB" / "0.png")
    assert not moves(sides, "--output_nc", 1)
    monkeypatch.setattr("data.find_class", lambda *args: Own)
    assert not moves(pairs)


def test_images_move_only_if_all_of_them_are_cached_and_have_room(pairs, monkeypatch):
    dataset = loader(pairs).dataset
    files = dataset.files_for_device()
    assert on_device(None, files, CPU) is on_device(dataset.cache, [], CPU) is None
    for index in range(len(dataset) - 1):
        dataset[index]
    assert on_device(dataset.cache, files, CPU) is None
    dataset[len(dataset) - 1]
    found = on_device(dataset.cache, files, CPU)
    needed = sum(image.pixels.nbytes for file in files for image in found.get(file)[0])

    class Gpu:
        type = "cuda"

    for free, fits in ((needed / SHARE - 1, False), (needed / SHARE + 1, True)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 0))
        monkeypatch.setattr(Tensor, "to", lambda self, *args, **more: self)
        assert (on_device(dataset.cache, files, Gpu()) is not None) == fits


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_makes_the_items_of_the_cpu(pairs):
    plain, moved = loader(pairs), loader(pairs)
    moved.keep_on(torch.device("cuda:0"))
    for number, (found, wanted) in enumerate(zip(passes(moved), passes(plain), strict=True)):
        for one, other in zip(found, wanted, strict=True):
            assert one["A"].is_cuda == bool(number)
            assert torch.equal(one["A"].cpu(), other["A"])
            assert torch.equal(one["B"].cpu(), other["B"])
