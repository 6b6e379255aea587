"""The layouts of folders of label maps, and what is said of those that are incomplete."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import refusal
from support.label_folders import classes, draw_coloured, draw_labels, photo, save

from data import create_validation_dataset, load_size_of_test
from data.labels import flags
from data.labels.folders import existing_label_files, find_label_files
from data.labels_dataset import LabelsDataset
from options.test_options import TestOptions
from options.train_options import TrainOptions

KNOWN = ["--label_nc", "9", "--label_offset", "0"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def options(root: Path | None, *flags: Any, kind: type = TrainOptions) -> Any:
    place = ["--dataroot", root] if root else []
    return kind().read([*place, "--dataset_mode", "labels", "--gpu_ids", "-1", *flags])


def cityscapes(root: Path) -> Path:
    for phase in ("train", "val", "test"):
        for city in ("aachen", "bochum"):
            for i in range(2):
                stem = f"{city}_00000{i}_000019"
                labels = root / "gtFine" / phase / city
                save(labels / f"{stem}_gtFine_labelIds.png", classes(i, (0, 7, 33)))
                save(
                    labels / f"{stem}_gtFine_instanceIds.png",
                    classes(i, (0, 7, 33)).astype(np.uint16) * 900,
                )
                photo(labels / f"{stem}_gtFine_color.png", i)
                (labels / f"{stem}_gtFine_polygons.json").write_text("{}")
                photo(root / "leftImg8bit" / phase / city / f"{stem}_leftImg8bit.png", i)
    return root


def ade20k(root: Path) -> Path:
    for folder in ("training", "validation"):
        for i in range(2):
            save(root / "annotations" / folder / f"{i}.png", classes(i, (0, 1, 150)))
            photo(root / "images" / folder / f"{i}.jpg", i)
    return root


def names(files: list[str]) -> list[str]:
    return [Path(file).name for file in files]


def test_the_tree_of_cityscapes_is_paired_by_three_parts_of_the_name(tmp_path: Path) -> None:
    opt = options(cityscapes(tmp_path / "c"))
    files = find_label_files(opt)
    assert (
        names(files.images)[2] == "bochum_000000_000019_leftImg8bit.png" and len(files.labels) == 4
    )
    assert names(files.labels)[2] == "bochum_000000_000019_gtFine_labelIds.png"
    assert names(files.instances)[2] == "bochum_000000_000019_gtFine_instanceIds.png"
    assert (opt.label_nc, opt.no_instance, opt.contain_dontcare_label) == (34, False, False)
    test = find_label_files(options(tmp_path / "c", *KNOWN, kind=TestOptions))
    assert "/gtFine/val/" in test.labels[0]  # the labels of test are not public


def test_in_the_tree_of_ade20k_0_is_unknown(tmp_path: Path) -> None:
    root = ade20k(tmp_path / "a")
    opt = options(root, "--preprocess", "none", "--no_flip")
    assert (opt.label_nc, opt.label_offset, opt.contain_dontcare_label) == (150, 1, True)
    assert LabelsDataset(opt)[0]["label"].unique().tolist() == [0, 149, 150]
    of_test = options(root, "--label_nc", "150", kind=TestOptions)  # of published weights
    assert (of_test.label_offset, of_test.contain_dontcare_label) == (1, True)
    assert "/validation/" in LabelsDataset(of_test).label_paths[0]
    by_hand = options(root, "--label_offset", "0")
    assert (by_hand.label_nc, by_hand.contain_dontcare_label) == (151, False)


def test_flags_name_any_folders(tmp_path: Path) -> None:
    root = draw_labels(tmp_path / "d")
    for kind in ("label", "img", "inst"):
        (root / f"train_{kind}").rename(root / f"my_{kind}")
    flags = ["--label_dir", root / "my_label", "--image_dir", root / "my_img"]
    opt = options(None, *flags, "--instance_dir", root / "my_inst")
    files = find_label_files(opt)
    assert [len(f) for f in files[:3]] == [3, 3, 3] and opt.dataroot == str(root / "my_label")
    assert opt.direction == "AtoB" and opt.label_nc == 3  # not those of the built-in data
    refusal(lambda: create_validation_dataset(opt), "--label_dir", "no train", "phase val")
    without = options(root, "--image_dir", "x")
    refusal(lambda: existing_label_files(without), "--image_dir: needs --label_dir")
    alone = options(None, "--label_dir", root / "my_label", *KNOWN, kind=TestOptions)
    assert len(LabelsDataset(alone)) == 3


def test_a_validation_reads_the_folders_named_alike(tmp_path: Path) -> None:
    root = draw_labels(tmp_path / "d")
    flags = ["--label_dir", root / "train_label", "--image_dir", root / "train_img"]
    opt = options(root, *flags)
    assert "/val_label/" in create_validation_dataset(opt).dataset.label_paths[0]
    shutil.rmtree(root / "val_img")
    refusal(lambda: create_validation_dataset(opt), "--image_dir", "val_img is missing")


@pytest.mark.parametrize("above", ["training", "trainee", "d"])
def test_the_folders_of_a_validation_may_lie_below_names_like_theirs(
    tmp_path: Path, above: str
) -> None:
    root = draw_labels(tmp_path / above / "d")
    flags = ["--label_dir", root / "train_label", "--image_dir", root / "train_img"]
    data = create_validation_dataset(options(root, *flags)).dataset
    assert data.label_paths[0].startswith(str(root / "val_label"))


@pytest.mark.parametrize(("preprocess", "width"), [("scale_width", 48), ("fixed", 32)])
def test_a_validation_has_the_size_of_a_test(tmp_path: Path, preprocess: str, width: int) -> None:
    root = draw_labels(tmp_path / "d")
    opt = options(root, "--preprocess", preprocess, "--load_size", 48, "--crop_size", 32)
    item = create_validation_dataset(opt).dataset[0]
    assert item["label"].shape[-1] == width == load_size_of_test(opt)


def test_without_a_phase_test_the_images_of_val_are_tested(tmp_path: Path, caplog: Any) -> None:
    root = draw_labels(tmp_path / "d")
    for kind in ("label", "img", "inst"):
        shutil.rmtree(root / f"test_{kind}")
    data = LabelsDataset(options(root, *KNOWN, kind=TestOptions))
    assert "/val_label/" in data.label_paths[0] and "--phase test: reads" in caplog.text
    shutil.rmtree(root / "val_label")
    refusal(lambda: create_validation_dataset(options(root)), "--val_freq", "expected val_label/")


def test_unpaired_files_are_named_unless_the_order_pairs_them(tmp_path: Path) -> None:
    root = draw_labels(tmp_path / "d")
    (root / "train_img" / "1.jpg").rename(root / "train_img" / "one.jpg")
    refusal(
        lambda: LabelsDataset(options(root, *KNOWN)),
        "train_label/1.png has no partner 1.*",
        "train_img",
    )
    files = find_label_files(options(root, "--no_pairing_check"))
    assert names(files.images) == ["0.jpg", "2.jpg", "one.jpg"]
    (root / "train_img" / "one.jpg").unlink()
    words = ("--no_pairing_check", "train_label holds 3 files", "train_img 2")
    refusal(lambda: LabelsDataset(options(root, *KNOWN, "--no_pairing_check")), *words)


def test_a_training_needs_images_and_instance_maps_are_optional(tmp_path: Path) -> None:
    root = draw_labels(tmp_path / "d")
    shutil.rmtree(root / "train_inst")
    opt = options(root)
    assert opt.no_instance and "edges" not in LabelsDataset(opt)[0]
    shutil.rmtree(root / "train_img")
    refusal(lambda: LabelsDataset(options(root, *KNOWN)), "train_img is missing", "--dataroot")
    flags = ["--no_instance", "--label_dir", "x", "--instance_dir", "y"]
    refusal(lambda: LabelsDataset(options(root, *KNOWN, *flags)), "--instance_dir: does nothing")


def test_missing_folders_are_named_with_all_layouts(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    expected = "expected train_label/ and train_img/, the tree of Cityscapes or ADE20K"
    refusal(
        lambda: LabelsDataset(options(tmp_path / "empty")), "--dataroot", expected, "--label_dir"
    )
    refusal(lambda: LabelsDataset(options(tmp_path / "none")), "no such folder")
    draw_labels(tmp_path / "up" / "d")
    refusal(lambda: LabelsDataset(options(tmp_path / "up")), f"try --dataroot {tmp_path}/up/d")


def test_flags_that_contradict_the_label_maps_are_refused(tmp_path: Path) -> None:
    root = draw_coloured(tmp_path / "d", stitched=False)
    refusal(lambda: LabelsDataset(options(root, "--range_A", "0,9")), "--range_A: is for images")
    bicubic = options(root, "--filter_A", "bicubic")
    refusal(lambda: LabelsDataset(bicubic), "--filter_A: side A holds the label maps")
    refusal(
        lambda: LabelsDataset(options(root, "--label_nc", "3")),
        "--label_nc 3: the label maps have 5",
    )
    refusal(lambda: LabelsDataset(options(root, "--label_nc", "0")), "--label_nc 0", "aligned")
    refusal(lambda: options(root, "--label_colours", "#ff"), "--label_colours", "'#ff' is not auto")
    refusal(lambda: options(root, "--label_nc", "-1"), "--label_nc", "whole number")


@pytest.mark.parametrize("name", ["coco", "ade20k", "cityscapes", "facades", "custom"])
def test_the_datasets_of_spade_are_named_as_ours(tmp_path: Path, name: str) -> None:
    how = lambda: TrainOptions().read(["--dataset_mode", name])  # noqa: E731
    refusal(how, f"--dataset_mode {name}: unknown", "here it is --dataset_mode labels")


def test_a_validation_without_instance_maps_is_said_before_the_training(tmp_path: Path) -> None:
    root = draw_labels(tmp_path / "d")
    assert LabelsDataset(options(root)).remarks() == []
    shutil.rmtree(root / "val_inst")
    (remark,) = LabelsDataset(options(root)).remarks()
    assert remark == "labels: val has no instance maps; the edges are those of the classes"
    assert LabelsDataset(options(root, "--no_instance")).remarks() == []


def test_flags_of_two_sides_are_said_to_do_nothing(tmp_path: Path, caplog: Any) -> None:
    flags._say_no_direction.cache_clear()
    root = draw_labels(tmp_path / "d")
    LabelsDataset(options(root, "--direction", "BtoA", "--input_nc", "1"))
    assert "--direction BtoA does nothing: the label maps have a folder" in caplog.text
    assert "--input_nc does nothing without a --dataset_mode other than labels" in caplog.text
