"""--perceptual efficientnet_lite0: the perceptual loss in features that need no download."""

import math
from typing import Any

import pytest
import torch
from conftest import FACADES, random_batch, refusal, step
from PIL import Image
from support.label_batches import label_batch

from data.transforms import to_tensor
from models import efficientnet_lite
from models.perceptual_loss import BLOCKS, EfficientNetLoss
from options.train_options import TrainOptions

pytest.importorskip("efficientnet_lite_pytorch")
LITE = ["--lambda_vgg", "10", "--perceptual", "efficientnet_lite0"]
LABELS = ["--dataset_mode", "labels", "--label_nc", "4"]
HD = ["--model", "pix2pixHD", "--netG", "global", "--n_downsample_global", "2"]


@pytest.fixture(scope="module")
def loss() -> EfficientNetLoss:
    return EfficientNetLoss()


def test_the_layers_are_the_last_of_each_size(loss: EfficientNetLoss) -> None:
    x, sides = torch.zeros(1, 3, 64, 64), []
    for i, part in enumerate(loss.features):
        x = part(x)
        if i in BLOCKS:
            sides.append(x.shape[-1])
    assert sides == [32, 16, 8, 4, 2]
    assert max(BLOCKS) == len(loss.features) - 1


def test_it_is_the_weighted_sum_over_the_layers(loss: EfficientNetLoss) -> None:
    torch.manual_seed(0)
    fake, real = torch.rand(2, 1, 3, 64, 64) * 2 - 1
    x, y, wanted = fake, real, 0.0
    for i, part in enumerate(loss.features):
        x, y = part(x), part(y)
        if i in BLOCKS:
            wanted += BLOCKS[i] * (x - y).abs().mean().item()
    assert loss(fake, real).item() == pytest.approx(wanted, rel=1e-5)
    assert loss(real, real) == 0


def test_its_statistics_stay_those_of_imagenet(loss: EfficientNetLoss) -> None:
    before = {key: value.clone() for key, value in loss.state_dict().items()}
    loss.train()
    fake, real = torch.rand(2, 2, 3, 64, 64)
    whole = loss(fake, real)
    parts = [loss(fake[i : i + 1], real[i : i + 1]) for i in range(2)]
    assert whole.item() == pytest.approx(sum(p.item() for p in parts) / 2, rel=1e-4)
    assert all(torch.equal(value, before[key]) for key, value in loss.state_dict().items())
    assert not any(p.requires_grad for p in loss.parameters())


@pytest.mark.parametrize(
    ("flags", "batch"),
    [
        ([], random_batch()),
        (["--output_nc", "1"], random_batch(channels=(3, 1))),
        ([*HD, "--n_blocks_global", "2", *LABELS], label_batch()),
        (["--model", "spade", "--netG", "spade", *LABELS], label_batch()),
        (["--precision", "bf16"], random_batch()),
    ],
)
def test_a_model_learns_from_it(make, flags: list[str], batch: dict[str, Any]) -> None:
    model = step(make(*flags, *LITE), batch)
    losses = model.get_current_losses()
    name = "VGG" if "spade" in flags else "G_VGG"
    assert losses[name] > 0 and math.isfinite(losses[name])
    assert any(p.grad.abs().sum() > 0 for p in model.nets["G"].parameters() if p.grad is not None)
    assert "perceptual" not in model.state_dict()["networks"]


def test_the_weight_scales_it(make) -> None:
    one, other = (
        step(make("--lambda_vgg", weight, *LITE[2:]), random_batch()).get_current_losses()
        for weight in ("1", "3")
    )
    assert other["G_VGG"] == pytest.approx(3 * one["G_VGG"], rel=1e-4)
    assert other["D_real"] == pytest.approx(one["D_real"], rel=1e-6)


def test_flags_that_do_nothing_beside_it_are_refused() -> None:
    read = TrainOptions().read
    refusal(lambda: read(["--perceptual", "efficientnet_lite0"]), "--perceptual", "--lambda_vgg")
    refusal(lambda: read([*LITE, "--vgg_weights", "x.pth"]), "--vgg_weights", "--perceptual")
    assert read(LITE).perceptual == "efficientnet_lite0"


def test_missing_packages_are_named(make, monkeypatch) -> None:
    monkeypatch.setattr(efficientnet_lite.importlib.util, "find_spec", lambda name: None)
    refusal(lambda: make(*LITE), "--perceptual efficientnet_lite0", "efficientnet-lite-pytorch")


@pytest.mark.skipif(not FACADES.is_dir(), reason="needs the facades")
def test_of_unrelated_photos_it_is_about_one(loss: EfficientNetLoss) -> None:
    files = sorted((FACADES / "train").iterdir())[:8]
    photos = torch.stack([to_tensor(Image.open(f).crop((0, 0, 256, 256))) for f in files])
    assert 0.6 < loss(photos[::2], photos[1::2]).item() < 1.5
