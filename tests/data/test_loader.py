"""The loader: what an item depends on, worker processes, errors, validation, dropped-in files."""

import pickle
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import draw, draw_pairs, gone
from PIL import Image
from torch.utils.data import Dataset

import data
from data import Loader, create_dataset, create_validation_dataset
from data.transforms import to_tensor
from options.base_options import Options
from options.train_options import TrainOptions
from util import registry
from util.registry import find_class
from util.seeding import seed_everything

SMALL = ["--load_size", "24", "--crop_size", "16", "--gpu_ids", "-1", "--num_threads", "0"]


def options(root: Path | str, *flags: object) -> Options:
    return TrainOptions().read(["--dataroot", str(root), *SMALL, *map(str, flags)])


def contents(loader: Loader) -> list[tuple]:
    """One pass as plain values: the files and the pixels of each batch."""
    return [(batch["A_paths"], batch["A"].tolist(), batch["B"].tolist()) for batch in loader]


def global_states() -> tuple:
    _, words, *rest = np.random.get_state()
    return random.getstate(), words.tobytes(), rest, torch.get_rng_state().tolist()


class Noise(Dataset):
    """Items of nothing but randomness, from all three generators."""

    def __init__(self, size: int = 5):
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict:
        more = {"python": random.random(), "numpy": np.random.rand(), "index": index}
        return {"A": torch.rand(1, 2, 2), **more}


def noise(*flags: object, size: int = 5) -> Loader:
    return Loader(Noise(size), options("unused", *flags))


def drawn(loader: Loader) -> dict[int, tuple]:
    """One pass over noise, by index."""
    return {
        i: (batch["A"][n].numpy().tobytes(), batch["python"][n].item(), batch["numpy"][n].item())
        for batch in loader
        for n, i in enumerate(batch["index"].tolist())
    }


@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_batches_are_the_same_with_and_without_workers(pairs, start):
    plain = options(pairs, "--batch_size", 2)
    expected = [contents(loader) for loader in [create_dataset(plain)] for _ in range(2)]
    opt = Options(**{**vars(plain), "num_threads": 2})
    opt.defaults = plain.defaults
    loader = create_dataset(opt)
    loader.loader.multiprocessing_context = start
    assert loader.loader.num_workers > 0
    assert [contents(loader) for _ in range(2)] == expected
    assert expected[0] != expected[1]


@pytest.mark.parametrize(("sending", "without_workers"), [(60, True), (0, False)])
def test_this_process_takes_over_what_it_makes_sooner(pairs, monkeypatch, sending, without_workers):
    monkeypatch.setattr(data.loader, "TRANSFER_SECONDS", sending)
    flags = ["--batch_size", "2", "--num_threads"]
    alone, loader = (create_dataset(options(pairs, *flags, n)) for n in (0, 2))
    passes = [contents(loader)]
    workers = {worker.pid for worker in loader.loader._iterator._workers}
    passes += [contents(loader) for _ in range(2)]
    assert passes == [contents(alone) for _ in range(3)] and passes[0] != passes[1]
    assert loader.without_workers == without_workers and len(workers) == 2
    assert gone(workers, 15 if without_workers else 0) == without_workers


def test_an_item_does_not_depend_on_its_place_or_batch():
    shuffled = drawn(noise())
    assert drawn(noise("--serial_batches", "--batch_size", 2)) == shuffled
    fewer = drawn(noise("--max_dataset_size", 2))
    assert len(fewer) == 2 and fewer.items() < shuffled.items()


def test_items_differ_by_seed_epoch_and_index():
    loader = noise("--seed", 1)
    first, second, other = drawn(loader), drawn(loader), drawn(noise("--seed", 2))
    values = [v for one in (first, second, other) for item in one.values() for v in item]
    assert len(set(values)) == len(values) == 3 * 5 * 3


@pytest.mark.parametrize("workers", [0, 2])
def test_dropped_in_datasets_may_use_any_generator(workers):
    seed_everything(1)
    first = drawn(noise())
    seed_everything(2)
    assert drawn(noise("--num_threads", workers, "--batch_size", 3)) == first


