"""Items of images with holes: which masks they get, and when they are drawn anew."""

import shutil
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import draw, draw_pairs, refusal
from PIL import Image
from support.holes import draw_photos, save_mask
from support.holes import hole_dataset as dataset
from support.holes import hole_options as options
from torch import Tensor

from data import create_dataset, create_validation_dataset
from data.holes.mask_files import as_image, load_mask
from data.transforms import to_tensor
from options.test_options import TestOptions
from options.train_options import TrainOptions

WHOLE = ["--preprocess", "none", "--no_flip"]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return draw_photos(tmp_path / "photos")


def items(root: Path, *flags: Any, kind: type = TestOptions, epoch: int = 1) -> list[dict]:
    """Return the items of an epoch as the loader gives them, sorted by their files."""
    loader = create_dataset(options(root, *flags, "--no_data_check", kind=kind))
    loader.set_epoch(epoch)
    return sorted(loader, key=lambda batch: batch["A_paths"])


def masks(*args: Any, **how: Any) -> Tensor:
    return torch.cat([batch["mask"] for batch in items(*args, **how)])


def test_an_item_has_an_image_and_a_mask(root: Path) -> None:
    item = dataset(root, *WHOLE)[1]
    assert torch.equal(item["A"], to_tensor(draw((48, 40), 1)))
    assert item["mask"].shape == (1, 40, 48) and item["mask"].dtype == torch.float32
    assert item["mask"].unique().tolist() == [0, 1]
    assert item["A_size"] == (48, 40) and item["A_paths"].endswith("train/1.png")
    assert "sketch" not in item and "mask_paths" not in item


def test_the_masks_of_a_training_follow_from_seed_epoch_and_index(root: Path) -> None:
    first = masks(root, kind=TrainOptions)
    assert torch.equal(first, masks(root, "--num_threads", 1, kind=TrainOptions))
    assert not torch.equal(first[0], first[1])
    later, other = (
        masks(root, kind=TrainOptions, epoch=2),
        masks(root, "--seed", 5, kind=TrainOptions),
    )
    for one in (later, other):
        assert all(not torch.equal(a, b) for a, b in zip(first, one, strict=True))


@pytest.mark.parametrize("kind", ["box", "brush", "both"])
def test_the_kind_of_holes_is_that_of_the_flag(root: Path, kind: str) -> None:
    for mask in masks(root, "--masks", kind, *WHOLE, kind=TrainOptions):
        rows, columns = (mask[0].any(dim).nonzero().flatten() for dim in (1, 0))
        filled = len(rows) * len(columns) == int(mask.sum())
        assert filled == (kind == "box")


def test_the_masks_of_a_test_follow_from_seed_and_stem_alone(root: Path) -> None:
    all_masks = masks(root)
    assert torch.equal(all_masks, masks(root))
    assert not torch.equal(all_masks, masks(root, "--seed", 3))
    (root / "test" / "0.png").unlink()  # the others keep theirs, whatever their place
    assert torch.equal(all_masks[1:], masks(root))
    draw((48, 40), 9).save(root / "test" / "2.png")
    assert torch.equal(all_masks[1:], masks(root))


def test_shards_and_batches_give_the_same_masks(root: Path) -> None:
    loader = create_dataset(options(root, "--batch_size", 3, kind=TestOptions))
    assert torch.equal(next(iter(loader))["mask"], masks(root))
    loader.restrict_to([2])
    assert torch.equal(next(iter(loader))["mask"], masks(root)[2:])


def test_a_validation_has_the_same_masks_in_every_pass(root: Path) -> None:
    loader = create_validation_dataset(options(root))
    first, second = (torch.cat([batch["mask"] for batch in loader]) for _ in range(2))
    assert torch.equal(first, second) and len(first) == 3


def test_masks_of_a_phase_are_paired_by_stem(root: Path) -> None:
    wanted = [save_mask(root / "test_mask" / f"{i}.png", box=(i, 2, 20, 9 + i)) for i in range(3)]
    found = masks(root, "--preprocess", "none")
    assert np.array_equal(found[:, 0].numpy() > 0, np.stack(wanted))
    assert items(root)[1]["mask_paths"] == [str(root / "test_mask" / "1.png")]


def test_a_training_leaves_the_masks_of_its_phase_alone(root: Path) -> None:
    drawn = masks(root, kind=TrainOptions)
    for i in range(3):
        save_mask(root / "train_mask" / f"{i}.png")
    assert torch.equal(drawn, masks(root, kind=TrainOptions))


