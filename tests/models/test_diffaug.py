"""--diffaug: what D sees changes, real and fake alike, and G learns through the changes."""

from argparse import Namespace
from typing import Any

import pytest
import torch
from conftest import random_batch, refusal, step
from support.holes import SMALL, hole_batch
from support.label_batches import label_batch
from torch import Tensor

from models.diffaug import PARTS, DiffAugment, color
from options.train_options import TrainOptions
from training.cuda_graphs import WARM_UP
from training.resume import check_model_supports

ALL = ("color", "translation", "cutout")
LABELS = ["--dataset_mode", "labels", "--label_nc", "4", "--no_vgg_loss"]
HD = ["--model", "pix2pixHD", "--netG", "global", "--n_downsample_global", "2"]
SPADE = ["--model", "spade", "--netG", "spade", "--norm_G", "spectralspadeinstance3x3"]
MODELS = {
    "pix2pix": [],
    "pix2pix, unconditional": ["--no_conditional_D"],
    "pix2pix, features": ["--netD", "multiscale", "--lambda_feat", "10", "--n_layers_D", "2"],
    "pix2pix, wgangp": ["--gan_mode", "wgangp"],
    "pix2pix, pool": ["--pool_size", "3"],
    "cycle_gan": ["--model", "cycle_gan"],
    "pix2pixHD": [*HD, "--n_blocks_global", "2", *LABELS],
    "pix2pixHD, pool": [*HD, "--n_blocks_global", "2", "--pool_size", "3", *LABELS],
    "spade": [*SPADE, *LABELS],
    "inpaint": SMALL,
    "inpaint, guided": [*SMALL, "--guided"],
}


def batch_for(name: str, seed: int = 0, size: int = 2) -> dict[str, Any]:
    """Make a batch that the model of that name takes."""
    if name.startswith(("spade", "pix2pixHD")):
        return label_batch(seed, size=size)
    if name.startswith("inpaint"):
        return hole_batch(seed, size=size, guided="guided" in name)
    return random_batch(seed, size=size)


def images(count: int = 200, channels: int = 3, size: tuple[int, int] = (24, 32)) -> Tensor:
    torch.manual_seed(1)
    return torch.rand(count, channels, *size) * 2 - 1


def test_without_names_nothing_changes_and_nothing_is_drawn() -> None:
    state = torch.get_rng_state()
    x, y = images(2), images(2)
    state = torch.get_rng_state()
    found = DiffAugment()(x, y)
    assert found[0] is x and found[1] is y
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", PARTS)
def test_real_and_fake_change_alike(name: str) -> None:
    x = images()
    one, other = DiffAugment([name])(x, x.clone())
    assert torch.equal(one, other) and not torch.equal(one, x)
    again = DiffAugment([name])(x)[0]
    assert not torch.equal(one, again)


def test_colours_change_in_the_image_alone_and_by_the_paper_s_ranges() -> None:
    x = images(channels=5)
    (found,) = DiffAugment(["color"], slice(-3, None))(x)
    assert torch.equal(found[:, :2], x[:, :2])
    mean = found[:, 2:].mean((1, 2, 3)) - x[:, 2:].mean((1, 2, 3))
    assert -0.5 <= mean.min() < -0.4 and 0.4 < mean.max() <= 0.5  # brightness

    def grey(image: Tensor) -> Tensor:
        return image.mean(1, keepdim=True)

    def spread(image: Tensor) -> Tensor:
        return image.flatten(1).std(1)

    of_grey = spread(grey(found[:, 2:])) / spread(grey(x[:, 2:]))
    assert 0.5 <= of_grey.min() < 0.55 and 1.45 < of_grey.max() <= 1.5 + 1e-5  # contrast
    of_colour = spread(found[:, 2:] - grey(found[:, 2:])) / spread(x[:, 2:] - grey(x[:, 2:]))
    ratio = of_colour / of_grey
    assert ratio.min() < 0.1 and 1.9 < ratio.max() <= 2 + 1e-4  # saturation


def test_contrast_keeps_the_mean_of_an_image_over_all_its_channels() -> None:
    x, draws = images(count=1), torch.tensor([0.5, 0.5, 1.0]).view(3, 1, 1, 1, 1)
    found = color(x, draws, slice(None))
    torch.testing.assert_close(found, (x - x.mean()) * 1.5 + x.mean())


def test_images_are_shifted_by_up_to_an_eighth_in_all_channels() -> None:
    rows, columns = torch.meshgrid(torch.arange(24.0), torch.arange(32.0), indexing="ij")
    x = torch.stack([rows, columns])[None].repeat(200, 1, 1, 1) + 1
    (found,) = DiffAugment(["translation"], slice(-1, None))(x)
    shifts = set()
    for image in found:
        (y, z), value = (image[0] > 0).nonzero()[0].tolist(), image[:, image[0] > 0][:, 0]
        dy, dx = y - int(value[0]) + 1, z - int(value[1]) + 1
        shifts.add((dy, dx))
        wanted = torch.zeros(2, 24, 32)
        wanted[:, max(dy, 0) : 24 + min(dy, 0), max(dx, 0) : 32 + min(dx, 0)] = x[
            0, :, max(-dy, 0) : 24 + min(-dy, 0), max(-dx, 0) : 32 + min(-dx, 0)
        ]
        assert torch.equal(image, wanted)
    assert {dy for dy, _ in shifts} == {*range(-3, 4)} and {dx for _, dx in shifts} == {
        *range(-4, 5)
    }