def test_shuffled_orders_differ_between_epochs_and_seeds_and_repeat():
    def orders(seed: int) -> list[list[int]]:
        loader = noise("--seed", seed, size=20)
        return [list(drawn(loader)) for _ in range(3)]

    one, again, other = orders(1), orders(1), orders(2)
    assert one == again
    assert all(sorted(order) == list(range(20)) for order in one + other)
    assert len({tuple(order) for order in one + other}) == 6
    assert list(drawn(noise("--serial_batches", size=20))) == list(range(20))


@pytest.mark.parametrize("workers", [0, 2])
def test_set_epoch_reproduces_a_later_epoch_and_passes_count_on(workers):
    loader = noise("--num_threads", workers)
    passes = [drawn(loader) for _ in range(4)]
    resumed = noise("--num_threads", workers)
    resumed.set_epoch(3)
    assert [list(drawn(resumed).items()) for _ in range(2)] == [list(p.items()) for p in passes[2:]]
    resumed.set_epoch(1)
    assert drawn(resumed) == passes[0]


@pytest.mark.parametrize("workers", [0, 2])
def test_iterating_leaves_the_global_generators_alone(workers):
    loader = noise("--num_threads", workers)
    seed_everything(1234)
    before = global_states()
    assert len(drawn(loader)) == 5
    assert global_states() == before


@pytest.mark.parametrize("size", [1, 2])
def test_images_have_memory_of_their_own(size):
    class Grey(Noise):
        def __getitem__(self, index: int) -> dict:
            return {"A": torch.rand(1, 4, 4).expand(3, -1, -1)}  # which cannot be pinned

    for batch in Loader(Grey(), options("unused", "--batch_size", size)):
        assert batch["A"].is_contiguous() and batch["A"].shape[1:] == (3, 4, 4)


def test_last_short_batch_is_kept_and_len_counts_images():
    loader = noise("--batch_size", 2)
    assert [len(batch["A"]) for batch in loader] == [2, 2, 1] and len(loader) == 5
    assert len(noise("--max_dataset_size", 3)) == 3 and len(noise("--max_dataset_size", 9)) == 5


def test_an_error_in_a_worker_is_the_same_one_line(pairs):
    broken = pairs / "train" / "1.png"
    broken.write_bytes(broken.read_bytes()[:100])
    messages = set()
    for workers in (0, 2):
        with pytest.raises(ValueError) as error:
            contents(create_dataset(options(pairs, "--num_threads", workers)))
        messages.add(str(error.value))
    (message,) = messages
    assert str(broken) in message and "\n" not in message


@pytest.mark.parametrize("side", ["A", "B"])
def test_different_sizes_in_a_batch_are_refused_clearly(side):
    class Sizes(Noise):
        def __getitem__(self, index: int) -> dict:
            return {"A": torch.zeros(3, 4, 4), "B": torch.zeros(3, 4, 4)} | {
                side: torch.zeros(3, 4, 4 + index)
            }

    with pytest.raises(ValueError, match="--batch_size") as error:
        list(Loader(Sizes(2), options("unused", "--batch_size", 2)))
    assert "(3, 4, 4), (3, 4, 5)" in str(error.value) and "\n" not in str(error.value)
    assert len(list(Loader(Sizes(2), options("unused")))) == 2


def test_validation_reads_val_whole_unmirrored_and_in_order(pairs):
    loader = create_validation_dataset(options(pairs, "--batch_size", 2))
    for _ in range(2):
        batches = list(loader)
        names = [path for batch in batches for path in batch["A_paths"]]
        assert names == [str(pairs / "val" / f"{i}.png") for i in range(3)]
        for batch in batches:
            left = Image.open(batch["A_paths"][0]).crop((0, 0, 96, 80))
            expected = to_tensor(left.resize((16, 16), Image.Resampling.BICUBIC))
            assert torch.equal(batch["A"], expected[None])


