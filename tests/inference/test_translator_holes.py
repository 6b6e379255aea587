"""A run that fills holes as a Python object: images, masks and sketches of every kind."""

import itertools
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import draw, draw_pairs, refusal
from PIL import Image
from support.drawing import untrained
from support.holes import draw_photos, save_mask, saved_run

from data.files import large_images
from data.holes.mask_files import as_image
from data.transforms import to_tensor
from scripts import translate
from translator import Translator

SIZE = (48, 40)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_run(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def guided_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_run(
        tmp_path_factory.mktemp("guided"), "--guided", "--init_type", "xavier", "--init_gain", "5"
    )


def load(run: Path, **options: Any) -> Translator:
    return Translator.load(run, **{"gpu_ids": -1, "preprocess": "none", **options})


@pytest.fixture
def hole(tmp_path: Path) -> np.ndarray:
    draw(SIZE, 1).save(tmp_path / "photo.png")
    return save_mask(tmp_path / "mask.png")


def test_masks_of_every_kind_give_the_same(run: Path, tmp_path: Path, hole: np.ndarray) -> None:
    t, image = load(run), tmp_path / "photo.png"
    wanted = np.asarray(t(image, mask=tmp_path / "mask.png"))
    for mask in (
        *(str(tmp_path / "mask.png"), as_image(hole), as_image(hole).convert("1")),
        *(hole, hole.astype(np.uint8), 255 * hole.astype(np.uint8), 1.0 * hole, hole[..., None]),
    ):
        assert np.array_equal(np.asarray(t(image, mask=mask)), wanted)
    transparent = draw(SIZE, 1)
    transparent.putalpha(as_image(~hole))
    assert np.array_equal(np.asarray(t(transparent)), wanted)
    assert np.array_equal(t(np.asarray(draw(SIZE, 1)), mask=hole), wanted)
    (tmp_path / "mask.png").rename(tmp_path / "MASK.PNG")
    for mask in (tmp_path / "MASK.PNG", torch.from_numpy(hole)[None].float() * 2 - 1):
        assert np.array_equal(np.asarray(t(image, mask=mask)), wanted)
    np.save(tmp_path / "photo.npy", np.asarray(draw(SIZE, 1)))
    assert np.array_equal(np.asarray(t(tmp_path / "photo.npy", mask=hole)), wanted)
    tensor = torch.cat([to_tensor(draw(SIZE, 1)), torch.from_numpy(hole[None]).float()])
    fake = (t(tensor).permute(1, 2, 0).numpy() + 1) / 2 * 255
    assert np.array_equal(fake.astype(np.uint8)[hole], wanted[hole])


def test_the_rest_stays_equal_to_the_byte(run: Path, tmp_path: Path, hole: np.ndarray) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8))
    found = np.asarray(load(run)(image, mask=hole))
    assert np.array_equal(found[~hole], np.asarray(image)[~hole])
    assert (found[hole] != np.asarray(image)[hole]).any(1).mean() > 0.5


def test_lists_batches_and_folders_have_masks_of_their_own(run: Path, tmp_path: Path) -> None:
    t, root = load(run), draw_photos(tmp_path / "photos")
    holes = [save_mask(root / "holes" / f"{i}.png", box=(i, 2, 20, 9 + i)) for i in range(3)]
    images = [draw(SIZE, i) for i in range(3)]
    alone = [np.asarray(t(image, mask=hole)) for image, hole in zip(images, holes, strict=True)]
    found = {
        "list": t(images, mask=holes),
        "batch": t(np.stack([np.asarray(image) for image in images]), mask=holes),
        "folder": t(root / "train", mask=root / "holes").values(),
    }
    for kind, several in found.items():
        for one, wanted in zip(several, alone, strict=True):
            assert np.array_equal(np.asarray(one), wanted), kind
    odd = "mask: expected a folder", "got one ndarray"
    refusal(lambda: t(root / "train", mask=holes[0]), *odd)
    (root / "holes" / "1.png").unlink()
    missing = f"mask: no mask for {root / 'train' / '1.png'} in {root / 'holes'}"
    refusal(lambda: t(root / "train", mask=root / "holes"), f"{missing} (1 of 3", "add 1.png there")


def test_several_images_need_as_many_masks(run: Path, hole: np.ndarray, tmp_path: Path) -> None:
    t, images = load(run), [draw(SIZE, i) for i in range(3)]
    alone = np.asarray(t(images[2], mask=hole))
    batch = np.stack([np.asarray(image) for image in images])
    for several in (images, batch):
        for masks in (
            *([hole] * 3, np.stack([hole] * 3), torch.from_numpy(np.stack([hole[None]] * 3))),
            *((hole for _ in range(3)), itertools.repeat(hole)),
        ):
            assert np.array_equal(np.asarray(t(several, mask=masks)[2]), alone)
        refused = partial(refuses_mask, t, several)
        for one in (hole, torch.from_numpy(hole), as_image(hole), tmp_path / "mask.png", 5):
            refused(one, "mask: expected a list, one for each image, got")
        for count in (2, 4):
            refused([hole] * count, f"expected one for each image, got {count} for 3 images")
        refused(hole[..., None], "got the shape (40, 48, 1) for 3 images")
        refused((hole for _ in range(2)), "mask: expected one for each image, got 2")


