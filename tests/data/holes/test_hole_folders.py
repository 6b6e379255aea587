"""The folders of images to fill: which are read, and what is said of those that are not."""

import shutil
from pathlib import Path

import pytest
from conftest import refusal
from support.holes import draw_photos, hole_dataset, save_mask

from options.test_options import TestOptions


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return draw_photos(tmp_path / "photos")


def test_images_of_a_test_may_lie_in_the_root(root: Path) -> None:
    for path in (root / "test").iterdir():
        shutil.move(path, root)
    for phase in ("train", "val", "test"):
        shutil.rmtree(root / phase)
    for i in range(3):
        save_mask(root / "test_mask" / f"{i}.png")
    found = hole_dataset(root, kind=TestOptions)
    assert [Path(path).name for path in found.A_paths] == ["0.png", "1.png", "2.png"]
    assert found[2]["mask_paths"] == str(root / "test_mask" / "2.png")
    refusal(lambda: hole_dataset(root), "train/ with images")


def test_an_image_without_its_mask_is_named_with_the_fix(root: Path) -> None:
    for i in (0, 2):
        save_mask(root / "test_mask" / f"{i}.png")
    words = "(1 of 3 images lack one); add 1.png there, or move the folder away"
    no_mask = f"no mask for {root}/test/1.png in {root}/test_mask"
    refusal(lambda: hole_dataset(root, kind=TestOptions), f"--dataroot: {no_mask} {words}")
    (root / "test_mask" / "1.psd").touch()
    unread = f"; {root}/test_mask/1.psd is there, but .psd is not read: convert it"
    refusal(lambda: hole_dataset(root, kind=TestOptions), no_mask, unread)
    for i in range(3):
        save_mask(root / "train_sketch" / f"{i}_lines.png")
    words = "no sketch for", "(3 of 3 images lack one); name 0_lines.png and the others as their"
    refusal(lambda: hole_dataset(root, "--guided"), *words)


def test_masks_and_sketches_without_an_image_are_said(root: Path) -> None:
    for i in range(5):
        save_mask(root / "test_mask" / f"{i}.png")
        save_mask(root / "train_sketch" / f"{i}.png")
    (remark,) = hole_dataset(root, kind=TestOptions).remarks()
    masks = f"2 of 5 files in {root}/test_mask have no image of their name, such as"
    assert remark == f"{masks} {root}/test_mask/3.png, and are not read"
    (remark,) = hole_dataset(root, "--guided").remarks()
    assert f"2 of 5 files in {root}/train_sketch have no image" in remark
    assert hole_dataset(root, "--max_dataset_size", 2, kind=TestOptions).remarks() == []
    (root / "test_mask" / "3.png").write_bytes(b"no image")  # is not read
    assert len(hole_dataset(root, kind=TestOptions)) == 3


def test_folders_that_are_not_read_are_said(root: Path) -> None:
    save_mask(root / "train_mask" / "0.png")
    save_mask(root / "train_sketch" / "0.png")
    masks, sketches = hole_dataset(root).remarks()
    folder = root / "train_mask"
    assert masks == f"{folder}: is not read in training; --mask_dir {folder} reads it"
    assert sketches == f"{root}/train_sketch: is read with --guided alone"
    assert hole_dataset(root, "--mask_dir", folder).remarks() == [sketches]
    save_mask(root / "test_sketch" / "0.png")
    assert hole_dataset(root, kind=TestOptions).remarks() == [
        f"{root}/test_sketch: is read with --guided alone"
    ]