def test_validation_takes_at_most_50(tmp_path):
    draw_pairs(tmp_path, count=1, size=(8, 8))
    for i in range(60):
        draw((16, 8)).save(tmp_path / "val" / f"{i}.png")
    assert len(create_validation_dataset(options(tmp_path))) == 50
    assert len(create_validation_dataset(options(tmp_path, "--max_dataset_size", 4))) == 4


def test_lack_of_validation_images_is_an_error(pairs):
    (pairs / "val").rename(pairs / "elsewhere")
    expected = r"--lr_policy plateau .*val/ .*found elsewhere/, test/, train/"
    with pytest.raises(ValueError, match=expected):
        create_validation_dataset(options(pairs, "--lr_policy", "plateau"))


def test_validation_has_the_value_ranges_of_the_training(tmp_path):
    for phase, top in (("train", 900), ("val", 300)):
        for side in "AB":
            (tmp_path / f"{phase}{side}").mkdir()
            values = np.linspace(0, top, 24 * 24, dtype=np.float32).reshape(24, 24)
            np.save(tmp_path / f"{phase}{side}" / "0.npy", values)
    rules = ["--range_A", "percentile", "--range_B", "10,20", "--input_nc", 1, "--output_nc", 1]
    opt = options(tmp_path, *rules, "--checkpoints_dir", tmp_path)
    ranges = create_dataset(opt).dataset.ranges
    assert 800 < ranges["A"][1] < 900 and ranges["B"] == (10, 20)
    assert create_validation_dataset(opt).dataset.ranges == ranges


def test_a_bad_first_file_is_left_out_like_any_other(pairs):
    (pairs / "train/0.png").write_bytes((pairs / "train/0.png").read_bytes()[:100])
    loader = create_dataset(options(pairs, "--on_bad_image", "skip"))
    assert {Path(path).name for batch in loader for path in batch["A_paths"]} == {"1.png", "2.png"}


def test_a_bad_image_of_a_validation_is_left_out_and_no_other_counts_twice(pairs):
    (pairs / "val/1.png").write_bytes(b"no image")
    loader = create_validation_dataset(options(pairs, "--on_bad_image", "skip"))
    assert [Path(b["A_paths"][0]).name for b in loader] == ["0.png", "2.png"]


def test_some_batches_leave_out_what_cannot_be_read(pairs):
    (pairs / "train/1.png").write_bytes(b"no image")
    found = create_dataset(options(pairs, "--on_bad_image", "skip")).some_batches(3)
    assert [Path(batch["A_paths"][0]).name for batch in found] == ["0.png", "2.png", "2.png"]


def test_the_process_that_loads_is_chosen_after_a_whole_pass(pairs, monkeypatch):
    """After a resume at the end of an epoch, few images are in the cache, and the next are not."""
    monkeypatch.setattr(data.loader, "TRANSFER_SECONDS", 60)
    loader = create_dataset(options(pairs, "--num_threads", 2))
    loader.set_epoch(1, done=2)
    assert len(list(loader)) == 1
    assert len(list(loader)) == 3 and not loader.without_workers
    assert len(list(loader)) == 3 and loader.without_workers


@pytest.fixture
def dropped(tmp_path, monkeypatch):
    """Add `bright_dataset.py` to `data/` as the registry sees it; nothing of it stays."""
    root = registry._ROOT
    (tmp_path / "models").symlink_to(root / "models")
    (tmp_path / "data").mkdir()
    for file in (root / "data").glob("*.py"):
        (tmp_path / "data" / file.name).symlink_to(file)
    (tmp_path / "data" / "bright_dataset.py").write_text(BRIGHT)
    monkeypatch.setattr(registry, "_ROOT", tmp_path)
    monkeypatch.setattr(data, "__path__", [*data.__path__, str(tmp_path / "data")])
    yield
    sys.modules.pop("data.bright_dataset", None)
    vars(data).pop("bright_dataset", None)