def test_targets_alone_need_no_masks(root: Path) -> None:
    save_mask(root / "train_mask" / "0.png")  # those of the others are missing
    opt = options(root, "--phase", "train", kind=TestOptions)
    refusal(lambda: create_dataset(opt), "train_mask")
    assert len(create_dataset(Namespace(**vars(opt), targets_alone=True))) == 3


def test_a_phase_that_is_missing_beside_others_is_refused(root: Path) -> None:
    shutil.move(root / "test", root.parent / "alone")
    refusal(lambda: dataset(root, kind=TestOptions), "expected test/ with images")
    assert len(dataset(root.parent / "alone", kind=TestOptions)) == 3  # a folder of images


def test_transparent_pixels_are_the_hole_of_a_test(root: Path) -> None:
    image, hole = draw((48, 40), 201), np.zeros((40, 48), bool)
    hole[5:15, 10:30] = True
    drawn = masks(root, "--preprocess", "none")
    image.putalpha(Image.eval(as_image(hole), lambda value: 255 - value))
    image.save(root / "test" / "1.png")
    batch = items(root, "--preprocess", "none")[1]
    assert np.array_equal(batch["mask"][0, 0].numpy() > 0, hole)
    assert torch.equal(batch["A"][0], to_tensor(draw((48, 40), 201)))
    assert torch.equal(masks(root, "--preprocess", "none")[[0, 2]], drawn[[0, 2]])
    assert create_dataset(options(root, kind=TestOptions)).remarks == []  # alpha is not ignored
    image.save(root / "train" / "1.png")
    (remark,) = create_dataset(options(root)).remarks
    assert "alpha channel" in remark and "--alpha white puts images on white" in remark
    white = dataset(root, *WHOLE, "--alpha", "white")[1]["A"]
    assert (white[:, torch.from_numpy(hole)] == 1).all()


def test_a_folder_of_masks_pairs_by_stem_and_draws_for_the_others(root: Path) -> None:
    folder = root / "holes"
    own = save_mask(folder / "1.png")
    save_mask(folder / "x.png", (96, 80), (0, 0, 48, 40))  # the upper left quarter
    save_mask(folder / "y.png", (50, 50), (25, 0, 50, 50))  # the right half
    seen: set[tuple[int, int, int]] = set()
    for epoch in range(1, 13):
        found = masks(root, "--mask_dir", folder, *WHOLE, kind=TrainOptions, epoch=epoch)
        assert np.array_equal(found[1, 0].numpy() > 0, own)
        seen.add(tuple(int(mask.sum()) for mask in found))
    assert {areas[0] for areas in seen} == {20 * 24, 24 * 40, int(own.mean() * 40 * 48)}
    tested = masks(root, "--mask_dir", folder, *WHOLE)
    assert torch.equal(tested, masks(root, "--mask_dir", folder, *WHOLE))


def test_own_masks_are_cropped_and_flipped_with_their_images(root: Path) -> None:
    for i in range(3):  # the hole is where the image is white
        mask = save_mask(root / "holes" / f"{i}.png", box=(0, 0, 17, 40))
        image = np.asarray(draw((48, 40), i)) // 2
        Image.fromarray(np.where(mask[..., None], 255, image).astype(np.uint8)).save(
            root / "train" / f"{i}.png"
        )
    flags = ["--mask_dir", root / "holes", "--preprocess", "crop"]
    for epoch in range(1, 5):
        for batch in items(root, *flags, kind=TrainOptions, epoch=epoch):
            assert torch.equal(batch["mask"][:, 0] > 0, (batch["A"] == 1).all(1))


def test_sketches_are_edges_or_lines_of_files(root: Path) -> None:
    for i in range(3):
        image = Image.new("RGB", (48, 40), (0, 0, 0))
        image.paste((255, 255, 255), (24, 0, 48, 40))
        image.save(root / "train" / f"{i}.png")
    (sketch,) = dataset(root, "--guided", *WHOLE)[0]["sketch"]
    columns = sketch.any(0).nonzero().flatten().tolist()
    assert columns and all(22 <= column <= 25 for column in columns)
    for i in range(3):
        lines = save_mask(root / "train_sketch" / f"{i}.png", box=(4, 9, 30, 11))
    assert np.array_equal(dataset(root, "--guided", *WHOLE)[0]["sketch"][0].numpy() > 0, lines)
    dark = Image.eval(as_image(lines), lambda value: 255 - value)
    dark.save(root / "train_sketch" / "0.png")
    assert np.array_equal(dataset(root, "--guided", *WHOLE)[0]["sketch"][0].numpy() > 0, lines)
    save_mask(root / "train_sketch" / "0.png", (47, 40))
    refusal(lambda: dataset(root, "--guided")[0], "0.png", "47x40", "48x40")


