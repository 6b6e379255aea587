"""scripts.evaluate on filled images: scores in the holes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TINY, draw_pairs, refusal, result_images
from PIL import Image
from support.holes import INPAINT, draw_photos, save_mask

from scripts import evaluate

CPU = ("--gpu_ids", "-1", "--num_threads", "1")


@pytest.fixture
def run(command: Any, tmp_path: Path) -> np.ndarray:
    """Train a run `holes`, test it on images with one mask, and return that mask."""
    root = draw_photos(tmp_path / "photos")
    for i in range(3):
        mask = save_mask(root / "test_mask" / f"{i}.png", box=(8, 6, 30, 30))
    place = ("--dataroot", root, "--name", "holes")
    result = command("train", *TINY, *INPAINT, *place, "--no_html", "--val_freq", 1)
    assert result.status == 0, result.err
    assert "hole_PSNR" in Path("checkpoints/holes/val_log.csv").read_text()
    result = command("test", *place, "--gpu_ids", "-1", "--num_threads", 0, "--preprocess", "none")
    assert result.status == 0, result.err
    return mask


def test_scores_in_holes_are_those_of_the_files(run: np.ndarray) -> None:
    evaluate.main(["--name", "holes", "--preprocess", "none", *CPU])
    (folder,) = Path("results/holes").glob("*_evaluation")
    (found,) = json.loads((folder / "metrics.json").read_text())["runs"]
    images = result_images("holes")
    differences = [
        np.abs(images[f"{i}_fake_B.png"].astype(float) - images[f"{i}_real_B.png"]) / 255
        for i in range(3)
    ]
    assert all((one[~run] == 0).all() for one in differences)  # known pixels, to the byte
    means = {name: value["mean"] for name, value in found["metrics"].items()}
    assert means["hole_L1"] == pytest.approx(np.mean([one[run].mean() for one in differences]))
    squares = [np.square(one[run]).mean() for one in differences]
    assert means["hole_L2"] == pytest.approx(np.mean(squares))
    assert means["hole_PSNR"] == pytest.approx(np.mean(-10 * np.log10(squares)))
    assert means["hole_L1"] * run.mean() == pytest.approx(means["L1"])
    assert "hole_SSIM" in means
    assert "hole_L1" in (folder / "index.html").read_text()


def test_a_hole_may_be_nearly_the_whole_image(run: np.ndarray, tmp_path: Path) -> None:
    height, width = run.shape
    for i in range(3):
        mask = tmp_path / "masks" / f"{i}.png"
        save_mask(mask, size=(width, height), box=(0, 1, width, height))
    flags = ["--name", "holes", "--preprocess", "none", "--mask_dir", str(tmp_path / "masks")]
    own_masks = tmp_path / "photos" / "test_mask"
    refusal(lambda: evaluate.main([*flags, *CPU]), f"{own_masks} holds the masks of these images")
    own_masks.rename(tmp_path / "away")
    evaluate.main([*flags, *CPU])
    (folder,) = Path("results/holes").glob("*_evaluation")
    (found,) = json.loads((folder / "metrics.json").read_text())["runs"]
    share = (height - 1) / height
    assert found["metrics"]["hole_L1"]["mean"] * share == pytest.approx(
        found["metrics"]["L1"]["mean"]
    )


def test_the_page_of_a_test_says_what_each_image_is(run: np.ndarray) -> None:
    page = Path("results/holes/test_latest/index.html").read_text()
    places = [page.index(what) for what in ("input with hole", "stage 1", "result", "truth")]
    assert places == sorted(places)
    assert "Holes: the masks in test_mask/." in page
    shown = result_images("holes")
    assert (shown["0_real_A.png"][run] >= 254).all()


def test_scores_in_holes_need_holes(tmp_path: Path) -> None:
    root = draw_photos(tmp_path / "photos")
    flags = ["--fake", str(root / "train"), "--real", str(root / "val"), *CPU]
    out = ["--out", str(tmp_path / "out")]
    refusal(
        lambda: evaluate.main([*flags, *out, "--metrics", "hole_L1"]),
        *("--metrics hole_L1: needs runs, whose inputs show the holes",),
    )


def test_pairs_with_holes_are_measured_in_them_on_request(command: Any, tmp_path: Path) -> None:
    photos = draw_photos(tmp_path / "photos", size=(64, 64))
    for phase in ("train", "test"):
        (tmp_path / "pairs" / phase).mkdir(parents=True)
        for i in range(3):
            whole = np.asarray(Image.open(photos / phase / f"{i}.png"))
            holed = whole.copy()
            holed[10:40, 20:30] = 255
            pair = Image.fromarray(np.concatenate([holed, whole], 1))
            pair.save(tmp_path / "pairs" / phase / f"{i}.png")
    place = ("--dataroot", tmp_path / "pairs", "--name", "pairs", "--no_html", "--crop_size", 64)
    assert command("train", *TINY, *place, "--load_size", 64).status == 0
    evaluate.main(["--name", "pairs", "--metrics", "hole_L1", "L1", *CPU])
    (folder,) = Path("results/pairs").glob("*_evaluation")
    (found,) = json.loads((folder / "metrics.json").read_text())["runs"]
    images = result_images("pairs")
    errors = [
        np.abs(images[f"{i}_fake_B.png"].astype(float) - images[f"{i}_real_B.png"])[10:40, 20:30]
        for i in range(3)
    ]
    wanted = np.mean([error.mean() for error in errors]) / 255
    assert found["metrics"]["hole_L1"]["mean"] == pytest.approx(wanted)
    whole = Image.open(tmp_path / "pairs/test/2.png").crop((64, 0, 128, 64))
    pair = np.concatenate([whole, whole], 1)
    Image.fromarray(pair).save(tmp_path / "pairs/test/2.png")  # without a hole
    evaluate.main(["--name", "pairs", "--metrics", "hole_L1", "L1", *CPU])
    (found,) = json.loads((folder / "metrics.json").read_text())["runs"]
    wanted = np.mean([error.mean() for error in errors[:2]]) / 255
    assert found["metrics"]["hole_L1"]["mean"] == pytest.approx(wanted)
    notes = json.loads((folder / "metrics.json").read_text())["protocol"]
    assert "images without a hole, which count in no score in holes: 1" in notes
    assert command("train", *TINY, "--dataroot", photos_of(tmp_path), "--name", "q").status == 0
    words = "--metrics hole_L1", "is not its target with a hole"
    refusal(lambda: evaluate.main(["--name", "q", "--metrics", "hole_L1", *CPU]), *words)


def photos_of(root: Path) -> Path:
    """Write A|B pairs that differ everywhere."""
    draw_pairs(root / "other", count=2)
    return root / "other"