BRIGHT = """
import torch
from data.base_dataset import BaseDataset

class BrightDataset(BaseDataset):
    @staticmethod
    def modify_commandline_options(parser, is_train):
        parser.add_argument("--brightness", type=float)
        parser.set_defaults(batch_size=2)
        return parser

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return {"A": torch.full((3, 2, 2), self.opt.brightness)}
"""


def test_dropped_in_dataset_is_found_and_brings_its_options(dropped):
    flags = ("--brightness", 0.5, "--no_data_check")  # of one colour
    opt = options("unused", "--dataset_mode", "bright", *flags)
    batches = list(create_dataset(opt))
    assert [batch["A"].shape[0] for batch in batches] == [2, 1]
    assert all((batch["A"] == 0.5).all() for batch in batches)


def test_a_dataset_without_items_is_refused(dropped, monkeypatch):
    opt = options("unused", "--dataset_mode", "bright")
    monkeypatch.setattr(find_class("data", "bright", "--dataset_mode"), "__len__", lambda self: 0)
    with pytest.raises(ValueError, match="--dataset_mode bright: found no images for --phase"):
        create_dataset(opt)


def test_unknown_dataset_mode_lists_the_known_ones(dropped):
    with pytest.raises(ValueError, match="--dataset_mode brihgt: unknown") as error:
        options("unused", "--dataset_mode", "brihgt")
    assert all(name in str(error.value) for name in ("aligned", "bright", "single", "template"))


def test_template_items_are_grey_A_and_coloured_B_of_one_crop(tmp_path):
    draw((40, 30)).save(tmp_path / "x.png")
    flags = ["--dataset_mode", "template", "--preprocess", "crop", "--grey_contrast", 0.5]
    (batch,) = create_dataset(options(tmp_path, *flags))
    A, B = batch["A"][0], batch["B"][0]
    assert A.shape == B.shape == (3, 16, 16) and torch.equal(A[0], A[1])
    luma = (B * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(dim=0)
    assert (A[0] / 0.5 - luma).abs().max() < 2 / 255
    assert B.min() >= -1 and B.max() <= 1 and not torch.equal(B[0], B[1])
    assert batch["A_paths"] == batch["B_paths"] == [str(tmp_path / "x.png")]


MODES = ["aligned", "unaligned", "single", "colorization", "template"]


@pytest.mark.parametrize("mode", MODES)
def test_every_dataset_tells_its_files_without_reading_them(pairs: Path, mode: str) -> None:
    channels = ["--input_nc", 1, "--output_nc", 2] if mode == "colorization" else []
    opt = options(pairs, "--dataset_mode", mode, "--serial_batches", *channels)
    dataset = find_class("data", mode, "--dataset_mode")(opt)
    items = [dataset[i] for i in range(len(dataset))]
    by_side = dataset.files_by_side()
    assert by_side.keys() == ({"A"} if mode == "single" else {"A", "B"})
    for file in pairs.rglob("*.png"):
        file.unlink()
    told = [dataset.paths(i) for i in range(len(dataset))]
    assert told == [{k: v for k, v in item.items() if k.endswith("_paths")} for item in items]
    for side, files in by_side.items():
        assert sorted(files) == sorted({item[f"{side}_paths"] for item in told})


@pytest.mark.parametrize("mode", MODES)
def test_workers_that_are_spawned_can_be_handed_every_dataset(pairs: Path, mode: str) -> None:
    channels = ["--input_nc", 1, "--output_nc", 2] if mode == "colorization" else []
    opt = Options(**vars(options(pairs, "--dataset_mode", mode, "--serial_batches", *channels)))
    loader = Loader(find_class("data", mode, "--dataset_mode")(opt), opt)
    # What Windows and macOS send to a worker.
    dataset, collate = pickle.loads(pickle.dumps((loader.loader.dataset, loader.loader.collate_fn)))
    (ours, _), read = loader.loader.dataset[1, 0], dataset[1, 0]
    theirs, _ = read
    assert torch.equal(ours["A"], theirs["A"]) and ours["A_paths"] == theirs["A_paths"]
    batch, bad = collate([read])
    assert batch["A"].shape == (1, *ours["A"].shape) and not bad
