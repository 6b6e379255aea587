"""Several outputs of an image, by noise: from test.py and from Python."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import TINY, refusal, result_images
from PIL import Image

from data.files.image_types import StoredType
from inference.results import save_high_depth
from translator import Translator
from util.pages.captions import captions
from util.variants import (
    check_variants,
    grey_levels_apart,
    plain_label,
    variant_label,
    variants_of,
)

TEST = ["--name", "r", "--gpu_ids", "-1", "--num_threads", "0"]
NO_NOISE = "no noise at test time"


@pytest.fixture
def trained(command, pairs):
    """A run `r` on `pairs`, with dropout."""
    assert command("train", *TINY, "--dataroot", pairs, "--name", "r").status == 0
    return command


def test_labels_of_variants_are_told_apart():
    for label in ("fake_B", "fake_B_rgb", "fake", "of_v1", "odd_v02"):
        assert plain_label(label) == (label, 1)
        for number in (1, 2, 13):
            assert plain_label(variant_label(label, number)) == (label, number)
    labels = ["real_B", "fake_B_v2", "real_A", "fake_B_v3", "fake_B"]
    assert list(captions(labels).items()) == [
        ("real_A", "input"),
        ("fake_B", "output"),
        ("fake_B_v2", "output, variant 2"),
        ("fake_B_v3", "output, variant 3"),
        ("real_B", "target"),
    ]


def test_each_variant_has_the_range_of_its_side(tmp_path):
    page = SimpleNamespace(get_image_dir=lambda: tmp_path / "images")
    opt = SimpleNamespace(direction="AtoB")
    ranges = {
        "A": (StoredType(".npy", "uint16"), 0, 1000),
        "B": (StoredType(".npy", "uint16"), 0, 50),
    }
    image = torch.ones(1, 1, 2, 2)
    labels = ["fake_A", "fake_A_v2", "fake_B_v2", "rec_A", "fake"]
    save_high_depth(page, dict.fromkeys(labels, image), "x", opt, ranges)
    largest = {label: np.load(tmp_path / "deep" / f"x_{label}.npy").max() for label in labels}
    assert largest == {
        "fake_A": 1000,
        "fake_A_v2": 1000,
        "fake_B_v2": 50,
        "rec_A": 1000,
        "fake": 50,
    }


def test_the_difference_is_the_mean_over_pairs_in_grey_levels():
    images = [torch.full((1, 3, 2, 2), value / 127.5 - 1) for value in (10, 20, 40)]
    assert grey_levels_apart(images) == pytest.approx((10 + 20 + 30) / 3, rel=1e-5)
    bytes_ = [torch.full((1, 1, 2, 2), value, dtype=torch.uint8) for value in (255, 0)]
    assert grey_levels_apart(bytes_) == 255
    same = [images[0], images[0].clone()]
    assert grey_levels_apart(same) == 0
    refusal(lambda: check_variants(same), "--num_variants 2", NO_NOISE)


def test_only_images_with_variants_are_compared():
    zero, one = torch.zeros(1), torch.ones(1)
    found = variants_of({"real_A": zero, "fake_B": zero, "fake_B_v2": one})
    assert list(found) == ["fake_B"] and list(map(float, found["fake_B"])) == [0, 1]


def test_variants_stand_in_one_row_and_the_first_stays(trained):
    assert trained("test", *TEST).status == 0
    alone = result_images("r")
    assert trained("test", *TEST, "--num_variants", 3).status == 0
    found = result_images("r")
    assert len(found) == len(alone) + 2 * 3
    assert all(np.array_equal(found[name], image) for name, image in alone.items())
    for k in (2, 3):
        assert trained("test", *TEST, "--seed", k - 1, "--results_dir", f"seed{k}").status == 0
        other = Image.open(f"seed{k}/r/test_latest/images/0_fake_B.png")
        assert np.array_equal(found[f"0_fake_B_v{k}.png"], np.asarray(other))
    page = Path("results/r/test_latest/index.html").read_text()
    apart = [float(number) for number in re.findall(r"variants ([\d.]+) grey levels apart", page)]
    pixels = [found[f"0_fake_B{end}.png"].astype(float) for end in ("", "_v2", "_v3")]
    wanted = np.mean([np.abs(pixels[i] - pixels[j]).mean() for i, j in ((0, 1), (0, 2), (1, 2))])
    assert len(set(apart)) == 3 and any(abs(number - wanted) < 0.5 for number in apart)
    assert "output, variant 3" in page and "§3.1" in page
    text = re.sub("<[^>]+>", "", page)
    assert text.count("the first has that of --seed 0, the second that of --seed 1,") == 1
    assert trained("test", *TEST).status == 0  # one output again
    assert result_images("r").keys() == alone.keys()


def test_finished_images_with_fewer_variants_are_translated_again(trained, caplog):
    shard = ["--num_shards", 1, "--shard_id", 0]
    assert trained("test", *TEST, *shard).status == 0
    for count, said in ((2, "3 images translated, 0 already"), (1, "0 images translated, 3")):
        caplog.clear()
        assert trained("test", *TEST, *shard, "--num_variants", count).status == 0
        assert said in caplog.text
    assert trained("test", *TEST, "--page_only").status == 0
    page = Path("results/r/test_latest/index.html").read_text()
    assert all(f"images/{i}_fake_B_v2.png" in page for i in range(3))


def test_scores_are_those_of_the_first(trained, caplog):
    line = ["--name", "r", "--gpu_ids", "-1", "--metrics", "L1", "--no_html"]
    assert trained("scripts.evaluate", *line).status == 0
    table = Path("results/r/test_latest_evaluation/metrics.csv").read_text()
    assert trained("test", *TEST, "--num_variants", 2).status == 0
    caplog.clear()
    assert trained("scripts.evaluate", *line).status == 0
    assert "translating" not in caplog.text
    assert Path("results/r/test_latest_evaluation/metrics.csv").read_text() == table


@pytest.mark.parametrize("flag", ["--eval", "--dropout_at_test=off"])
def test_without_noise_the_variants_are_refused(trained, caplog, flag):
    assert trained("test", *TEST).status == 0
    page = Path("results/r/test_latest/index.html").read_text()
    done = trained("test", *TEST, "--num_variants", 2, flag)
    assert done.status == 2 and NO_NOISE in done.err and len(done.err.splitlines()) == 1
    assert Path("results/r/test_latest/index.html").read_text() == page  # the earlier results stay
    assert trained("test", *TEST, "--page_only").status == 0
    assert "all 3 images" in caplog.text


def test_variants_from_python(trained, pairs):
    t = Translator.load("checkpoints/r", gpu_ids=-1)
    file = sorted((pairs / "test").iterdir())[0]
    image = Image.open(file).crop((0, 0, 64, 64))
    found = t(image, variants=3)
    assert [type(one) for one in found] == [Image.Image] * 3
    for number, one in enumerate(found):
        assert np.array_equal(np.asarray(one), np.asarray(t(image, seed=number)))
    array = np.asarray(image)
    stacked = t(array, seed=5, variants=2)
    assert stacked.shape == (2, 64, 64, 3) and np.array_equal(stacked[1], t(array, seed=6))
    assert t(np.stack([array] * 2), variants=3).shape == (2, 3, 64, 64, 3)
    tensor = t.prepare(image)
    assert t(tensor, variants=2).shape == (2, 3, 64, 64)
    assert [len(several) for several in t([image, image], variants=2)] == [2, 2]
    assert {len(several) for several in t(pairs / "test", variants=2).values()} == {2}
    refusal(lambda: t(image, variants=0), "variants=0", "whole number from 1")
    still = Translator.load("checkpoints/r", gpu_ids=-1, dropout_at_test="off")
    refusal(lambda: still(image, variants=2), "variants=2: ", NO_NOISE)
    assert not isinstance(t(image, variants=1), list)