def refuses_mask(t: Translator, images: Any, mask: Any, words: str) -> None:
    refusal(lambda: t(images, mask=mask), words)


def test_images_are_resized_as_in_the_run_with_their_masks(run: Path, hole: np.ndarray) -> None:
    t = load(run, preprocess="resize_and_crop")
    real = t.prepare(draw(SIZE, 1), mask=hole)
    assert real.shape == (4, 32, 32) and real[3].unique().tolist() == [0, 1]
    small = as_image(hole).resize((32, 32), Image.Resampling.NEAREST)
    assert np.array_equal(real[3].numpy() > 0, np.asarray(small) > 0)
    assert t(draw(SIZE, 1), mask=hole).size == (32, 32)


def test_a_sketch_changes_the_hole_alone(guided_run: Path, hole: np.ndarray) -> None:
    t, image, lines = load(guided_run), draw(SIZE, 1), np.zeros_like(hole)
    plain = np.asarray(t(image, mask=hole))
    assert np.array_equal(np.asarray(t(image, mask=hole, sketch=lines)), plain)
    lines[12:14, 9:19] = True
    steered = np.asarray(t(image, mask=hole, sketch=lines))
    assert np.array_equal(steered[~hole], plain[~hole])
    assert not np.array_equal(steered, plain)
    dark = Image.eval(as_image(lines), lambda value: 255 - value)
    for sketch in (as_image(lines), dark):
        assert np.array_equal(np.asarray(t(image, mask=hole, sketch=sketch)), steered)


def test_what_cannot_be_filled_is_refused_in_one_line(run: Path, hole: np.ndarray) -> None:
    t, image = load(run), draw(SIZE, 1)
    for mask, *words in (
        (hole[1:], "48x39", "48x40", "one size"),
        (np.zeros_like(hole), "mask is empty"),
        (np.ones_like(hole), "mask is full"),
        (Image.new("L", SIZE, 100), "image 0: mask", "grey values", "128"),
    ):
        refusal(lambda mask=mask: t(image, mask=mask), "image 0", *words)
    refusal(lambda: t(image, mask=[hole]), "image 0: mask: expected a file", "got list")
    refusal(lambda: t(image), "image 0: give its mask")
    refusal(lambda: t(image, mask=hole, sketch=hole), "sketch: needs --guided", "leave it out")
    refusal(lambda: t(image, instances=hole), "instances: needs label maps", "fills holes")
    refusal(lambda: t(image, masks=hole), "masks: unknown", "instances, mask, sketch")
    refusal(lambda: t(draw((15, 40)), mask=hole[:, :15]), "15x40", "at least 16x16")
    refusal(lambda: t(Image.new("I;16", SIZE), mask=hole), "more than 8 bits")
    real = t.prepare(image, mask=hole)
    refusal(lambda: t(real[:3]), "expected a tensor (4, H, W), got (3, 40, 48)")
    refusal(lambda: t(real, mask=hole), "image 0: a tensor holds its mask as a channel")
    refusal(lambda: t.translate(real[None] * 2), "image 0", "[-1, 1]")
    refusal(lambda: t.translate(torch.cat([real[:3], real[3:] / 2])[None]), "are 0 or 1")
    refusal(lambda: t.translate(real[None, :, :9]), "48x9 pixels")
    refusal(lambda: t.translate(real[None].long()), "expected floats")


def test_the_flag_that_makes_images_too_small_is_named(run: Path, hole: np.ndarray) -> None:
    small = load(run, preprocess="resize_and_crop", crop_size=8)
    words = "--crop_size: makes images of 8x8 pixels", "at least 16x16", "use a larger --crop_size"
    refusal(lambda: small(draw(SIZE, 1), mask=hole), *words)
    refusal(lambda: load(run)(draw((15, 40)), mask=hole[:, :15]), "enlarge the image")


def test_a_hole_that_is_cut_off_is_refused(run: Path) -> None:
    t, corner = load(run, preprocess="crop", crop_size=32), np.zeros(SIZE[::-1], bool)
    corner[:3, :3] = True
    words = "image 0: --preprocess crop leaves nothing of the hole", "--preprocess none"
    refusal(lambda: t(draw(SIZE, 1), mask=corner), *words)
    refusal(lambda: t(draw(SIZE, 1), mask=~corner), "leaves only the hole")


