"""Two sets of images without pairs."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import draw, draw_pairs, draw_sets, refusal
from PIL import Image

from data import Loader, create_dataset
from data.transforms import to_tensor
from data.unaligned_dataset import UnalignedDataset
from options.test_options import TestOptions
from options.train_options import TrainOptions

WHOLE = ["--preprocess", "none", "--no_flip"]
SMALL = ["--load_size", "24", "--crop_size", "16", "--num_threads", "0", "--gpu_ids", "-1"]


def options(root: Path, *flags: Any, kind: type = TrainOptions) -> Any:
    args = ["--dataroot", root, "--dataset_mode", "unaligned", *SMALL, *flags]
    return kind().read(args)


def dataset(root: Path, *flags: Any, kind: type = TrainOptions) -> UnalignedDataset:
    return UnalignedDataset(options(root, *flags, kind=kind))


def names(item: dict[str, Any]) -> tuple[str, str]:
    return Path(item["A_paths"]).name, Path(item["B_paths"]).name


def one_pass(loader: Loader) -> list[tuple[str, str]]:
    return [
        (Path(a).name, Path(b).name)
        for batch in loader
        for a, b in zip(batch["A_paths"], batch["B_paths"], strict=True)
    ]


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """trainA with 3 images, trainB with 2; the same for val and test."""
    return draw_sets(tmp_path / "sets")


# Which images --------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [(3, 2), (2, 5), (1, 1)])
def test_it_is_as_long_as_the_longer_set_and_the_shorter_starts_over(tmp_path, counts):
    data = dataset(draw_sets(tmp_path / "x", counts), *WHOLE, "--serial_batches")
    assert len(data) == max(counts)
    assert [names(data[i]) for i in range(len(data))] == [
        (f"a{i % counts[0]}.png", f"b{i % counts[1]}.png") for i in range(max(counts))
    ]


def test_an_item_is_its_two_files(sets):
    item = dataset(sets, *WHOLE, "--serial_batches")[1]
    for side in "AB":
        path = sets / f"train{side}" / f"{side.lower()}1.png"
        assert item[f"{side}_paths"] == str(path)
        assert item[f"{side}_size"] == (80, 72)
        assert torch.equal(item[side], to_tensor(Image.open(path)))


def test_A_comes_in_order_and_B_at_random(tmp_path):
    data = dataset(draw_sets(tmp_path / "x", (4, 3)), *WHOLE)
    random.seed(0)
    drawn = [[names(data[i]) for i in range(4)] for _ in range(20)]
    assert all([a for a, _ in one] == [f"a{i}.png" for i in range(4)] for one in drawn)
    for i in range(4):
        assert {one[i][1] for one in drawn} == {f"b{n}.png" for n in range(3)}


def test_the_random_B_differs_between_epochs_and_repeats_by_seed(tmp_path):
    root = draw_sets(tmp_path / "x", (2, 6))

    def epochs(seed: int, threads: int = 0) -> list[list[tuple[str, str]]]:
        flags = ("--seed", seed, "--num_threads", threads, "--batch_size", 2)
        loader = create_dataset(options(root, *flags))
        return [one_pass(loader) for _ in range(3)]

    first = epochs(1)
    assert epochs(1) == epochs(1, threads=2) == first
    # Sorted: which pairs meet, whatever the loader's order.
    assert len({tuple(sorted(one)) for one in first + epochs(2)}) == 6


def test_serial_batches_give_the_same_pairs_every_epoch(sets):
    loader = create_dataset(options(sets, "--serial_batches"))
    expected = [("a0.png", "b0.png"), ("a1.png", "b1.png"), ("a2.png", "b0.png")]
    assert [one_pass(loader) for _ in range(2)] == [expected, expected]


def test_max_dataset_size_takes_the_first_of_both(sets):
    data = dataset(sets, "--max_dataset_size", 1)
    assert len(data) == 1 and names(data[0]) == ("a0.png", "b0.png")


def test_subfolders_are_read_sorted(sets):
    (sets / "trainB" / "a_sub").mkdir()
    draw((40, 30)).save(sets / "trainB" / "a_sub" / "z.JPG")
    data = dataset(sets, *WHOLE, "--serial_batches")
    found = [data[i]["B_paths"] for i in range(3)]
    assert found == [str(sets / "trainB" / name) for name in ("a_sub/z.JPG", "b0.png", "b1.png")]


def test_the_phase_chooses_the_folders(sets):
    item = dataset(sets, "--phase", "val", "--serial_batches")[0]
    assert item["A_paths"] == str(sets / "valA" / "a0.png")
    assert item["B_paths"] == str(sets / "valB" / "b0.png")


# Which pixels ----------------------------------------------------------------------------


def test_A_and_B_are_cropped_and_mirrored_each_on_its_own(tmp_path):
    for side in "AB":
        (tmp_path / f"train{side}").mkdir()
        draw((40, 30)).save(tmp_path / f"train{side}" / "same.png")
    data = dataset(tmp_path)
    items = [data[0] for _ in range(8)]
    assert all(item[side].shape == (3, 16, 16) for item in items for side in "AB")
    assert not all(torch.equal(item["A"], item["B"]) for item in items)


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
@pytest.mark.parametrize(("input_nc", "output_nc"), [(1, 3), (3, 1), (1, 1), (3, 3)])
def test_channels_follow_the_direction(sets, direction, input_nc, output_nc):
    flags = ["--direction", direction, "--input_nc", input_nc, "--output_nc", output_nc]
    item = dataset(sets, *WHOLE, *flags)[0]
    source, target = ("A", "B") if direction == "AtoB" else ("B", "A")
    for side, channels in ((source, input_nc), (target, output_nc)):
        image = Image.open(item[f"{side}_paths"]).convert("L" if channels == 1 else "RGB")
        assert torch.equal(item[side], to_tensor(image))


@pytest.mark.parametrize("flag", ["--input_nc", "--output_nc"])
@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_unsupported_channel_counts_are_refused(sets, flag, direction):
    refusal(lambda: dataset(sets, flag, 2, "--direction", direction), f"{flag} 2", "1 (grey)")


# Stitched pairs --------------------------------------------------------------------------


def test_a_stitched_folder_is_taken_as_two_sets_and_that_is_said(pairs, caplog):
    data = dataset(pairs, *WHOLE)
    (said,) = [r.getMessage() for r in caplog.records if r.name == "data.unaligned_dataset"]
    assert str(pairs / "train") in said and "two sets" in said
    assert len(data) == 3
    met = set()
    for item in (data[i % 3] for i in range(30)):
        met.add(names(item))
        for side, left in (("A", 0), ("B", 96)):
            half = Image.open(item[f"{side}_paths"]).crop((left, 0, left + 96, 80))
            assert torch.equal(item[side], to_tensor(half)) and item[f"{side}_size"] == (96, 80)
    assert any(a != b for a, b in met)


def test_two_folders_go_before_a_stitched_one(sets, caplog):
    draw_pairs(sets, count=4)
    assert len(dataset(sets, "--model", "cycle_gan")) == 3 and not caplog.records


def test_a_stitched_image_of_odd_width_is_named(tmp_path):
    (tmp_path / "train").mkdir()
    draw((41, 20)).save(tmp_path / "train" / "odd.png")
    refusal(lambda: dataset(tmp_path)[0], str(tmp_path / "train" / "odd.png"), "41 pixels wide")


# One side alone --------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "other"), ["AB", "BA"])
def test_at_test_time_one_side_is_enough(sets, side, other):
    for path in [*(sets / f"test{other}").iterdir()]:
        path.unlink()
    (sets / f"test{other}").rmdir()
    data = dataset(sets, kind=TestOptions)
    count = {"A": 3, "B": 2}[side]
    assert len(data) == count
    assert data[0].keys() == {side, f"{side}_paths", f"{side}_size"}
    found = [data[i][f"{side}_paths"] for i in range(count)]
    assert found == [str(sets / f"test{side}" / f"{side.lower()}{i}.png") for i in range(count)]


@pytest.mark.parametrize("side", "AB")
def test_training_wants_both_sides(sets, side):
    (sets / f"train{side}").rename(sets / "elsewhere")
    expected = (f"--dataroot {sets}", "trainA/ and trainB/", "found elsewhere/")
    refusal(lambda: dataset(sets), *expected)


# Mistakes --------------------------------------------------------------------------------


def test_missing_folders_say_what_is_expected_what_was_found_and_what_is_near(sets):
    refusal(lambda: dataset(sets.with_name("set")), "no such folder", f"did you mean {sets}?")
    refusal(lambda: dataset(sets, "--phase", "extra"), "extraA/ and extraB/", "testA/, testB/")
    refusal(
        lambda: dataset(sets, "--phase", "extra", kind=TestOptions), "extraA/ and extraB/", "valB/"
    )


@pytest.mark.parametrize("side", "AB")
def test_a_folder_without_images_is_named(sets, side):
    for path in (sets / f"train{side}").iterdir():
        path.unlink()
    refusal(lambda: dataset(sets), str(sets / f"train{side}"), "no images")


@pytest.mark.parametrize("side", "AB")
def test_a_image_smaller_than_the_crop_is_named(sets, side):
    path = sets / f"train{side}" / f"{side.lower()}0.png"
    draw((15, 40)).save(path)
    data = dataset(sets, "--preprocess", "crop", "--serial_batches")
    refusal(lambda: data[0], str(path), "15x40", "--crop_size 16")


@pytest.mark.parametrize("side", "AB")
def test_an_unreadable_file_is_named(sets, side):
    path = sets / f"train{side}" / f"{side.lower()}0.png"
    path.write_bytes(b"no image")
    refusal(lambda: dataset(sets, "--serial_batches")[0], str(path), "unknown format")
