"""Trainings on label maps: from the folders to the page of results, in the two commands."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import draw, result_images
from PIL import Image
from support.label_folders import classes, draw_coloured, draw_labels, photo, save
from support.label_maps import COLOURS
from support.label_model import LABEL_MODEL

from data.labels_dataset import LabelsDataset
from options.config_files import read_run
from translator import Translator, run_options

FLAGS = [
    *("--model", "paint", "--gpu_ids", "-1", "--num_threads", "0", "--batch_size", "2"),
    *("--load_size", "18", "--crop_size", "16", "--n_epochs", "1", "--n_epochs_decay", "0"),
]
TEST = ["--name", "r", "--gpu_ids", "-1", "--num_threads", "0"]


@pytest.fixture
def train(command: Any, drop: Any) -> Any:
    """Train the small model of label maps."""
    drop("models/paint_model.py", LABEL_MODEL)

    def run(root: Path | None, *flags: Any) -> SimpleNamespace:
        place = ["--dataroot", root] if root else []
        result = command("train", *FLAGS, *place, "--name", "r", *flags)
        assert "Traceback" not in result.err + result.out
        return result

    return run


def test_a_run_keeps_its_classes_for_tests_and_resumes(tmp_path, train, command, caplog) -> None:
    root = draw_labels(tmp_path / "d", (0, 1, 255))
    flags = ["--contain_dontcare_label", "--val_freq", "1"]
    assert train(root, *flags).status == 0
    saved = read_run(Path("checkpoints/r"))
    assert (saved["label_nc"], saved["no_instance"], saved["label_offset"]) == (2, False, 0)
    page = Path("checkpoints/r/web/index.html").read_text()
    assert "2 classes of label maps" in page and "background: #800000" in page
    save(root / "train_label" / "0.png", classes(0, (0, 1)))
    assert train(root, "--continue_train", "--n_epochs", "2").status == 0
    shutil.rmtree(root / "test_img")
    shutil.rmtree(root / "test_inst")
    assert command("test", *TEST).status == 0 and "no instance maps" in caplog.text
    assert len(result_images("r")) == 6
    of_test = LabelsDataset(run_options(TEST))[1]
    paletted = Image.open(of_test["label_paths"]).copy()
    paletted.putpalette([*range(255, -1, -1)] * 3)
    paletted.save("label.png")
    prepare = Translator.load("checkpoints/r", gpu_ids=-1).prepare
    for source in ("label.png", paletted, np.asarray(paletted)):  # the indices, whatever colours
        assert torch.equal(prepare(source), of_test["label"])
    page = Path("results/r/test_latest/index.html").read_text()
    assert "Images do not have their original size" in page


def test_maps_that_are_scaled_keep_their_proportions_in_the_test(tmp_path, train, command) -> None:
    root = draw_labels(tmp_path / "d")  # 24×20 pixels
    sizes = ["--preprocess", "scale_width", "--load_size", "48", "--crop_size", "16"]
    assert train(root, *sizes, "--batch_size", "1").status == 0
    for flags, size in ((TEST, (48, 40)), ([*TEST, "--load_size", "24"], (24, 20))):
        assert command("test", *flags, "--num_test", "1").status == 0
        with Image.open("results/r/test_latest/images/0_fake_B.png") as image:
            assert image.size == size


def test_colours_of_a_run_are_those_of_its_tests(tmp_path, train, command) -> None:
    root = draw_coloured(tmp_path / "d", ending=".jpg")
    assert train(root, "--direction", "BtoA").status == 0
    saved = read_run(Path("checkpoints/r"))
    assert len(saved["label_colours"]) == saved["label_nc"] == 5
    shutil.rmtree(root / "train")
    few = np.concatenate([draw((96, 96)), np.broadcast_to(np.uint8(COLOURS[2]), (96, 96, 3))], 1)
    for path in (root / "test").iterdir():  # of one colour, which is no palette by itself
        Image.fromarray(few).save(path)
    assert command("test", *TEST).status == 0
    images = result_images("r")
    assert len(images) == 6 and np.abs(images["0_label.png"].astype(int) - COLOURS[2]).max() < 9


def test_the_built_in_facades_train_without_any_dataroot(train, command, few_builtin) -> None:
    assert train(None, "--val_freq", "1").status == 0
    assert "13 classes of label maps" in Path("checkpoints/r/web/index.html").read_text()
    assert command("test", *TEST).status == 0 and len(result_images("r")) == 4


def broken(root: Path, how: str) -> list[str]:
    """Break a dataset in one way; return the flags."""
    label, instance = root / "train_label" / "1.png", root / "train_inst" / "1.png"
    if how == "number":
        save(label, classes(0, (0, 25)))
        return ["--label_nc", "20"]
    if how == "RGB":
        photo(label, 0)
    elif how == "photo":
        photo(label, 0)
        return ["--label_colours", "auto"]
    elif how == "unpaired":
        label.rename(label.with_name("x.png"))
    elif how == "RGB instances":
        photo(instance, 0)
    elif how == "instance size":
        save(instance, classes(0, (1, 2), (8, 8)))
    elif how == "image size":
        photo(root / "train_img" / "1.jpg", 0, (8, 8))
        return ["--preprocess", "none", "--batch_size", "1"]
    elif how == "folder":
        shutil.rmtree(root / "train_img")
    return []


BROKEN = {
    "number": r"train_label/1.png: holds the class number 25, .*leave out --label_nc",
    "RGB": r"train_label/1.png: is RGB, .*save it as grey PNG",
    "photo": r"train_label/\d.png: has \d+ colours, but a label map has at most 256",
    "unpaired": r"--dataroot: .*train_label/x.png has no partner",
    "RGB instances": r"train_inst/1.png: is RGB, but an instance map has one channel",
    "instance size": r"train_inst/1.png has 8x8 pixels and .*train_label/1.png 24x20",
    "image size": r"train_img/1.jpg has 8x8 pixels and .* --preprocess resize_and_crop",
    "folder": r"--dataroot: .*train_img is missing",
}


@pytest.mark.parametrize("how", BROKEN)
def test_bad_label_maps_end_with_one_line_and_status_2(tmp_path, train, how) -> None:
    root = draw_labels(tmp_path / "d")
    result = train(root, *broken(root, how))
    assert result.status == 2 and len(result.err.splitlines()) == 1
    assert re.search(BROKEN[how], result.err), result.err


def test_a_start_from_weights_keeps_what_its_networks_were_made_with(tmp_path, train) -> None:
    earlier = draw_labels(tmp_path / "d", numbers=(0, 1, 2, 7, 255))
    flags = ["--no_instance", "--contain_dontcare_label"]
    assert train(earlier, *flags).status == 0
    new = draw_labels(tmp_path / "new", numbers=(0, 1))
    start = ["--name", "new", "--init_from", "checkpoints/r", "--lr", "0"]
    result = train(new, *start)
    assert result.status == 0, result.err
    saved = read_run(Path("checkpoints/new"))
    assert (saved["label_nc"], saved["contain_dontcare_label"], saved["no_instance"]) == (8, 1, 1)
    both = [torch.load(f"checkpoints/{run}/latest_net_G.pth") for run in ("r", "new")]
    weights = [key for key in both[0] if "running" not in key and "num_batches" not in key]
    assert weights and all(torch.equal(both[0][key], both[1][key]) for key in weights)
