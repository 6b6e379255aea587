"""--label_aug: inputs that are label maps are distorted in a training, and only there."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import FACADES, draw_pairs, refusal
from PIL import Image
from support.label_folders import draw_labels

from data import create_dataset, create_validation_dataset
from data.labels.distortion import MANY, classes_of, displacements, draw_distortion, moved
from options.train_options import TrainOptions

SIZE = (60, 80)  # (height, width)
SMALL = ["--preprocess", "none", "--no_flip", "--num_threads", "0", "--gpu_ids", "-1"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the classes are kept in ./checkpoints


def items(root: Path, mode: str, *flags: Any, validation: bool = False) -> list[dict[str, Any]]:
    opt = TrainOptions().read(["--dataroot", root, "--dataset_mode", mode, *SMALL, *flags])
    loader = create_validation_dataset(opt) if validation else create_dataset(opt)
    return [loader.item(i) for i in range(len(loader))]


def boxes() -> np.ndarray:
    """Return a map (60, 80) with a box of class 1 and one of class 2 in class 0."""
    found = np.zeros(SIZE, int)
    found[20:40, 10:35] = 1
    found[20:40, 45:70] = 2
    return found


def test_displacements_have_a_deviation_of_one_and_are_smooth() -> None:
    rng = np.random.default_rng(0)
    found = np.stack([displacements(SIZE, rng) for _ in range(300)])
    assert 0.7 < found.std() < 1.1 and abs(found.mean()) < 0.05
    assert np.abs(np.diff(found, axis=3)).max() < 0.7  # of a pixel to its neighbour
    assert np.abs(np.diff(found, axis=2)).max() < 0.9


def test_a_stronger_one_moves_pixels_farther() -> None:
    whole = np.zeros(SIZE, int)

    def spread(strength: float) -> float:
        random.seed(0)
        rows, columns = draw_distortion(whole, strength)
        inside = np.s_[25:35, 30:50]  # far from the edges, where places are kept within the map
        y, x = (of[inside] for of in (rows, columns))
        at = np.indices(SIZE)[(slice(None), *inside)]
        return float(np.hypot(y - at[0], x - at[1]).mean())

    assert spread(0.0) == 0
    assert spread(0.04) == pytest.approx(2 * spread(0.02), rel=0.3)


def test_classes_move_by_themselves_and_none_is_new() -> None:
    gaps = []
    for seed in range(40):
        random.seed(seed)
        where = draw_distortion(boxes(), 0.05)
        found = boxes()[where]
        assert set(np.unique(found)) <= {0, 1, 2}
        middles = [np.argwhere(found == number)[:, 1].mean() for number in (1, 2)]
        gaps.append(middles[1] - middles[0])
        assert 0.5 < (found == 1).mean() / (boxes() == 1).mean() < 1.6
    assert np.std(gaps) > 0.5  # of 35 columns


def test_the_same_seed_draws_the_same() -> None:
    random.seed(4)
    one = draw_distortion(boxes(), 0.03)
    random.seed(4)
    assert all(map(np.array_equal, one, draw_distortion(boxes(), 0.03)))
    assert not np.array_equal(one[0], draw_distortion(boxes(), 0.03)[0])


def test_colours_are_classes_unless_they_are_many() -> None:
    colours = torch.tensor([[-1.0, 1.0, 0.0], [0.5, 0.5, -1.0], [1.0, 0.0, 0.0]])
    image = colours[torch.from_numpy(boxes())].permute(2, 0, 1)
    found = classes_of(image)
    for number in range(3):
        assert len(np.unique(found[boxes() == number])) == 1
    assert found.max() == 2
    assert classes_of(torch.rand(3, *SIZE)).max() == 0
    many = torch.arange(MANY + 1.0).repeat(100).view(1, 65, 100)
    assert classes_of(many).max() == 0 and classes_of(many.clamp(max=MANY - 1.0)).max() == MANY - 1


def test_labels_and_instances_move_together_and_images_stay(tmp_path: Path) -> None:
    root = draw_labels(tmp_path / "d", range(3))
    plain, distorted = (items(root, "labels", "--label_aug", aug) for aug in (0, 0.05))
    for before, after in zip(plain, distorted, strict=True):
        assert torch.equal(before["image"], after["image"])
        assert not torch.equal(before["label"], after["label"])
        assert after["label"].dtype == torch.int64
        kinds = [
            {*zip(*(one[name].flatten().tolist() for name in ("label", "instance")), strict=True)}
            for one in (before, after)
        ]
        assert kinds[1] <= kinds[0]
        changes = after["instance"][..., 1:] != after["instance"][..., :-1]
        assert torch.equal(after["edges"][..., 1:].bool() | ~changes, torch.ones_like(changes))


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_of_pairs_the_input_moves(tmp_path: Path, direction: str) -> None:
    root = draw_pairs(tmp_path / "d")
    flags = ["--direction", direction, "--label_aug"]
    plain, distorted = (items(root, "aligned", *flags, aug) for aug in (0, 0.03))
    source, target = direction[0], direction[-1]
    for before, after in zip(plain, distorted, strict=True):
        assert torch.equal(before[target], after[target])
        assert not torch.equal(before[source], after[source])
        assert set(after[source].flatten().tolist()) <= set(before[source].flatten().tolist())


def test_validation_sees_the_maps_as_they_are(tmp_path: Path) -> None:
    for mode, root in (
        ("labels", draw_labels(tmp_path / "labels", range(3))),
        ("aligned", draw_pairs(tmp_path / "pairs")),
    ):
        plain, other = (
            items(root, mode, "--val_freq", 1, "--label_aug", aug, validation=True)
            for aug in (0, 0.1)
        )
        for before, after in zip(plain, other, strict=True):
            tensors = [name for name in before if isinstance(before[name], torch.Tensor)]
            assert tensors and all(torch.equal(before[n], after[n]) for n in tensors)


def test_another_epoch_has_another_distortion(tmp_path: Path) -> None:
    root = draw_pairs(tmp_path / "d")
    opt = TrainOptions().read(["--dataroot", root, *SMALL, "--label_aug", "0.05"])
    loader = create_dataset(opt)
    found = []
    for epoch in (1, 2, 1):
        loader.set_epoch(epoch)
        found.append({batch["A_paths"][0]: batch["A"] for batch in loader})
    assert all(torch.equal(found[0][path], found[2][path]) for path in found[0])
    assert not any(torch.equal(found[0][path], found[1][path]) for path in found[0])


def test_it_is_a_number_and_of_label_maps_alone(tmp_path: Path) -> None:
    read = TrainOptions().read
    refusal(lambda: read(["--label_aug", "-1"]), "--label_aug", "out of range")
    refusal(lambda: read(["--model", "cycle_gan", "--label_aug", "0.01"]), "--label_aug", "aligned")


@pytest.mark.skipif(not FACADES.is_dir(), reason="needs the facades")
def test_the_outlines_of_real_facades_stay_near(tmp_path: Path) -> None:
    pair = Image.open(sorted((FACADES / "train").iterdir())[0])
    labels = np.asarray(pair.crop((256, 0, 512, 256)))
    image = torch.from_numpy(labels.copy()).permute(2, 0, 1)
    random.seed(0)
    found = moved(image, draw_distortion(classes_of(image), 0.01))
    near = ((found.int() - image.int()).abs() < 30).all(0).float().mean()  # JPEG's noise is smaller
    assert 0.6 < near < 0.95
