"""Pairs side by side in one file, or in two folders."""

import shutil
from pathlib import Path

import pytest
import torch
from conftest import draw, draw_pairs, refusal
from PIL import Image

from data import create_validation_dataset
from data.aligned_dataset import AlignedDataset
from data.transforms import to_tensor
from options.test_options import TestOptions
from options.train_options import TrainOptions

WHOLE = ["--preprocess", "none", "--no_flip"]
SMALL = ["--load_size", "24", "--crop_size", "16"]


def dataset(root: Path, *flags: str) -> AlignedDataset:
    args = ["--dataroot", str(root), "--dataset_mode", "aligned", *SMALL, *flags]
    return AlignedDataset(TrainOptions().read(args))


def save(path: Path, size: tuple[int, int] = (20, 18), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(size, seed).save(path)
    return path


def two_folders(root: Path) -> Path:
    save(root / "trainA" / "one.png", seed=1)
    save(root / "trainB" / "one.bmp", seed=2)
    save(root / "trainA" / "sub" / "two.tif", seed=3)
    save(root / "trainB" / "sub" / "two.PNG", seed=4)
    return root


def test_A_is_the_left_half_and_B_the_right(pairs):
    data = dataset(pairs, *WHOLE)
    assert len(data) == 3
    for i, item in enumerate(data[i] for i in range(3)):
        path = str(pairs / "train" / f"{i}.png")
        stitched = Image.open(path)
        assert torch.equal(item["A"], to_tensor(stitched.crop((0, 0, 96, 80))))
        assert torch.equal(item["B"], to_tensor(stitched.crop((96, 0, 192, 80))))
        assert item["A_paths"] == item["B_paths"] == path
        assert item["A_size"] == (96, 80)


def test_the_phase_chooses_the_folder(pairs):
    item = dataset(pairs, *WHOLE, "--phase", "val")[0]
    assert item["A_paths"] == str(pairs / "val" / "0.png")


@pytest.mark.parametrize("preprocess", ["resize_and_crop", "crop", "scale_width_and_crop"])
def test_both_halves_share_crop_and_flip(pairs, preprocess):
    data = dataset(pairs, "--preprocess", preprocess)
    crops = set()
    for _ in range(8):
        item = data[0]
        assert item["A"].shape == (3, 16, 16)
        # B is A inverted; bicubic rounding may differ by one of 255 levels.
        assert (item["A"] + item["B"]).abs().max() < 2.1 / 255
        crops.add(item["A"].numpy().tobytes())
    assert len(crops) > 1


def test_direction_leaves_A_left_and_B_right(pairs):
    one, other = (dataset(pairs, *WHOLE, "--direction", d)[0] for d in ("AtoB", "BtoA"))
    assert torch.equal(one["A"], other["A"]) and torch.equal(one["B"], other["B"])


def test_max_dataset_size_takes_the_first(pairs, tmp_path):
    assert len(dataset(pairs, "--max_dataset_size", "2")) == 2
    data = dataset(two_folders(tmp_path), "--max_dataset_size", "1")
    assert [Path(path).name for path in data.A_paths + data.B_paths] == ["one.png", "one.bmp"]


def test_two_folders_pair_by_stem_with_any_extension_and_subfolder(tmp_path):
    data = dataset(two_folders(tmp_path), *WHOLE)
    assert len(data) == 2
    for item, name, seeds in ((data[0], "one", (1, 2)), (data[1], "two", (3, 4))):
        for side, seed in zip("AB", seeds, strict=True):
            assert Path(item[f"{side}_paths"]).stem == name
            assert torch.equal(item[side], to_tensor(draw((20, 18), seed)))
        assert item["A_size"] == (20, 18)


def test_two_folders_share_crop_and_flip(tmp_path):
    for side in "AB":
        save(tmp_path / f"train{side}" / "same.png", size=(40, 30))
    data = dataset(tmp_path)
    drawn = [data[0] for _ in range(8)]
    assert all(torch.equal(item["A"], item["B"]) for item in drawn)
    assert len({item["A"].numpy().tobytes() for item in drawn}) > 1


def test_stitched_folder_goes_before_two_folders(pairs):
    two_folders(pairs)
    assert len(dataset(pairs)) == 3


@pytest.mark.parametrize(("side", "other"), ["AB", "BA"])
def test_image_without_partner_is_named(tmp_path, side, other):
    alone = save(two_folders(tmp_path) / f"train{side}" / "sub" / "alone.png")
    refusal(lambda: dataset(tmp_path), str(alone), "sub/alone.*", f"train{other}", "1 ")


def test_equal_stems_in_one_folder_are_named(tmp_path):
    twin = save(two_folders(tmp_path) / "trainA" / "one.jpg")
    refusal(lambda: dataset(tmp_path), str(twin), str(tmp_path / "trainA" / "one.png"))


def test_odd_width_is_refused_by_name(tmp_path):
    path = save(tmp_path / "train" / "odd.png", size=(41, 20))
    refusal(lambda: dataset(tmp_path)[0], str(path), "41 pixels wide", "trainA/")


@pytest.mark.parametrize("content", [b"", b"no image\n"])
def test_unreadable_file_is_named(tmp_path, content):
    path = save(tmp_path / "train" / "broken.png")
    path.write_bytes(content)
    refusal(lambda: dataset(tmp_path)[0], str(path))


@pytest.mark.parametrize("preprocess", ["crop", "scale_width", "scale_width_and_crop", "none"])
def test_images_of_different_sizes_need_resizing(tmp_path, preprocess):
    A = save(tmp_path / "trainA" / "x.png", size=(40, 30))
    B = save(tmp_path / "trainB" / "x.png", size=(40, 32))
    data = dataset(tmp_path, "--preprocess", preprocess)
    refusal(lambda: data[0], str(A), "40x30", str(B), "40x32", "resize_and_crop")
    item = dataset(tmp_path)[0]
    assert item["A"].shape == item["B"].shape == (3, 16, 16) and item["A_size"] == (40, 30)


def test_image_smaller_than_the_crop_is_named(tmp_path):
    path = save(tmp_path / "train" / "small.png", size=(28, 20))
    refusal(lambda: dataset(tmp_path, "--preprocess", "crop")[0], str(path), "--crop_size 16")


def test_missing_dataroot_names_the_nearest_folder_and_the_expected_tree(tmp_path):
    draw_pairs(tmp_path / "facades", count=1)
    (tmp_path / "zebras").mkdir()
    absent = tmp_path / "facade"
    refusal(lambda: dataset(absent), f"--dataroot {absent}", str(tmp_path / "facades"), "train/")


def test_missing_dataroot_without_neighbours_still_says_what_is_expected(tmp_path):
    absent = tmp_path / "no" / "where"
    refusal(lambda: dataset(absent), f"--dataroot {absent}", "train/", "trainA/", "trainB/")


def test_missing_phase_says_what_was_found_and_what_is_expected(tmp_path):
    save(tmp_path / "trainA" / "x.png")
    save(tmp_path / "loose.png")
    expected = ("val/", "valA/", "valB/", "found trainA/, 1 images")
    refusal(lambda: dataset(tmp_path, "--phase", "val"), f"--dataroot {tmp_path}", *expected)


def test_missing_phase_says_the_nearest_fix(pairs, tmp_path):
    refusal(lambda: dataset(pairs / "train"), "found 3 images", f"--dataroot {pairs}")
    refusal(lambda: dataset(pairs, "--phase", "extra"), "--phase train")
    loose = draw_pairs(tmp_path / "loose") / "train"
    loose = loose.rename(tmp_path / "loose" / "mine")
    refusal(lambda: dataset(loose), f"move them into {loose / 'train'}")


@pytest.mark.parametrize(
    ("folders", "phase", "kind", "fix"),
    [
        (["train", "validation"], "val", TestOptions, "; try --phase validation"),
        (["train", "val"], "validation", TestOptions, "; try --phase val"),
        (["train", "val"], "test", TestOptions, "; try --phase val"),
        (["train"], "test", TestOptions, "; try --phase train, whose images G has learnt"),
        (["test", "training"], "train", TrainOptions, "; try --phase training"),
        (["test"], "train", TrainOptions, "found test/"),  # which is not for training
        (["trainA"], "train", TrainOptions, "trainB is missing"),
        (["trainB"], "train", TrainOptions, "trainA is missing"),
    ],
)
def test_a_phase_that_is_there_is_proposed(tmp_path, folders, phase, kind, fix):
    drawn = draw_pairs(tmp_path / "drawn") / "train"
    for folder in folders:
        shutil.copytree(drawn, tmp_path / "data" / folder)
    opt = kind().read(["--dataroot", str(tmp_path / "data"), "--phase", phase])
    with pytest.raises(ValueError) as error:
        AlignedDataset(opt)
    assert str(error.value).endswith(fix)


def test_folders_of_a_validation_are_to_be_renamed(tmp_path):
    draw_pairs(tmp_path)
    (tmp_path / "val").rename(tmp_path / "validation")
    opt = TrainOptions().read(["--dataroot", str(tmp_path), *SMALL])
    moves = f"rename {tmp_path}/validation to {tmp_path}/val"
    refusal(lambda: create_validation_dataset(opt), "--val_freq", moves)
    for side in "AB":
        save(tmp_path / f"valid{side}" / "1.png")
    shutil.rmtree(tmp_path / "validation")
    moves = f"{tmp_path}/validA to {tmp_path}/valA and {tmp_path}/validB to {tmp_path}/valB"
    refusal(lambda: create_validation_dataset(opt), moves)


def test_training_images_are_not_to_be_renamed_for_a_validation(tmp_path):
    for side in "AB":
        save(tmp_path / f"train{side}" / "1.png")
    opt = TrainOptions().read(["--dataroot", str(tmp_path), *SMALL])
    with pytest.raises(ValueError, match="move some of the training images there, or leave these"):
        create_validation_dataset(opt)


def test_two_folders_of_other_names_are_to_be_renamed(tmp_path):
    for folder in ("drawings", "photos"):
        save(tmp_path / folder / "1.png")
    said = "drawings/ and photos/ hold pairs: rename the folder of inputs to"
    refusal(lambda: dataset(tmp_path), f"{said} {tmp_path}/trainA and that of targets")


def test_folders_that_differ_in_case_are_to_be_renamed(tmp_path):
    for side in "AB":
        save(tmp_path / f"Train{side}" / "1.png")
    moves = [f"{tmp_path}/Train{side} to {tmp_path}/train{side}" for side in "AB"]
    refusal(lambda: dataset(tmp_path), f"rename {' and '.join(moves)}")


def test_loose_photos_are_told_of_make_pairs(tmp_path):
    for i in range(4):
        save(tmp_path / "photos" / f"{i}.png", seed=i)
    line = f"scripts.make_pairs --task edges {tmp_path}/photos {tmp_path}/photos_pairs"
    refusal(lambda: dataset(tmp_path / "photos"), "photos/trainA", line)


def test_one_of_two_folders_is_not_enough(tmp_path):
    save(tmp_path / "trainA" / "x.png")
    refusal(lambda: dataset(tmp_path), f"--dataroot {tmp_path}", "trainB/", "found trainA/")


def test_folder_without_images_is_named(tmp_path):
    (tmp_path / "train").mkdir()
    refusal(lambda: dataset(tmp_path), str(tmp_path / "train"), "no images")


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
@pytest.mark.parametrize(("input_nc", "output_nc"), [(1, 3), (3, 1), (1, 1), (3, 3)])
def test_channels_are_exactly_those_asked_for(pairs, direction, input_nc, output_nc):
    flags = ["--direction", direction, "--input_nc", input_nc, "--output_nc", output_nc]
    item = dataset(pairs, *WHOLE, *map(str, flags))[0]
    source, target = ("A", "B") if direction == "AtoB" else ("B", "A")
    halves = {"A": (0, 0, 96, 80), "B": (96, 0, 192, 80)}
    for side, channels in ((source, input_nc), (target, output_nc)):
        half = Image.open(item["A_paths"]).crop(halves[side])
        assert item[side].shape[0] == channels
        assert torch.equal(item[side], to_tensor(half.convert("L" if channels == 1 else "RGB")))


@pytest.mark.parametrize("flag", ["--input_nc", "--output_nc"])
@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_unsupported_channel_counts_are_refused(pairs, flag, direction):
    refusal(lambda: dataset(pairs, flag, "4", "--direction", direction), f"{flag} 4", "1 (grey)")
