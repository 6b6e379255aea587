"""Colour images as lightness and colour, against scikit-image."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import draw, draw_pairs, refusal
from PIL import Image
from skimage.color import lab2rgb, rgb2lab

from data import builtin_facades, create_dataset
from data.colorization_dataset import ColorizationDataset
from data.user_input import as_image
from options.train_options import TrainOptions
from training.image_sizes import output_sizes

WHOLE = ["--preprocess", "none", "--no_flip"]
SMALL = ["--load_size", "24", "--crop_size", "16", "--num_threads", "0", "--gpu_ids", "-1"]


def options(root: Path | str, *flags: Any) -> Any:
    args = ["--dataroot", root, "--dataset_mode", "colorization", *SMALL, *flags]
    return TrainOptions().read(args)


def dataset(root: Path, *flags: Any) -> ColorizationDataset:
    return ColorizationDataset(options(root, *flags))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two colour images, one in a subfolder."""
    root = tmp_path / "photos"
    (root / "train" / "sub").mkdir(parents=True)
    draw((40, 30), seed=1).save(root / "train" / "b.png")
    draw((31, 42), seed=2).save(root / "train" / "sub" / "a.png")
    return root


def lab(image: Image.Image) -> np.ndarray:
    """scikit-image's Lab of an image, (3, H, W)."""
    return rgb2lab(np.asarray(image.convert("RGB")) / 255).transpose(2, 0, 1)


def photo(item: dict[str, Any]) -> np.ndarray:
    """Undo the conversion: (H, W, 3) in 0..255 of an item."""
    planes = np.concatenate([(item["A"].numpy() + 1.0) * 50, item["B"].numpy() * 110.0])
    return np.round(lab2rgb(planes.transpose(1, 2, 0)) * 255).astype(int)


def test_A_is_lightness_and_B_colour_as_scikit_image_has_them(folder):
    data = dataset(folder, *WHOLE)
    assert len(data) == 2
    for i, (name, size) in enumerate([("b.png", (40, 30)), ("sub/a.png", (31, 42))]):
        item, path = data[i], folder / "train" / name
        expected = lab(Image.open(path))
        assert item["A"].dtype == item["B"].dtype == torch.float32
        np.testing.assert_allclose(item["A"], expected[:1] / 50 - 1, rtol=0, atol=1e-6)
        np.testing.assert_allclose(item["B"], expected[1:] / 110, rtol=0, atol=1e-6)
        assert item["A_paths"] == item["B_paths"] == str(path)
        assert item["A_size"] == size


