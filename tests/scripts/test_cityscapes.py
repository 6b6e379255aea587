"""prepare_cityscapes_dataset: pairs, and two sets, of the files that people downloaded."""

from pathlib import Path

import numpy as np
import pytest
from conftest import draw
from PIL import Image, JpegImagePlugin
from support.preparing import complaint, contents, halves, load_script, pixels, trains

main = load_script("prepare_cityscapes_dataset").main
CITIES = {"train": ("aachen", "bochum"), "val": ("lindau",), "test": ("berlin",)}
SIZE = (384, 192)  # 2:1, as the real ones
COLOURS = [(128, 64, 128), (70, 70, 70), (0, 0, 142), (107, 142, 35)]
BICUBIC = Image.Resampling.BICUBIC


@pytest.fixture
def flags(tmp_path: Path) -> list[str]:
    """Write the downloaded trees, two frames a city; return the flags."""
    places = np.random.default_rng(0).integers(0, 4, (32, 64))
    labels = Image.fromarray(np.array(COLOURS, np.uint8)[places])
    labels = labels.resize(SIZE, Image.Resampling.NEAREST).convert("RGBA")
    for split, cities in CITIES.items():
        for n, city in enumerate(cities):
            photos, fine = tmp_path / f"photos/{split}/{city}", tmp_path / f"fine/{split}/{city}"
            photos.mkdir(parents=True)
            fine.mkdir(parents=True)
            for i in range(2):
                frame = f"{city}_00000{i}_000019"
                draw(SIZE, seed=2 * n + i).save(
                    photos / f"{frame}_leftImg8bit.png", compress_level=1
                )
                labels.save(fine / f"{frame}_gtFine_color.png", compress_level=1)
                labels.convert("L").save(fine / f"{frame}_gtFine_labelIds.png", compress_level=1)
    trees = ["--gtFine_dir", tmp_path / "fine", "--leftImg8bit_dir", tmp_path / "photos"]
    return [*map(str, trees), "--output_dir", str(tmp_path / "out")]


def near(array: np.ndarray, other: np.ndarray) -> bool:
    return np.abs(array.astype(int) - other).mean() < 1  # of 255: JPEG's rounding


def test_the_tree_is_the_one_that_people_know_and_val_becomes_test(flags, tmp_path):
    before = contents(tmp_path)
    main(flags)
    expected = set()
    for phase, count in (("train", 4), ("test", 2)):
        for i in range(1, count + 1):
            expected |= {f"{phase}/{i}.jpg", f"{phase}A/{i}_A.jpg", f"{phase}B/{i}_B.jpg"}
    assert set(contents(tmp_path / "out")) == expected
    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before


def test_photos_are_left_and_labels_right_256_wide_in_sorted_order(flags, tmp_path):
    main(flags)
    for phase, split in (("train", "train"), ("test", "val")):
        paths = sorted((tmp_path / "photos" / split).rglob("*.png"))
        for i, path in enumerate(paths, start=1):
            A, B = halves(tmp_path / "out" / phase / f"{i}.jpg")
            assert A.shape == B.shape == (256, 256, 3)
            assert near(A, np.asarray(Image.open(path).resize((256, 256), BICUBIC)))
            assert near(A, pixels(tmp_path / "out" / f"{phase}A" / f"{i}_A.jpg"))
            assert near(B, pixels(tmp_path / "out" / f"{phase}B" / f"{i}_B.jpg"))


def test_labels_keep_their_colours(flags, tmp_path):
    main(flags)
    B = pixels(tmp_path / "out" / "trainB" / "1_B.jpg").astype(int)
    distance = np.abs(B[:, :, None] - np.array(COLOURS)).max(axis=-1).min(axis=-1)
    assert distance.max() <= 6  # a mixed colour lies farther from all four


def test_JPEG_has_quality_100_without_subsampling(flags, tmp_path):
    main(flags)
    for path in (tmp_path / "out").rglob("*.jpg"):
        with Image.open(path) as image:
            assert {n for table in image.quantization.values() for n in table} == {1}
            assert JpegImagePlugin.get_sampling(image) == 0  # 4:4:4


@pytest.mark.parametrize("split", ["train", "val"])
def test_missing_labels_are_named(flags, tmp_path, split, capfd):
    missing = sorted((tmp_path / "fine" / split).rglob("*_color.png"))[-1]
    missing.unlink()
    complaint(capfd, main, flags, "--gtFine_dir", str(missing))


@pytest.mark.parametrize("split", ["train", "val"])
def test_missing_photos_are_named(flags, tmp_path, split, capfd):
    (tmp_path / "photos" / split).rename(tmp_path / "elsewhere")
    complaint(capfd, main, flags, "--leftImg8bit_dir", str(tmp_path / "photos"), f"{split}/")


@pytest.mark.parametrize("flag", ["--gtFine_dir", "--leftImg8bit_dir"])
def test_a_missing_flag_is_named_on_one_line(flags, flag, capfd):
    at = flags.index(flag)
    complaint(capfd, main, flags[:at] + flags[at + 2 :], flag)


def test_an_output_that_is_a_file_is_refused(flags, tmp_path, capfd):
    (tmp_path / "out").write_text("")
    complaint(capfd, main, flags, "--output_dir", str(tmp_path / "out"))


@pytest.mark.parametrize("name", ["train/1.jpg", "testA/2_A.jpg", "trainB/3_B.jpg"])
def test_another_image_is_not_overwritten(flags, tmp_path, capfd, name):
    (tmp_path / "out" / name).parent.mkdir(parents=True)
    draw((8, 8)).save(tmp_path / "out" / name)
    before = (tmp_path / "out" / name).read_bytes()
    complaint(capfd, main, flags, "--output_dir", str(tmp_path / "out" / name))
    assert (tmp_path / "out" / name).read_bytes() == before
    (tmp_path / "out" / name).unlink()
    main(flags)
    assert len(contents(tmp_path / "out")) == 18


def test_without_output_dir_it_writes_datasets_cityscapes(flags, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(flags[:4])
    assert len(contents(tmp_path / "datasets" / "cityscapes")) == 18


@pytest.mark.parametrize("model", [["pix2pix", "--direction", "BtoA"], ["cycle_gan"]])
def test_both_models_train_on_it(flags, tmp_path, command, model):
    main(flags)
    trains(command, tmp_path / "out", "--model", *model)
