"""--lambda_r1: D's squared gradient on real images, in a step of its own after every 16th step."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY, draw_pairs, random_batch, refusal
from test_diffaug import MODELS, batch_for
from torch import nn

from models.lazy_r1 import EVERY, LazyR1
from models.losses import r1_penalty
from options.train_options import TrainOptions
from training.resume import check_model_supports
from util.displays.loss_log import parse_line

NAMES = [name for name in MODELS if "wgangp" not in name]


def test_the_penalty_is_the_squared_gradient_of_the_image() -> None:
    torch.manual_seed(0)
    weight = torch.randn(1, 5, 4, 4).double()
    net = nn.Conv2d(5, 1, 4, bias=False).double()
    net.weight.data = weight
    x = torch.randn(3, 5, 4, 4).double()
    assert r1_penalty(net, x).item() == pytest.approx(weight.square().sum().item())
    of_image = r1_penalty(net, x, slice(-3, None)).item()
    assert of_image == pytest.approx(weight[:, -3:].square().sum().item())
    of_first = r1_penalty(net, x, slice(0, 3)).item()
    assert of_first == pytest.approx(weight[:, :3].square().sum().item())


def test_the_logits_of_all_scales_count() -> None:
    net = nn.Conv2d(2, 1, 3)

    def scales(x: torch.Tensor) -> list[list[torch.Tensor]]:
        return [[x, net(x)], [x, net(x)]]  # each with features, then logits

    x = torch.randn(2, 2, 8, 8)
    assert r1_penalty(scales, x).item() == pytest.approx(4 * r1_penalty(net, x).item(), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_every_16th_step_is_followed_by_one_of_d_alone(make, name: str) -> None:
    flags = [*MODELS[name], "--lr", "1e-3", "--no_dropout"]
    plain, regular = make(*flags), make(*flags, "--lambda_r1", "10")
    for i in range(EVERY):
        assert regular.r1.last == 0
        for model in (plain, regular):
            torch.manual_seed(i)
            model.train_on([batch_for(name, i)])
    for net, wanted in plain.nets.items():
        pairs = zip(regular.nets[net].parameters(), wanted.parameters(), strict=True)
        same = all(torch.equal(a, b) for a, b in pairs)
        assert same != net.startswith("D"), net
    assert regular.get_current_losses()["D_R1"] > 0 and "D_R1" not in plain.get_current_losses()


def test_it_is_what_the_formula_says(make) -> None:
    flags = ["--no_conditional_D", "--norm", "instance", "--no_dropout"]
    model = make(*flags, "--lambda_r1", "7")
    model.r1.steps = EVERY - 1
    batch = random_batch(size=2)
    model.train_on([batch])
    # D as it was before R1's step: from the same weights, without R1.
    other = make(*flags)
    other.train_on([batch])
    x = batch["B"].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(other.netD(x).sum(), x)
    wanted = 7 / 2 * gradient.square().sum((1, 2, 3)).mean()
    assert model.get_current_losses()["D_R1"] == pytest.approx(wanted.item(), rel=1e-4)


def test_it_lowers_the_gradient_of_d(make) -> None:
    def gradient(weight: str) -> float:
        model = make("--lambda_r1", weight, "--norm", "instance", "--lr", "2e-3")
        for i in range(3 * EVERY):
            model.train_on([random_batch(i % 2, size=2)])
        model.set_input(random_batch(0, size=2))
        ((netD, real),) = model.reals()
        return r1_penalty(netD, real, model.augment.image).item()

    assert gradient("100") < 0.5 * gradient("0")


def test_batches_of_one_step_count_as_one_batch(make) -> None:
    flags = ["--norm", "instance", "--no_dropout", "--lambda_r1", "10"]
    whole, parts = make(*flags), make(*flags, "--grad_accum", "2")
    batch = random_batch(size=4)
    halves = [{k: v[i : i + 2] for k, v in batch.items()} for i in (0, 2)]
    for model, given in ((whole, [batch]), (parts, halves)):
        for net in model.nets.values():
            net.double()
        model.r1.steps = EVERY - 1
        model.train_on(
            [{k: v.double() if k in "AB" else v for k, v in one.items()} for one in given]
        )
    assert float(whole.r1.last) == pytest.approx(float(parts.r1.last), rel=1e-9)
    for a, b in zip(whole.netD.parameters(), parts.netD.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_a_resumed_training_goes_on_to_the_next(command) -> None:
    draw_pairs(Path("data"), count=5)
    flags = [*TINY, "--dataroot", "data", "--lambda_r1", "10", "--diffaug", "color,cutout"]
    flags += ["--print_freq", "1", "--no_html", "--batch_size", "1", "--n_epochs_decay", "0"]
    assert command("train", *flags, "--name", "whole", "--n_epochs", "4").status == 0
    assert command("train", *flags, "--name", "parts", "--n_epochs", "2").status == 0
    again = [*flags, "--name", "parts", "--n_epochs", "4", "--continue_train"]
    assert command("train", *again).status == 0
    losses = []
    for run in ("whole", "parts"):
        text = Path("checkpoints", run, "loss_log.txt").read_text().splitlines()
        losses.append([found.losses for line in text if (found := parse_line(line))])
        assert losses[-1]
    assert losses[0] == losses[1]
    weights = [torch.load(f"checkpoints/{run}/latest_net_D.pth") for run in ("whole", "parts")]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_what_cannot_have_it_is_refused(make) -> None:
    flags = ["--lambda_r1", "1", "--gan_mode", "wgangp"]
    refusal(lambda: TrainOptions().read(flags), "--lambda_r1", "wgangp")
    refusal(lambda: TrainOptions().read(["--lambda_GAN", "0", "--lambda_r1", "1"]), "--lambda_r1")
    model = make("--model", "template")
    opt = Namespace(**vars(model.opt) | {"lambda_r1": 1.0})
    refusal(lambda: check_model_supports(model, opt), "--lambda_r1", "template", "reals")


def test_without_a_discriminator_it_is_refused_wherever_the_flags_come_from(make, tmp_path) -> None:
    (tmp_path / "flags.yaml").write_text("lambda_GAN: 0\nlambda_r1: 1\n")
    model = make("--config", str(tmp_path / "flags.yaml"))
    refusal(lambda: check_model_supports(model, model.opt), "--lambda_r1 1", "pix2pix has G ")
    opt = Namespace(**vars(model.opt) | {"lambda_r1": 0, "diffaug": ["color"]})
    refusal(lambda: check_model_supports(model, opt), "--diffaug", "trains no discriminator")


def test_a_state_of_an_earlier_version_has_none(make) -> None:
    model = make()
    model.r1.steps = 5
    state = model.state_dict()
    del state["r1"]
    model.load_state_dict(state)
    assert model.r1.state_dict() == LazyR1(0).state_dict()


@pytest.mark.parametrize("name", ["pix2pixHD", "spade"])
def test_activations_that_are_computed_again_give_the_same_penalty(make, name: str) -> None:
    flags = [*MODELS[name], "--no_dropout", "--lambda_r1", "10"]
    plain, again = make(*flags), make(*flags, "--checkpoint_activations")
    for model in (plain, again):
        model.r1.steps = EVERY - 1
        model.train_on([batch_for(name)])
    assert float(again.r1.last) == pytest.approx(float(plain.r1.last), rel=1e-4) != 0
    for a, b in zip(plain.nets["D"].parameters(), again.nets["D"].parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def test_it_is_of_the_images_as_d_sees_them(make) -> None:
    """The losses that are printed stay those of the step, and a save keeps its value."""
    model, seen = make("--lambda_r1", "10", "--norm", "instance"), []
    augment = model.augment

    def changed(*images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        seen.append(images[0].shape)
        return tuple(image * 0 for image in augment(*images))

    changed.image = augment.image
    of_images = model_penalty(model, random_batch())
    model.augment = changed
    assert model_penalty(model, random_batch()) != of_images and len(seen) == 1
    model.r1.steps, model.loss_weight = EVERY - 1, 0.25
    model.r1.step(model, [random_batch(0), random_batch(1)])
    assert model.loss_weight == 0.25
    state = model.r1.state_dict()
    assert state == {"steps": EVERY, "last": float(model.r1.last)} and state["last"] > 0


def model_penalty(model: Any, batch: dict[str, Any]) -> float:
    model.set_input(batch)
    return model.r1.penalty(model).item()