def test_a_box_of_half_of_each_side_is_cut_out_in_all_channels() -> None:
    x = torch.ones(300, 4, 24, 32)
    (found,) = DiffAugment(["cutout"], slice(-3, None))(x)
    holes = found == 0
    assert torch.equal(holes, holes[:, :1].expand_as(holes))
    tall, wide = holes[:, 0].any(2).sum(1), holes[:, 0].any(1).sum(1)
    assert torch.equal(holes[:, 0].sum((1, 2)), tall * wide)
    assert (tall.max(), wide.max()) == (12, 16)
    assert tall.min() >= 6 and wide.min() >= 8  # its middle lies in the image


def test_the_gradient_reaches_the_image_through_all_changes() -> None:
    torch.manual_seed(0)
    x = images(2, size=(8, 8)).double().requires_grad_()

    def changed(image: Tensor) -> Tensor:
        torch.manual_seed(3)
        return DiffAugment(ALL)(image)[0]

    assert torch.autograd.gradcheck(changed, (x,))
    (gradient,) = torch.autograd.grad(changed(x).sum(), x)
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("name", MODELS)
def test_a_step_is_the_plain_one_on_changed_images(make, monkeypatch, name: str) -> None:
    """With changes that change nothing, losses and weights are those without --diffaug."""
    batch = batch_for(name)
    plain = step(make(*MODELS[name]), batch)
    changed = make(*MODELS[name], "--diffaug", ",".join(ALL))
    for part in PARTS:
        monkeypatch.setitem(PARTS, part, lambda seen, draws, image: seen)
    monkeypatch.setattr(torch, "rand", keep_random(torch.rand))
    step(changed, batch)
    for key, value in plain.get_current_losses().items():
        assert changed.get_current_losses()[key] == pytest.approx(value, rel=1e-4, abs=1e-5), key


def keep_random(rand: Any) -> Any:
    """Return torch.rand, but the draws of --diffaug take nothing from the random numbers."""

    def drawn(*size: int, **kwargs: Any) -> Tensor:
        if len(size) == 5:
            return torch.full(size, 0.5)
        return rand(*size, **kwargs)

    return drawn


@pytest.mark.parametrize("name", MODELS)
def test_every_model_s_losses_and_gradients_change(make, name: str) -> None:
    batch = batch_for(name)
    flags = [*MODELS[name], "--lr", "1e-3"]
    plain, changed = make(*flags), make(*flags, "--diffaug", ",".join(ALL))
    step(plain, batch), step(changed, batch)
    before, after = plain.get_current_losses(), changed.get_current_losses()
    of_gan = [key for key in before if key.startswith(("D", "G_GAN", "GAN", "G_A", "G_B"))]
    assert of_gan and all(before[key] != after[key] for key in of_gan)
    nets = [name for name in plain.nets if name != "features"]
    for net in nets:
        pairs = zip(plain.nets[net].parameters(), changed.nets[net].parameters(), strict=True)
        assert any(not torch.equal(a, b) for a, b in pairs), net


def test_d_sees_input_and_image_moved_together(make, monkeypatch) -> None:
    model = make("--diffaug", "translation")
    seen = []
    model.netD.register_forward_pre_hook(lambda net, args: seen.append(args[0].detach()))
    batch = random_batch(size=3)
    batch["A"], batch["B"] = batch["A"].abs() + 0.1, batch["A"].abs() + 0.1
    step(model, batch)
    of_fake, of_real, of_G = seen
    assert torch.equal(of_real[:, :3], of_real[:, 3:])  # A and B are the same image
    assert (of_real == 0).any()
    assert torch.equal((of_fake[:, :3] == 0), (of_real[:, :3] == 0))
    assert not torch.equal(of_G[:, :3] == 0, of_real[:, :3] == 0)  # G's step has other draws


def test_names_are_checked(make) -> None:
    refusal(lambda: TrainOptions().read(["--diffaug", "colour"]), "--diffaug", "'colour'", "color")
    assert TrainOptions().read(["--diffaug", " cutout,color,color"]).diffaug == ["cutout", "color"]
    of_ab = ["--model", "colorization", "--diffaug", "color,cutout"]
    refusal(lambda: make(*of_ab), "--diffaug color", "ab")
    make("--model", "colorization", "--diffaug", "cutout")
    model = make("--model", "template")
    opt = Namespace(**vars(model.opt) | {"diffaug": ["cutout"]})
    refusal(lambda: check_model_supports(model, opt), "--diffaug", "template")


@pytest.mark.parametrize("name", ["pix2pix", "cycle_gan", "pix2pixHD", "spade", "inpaint"])
def test_half_precision_and_graphs_take_it(make, name: str) -> None:
    from support.graphs import graphs_of

    model = make(*MODELS[name], "--diffaug", ",".join(ALL), "--precision", "bf16")
    stand_in = graphs_of(model)
    for i in range(WARM_UP + 2):
        step(model, batch_for(name, i))
    assert stand_in.replays
    assert all(torch.tensor([*model.get_current_losses().values()]).isfinite())
