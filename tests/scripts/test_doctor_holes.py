"""The doctor on images to fill: no remark on right masks and sketches, all wrong ones are named."""

from pathlib import Path

import numpy as np
import pytest
from conftest import FACADES, draw, needs_facades
from PIL import Image
from support.holes import draw_photos, save_mask

pytest_plugins = ["support.diagnosing"]
INPAINT = ("--model", "inpaint")
SIZE = (48, 40)  # (width, height) of the images


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Photos, with masks for the test and sketches for the training."""
    found = draw_photos(tmp_path / "photos")
    for i in range(3):
        save_mask(found / "test_mask" / f"{i}.png")
        save_lines(found / "train_sketch" / f"{i}.png")
    return found


def save_lines(path: Path, size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(exist_ok=True)
    lines = np.full(size[::-1], 255, np.uint8)
    lines[::8] = 0
    Image.fromarray(lines).save(path)


def save_values(path: Path, values: np.ndarray) -> None:
    Image.fromarray(values).save(path)


def test_right_masks_and_sketches_get_no_remark(root: Path, diagnose) -> None:
    hole = save_mask(root / "test_mask" / "0.png")
    Image.fromarray(hole).save(root / "test_mask" / "0.png")  # 1 bit
    save_values(root / "test_mask" / "1.png", np.uint16(65535 * hole))
    Image.fromarray(np.uint8(255 * hole)).convert("P").save(root / "test_mask" / "2.png")
    for path in (root / "val").iterdir():  # holes of their own
        image = draw(SIZE).convert("RGBA")
        image.putalpha(Image.fromarray(np.uint8(255 * ~hole)))
        image.save(path)
    status, said = diagnose(root, *INPAINT, "--guided")
    assert status == 0 and "15 images, 0 bad, 0 remarks" in said


def test_all_wrong_masks_of_a_test_are_named(root: Path, diagnose) -> None:
    for i in range(3, 9):
        draw(SIZE, i).save(root / "test" / f"{i}.png")
    masks = root / "test_mask"
    black = np.zeros(SIZE[::-1], np.uint8)
    for name, values in (("0", black), ("1", black + 255), ("2", black + 120)):
        save_values(masks / f"{name}.png", values)
    save_mask(masks / "3.png", (24, 20), (2, 2, 9, 9))
    save_values(masks / "4.png", np.uint8(255 * ~save_mask(masks / "4.png")))
    (masks / "5.png").write_bytes(b"no image")
    save_values(masks / "6.png", np.dstack([255 * (black + save_mask(masks / "6.png"))] * 3))
    save_mask(masks / "7.png")  # 8 has none
    save_mask(masks / "9.png")
    status, said = diagnose(root, *INPAINT)
    assert status == 1 and "6 of 27 images would stop a training" in said
    for words in (
        "BAD  {}/0.png: the mask is empty",
        "BAD  {}/1.png: the mask is full",
        "BAD  {}/2.png: 100% of the mask are grey values",
        "BAD  {}/3.png: has 24x20 pixels, its image 48x40",
        "     {}/4.png: more than 60% of it are the hole; invert it",
        "BAD  {}/5.png: cannot be read",
        "     {}/9.png: has no image of its name",
    ):
        assert said.count(words.format(masks)) == 1, words
    assert f"BAD  {root}/test/8.png: has no mask of its name in test_mask/" in said
    assert "6.png" not in said and "7.png" not in said


def test_all_wrong_sketches_are_named_if_they_are_read(root: Path, diagnose) -> None:
    sketches = root / "train_sketch"
    draw(SIZE).save(sketches / "0.png")
    save_lines(sketches / "1.png", (24, 20))
    save_values(sketches / "2.png", np.zeros(SIZE[::-1], np.uint16))
    status, said = diagnose(root, *INPAINT)
    assert status == 0 and f"{sketches}: is read with --guided alone" in said
    assert "0.png" not in said
    save_lines(sketches / "9.png")
    status, said = diagnose(root, *INPAINT, "--guided")
    assert status == 1 and "3 of 16 images" in said
    assert f"BAD  {sketches}/0.png: " in said and "grey values, 64 to 191, as in a photo" in said
    assert f"BAD  {sketches}/1.png: has 24x20 pixels, its image 48x40" in said
    assert f"BAD  {sketches}/2.png: has more than 8 bits a channel" in said
    assert f"     {sketches}/9.png: has no image of its name" in said
    (sketches / "2.png").unlink()
    status, said = diagnose(root, *INPAINT, "--guided")
    assert f"BAD  {root}/train/2.png: has no sketch of its name in train_sketch/" in said
    assert f"{sketches}/1.png: has 24x20" in said


def test_the_masks_of_mask_dir_are_checked_too(root: Path, tmp_path: Path, diagnose) -> None:
    masks = tmp_path / "masks"
    save_mask(masks / "0.png", (24, 20), (2, 2, 9, 9))  # of an image of its name
    save_mask(masks / "free.png", (24, 20), (2, 2, 9, 9))
    save_values(masks / "empty.png", np.zeros((20, 24), np.uint8))
    (masks / "damaged.png").write_bytes(b"no image")
    status, said = diagnose(root, *INPAINT, "--mask_dir", masks)
    assert status == 1
    assert said.count(f"BAD  {masks}/0.png: has 24x20 pixels, its image 48x40") == 1
    assert said.count(f"BAD  {masks}/empty.png: the mask is empty") == 1
    assert said.count(f"BAD  {masks}/damaged.png: cannot be read") == 1
    assert "free.png" not in said
    status, said = diagnose(root, *INPAINT, "--mask_dir", masks / "none")
    assert status == 1 and said.count(f"BAD  --mask_dir: {masks}/none does not exist") == 1


def test_masks_that_a_training_does_not_read_are_said(root: Path, diagnose) -> None:
    save_mask(root / "train_mask" / "0.png")
    status, said = diagnose(root, *INPAINT, "--guided")
    flag = f"--mask_dir {root}/train_mask"
    assert status == 0 and f"{root}/train_mask: is not read in training; {flag} reads it" in said
    status, said = diagnose(root, *INPAINT, "--guided", *flag.split())
    assert status == 0 and "0 bad, 0 remarks" in said


def test_images_that_cannot_be_filled_are_named(root: Path, diagnose) -> None:
    draw((9, 40)).save(root / "train" / "0.png")
    save_values(root / "train" / "1.png", np.zeros(SIZE[::-1], np.uint16))
    clear = Image.new("RGBA", SIZE, (9, 9, 9, 0))
    clear.save(root / "val" / "0.png")
    status, said = diagnose(root, *INPAINT, "--preprocess", "none")
    assert status == 1 and "3 of 15 images would stop a training" in said
    assert f"BAD  {root}/train/0.png: 9x40 pixels: too few for the attention" in said
    assert f"BAD  {root}/train/1.png: has more than 8 bits a channel; convert it" in said
    assert f"BAD  {root}/val/0.png: is transparent everywhere" in said


@needs_facades
def test_real_photos_are_told_from_lines(tmp_path: Path, diagnose) -> None:
    for i, path in enumerate(sorted((FACADES / "train").iterdir())[:8]):
        photo = Image.open(path).convert("RGB").crop((0, 0, 256, 256))
        for folder in ("train", "train_sketch"):
            (tmp_path / "d" / folder).mkdir(parents=True, exist_ok=True)
        photo.save(tmp_path / "d" / "train" / f"{i}.png")
        if i < 4:
            photo.save(tmp_path / "d" / "train_sketch" / f"{i}.png")
        else:
            save_lines(tmp_path / "d" / "train_sketch" / f"{i}.png", (256, 256))
    status, said = diagnose(tmp_path / "d", *INPAINT, "--guided")
    assert status == 1 and "4 of 16 images would stop" in said
    assert said.count("grey values, 64 to 191, as in a photo") == 4
