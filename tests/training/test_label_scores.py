"""The classes that a segmenter reads in generated images: in validations, and in scripts.evaluate
of runs on label maps.
"""

import json
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TINY, refusal
from PIL import Image
from support.drawing import draw_labels, untrained
from support.label_folders import draw_label_folders
from support.label_maps import SPADE

from models import segmenter
from models.segmenter import Examples, Reader, Segmenter, kept_reader
from options.train_options import TrainOptions
from scripts.evaluation.compare import ImageSet
from scripts.evaluation.fcn_score import class_note, fcn_scores
from training import label_scores
from training.label_scores import LabelScores, reader_of_labels, training_pairs
from translator import run_options
from util.displays.val_log import ScoreLog
from util.palette import default_colours
from util.segmentation_scores import UNKNOWN, confusion, iou_by_class

CPU = torch.device("cpu")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run on four classes, two of which have names."""
    data = draw_label_folders(tmp_path / "data", classes=4, size=64, count=4)
    (data / "classes.txt").write_text("0: sky\n1: sea\n")
    return untrained(tmp_path, data, *SPADE)


def options(run: Path, *flags: str) -> Any:
    return run_options(
        ["--checkpoints_dir", str(run.parent), "--name", "run", "--gpu_ids", "-1", *flags]
    )


def test_unknown_pixels_do_not_count() -> None:
    truth = torch.tensor([[0, 0, UNKNOWN, 1]])
    found = torch.tensor([[0, 1, 1, 1]])
    matrix = confusion(truth, found, 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    iou = iou_by_class(matrix).tolist()
    assert iou[:2] == [0.5, 0.5] and np.isnan(iou[2])


def test_the_largest_classes_are_noted_with_their_names() -> None:
    matrix = torch.diag(torch.tensor([1, 5, 0])) + torch.tensor([[0, 0, 1], [0, 0, 0], [0, 0, 0]])
    note = class_note("r", ["sky", "sea", "sand"], {"outputs": matrix, "real photos": matrix})
    assert note.endswith("sea 1.00 (1.00), sky 0.50 (0.50)") and "sand" not in note


@pytest.mark.parametrize("unknown", [False, True])
def test_a_segmenter_learns_from_the_label_maps(
    run: Path, tmp_path: Path, monkeypatch, unknown: bool
) -> None:
    learnt = []

    def train(photos, classes, count, epochs, device):
        learnt.append((photos, classes, count))
        return Segmenter(count)

    monkeypatch.setattr(segmenter, "train", train)
    flags = ["--label_nc", "3", "--contain_dontcare_label"] if unknown else []
    if unknown:  # class 3 becomes unknown
        for path in (tmp_path / "data").glob("*_label/*.png"):
            labels = np.asarray(Image.open(path)).copy()
            labels[labels == 3] = 255
            Image.fromarray(labels).save(path)
    opt = options(run, *flags)
    how = {"epochs": 1, "cache": tmp_path / "cache", "device": CPU}
    reader = reader_of_labels(opt, **how)
    ((photos, classes, count),) = learnt
    assert photos.shape == (4, 64, 64, 3) and photos.dtype == torch.uint8
    assert classes.shape == (4, 64, 64) and count == len(reader.palette) == (3 if unknown else 4)
    stored = np.asarray(Image.open(tmp_path / "data/train_label/2.png")).astype(int)
    wanted = np.where(stored == 255, UNKNOWN, stored)
    assert np.array_equal(classes[2], wanted) and (UNKNOWN in wanted) == unknown
    assert np.array_equal(photos[2], Image.open(tmp_path / "data/train_img/2.png"))
    assert reader.names[:3] == ["sky", "sea", "class 2"]
    colours = default_colours(4)
    shown = np.where((wanted == UNKNOWN)[..., None], (224, 224, 192), colours[wanted.clip(0)])
    image = torch.from_numpy(shown.astype(np.uint8)).permute(2, 0, 1)[None]
    assert np.array_equal(reader.classes_of(image), wanted)
    reader_of_labels(opt, **how)  # again: kept
    assert len(learnt) == 1


def test_images_without_a_known_pixel_are_passed_over(tmp_path: Path) -> None:
    photos = np.zeros((2, 32, 32, 3), np.uint8)
    classes = np.full((2, 32, 32), UNKNOWN)
    found = Examples(photos, classes, default_colours(3))
    reader = kept_reader(("x",), lambda: found, epochs=1, cache=tmp_path, device=CPU)
    assert all(weight.isfinite().all() for weight in reader.net.state_dict().values())


def test_the_training_pairs_must_be_there(run: Path, tmp_path: Path) -> None:
    alone = draw_label_folders(tmp_path / "alone", images=False)
    for folder in (tmp_path / "gone", alone):
        opt = options(run, "--dataroot", str(folder))
        read = partial(reader_of_labels, opt, epochs=1, cache=tmp_path, device=CPU)
        refusal(read, "--metrics FCN: needs", "training")


def test_the_folders_of_a_test_are_no_training_pairs(run: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    folders = ["--label_dir", str(data / "test_label"), "--image_dir", str(data / "test_img")]
    for flags in ([], folders, ["--phase", "val"]):
        files = training_pairs(options(run, *flags)).label_paths
        assert {Path(file).parent.name for file in files} == {"train_label"}
    own = ["--phase", "val", "--dataset_mode", "labels", "--dataroot", str(data), "--name", "v"]
    opt = TrainOptions().read([*TINY, *SPADE, *own])
    assert {Path(file).parent.name for file in training_pairs(opt).label_paths} == {"val_label"}


def test_unreadable_training_images_are_left_out_on_request(
    run: Path, tmp_path: Path, monkeypatch
) -> None:
    counts = []

    def train(photos, classes, count, epochs, device):
        counts.append(len(photos))
        return Segmenter(count)

    monkeypatch.setattr(segmenter, "train", train)
    (tmp_path / "data/train_img/1.png").write_text("milk")
    how = {"epochs": 1, "cache": tmp_path / "cache", "device": CPU}
    refusal(lambda: reader_of_labels(options(run), **how), "train_img/1.png")
    reader_of_labels(options(run, "--on_bad_image", "skip"), **how)
    assert counts == [3]


class ReadsStripes:
    """A segmenter that takes the first channel of an image for its classes."""

    names = ("sky", "class 1", "sea")

    def read(self, photo: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return photo[0, 0].long(), torch.zeros(1)


def test_a_validation_scores_the_classes_of_all_its_images(monkeypatch) -> None:
    monkeypatch.setattr(label_scores, "reader_of_labels", lambda *args, **how: ReadsStripes())
    opt = SimpleNamespace(label_nc=3, fcn_epochs=1, checkpoints_dir="none")
    scores = LabelScores(opt, CPU)
    for again in (False, True):  # the second validation counts from zero
        scores.restart()
        labels = torch.tensor([[[[0, 1, 1, 3]]]])
        scores.add(torch.tensor([[[[0, 0, 1, 2]]]]).byte(), labels.byte(), labels)
        labels = torch.tensor([[[[1, 1]]]])
        scores.add(labels.byte(), labels.byte(), labels)
        # Class 0: 1 of 1 right, union 2. Class 1: 3 of 4 right, union 4. 3 is unknown.
        assert scores.scores() == {"pixel_accuracy": 4 / 5, "mIoU": (1 / 2 + 3 / 4) / 2}
        assert scores.by_class() == "val IoU by class: class 1 0.75, sky 0.50"
        told = scores.of_references()
        assert told == "" if again else told.endswith("pixel_accuracy: 1.0000 mIoU: 1.0000")


def test_a_reader_that_learned_nothing_is_said_to_judge_nothing(monkeypatch) -> None:
    monkeypatch.setattr(label_scores, "reader_of_labels", lambda *args, **how: ReadsStripes())
    monkeypatch.setattr(ReadsStripes, "read", lambda self, photo: (photo[0, 0].long() * 0, None))
    scores = LabelScores(SimpleNamespace(label_nc=3, fcn_epochs=1, checkpoints_dir="none"), CPU)
    labels = torch.tensor([[[[0, 1, 2, 2]]]])
    scores.add(labels.byte(), labels.byte(), labels)
    scores.scores()
    told = scores.of_references()
    assert "no better than plain images" in told and "raise --fcn_epochs" in told


def test_a_training_measures_the_classes_and_keeps_the_best(run: Path, command, caplog) -> None:
    data = run.parent / "data"
    result = command(
        *("train", *TINY, *SPADE, "--dataset_mode", "labels", "--dataroot", data, "--name", "s"),
        *("--load_size", 64, "--crop_size", 64, "--n_epochs", 2, "--ema", "0.9", "--val_freq", 1),
        *("--fcn_epochs", 1, "--best_metric", "mIoU", "--save_epoch_freq", 1, "--no_html"),
    )
    assert result.status == 0, result.err
    lines = ScoreLog(Path("checkpoints/s/val_log.csv"), continued=True).lines
    columns = {"pixel_accuracy", "mIoU", "pixel_accuracy_ema", "mIoU_ema"}
    assert len(lines) == 2 and all(columns <= line.values.keys() for line in lines)
    assert all(0 <= line.values[name] <= 1 for line in lines for name in columns)
    best = max(lines, key=lambda line: line.values["mIoU_ema"])
    assert f"best epoch by val mIoU_ema: {best.epoch}" in caplog.text
    assert "the real val images have pixel_accuracy: " in caplog.text
    assert "val IoU by class: " in caplog.text and re.search(r"sky \d\.\d\d", caplog.text)


def test_the_best_mIoU_needs_its_network(run: Path, command) -> None:
    place = ["--dataset_mode", "labels", "--dataroot", run.parent / "data", "--name", "s"]
    sizes = ["--load_size", "64", "--crop_size", "64", "--val_freq", "1", "--best_metric", "mIoU"]
    result = command("train", *TINY, *SPADE, *place, *sizes)
    assert result.status == 2 and "--fcn_epochs" in result.err


def test_scores_name_the_classes_of_a_reader(tmp_path: Path) -> None:
    labels = np.arange(4).repeat(4).reshape(4, 4).repeat(8, 0).repeat(8, 1)
    paths = {}
    for kind in ("fake", "real", "source"):
        paths[kind] = {"a": tmp_path / f"{kind}.png"}
        Image.fromarray(default_colours(4)[labels]).save(paths[kind]["a"])
    images = ImageSet("r", **paths)
    reader = Reader(Segmenter(4).eval(), default_colours(4), CPU, names=["sky", "sea", "2", "3"])
    found = fcn_scores(reader, images)
    assert "FCN per-pixel accuracy" in found and "FCN class IoU" in found
    assert any("FCN IoU by class" in note and "sky" in note for note in images.notes)


@pytest.mark.parametrize("coloured", [False, True])
def test_evaluate_scores_a_run_on_label_maps(
    command, tmp_path: Path, in_this_process, coloured: bool
) -> None:
    make = draw_labels if coloured else draw_label_folders
    untrained(tmp_path, make(tmp_path / "data"), *SPADE)
    result = command(
        *("scripts.evaluate", "--name", "run", "--checkpoints_dir", tmp_path, "--gpu_ids", "-1"),
        *(
            "--metrics",
            "L1,PSNR,SSIM,FCN",
            "--fcn_epochs",
            "1",
            "--out",
            "out",
            "--num_threads",
            "1",
        ),
    )
    assert result.status == 0, result.err
    (found,) = json.loads(Path("out/metrics.json").read_text())["runs"]
    assert set(found["metrics"]) == {"L1", "PSNR", "SSIM"}
    assert {"FCN per-pixel accuracy", "FCN class IoU"} <= found["together"].keys()
    notes = json.loads(Path("out/metrics.json").read_text())["protocol"]
    assert any("FCN IoU by class" in note and "class 1" in note for note in notes)