def test_a_cache_changes_nothing(root: Path) -> None:
    for i in range(2):
        save_mask(root / "holes" / f"{i}.png")
    flags = ["--mask_dir", root / "holes", "--guided"]
    for epoch in (1, 2):
        plain, kept = (
            items(root, *flags, "--cache", cache, kind=TrainOptions, epoch=epoch)
            for cache in ("none", "ram")
        )
        for one, other in zip(plain, kept, strict=True):
            assert all(torch.equal(one[key], other[key]) for key in ("A", "mask", "sketch"))


@pytest.mark.parametrize(
    ("size", "box", "words"),
    [
        ((47, 40), (8, 6, 20, 30), ["47x40", "48x40", "one size"]),
        ((48, 40), (0, 0, 0, 0), ["mask is empty", "paint the hole white"]),
        ((48, 40), (0, 0, 48, 40), ["mask is full", "the rest black"]),
    ],
    ids=["size", "empty", "full"],
)
def test_bad_masks_are_refused_with_their_files(root: Path, size, box, words) -> None:
    for i in range(3):
        save_mask(root / "test_mask" / f"{i}.png", size, box)
    refusal(lambda: dataset(root, kind=TestOptions)[0], str(root / "test_mask"), ".png: ", *words)


def test_images_too_small_for_the_attention_are_refused(root: Path) -> None:
    draw((15, 40), 0).save(root / "train" / "0.png")
    refusal(lambda: dataset(root, *WHOLE)[0], "0.png", "15x40", "at least 16x16")
    draw((16, 16), 0).save(root / "train" / "0.png")
    assert dataset(root, *WHOLE)[0]["mask"].shape == (1, 16, 16)


def test_the_flag_that_makes_images_too_small_is_named(root: Path) -> None:
    start = "makes images of"
    for flags, words in (
        (["--crop_size", 8], f"--crop_size: {start} 8x8 pixels, too few for the attention"),
        (["--preprocess", "fixed", "--crop_size", 12], f"--crop_size: {start} 12x12 pixels"),
        (["--preprocess", "scale_width", "--load_size", 9, "--crop_size", 9], "--load_size: "),
        (["--preprocess", "scale_width", "--load_size", 18, "--crop_size", 9], "--crop_size: "),
    ):
        with pytest.raises(ValueError, match=f"^{words}.*16x16; use a larger {words[:11]}"):
            dataset(root, *flags)
    fitting = ["--preprocess", "scale_width", "--load_size", 24, "--crop_size", 16]
    assert dataset(root, *fitting)[0]["mask"].shape == (1, 20, 24)


def test_images_of_more_than_8_bits_are_refused(root: Path) -> None:
    Image.fromarray(np.full((40, 48), 30_000, np.uint16)).save(root / "train" / "0.png")
    deep = f"{root}/train/0.png: has more than 8 bits a channel; convert it to 8 bits"
    refusal(lambda: create_dataset(options(root)), deep)  # before any network is built
    skipping = create_dataset(options(root, "--on_bad_image", "skip"))
    assert {batch["A_paths"][0][-5] for batch in skipping} == {"1", "2"}
    refusal(lambda: dataset(root)[0], deep)
    refusal(lambda: dataset(root, "--range_A", "0,9"), "--range_A", "8 bits")
    refusal(lambda: dataset(root, "--input_nc", 1), "--input_nc 1", "RGB")
    np.save(root / "train" / "0.npy", np.asarray(draw((48, 40), 0)))  # of 8 bits
    (root / "train" / "0.png").unlink()
    item = create_dataset(options(root, *WHOLE, "--serial_batches")).item(0)
    assert torch.equal(item["A"][0], to_tensor(draw((48, 40), 0)))


