"""The FCN-score: its scores by hand, its network on data that can be read, its cache."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from support.label_maps import label_map

from data.aligned_dataset import pair_files
from models import segmenter
from models.segmenter import Segmenter
from scripts.evaluation import fcn_score
from scripts.evaluation.compare import ImageSet
from scripts.evaluation.fcn_score import fcn_scores, read_pairs, trained_reader
from util.segmentation_scores import confusion, scores

CPU = torch.device("cpu")


def test_the_confusion_matrix_and_its_scores_by_hand():
    truth = torch.tensor([[0, 0, 0, 1], [1, 1, 1, 1]])
    found = torch.tensor([[0, 0, 1, 1], [1, 1, 2, 0]])
    matrix = confusion(truth, found, 4)
    assert matrix.tolist() == [[2, 1, 0, 0], [1, 3, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    # Class 0: 2 of 3 right, union 4. Class 1: 3 of 5 right, union 6. The others are not there.
    assert scores(matrix) == pytest.approx(
        {
            "per-pixel accuracy": 5 / 8,
            "per-class accuracy": (2 / 3 + 3 / 5) / 2,
            "class IoU": (2 / 4 + 3 / 6) / 2,
        }
    )


@pytest.mark.parametrize("size", [(16, 16), (33, 50), (7, 90)])
def test_the_network_reads_images_of_any_size(size):
    logits, features = Segmenter(5).eval()(torch.zeros(2, 3, *size))
    assert logits.shape == (2, 5, *size) and features.shape == (2, 128)


def photo_of(labels: np.ndarray, seed: int) -> np.ndarray:
    """Make a "photo" from which the labels can be read: darker, noisy, its channels exchanged."""
    noise = np.random.default_rng(seed).normal(0, 8, labels.shape)
    return (labels[..., ::-1] * 0.6 + 40 + noise).clip(0, 255).astype(np.uint8)


@pytest.fixture
def pairs(tmp_path: Path) -> list[tuple[str, str]]:
    """Write pairs, B the labels: A|B images, and the same unstitched in trainA and trainB."""
    files = []
    for side in "AB":
        (tmp_path / f"train{side}").mkdir()
    for seed in range(12):
        labels = label_map(seed, 64)
        halves = photo_of(labels, seed), labels
        files.append((str(tmp_path / f"{seed}.png"),) * 2)
        Image.fromarray(np.concatenate(halves, 1)).save(files[-1][0])
        for side, half in zip("AB", halves, strict=True):
            Image.fromarray(half).save(tmp_path / f"train{side}" / f"{seed:02d}.png")
    return files


@pytest.fixture
def reader(pairs, tmp_path):
    how = {"labels_are_A": False, "size": 64, "epochs": 20, "device": CPU}
    return trained_reader(pairs, cache=tmp_path / "cache", **how)


def test_pairs_in_two_folders_are_read_alike(pairs, tmp_path):
    A, B = pair_files(tmp_path, "train")
    assert len(A) == len(B) == len(pairs)
    for stitched, unstitched in zip(
        *(read_pairs(p, False, 48) for p in (pairs, zip(A, B, strict=True))), strict=True
    ):
        assert np.array_equal(stitched, unstitched)


def test_its_weights_are_kept_by_what_the_files_hold(pairs, tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(segmenter, "train", lambda *_: trained.append(1) or Segmenter(5))
    how = {"labels_are_A": False, "size": 64, "epochs": 1, "device": CPU}
    file = Path(pairs[3][0])
    content, stamp = file.read_bytes(), file.stat()
    for change, count in (
        (lambda: None, 1),
        (lambda: os.utime(file), 1),  # as a copy
        (lambda: file.write_bytes(content + b"\0"), 2),
        (lambda: file.write_bytes(content + b"\1"), 3),  # another image of that size and time
        (lambda: file.write_bytes(content), 3),
    ):
        change()
        os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + (count == 1)))
        trained_reader(pairs, cache=tmp_path / "cache", **how)
        assert len(trained) == count


@pytest.mark.slow
def test_it_reads_labels_off_photos_and_its_weights_are_kept(pairs, reader, tmp_path, monkeypatch):
    def no_training(*args):
        raise AssertionError("trained again")

    monkeypatch.setattr(segmenter, "train", no_training)
    how = {"labels_are_A": False, "size": 64, "epochs": 20, "device": CPU}
    again = trained_reader(pairs, cache=tmp_path / "cache", **how)
    assert np.array_equal(again.palette, reader.palette) and len(reader.palette) == 5
    labels = label_map(77, 64)
    photo = torch.from_numpy(photo_of(labels, 77)).permute(2, 0, 1)[None]
    found, features = reader.read(photo)
    assert torch.equal(found, again.read(photo)[0])
    truth = reader.classes_of(torch.from_numpy(labels).permute(2, 0, 1)[None])
    assert (found == truth).float().mean() > 0.9
    with pytest.raises(AssertionError, match="trained again"):
        trained_reader(pairs[1:], cache=tmp_path / "cache", **how)


@pytest.mark.slow
def test_outputs_lie_between_one_colour_and_the_real_photos(reader, tmp_path):
    files: dict[str, dict[str, Path]] = {"fake": {}, "real": {}, "source": {}}
    for seed in range(50, 54):
        labels = label_map(seed, 64)
        photo = photo_of(labels, seed)
        half = photo.copy()
        half[:, :32] = 128  # an output that shows half of its labels
        for kind, image in (("fake", half), ("real", photo), ("source", labels)):
            files[kind][str(seed)] = tmp_path / f"{seed}_{kind}.png"
            Image.fromarray(image).save(files[kind][str(seed)])
    found = fcn_scores(reader, ImageSet("x", **files))
    for score in ("per-pixel accuracy", "per-class accuracy", "class IoU"):
        values = found[f"FCN {score}"]
        assert values["mean colour"] < values["outputs"] < values["real photos"], score
    assert found["FCN class IoU"]["real photos"] > 0.7
    assert found["FCN-FD"]["outputs"] > 0


def test_it_reads_the_side_and_the_size_of_the_test(pairs, tmp_path, monkeypatch):
    test = {"dataset_mode": "aligned", "dataroot": str(tmp_path)}
    opt = SimpleNamespace(**test, direction="BtoA", crop_size=64, alpha="ignore")
    images = ImageSet("run", {}, {}, {}, run="run", options=opt)
    asked = []
    monkeypatch.setattr(fcn_score, "trained_reader", lambda found, **how: asked.append(how))
    monkeypatch.setattr(fcn_score, "fcn_scores", lambda reader, images: {})
    args = SimpleNamespace(fcn_epochs=1, checkpoints_dir=tmp_path)  # without saved options
    fcn_score.fcn_of_run(images, args, CPU)
    assert asked[0]["labels_are_A"] is False and asked[0]["size"] == 64


def test_other_modes_are_read_as_a_training_reads_them(tmp_path):
    clear = Image.new("RGBA", (64, 64), (200, 0, 0, 0))
    clear.paste((0, 90, 200, 255), (0, 0, 32, 64))
    print_colours = Image.new("CMYK", (64, 64), (0, 0, 0, 255))
    clear.save(tmp_path / "a.png")
    print_colours.save(tmp_path / "b.tif")
    files = [(str(tmp_path / "a.png"), str(tmp_path / "b.tif"))]
    for alpha, right in (("ignore", (200, 0, 0)), ("white", (255, 255, 255))):
        (photo,), (label,) = read_pairs(files, True, 64, alpha)
        assert photo.shape == label.shape == (64, 64, 3)
        assert tuple(label[0, 0]) == (0, 90, 200) and tuple(label[0, 63]) == right


def test_photos_on_both_sides_are_refused(tmp_path):
    generator = np.random.default_rng(0)
    Image.fromarray(generator.integers(0, 256, (64, 128, 3)).astype(np.uint8)).save(
        tmp_path / "0.png"
    )
    with pytest.raises(ValueError, match="--metrics FCN: needs label maps of a few colours"):
        trained_reader(
            [(str(tmp_path / "0.png"),) * 2],
            labels_are_A=True,
            size=64,
            epochs=1,
            cache=tmp_path,
            device=CPU,
        )
