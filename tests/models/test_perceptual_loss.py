"""The perceptual loss, with a VGG19 of random weights."""

import io
import urllib.error
from email.message import Message
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import TINY, random_batch, refusal, step
from torch import Tensor, nn

from models.perceptual_loss import PerceptualLoss
from util.displays.loss_log import parse_line

SIZE = 32  # pixels: the deepest layer then sees 2


def vgg_features() -> nn.Module:
    from torchvision.models import vgg19  # imported late: it takes seconds

    return vgg19().features


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A file as torchvision's, its `features.*` alone."""
    torch.manual_seed(0)
    state = {}
    with torch.device("meta"):
        shapes = vgg_features().state_dict()
    for key, wanted in shapes.items():
        fan_in = wanted[0].numel()
        scale = (2 / fan_in) ** 0.5 if wanted.dim() > 1 else 0.01  # keeps the features' scale
        state[f"features.{key}"] = torch.randn(wanted.shape) * scale
    path = tmp_path_factory.mktemp("vgg") / "vgg19-random.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def loss(weights: Path) -> PerceptualLoss:
    return PerceptualLoss(weights)


def images(channels: int = 3, size: int = 2) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    fake, real = torch.rand(2, size, channels, SIZE, SIZE) * 2 - 1
    return fake, real


# The loss --------------------------------------------------------------------------------


def test_equal_images_cost_nothing_and_different_ones_something(loss):
    fake, real = images()
    assert loss(real, real) == 0
    assert loss(fake, real) > 0.1 and loss(fake, real).dim() == 0
    near = real + 0.01 * (fake - real)
    assert loss(near, real) < 0.1 * loss(fake, real)


def test_it_is_the_weighted_l1_of_five_layers_of_normalised_images(loss, weights):
    fake, real = images()
    with torch.device("meta"):
        features = vgg_features()
    state = torch.load(weights, weights_only=True)
    features.load_state_dict(
        {k.removeprefix("features."): v for k, v in state.items()}, assign=True
    )
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    x, y = (((image + 1) / 2 - mean) / std for image in (fake, real))
    by_hand, wanted, first = 0.0, iter((1 / 32, 1 / 16, 1 / 8, 1 / 4, 1)), True
    with torch.no_grad():
        for layer in features:
            x, y = layer(x.clone()), layer(y.clone())
            if first and isinstance(layer, nn.ReLU):  # relu1_1, relu2_1, …
                by_hand, first = by_hand + next(wanted) * F.l1_loss(x, y), False
            first = first or isinstance(layer, nn.MaxPool2d)
    torch.testing.assert_close(loss(fake, real).detach(), by_hand)
    assert not [*wanted]


def test_the_gradient_reaches_the_fake_only(loss):
    fake, real = (image.requires_grad_(True) for image in images())
    loss(fake, real).backward()
    assert fake.grad.abs().sum() > 0 and fake.grad.isfinite().all()
    assert real.grad is None
    assert all(p.grad is None and not p.requires_grad for p in loss.parameters())


def test_a_step_down_the_gradient_brings_the_images_nearer(loss):
    fake, real = images()
    fake.requires_grad_(True)
    before = loss(fake, real)
    (gradient,) = torch.autograd.grad(before, fake)
    assert loss(fake - 0.01 * gradient / gradient.abs().max(), real) < before


def test_grey_images_count_as_three_equal_channels(loss):
    fake, real = images(channels=1)
    in_colour = loss(fake.repeat(1, 3, 1, 1), real.repeat(1, 3, 1, 1))
    torch.testing.assert_close(loss(fake, real), in_colour)
    assert loss(fake, real) > 0 and loss(real, real) == 0


