"""The classes of a run: counted, found as colours, kept for the next start, named."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FACADES, draw, needs_facades, refusal
from PIL import Image
from support.label_folders import classes, coloured, draw_coloured, draw_labels, photo, save
from support.label_maps import COLOURS

from data import create_dataset
from data.labels import scan
from data.labels.class_names import class_names
from data.labels.reader import LabelReader
from data.labels_dataset import LabelsDataset
from options.train_options import TrainOptions
from util.palette import as_hex


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def options(root: Path, *flags: Any) -> Any:
    flags = ("--load_size", "18", "--crop_size", "16", "--num_threads", "0", *flags)
    return TrainOptions().read(
        ["--dataroot", root, "--dataset_mode", "labels", "--gpu_ids", "-1", *flags]
    )


def test_classes_are_counted_over_all_phases_and_kept(tmp_path, monkeypatch, caplog) -> None:
    root = draw_labels(tmp_path / "d")
    save(root / "val_label" / "1.png", classes(0, (0, 11)))
    assert (
        options(root).label_nc == 12 and "--label_nc 12: counted in train, val, test" in caplog.text
    )
    (kept,) = Path("checkpoints").glob("labels_*.json")
    monkeypatch.setattr(scan, "_known", {})
    monkeypatch.setattr(scan.Looker, "numbers", None)
    assert options(root).label_nc == 12
    monkeypatch.undo()
    kept.write_text("{")
    scan._known.clear()
    assert options(root).label_nc == 12 and json.loads(kept.read_text())
    os.utime(root / "val_label" / "1.png", (1, 1))
    save(root / "val_label" / "1.png", classes(0, (0, 1)))
    assert options(root).label_nc == 3


def test_what_training_lacks_is_said_before_it(tmp_path: Path, caplog: Any) -> None:
    root = draw_labels(tmp_path / "d")
    save(root / "val_label" / "1.png", classes(0, (0, 11, 4)))
    data = create_dataset(options(root))
    (remark,) = data.remarks
    assert "val has class numbers that train lacks" in remark and "4, 11" in remark
    assert "val_label/1.png" in remark and remark in caplog.text
    root = draw_coloured(tmp_path / "c")
    rare = Image.open(root / "test" / "0.png")
    rare.paste((1, 2, 3), (100, 0, 110, 40))
    rare.save(root / "test" / "0.png")
    (remark,) = create_dataset(options(root, "--direction", "BtoA")).remarks
    assert "test has colours that train lacks" in remark and "#010203" in remark


def test_255_far_from_the_others_is_proposed_as_unknown(tmp_path: Path) -> None:
    root = draw_labels(tmp_path / "d", (0, 1, 255))
    (remark,) = LabelsDataset(options(root)).remarks()
    assert "--contain_dontcare_label makes them unknown: 2 classes in place of 256" in remark
    for flags in (["--label_nc", "256"], ["--contain_dontcare_label"]):
        assert LabelsDataset(options(root, *flags)).remarks() == []
    assert options(root, "--contain_dontcare_label").label_nc == 2


def test_numbers_that_are_no_class_are_named_with_file_and_flag(tmp_path: Path) -> None:
    root = draw_labels(tmp_path / "d", (0, 1, 25))
    save(root / "train_label" / "1.png", classes(0, (0, 255)))
    how = lambda *flags: LabelsDataset(options(root, *flags))  # noqa: E731
    words = ("train_label/0.png: holds the class number 25", "--label_nc 20 allows 0 to 19")
    refusal(lambda: how("--label_nc", "20"), *words, "leave out --label_nc")
    words = ("train_label/1.png: holds the class number 255", "--contain_dontcare_label")
    refusal(lambda: how("--label_nc", "26"), *words)
    words = ("train_label/0.png: holds the class number 0", "--contain_dontcare_label makes it")
    refusal(lambda: how("--label_nc", "255", "--label_offset", "1"), *words)
    data = how("--label_nc", "20", "--on_bad_image", "skip")
    refusal(lambda: data[0], "train_label/0.png: holds the class number 25")
    exact = how("--label_nc", "25", "--on_bad_image", "skip", "--contain_dontcare_label")
    refusal(lambda: exact[0], "train_label/0.png: holds the class number 25")  # not the unknown


def test_instance_maps_photos_and_jpeg_are_no_label_maps(tmp_path: Path) -> None:
    root = draw_labels(tmp_path / "d")
    save(root / "train_label" / "0.png", np.full((20, 24), 33_000, np.uint16))
    refusal(lambda: options(root), "train_label/0.png: holds the number 33000", "--label_nc 33001")
    photo(root / "train_label" / "0.png", 0)
    refusal(lambda: options(root), "train_label/0.png: is RGB", "save it as grey PNG")
    photo(root / "train_label" / "1.png", 1)
    photo(root / "train_label" / "2.png", 2)
    refusal(lambda: options(root), "train_label/0.png: is RGB", "or give --label_colours auto")
    draw_labels(tmp_path / "d")
    (root / "train_label" / "0.png").unlink()
    save(root / "train_label" / "0.jpg", classes(0, (0, 40)))
    refusal(lambda: options(root), "train_label/0.jpg: is JPEG, which changes numbers", "PNG")
    root = draw_coloured(tmp_path / "c")
    words = ("/train/", "colours, but a label map has at most 256", "--direction AtoB takes side A")
    refusal(lambda: options(root), *words)
    data = LabelsDataset(options(root, "--direction", "BtoA"))
    two = np.concatenate([np.asarray(draw((96, 96), seed)) for seed in (1, 2)], 1)
    Image.fromarray(two).save(root / "train" / "2.png")
    refusal(lambda: data[2], "train/2.png", "none of the 5 label colours", "--direction")


def test_colours_are_found_on_request_or_given_by_hand(tmp_path: Path) -> None:
    root = draw_labels(tmp_path / "d", count=1)
    for phase in ("train", "val", "test"):
        save(root / f"{phase}_label" / "0.png", coloured(0, (24, 20)))
    opt = options(root, "--label_colours", "auto", "--preprocess", "none", "--no_flip")
    assert opt.label_colours == sorted(as_hex(np.uint8(COLOURS))) and opt.label_nc == 5
    given = as_hex(np.uint8(COLOURS))
    by_hand = options(root, "--label_colours", ",".join(given), "--preprocess", "none", "--no_flip")
    assert by_hand.label_colours == given and by_hand.label_nc == 5
    here, there = (LabelsDataset(o)[0]["label"] for o in (opt, by_hand))
    order = [given.index(colour) for colour in opt.label_colours]
    assert np.array_equal(np.array(order)[here], there)


def test_more_than_64_colours_are_a_palette_too(tmp_path: Path) -> None:
    root = draw_coloured(tmp_path / "d", stitched=False)
    codes = np.arange(200)
    many = np.stack([codes * 37 % 256, codes * 91 % 256, codes], 1).astype(np.uint8)
    save(root / "trainA" / "0.png", np.repeat(np.repeat(many.reshape(10, 20, 3), 4, 0), 4, 1))
    photo(root / "trainB" / "0.png", 0, (80, 40))
    assert options(root).label_nc == 205


def test_classes_have_names(tmp_path: Path) -> None:
    root = draw_labels(tmp_path / "d")
    opt = options(root)
    assert class_names(opt) == [] and LabelsDataset(opt).classes()[1] == ("#800000", "1")
    (root / "classes.txt").write_text("sky\n2: bus stop\n")
    assert class_names(opt) == ["sky", "", "bus stop"]
    assert LabelsDataset(opt).classes()[0] == ("#000000", "sky")
    (root / "classes.txt").write_text("a\nb\nc\nd\ne\n")
    words = "classes.txt: 'e' names class 4, but the classes are 0 to 2", "--label_nc 5"
    refusal(lambda: class_names(opt), *words)
    (root / "classes.txt").write_text("# of my atlas\n2 bus stop\n0\tsky\n")
    assert class_names(opt) == ["sky", "", "bus stop"]
    (root / "classes.txt").write_text("sky\n0: sea\n")
    refusal(lambda: class_names(opt), "classes.txt: '0: sea': class 0 has a name already, 'sky'")
    root = draw_coloured(tmp_path / "c")
    (root / "classes.txt").write_text("#ff9f01 roof\n#0030ff wall\n")
    opt = options(root, "--direction", "BtoA")
    names = dict(zip(opt.label_colours, class_names(opt), strict=True))
    assert names["#ff9f01"] == "roof" and names["#0030ff"] == "wall" and names["#ae0001"] == ""
    (root / "classes.txt").write_text("#ff9f01 roof\n#00ff00 grass\n")
    refusal(lambda: class_names(opt), "'#00ff00 grass': no class has this colour; the nearest is #")
    (root / "classes.txt").write_text("#ff9f roof\n")
    refusal(lambda: class_names(opt), "'#ff9f roof': expected #rrggbb and a name")


def test_a_label_nc_far_above_the_classes_is_said(tmp_path: Path) -> None:
    root = draw_labels(tmp_path / "d")
    (remark,) = LabelsDataset(options(root, "--label_nc", "30")).remarks()
    assert "--label_nc 30, but no label map has a class above 2" in remark
    assert LabelsDataset(options(root, "--label_nc", "3")).remarks() == []


def test_colours_of_no_class_are_said(tmp_path: Path) -> None:
    root = draw_coloured(tmp_path / "d")
    own = ",".join(as_hex(np.uint8(COLOURS))[:4])
    data = LabelsDataset(options(root, "--direction", "BtoA", "--label_colours", own))
    (remark,) = data.remarks()
    assert f"no class has the colours {as_hex(np.uint8(COLOURS))[4]}; they count as" in remark


def test_grey_files_of_a_run_on_colours_are_no_photos(tmp_path: Path) -> None:
    root = draw_coloured(tmp_path / "d", stitched=False)
    opt = options(root)
    save(root / "trainA" / "1.png", classes(0, (0, 40, 200), (96, 96)))
    data = LabelsDataset(opt)
    refusal(lambda: data[1], "trainA/1.png: is grey, of class numbers perhaps", "are colours")


@pytest.mark.slow
@needs_facades
def test_the_colours_of_the_facades_are_twelve_classes() -> None:
    opt = options(FACADES, "--direction", "BtoA")
    assert opt.label_nc == 12
    data = LabelsDataset(opt)
    found = {int(number) for i in range(30) for number in data[i]["label"].unique()}
    assert data.remarks() == [] and found == set(range(12))


def test_255_is_a_class_where_there_are_so_many() -> None:
    stored = Image.fromarray(np.array([[0, 254, 255]], np.uint8))
    for label_nc, offset, wanted in ((255, 0, [0, 254, 255]), (300, 0, [0, 254, 255])):
        reader = LabelReader(label_nc, dontcare=True, offset=offset)
        assert reader.classes(stored).tolist() == [wanted]
        assert reader.unknown_is_255 == (label_nc == 255)
    reader = LabelReader(300, dontcare=True, offset=1)  # 0 is unknown
    assert reader.classes(stored).tolist() == [[300, 253, 254]]
