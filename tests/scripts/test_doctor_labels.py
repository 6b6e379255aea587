"""The doctor on label maps: no remarks on numbers that are right, all files that are not."""

import shutil

import pytest
from conftest import SHARED
from support.label_folders import classes, draw_labels, photo, save

pytest_plugins = ["support.diagnosing"]
COCO = SHARED / "datasets" / "coco_stuff"
SPADE = ("--model", "spade")


def test_right_label_maps_get_no_remark(tmp_path, diagnose) -> None:
    root = draw_labels(tmp_path / "d")
    shutil.rmtree(root / "test_img")  # which a test does not need
    status, said = diagnose(root, *SPADE)
    assert status == 0 and "24 images, 0 bad, 0 remarks" in said


@pytest.mark.parametrize("asked", ["--dataset_mode labels", "--model pix2pixHD"])
def test_all_wrong_files_of_all_phases_are_named(tmp_path, diagnose, asked: str) -> None:
    root = draw_labels(tmp_path / "d")
    save(root / "val_label" / "0.png", classes(0, (0, 77)))
    save(root / "train_inst" / "1.png", classes(0, (1, 2), (8, 8)))
    photo(root / "train_inst" / "2.png", 0)
    (root / "test_label" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    status, said = diagnose(root, *asked.split(), "--label_nc", "3")
    assert status == 1 and "4 of 27 images would stop a training" in said
    assert "val_label/0.png: holds the class number 77" in said
    assert "train_inst/1.png: has 8x8 pixels and" in said
    assert "train_inst/2.png: is RGB, but an instance map has one channel" in said
    assert said.count("test_label/0.png") == 1


def test_all_maps_of_colours_among_numbers_are_named(tmp_path, diagnose) -> None:
    root = draw_labels(tmp_path / "d")
    for name in ("train_label/1.png", "train_label/2.png", "val_label/0.png"):
        photo(root / name, 0)
    status, said = diagnose(root, *SPADE)
    assert status == 1 and "3 of 27 images would stop a training" in said
    assert said.count("is RGB, but a label map has one channel") == 3


@pytest.mark.skipif(not COCO.is_dir(), reason="the images of COCO-Stuff are not here")
def test_real_label_maps_get_the_remarks_that_are_right(diagnose) -> None:
    status, said = diagnose(COCO, *SPADE, "--contain_dontcare_label")
    assert status == 0 and "63 images, 0 bad, 1 remark" in said
    assert "val has class numbers that train lacks" in said