def test_it_is_the_mean_over_the_batch(loss):
    fake, real = images()
    alone = [loss(fake[i : i + 1], real[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(loss(fake, real), sum(alone) / 2)


# The file --------------------------------------------------------------------------------


def test_the_whole_file_of_torchvision_is_taken_too(loss, weights, tmp_path):
    state = torch.load(weights, weights_only=True)
    state |= {"classifier.0.weight": torch.zeros(2, 2), "classifier.0.bias": torch.zeros(2)}
    torch.save(state, tmp_path / "vgg19-whole.pth")
    whole = PerceptualLoss(str(tmp_path / "vgg19-whole.pth"))
    assert torch.equal(whole(*images()), loss(*images()))


def wrong_file(kind: str, weights: Path, path: Path) -> None:
    state = torch.load(weights, weights_only=True)
    if kind == "of another shape":
        state["features.0.weight"] = torch.zeros(64, 1, 3, 3)
    elif kind == "lacking a layer":
        del state["features.28.bias"]
    elif kind == "of another network":
        state = {"model.0.weight": torch.zeros(2)}
    torch.save(state, path)


@pytest.mark.parametrize("kind", ["of another shape", "lacking a layer", "of another network"])
def test_a_file_that_is_no_vgg19_is_refused(weights, tmp_path, kind):
    path = tmp_path / "vgg.pth"
    wrong_file(kind, weights, path)
    refusal(lambda: PerceptualLoss(path), f"--vgg_weights {path}", "vgg19")


def test_a_file_that_is_absent_or_damaged_is_refused_by_name(make, tmp_path):
    flags = ["--lambda_vgg", "10", "--vgg_weights"]
    absent, damaged = tmp_path / "absent.pth", tmp_path / "damaged.pth"
    damaged.write_bytes(b"no weights")
    refusal(lambda: make(*flags, absent), str(absent))
    refusal(lambda: make(*flags, damaged), str(damaged))


# The download ----------------------------------------------------------------------------


def offline(error: Exception):
    def urlopen(*args, **kwargs):
        raise error

    return urlopen


FAILURES = {
    "no network": offline(urllib.error.URLError("no route to host")),
    "gone": offline(urllib.error.HTTPError("u", 404, "Not Found", None, io.BytesIO())),
    "cut off": offline(ConnectionResetError("reset by peer")),
    "too slow": offline(TimeoutError("timed out")),
}


@pytest.mark.parametrize("reason", FAILURES)
def test_a_failed_download_says_in_one_line_what_to_do(make, tmp_path, monkeypatch, reason):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("torch.hub.urlopen", FAILURES[reason])
    url, folder = "https://download.pytorch.org/models/vgg19-", tmp_path / "home"
    refusal(lambda: make("--lambda_vgg", "10"), url, str(folder), "--vgg_weights")


def test_a_page_instead_of_the_weights_is_refused(make, tmp_path, monkeypatch):
    page = io.BytesIO(b"<html>log in</html>")
    page.info = Message
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("torch.hub.urlopen", lambda *args, **kwargs: page)
    refusal(lambda: make("--lambda_vgg", "10"), "vgg19", "hash", "--vgg_weights")
    assert not list((tmp_path / "home").rglob("*.pth"))


def test_a_damaged_file_of_an_earlier_download_is_refused(make, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", FAILURES["no network"])
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / "vgg19-dcbb9e9d.pth").write_bytes(b"<html>log in</html>")
    refusal(lambda: make("--lambda_vgg", "10"), "vgg19-dcbb9e9d.pth", "--vgg_weights")


# pix2pix with it -------------------------------------------------------------------------


def vgg(weights: Path) -> list[str]:
    return ["--lambda_vgg", "10", "--vgg_weights", str(weights)]


def test_a_step_of_pix2pix_adds_it_with_its_weight(make, weights, loss):
    model = make(*vgg(weights), "--no_dropout")
    losses = step(model, random_batch()).get_current_losses()
    assert list(losses) == ["G_GAN", "G_L1", "G_VGG", "D_real", "D_fake"]
    by_hand = 10 * loss(model.fake_B, model.real_B).item()  # fake_B is that of the step
    assert losses["G_VGG"] == pytest.approx(by_hand, rel=1e-5)


def test_it_alone_is_enough_to_learn_from(make, weights):
    model = make(*vgg(weights), "--lambda_GAN", "0", "--pixel_loss", "none")
    before = model.netG.state_dict()["model.model.0.weight"].clone()
    assert list(step(model, random_batch()).get_current_losses()) == ["G_VGG"]
    assert not torch.equal(model.netG.state_dict()["model.model.0.weight"], before)


def test_its_weights_are_neither_trained_nor_saved(make, weights, tmp_path):
    model = make(*vgg(weights))
    own = {id(p) for p in model.perceptual.parameters()}
    trained = {
        id(p) for o in model.optimizers.values() for g in o.param_groups for p in g["params"]
    }
    assert own and not own & trained
    before = {k: v.clone() for k, v in model.perceptual.state_dict().items()}
    step(model, random_batch())
    torch.testing.assert_close(dict(model.perceptual.state_dict()), before, rtol=0, atol=0)
    model.save_networks("latest")
    saved = {path.name for path in (tmp_path / "run").glob("*.pth")}
    assert saved == {"latest_net_G.pth", "latest_net_D.pth"}


def test_grey_targets_train_with_it_and_two_channels_are_refused(make, weights):
    model = make(*vgg(weights), "--output_nc", "1")
    assert step(model, random_batch(channels=(3, 1))).get_current_losses()["G_VGG"] > 0
    refusal(lambda: make(*vgg(weights), "--output_nc", "2"), "--lambda_vgg", "--output_nc")
    flags = ["--model", "colorization", *vgg(weights)]
    refusal(lambda: make(*flags), "--lambda_vgg", "--output_nc")


def test_without_it_no_vgg_is_built_or_asked_for(make, monkeypatch):
    monkeypatch.setattr("models.pix2pix_model.build_perceptual", None)
    assert "G_VGG" not in step(make(), random_batch()).get_current_losses()


def test_train_prints_it_and_test_does_not_need_it(command, weights, pairs):
    flags = ["--dataroot", pairs, "--name", "r", "--print_freq", "1", "--max_dataset_size", "1"]
    result = command("train", *TINY, *flags, *vgg(weights))
    assert result.status == 0, result.err
    log = Path("checkpoints/r/loss_log.txt").read_text().splitlines()
    (entry,) = filter(None, map(parse_line, log))
    assert entry.losses["G_VGG"] > 0
    result = command("test", "--name", "r", "--gpu_ids", "-1", "--num_threads", "0")
    assert result.status == 0, result.err
