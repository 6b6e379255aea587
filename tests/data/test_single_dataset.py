"""Single images to translate."""

from pathlib import Path

import pytest
import torch
from conftest import draw, draw_pairs, refusal
from PIL import Image

from data import builtin_facades, create_dataset
from data.single_dataset import SingleDataset
from data.transforms import to_tensor
from options.train_options import TrainOptions


def dataset(root: Path | str, *flags: str) -> SingleDataset:
    sizes = ["--load_size", "24", "--crop_size", "16"]
    args = ["--dataroot", str(root), "--dataset_mode", "single", *sizes, *flags]
    return SingleDataset(TrainOptions().read(args))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images, one in a subfolder."""
    root = tmp_path / "photos"
    (root / "sub").mkdir(parents=True)
    draw((40, 30), seed=1).save(root / "b.png")
    draw((30, 40), seed=2).save(root / "sub" / "a.png")
    return root


def test_images_come_sorted_from_the_folder_and_its_subfolders(folder):
    data = dataset(folder, "--preprocess", "none", "--no_flip")
    assert len(data) == 2
    expected = [("b.png", (40, 30), 1), ("sub/a.png", (30, 40), 2)]
    for i, (name, size, seed) in enumerate(expected):
        item = data[i]
        assert item["A_paths"] == str(folder / name) and item["A_size"] == size
        assert torch.equal(item["A"], to_tensor(draw(size, seed)))
        assert "B" not in item


def test_default_preprocess_gives_the_crop_size_and_the_size_of_the_file(folder):
    item = dataset(folder)[0]
    assert item["A"].shape == (3, 16, 16) and item["A_size"] == (40, 30)


def test_grey_input_has_one_channel(folder):
    item = dataset(folder, "--preprocess", "none", "--no_flip", "--input_nc", "1")[0]
    assert torch.equal(item["A"], to_tensor(draw((40, 30), 1).convert("L")))


def test_grey_files_become_rgb_by_default(folder):
    Image.open(folder / "b.png").convert("L").save(folder / "b.png")
    A = dataset(folder, "--preprocess", "none")[0]["A"]
    assert A.shape == (3, 30, 40) and torch.equal(A[0], A[2])


def test_max_dataset_size_takes_the_first(folder):
    data = dataset(folder, "--max_dataset_size", "1")
    assert data.A_paths == [str(folder / "b.png")]


def test_unsupported_channel_count_is_refused(folder):
    refusal(lambda: dataset(folder, "--input_nc", "2"), "--input_nc 2", "1 (grey)")


def test_missing_folder_names_the_nearest(folder):
    absent = folder.parent / "photo"
    refusal(lambda: dataset(absent), f"--dataroot {absent}", f"did you mean {folder}?")


def test_folder_without_images_says_what_it_holds(tmp_path):
    (tmp_path / "notes.txt").touch()
    refusal(lambda: dataset(tmp_path), f"--dataroot {tmp_path}", "found 1 other files")


def test_unreadable_file_is_named(folder):
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:60])
    refusal(lambda: dataset(folder)[0], str(folder / "b.png"))


def test_image_smaller_than_the_crop_is_named(folder):
    draw((15, 40)).save(folder / "b.png")
    data = dataset(folder, "--preprocess", "crop")
    refusal(lambda: data[0], str(folder / "b.png"), "15x40", "--crop_size 16")


def test_without_dataroot_and_built_in_images_the_folder_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = ["--dataset_mode", "single", "--load_size", "24", "--crop_size", "16"]
    refusal(lambda: SingleDataset(TrainOptions().read(data)), "--dataroot")


# Folders ---------------------------------------------------------------------------------


def test_a_deep_folder_tree_is_read_whole_whatever_the_phase(folder):
    (folder / "sub" / "deeper" / "still").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    draw((20, 20), seed=3).save(folder / "sub" / "deeper" / "still" / "c.JPG")
    draw((20, 20), seed=4).save(folder / ".hidden" / "d.png")
    for phase in ("train", "test"):
        found = dataset(folder, "--phase", phase).A_paths
        names = ("b.png", "sub/a.png", "sub/deeper/still/c.JPG")
        assert found == [str(folder / name) for name in names]


def test_images_that_look_like_pairs_are_taken_whole(tmp_path):
    root = draw_pairs(tmp_path / "pairs", count=1)
    data = dataset(root, "--preprocess", "none", "--no_flip", "--direction", "BtoA")
    assert [Path(path).parent.name for path in data.A_paths] == ["test", "train", "val"]
    assert torch.equal(data[0]["A"], to_tensor(Image.open(root / "test" / "0.png")))


@pytest.mark.parametrize(("direction", "left"), [("AtoB", 0), ("BtoA", builtin_facades.SIZE)])
@pytest.mark.parametrize("phase", ["train", "test"])
def test_of_the_built_in_pairs_it_takes_the_half_that_the_direction_translates(
    tmp_path, monkeypatch, few_builtin, direction, left, phase
):
    monkeypatch.chdir(tmp_path)
    flags = ["--dataroot", builtin_facades.ROOT, "--dataset_mode", "single", "--num_threads", "0"]
    flags += ["--gpu_ids", "-1", "--preprocess", "none", "--no_flip", "--serial_batches"]
    flags += ["--phase", phase, "--direction", direction]
    batches = list(create_dataset(TrainOptions().read(flags)))
    folder = Path(builtin_facades.ROOT) / phase
    assert [Path(b["A_paths"][0]) for b in batches] == [folder / "0001.png", folder / "0002.png"]
    for batch in batches:
        pair = Image.open(batch["A_paths"][0])
        half = pair.crop((left, 0, left + builtin_facades.SIZE, builtin_facades.SIZE))
        assert torch.equal(batch["A"][0], to_tensor(half))