def test_masks_of_16_bits_are_no_deep_images(root: Path) -> None:
    hole = save_mask(root / "holes" / "0.png")
    Image.fromarray(np.uint16(65535 * hole)).save(root / "holes" / "0.png")
    item = create_dataset(options(root, *WHOLE, "--mask_dir", root / "holes", "--serial_batches"))
    assert np.array_equal(item.item(0)["mask"][0, 0].numpy() > 0, hole)


def test_the_built_in_images_are_photos(few_builtin, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    opt = TrainOptions().read(["--model", "inpaint", "--gpu_ids", "-1", "--num_threads", "0"])
    item = create_dataset(opt).item(0)
    assert item["A"].shape == (1, 3, 64, 64) and item["mask"].shape == (1, 1, 64, 64)
    pair = Image.open(item["A_paths"][0])
    photo = pair.crop((0, 0, pair.width // 2, pair.height))
    assert abs(np.asarray(photo).mean() / 127.5 - 1 - item["A"].mean()) < 0.1


def test_bad_masks_are_found_before_a_training(root: Path) -> None:
    save_mask(root / "holes" / "any.png", box=(0, 0, 0, 0))
    flags = ("--mask_dir", root / "holes")
    refusal(lambda: dataset(root, *flags), "holes/any.png: the mask is empty")
    assert len(dataset(root, *flags, "--on_bad_image", "skip")) == 3
    save_mask(root / "holes" / "any.png", box=(1, 1, 47, 39))
    (remark,) = dataset(root, *flags).remarks()
    assert "covers 91% of the masks; invert them if black is to be filled" in remark
    save_mask(root / "holes" / "any.png", box=(1, 1, 20, 20))
    assert dataset(root, *flags).remarks() == []


def test_masks_are_read_once_before_a_training(root: Path, monkeypatch) -> None:
    for i in range(4):
        save_mask(root / "holes" / f"{i}.png", box=(1, 1, 47, 39))
    read: list[str] = []

    def load(path: str, **how: Any) -> np.ndarray:
        read.append(path)
        return load_mask(path, **how)

    monkeypatch.setattr("data.inpaint_dataset.load_mask", load)
    data = dataset(root, "--mask_dir", root / "holes")
    assert "covers 91% of the masks" in data.remarks()[0]
    assert sorted(read) == [str(root / "holes" / f"{i}.png") for i in range(4)]


def test_photos_in_place_of_sketches_are_refused_before_a_training(root: Path) -> None:
    shutil.copytree(root / "train", root / "train_sketch")
    words = "as in a photo", "dark lines on light"
    refusal(lambda: dataset(root, "--guided"), f"{root}/train_sketch/", *words)
    assert len(dataset(root, "--guided", "--on_bad_image", "skip")) == 3
    for i in range(3):
        Image.new("L", (48, 40), 255).save(root / "train_sketch" / f"{i}.png")  # without lines
    assert not dataset(root, "--guided")[0]["sketch"].any()


def test_small_images_that_are_enlarged_are_said(root: Path) -> None:
    for i in range(2):
        draw((8, 9), i).save(root / "train" / f"{i}.png")
    (remark,) = create_dataset(options(root)).remarks
    assert remark.startswith("A: 2 of 3 images are enlarged 4 times or more, such as ")
    assert "/train/0.png (8x9 to 36x36)" in remark and "a smaller --load_size" in remark
    draw((8, 8), 2).save(root / "test" / "2.png")
    (remark,) = create_dataset(options(root, kind=TestOptions)).remarks
    assert "1 of 3 images" in remark and remark.endswith(
        "(8x8 to 36x36): use larger ones, or --preprocess none"
    )
    draw((48, 40), 0).save(root / "train" / "0.png")
    draw((10, 9), 0).save(root / "train" / "1.png")  # 3.6 times as wide
    assert create_dataset(options(root)).remarks == []


def test_pairs_in_place_of_photos_are_said(root: Path) -> None:
    for path in (root / "train").iterdir():
        path.unlink()
    draw_pairs(root, size=(96, 80))
    (remark,) = dataset(root).remarks()
    assert "look like A|B images" in remark


def test_a_guided_run_says_what_finds_edges(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    assert len(dataset(root)) == 3
    words = "--guided: ", "pip install scikit-image", "train_sketch/"
    refusal(lambda: dataset(root, "--guided"), *words)
    for i in range(3):
        save_mask(root / "train_sketch" / f"{i}.png")
    assert len(dataset(root, "--guided")) == 3