def test_every_colour_of_srgb_stays_in_the_range_of_the_networks(folder):
    levels = np.linspace(0, 255, 12).astype(np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(36, 48, 3)
    Image.fromarray(cube).save(folder / "train" / "b.png")
    item = dataset(folder, *WHOLE)[0]
    assert item["A"].min() == pytest.approx(-1) and item["A"].max() == pytest.approx(1)
    assert 0.9 < item["B"].abs().max() < 1


def test_a_file_is_taken_whole_though_it_looks_like_a_pair(tmp_path):
    root = draw_pairs(tmp_path / "pairs", count=1)
    item = dataset(root, *WHOLE)[0]
    assert item["A"].shape == (1, 80, 192) and item["B"].shape == (2, 80, 192)
    assert item["A_size"] == (192, 80)
    pair = np.asarray(Image.open(root / "train" / "0.png"), int)
    assert np.abs(photo(item) - pair).max() == 0


@pytest.mark.parametrize("flags", [[], ["--no_flip"]])
def test_A_and_B_are_one_random_crop_and_mirroring_of_the_resized_image(folder, flags):
    resized = draw((40, 30), seed=1).resize((24, 24), Image.Resampling.BICUBIC)
    pixels = np.asarray(resized, int)
    crops = {
        (pixels[y : y + 16, x : x + 16] if not flip else pixels[y : y + 16, x : x + 16][:, ::-1])
        .astype(int)
        .tobytes(): (x, y, flip)
        for x in range(9)
        for y in range(9)
        for flip in (False, True)
    }
    data = dataset(folder, *flags)
    found = [crops[photo(data[0]).tobytes()] for _ in range(20)]
    assert len({(x, y) for x, y, _ in found}) > 5
    assert {flip for *_, flip in found} == ({False} if flags else {False, True})


def test_an_item_of_an_epoch_repeats_by_seed(folder):
    def passes(seed: int) -> list[list[float]]:
        loader = create_dataset(options(folder, "--seed", seed))
        return [[batch["A"].sum().item() for batch in loader] for _ in range(2)]

    assert passes(1) == passes(1)
    assert passes(1) != passes(2)


def test_a_grey_file_has_no_colour(folder):
    draw((40, 30)).convert("L").save(folder / "train" / "b.png")
    item = dataset(folder, *WHOLE)[0]
    assert item["B"].shape == (2, 30, 40) and item["B"].abs().max() < 1e-4
    assert item["A"].std() > 0.1


def test_the_phase_chooses_the_folder_and_max_dataset_size_takes_the_first(folder):
    (folder / "train").rename(folder / "val")
    data = dataset(folder, "--phase", "val", "--max_dataset_size", 1)
    assert data.image_paths == [str(folder / "val" / "b.png")]


def test_the_channel_counts_are_the_defaults(folder):
    opt = options(folder)
    assert (opt.input_nc, opt.output_nc) == (1, 2)


def test_of_the_built_in_pairs_it_takes_the_photo(tmp_path, monkeypatch, few_builtin):
    monkeypatch.chdir(tmp_path)
    loader = create_dataset(options(builtin_facades.ROOT, *WHOLE, "--serial_batches"))
    batches = list(loader)
    assert len(batches) == len(loader) == 2
    for batch in batches:
        left = Image.open(batch["A_paths"][0]).crop(
            (0, 0, builtin_facades.SIZE, builtin_facades.SIZE)
        )
        item = {side: batch[side][0] for side in "AB"}
        assert np.abs(photo(item) - np.asarray(left, int)).max() == 0


def test_numbers_of_other_types_are_read_in_their_own_range():
    image = draw((40, 30))
    prepare = ColorizationDataset.single_preprocessor(options("x", "--preprocess", "none"), {})
    expected = prepare(image)
    array = np.asarray(image)
    for same in (array / np.float32(255), array.astype(np.uint16) * 257):
        assert torch.allclose(prepare(as_image(same)), expected, atol=1e-5)


def test_its_images_have_their_own_size_before_a_training(folder):
    data = dataset(folder, "--preprocess", "none")
    with Image.open(data.image_paths[0]) as image:
        assert output_sizes(data, data.image_paths[:1]) == {data.image_paths[0]: image.size}


# Mistakes --------------------------------------------------------------------------------


@pytest.mark.parametrize(("flag", "count"), [("--input_nc", 3), ("--output_nc", 3)])
def test_other_channel_counts_are_refused(folder, flag, count):
    refusal(lambda: dataset(folder, flag, count), f"{flag} {count}", "--dataset_mode colorization")


@pytest.mark.parametrize("flag", ["--range_A", "--range_B"])
@pytest.mark.parametrize("rule", ["percentile", "10,100"])
def test_a_range_is_refused(folder, flag, rule):
    refusal(lambda: dataset(folder, flag, rule), f"{flag}: L, a and b come from RGB of 8 bits")


def test_missing_folders_say_what_is_expected_what_was_found_and_what_is_near(folder):
    absent = folder.with_name("photo")
    refusal(lambda: dataset(absent), f"--dataroot {absent}", f"did you mean {folder}?", "train/")
    expected = ("val/ with images", "found train/")
    refusal(lambda: dataset(folder, "--phase", "val"), *expected)
    inside = folder / "train"
    refusal(lambda: dataset(inside), f"try --dataroot {folder}")


def test_a_image_smaller_than_the_crop_is_named(folder):
    path = folder / "train" / "b.png"
    draw((15, 40)).save(path)
    data = dataset(folder, "--preprocess", "crop")
    refusal(lambda: data[0], str(path), "15x40", "--crop_size 16")


def test_an_unreadable_file_is_named(folder):
    path = folder / "train" / "b.png"
    path.write_bytes(path.read_bytes()[:60])
    refusal(lambda: dataset(folder)[0], str(path))


def test_images_of_more_than_8_bits_are_refused_before_a_training(folder):
    deep = folder / "train" / "b.png"
    Image.fromarray(np.full((40, 48), 30_000, np.uint16)).save(deep)
    words = f"{deep}: has more than 8 bits a channel; convert it to 8 bits"
    refusal(lambda: create_dataset(options(folder)), words)
    refusal(lambda: dataset(folder)[0], words)
    deep.unlink()
    np.save(folder / "train" / "b.npy", np.asarray(draw((40, 30), seed=1)))
    item = dataset(folder, *WHOLE)[0]
    expected = lab(draw((40, 30), seed=1))[:1] / 50 - 1
    np.testing.assert_allclose(item["A"], expected, rtol=0, atol=1e-6)