def test_a_photo_is_no_sketch(guided_run: Path, tmp_path: Path, hole: np.ndarray) -> None:
    t, photo = load(guided_run), tmp_path / "photo.png"
    for sketch, name in ((photo, str(photo)), (draw(SIZE, 1), f"{photo}: sketch")):
        words = f"{name}: ", "of the sketch are grey values", "as in a photo"
        refusal(lambda sketch=sketch: t(photo, mask=hole, sketch=sketch), *words)
    plain = np.asarray(t(photo, mask=hole))
    assert np.array_equal(np.asarray(t(photo, mask=hole, sketch=Image.new("L", SIZE))), plain)


def test_a_photo_on_its_side_takes_an_upright_mask(run: Path, tmp_path: Path, hole) -> None:
    image, turn = draw(SIZE, 1), Image.Exif()
    turn[0x112] = 6
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "side.png", exif=turn)
    t, wanted = load(run), np.asarray(load(run)(image, mask=hole))
    assert np.array_equal(np.asarray(t(tmp_path / "side.png", mask=hole)), wanted)
    words = "side.png: mask: has 40x48 pixels, its image 48x40, upright as the EXIF"
    refusal(lambda: t(tmp_path / "side.png", mask=np.rot90(hole)), words)


def test_a_run_that_fills_no_holes_says_so(tmp_path: Path, hole, monkeypatch) -> None:
    t = load(untrained(tmp_path, draw_pairs(tmp_path / "pairs")), tile=128)
    draw(SIZE, 1).save(tmp_path / "photo.png")
    monkeypatch.setattr(large_images, "LARGE", 9)  # the photo is read in windows
    words = "mask: needs --model inpaint; this run translates images: leave it out"
    for image in (tmp_path / "photo.png", draw(SIZE, 1)):
        refusal(lambda image=image: t(image, mask=hole), words)


def test_transparent_paper_of_a_sketch_is_white(guided_run: Path, tmp_path: Path, hole) -> None:
    t, photo = load(guided_run), tmp_path / "photo.png"
    lines = np.zeros(hole.shape, bool)
    lines[12, 8:20] = True
    clear = Image.new("RGBA", SIZE, (0, 0, 0, 0))
    clear.paste((0, 0, 0, 255), mask=as_image(lines))
    clear.save(tmp_path / "lines.png")
    wanted = np.asarray(t(photo, mask=hole, sketch=lines))
    for sketch in (clear, tmp_path / "lines.png"):
        assert np.array_equal(np.asarray(t(photo, mask=hole, sketch=sketch)), wanted)
    assert not np.array_equal(np.asarray(t(photo, mask=hole)), wanted)


def test_a_hole_of_nearly_the_whole_image_is_said(run: Path, tmp_path: Path, hole, caplog) -> None:
    t = load(run)
    t(tmp_path / "photo.png", mask=hole)
    assert "invert the mask" not in caplog.text
    t(tmp_path / "photo.png", mask=~hole)
    assert "photo.png: 85% of the image is the hole; invert the mask if black" in caplog.text


@pytest.mark.parametrize("noise", [0, 1])
def test_the_seed_gives_another_filling_only_with_noise(tmp_path: Path, noise, hole) -> None:
    strong = ("--init_type", "normal", "--init_gain", "0.4")
    t = load(saved_run(tmp_path, "--hole_noise", str(noise), *strong))
    photo = tmp_path / "photo.png"
    first, again, other = (np.asarray(t(photo, mask=hole, seed=seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and np.array_equal(first[~hole], other[~hole])
    assert np.array_equal(first[hole], other[hole]) == (not noise)
    beside = t([draw(SIZE, 5), photo], mask=[hole, hole], seed=1)[1]  # each has noise of its own
    assert np.array_equal(np.asarray(beside), first)


def test_the_command_takes_masks_and_sketches(guided_run: Path, tmp_path: Path) -> None:
    root = draw_photos(tmp_path / "photos")
    hole = [save_mask(root / "holes" / f"{i}.png") for i in range(3)][0]
    place = ["--checkpoints_dir", str(guided_run.parent), "--name", "run", "--gpu_ids", "-1"]
    how = [*place, "--preprocess", "none", "--mask", str(root / "holes")]
    translate.main([*how, str(root / "train"), str(tmp_path / "out")])
    photo, filled = (
        np.asarray(Image.open(p / "1.png")) for p in (root / "train", tmp_path / "out")
    )
    assert np.array_equal(photo[~hole], filled[~hole]) and not np.array_equal(photo, filled)
    one = [*how[:-1], str(root / "holes" / "1.png"), "--sketch", str(root / "holes" / "1.png")]
    translate.main([*one, str(root / "train" / "1.png"), str(tmp_path / "one.png")])
    steered = np.asarray(Image.open(tmp_path / "one.png"))
    assert np.array_equal(photo[~hole], steered[~hole]) and not np.array_equal(steered, filled)
    refusal(
        lambda: translate.main([*one, str(root / "train"), str(tmp_path / "x")]), "--mask", "IN"
    )
