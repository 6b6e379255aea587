"""The switches of the paper's tables: each changes one term of pix2pix, and nothing else."""

import copy
import inspect
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import GAN_LOSSES, TINY, doubled, random_batch, refusal, result_images, step
from torch import Tensor, nn

from models.networks import UnetSkipConnectionBlock, define_D, define_G, init_net
from options.test_options import TestOptions
from translator import Translator
from util.displays.loss_log import parse_line

ON_CPU = ["--gpu_ids", "-1", "--num_threads", "0"]


# The update ------------------------------------------------------------------------------

# flags; the weight of the GAN loss, whether D sees the input, the pixel loss and its weight
TERMS = {
    "": (1, True, ("G_L1", F.l1_loss, 100)),
    "--lambda_GAN 0.3 --lambda_L1 7": (0.3, True, ("G_L1", F.l1_loss, 7)),
    "--no_conditional_D": (1, False, ("G_L1", F.l1_loss, 100)),
    "--pixel_loss l2 --lambda_L1 5": (1, True, ("G_L2", F.mse_loss, 5)),
    "--pixel_loss none": (1, True, None),
    "--pixel_loss none --no_conditional_D --lambda_GAN 2": (2, False, None),
    "--lambda_GAN 0": (0, True, ("G_L1", F.l1_loss, 100)),
    "--lambda_GAN 0 --pixel_loss l2": (0, True, ("G_L2", F.mse_loss, 100)),
}


def steps_by_hand(
    nets: dict[str, nn.Module], batches: list[dict], gan: float, joined: bool, pixel: Any
) -> list[dict[str, float]]:
    """The losses of pix2pix in plain torch code: D's step, then G's against the new D."""
    is_real, is_fake, fools = GAN_LOSSES["vanilla"]
    adams = {n: torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999)) for n, net in nets.items()}
    G, D, losses = nets["G"], nets.get("D"), []
    for A, B in ((batch["A"], batch["B"]) for batch in batches):
        fake, terms, of_d = G(A), {}, {}
        seen = {"real": B, "fake": fake}
        if joined:
            seen = {name: torch.cat([A, image], 1) for name, image in seen.items()}
        if gan:
            of_d = {"D_real": is_real(D(seen["real"])), "D_fake": is_fake(D(seen["fake"].detach()))}
            adams["D"].zero_grad()
            (0.5 * (of_d["D_real"] + of_d["D_fake"])).backward()
            adams["D"].step()
            terms["G_GAN"] = gan * fools(D(seen["fake"]))
        if pixel:
            name, distance, weight = pixel
            terms[name] = weight * distance(fake, B)
        adams["G"].zero_grad()
        sum(terms.values()).backward()
        adams["G"].step()
        losses.append({name: loss.item() for name, loss in (terms | of_d).items()})
    return losses


@pytest.mark.parametrize("flags", TERMS)
def test_a_step_has_just_the_terms_and_weights_of_its_switches(make, flags):
    model = make("--no_dropout", *flags.split())
    nets, batches = doubled(model)
    ours = [step(model, batch).get_current_losses() for batch in batches]
    theirs = steps_by_hand(nets, batches, *TERMS[flags])
    for one, other in zip(ours, theirs, strict=True):
        assert list(one) == list(other)
        assert one == pytest.approx(other, rel=1e-6, abs=1e-6)


# D ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("flags", "channels"), [([], 4), (["--no_conditional_D"], 1)])
@pytest.mark.parametrize("mode", ["vanilla", "wgangp"])
def test_an_unconditional_d_sees_the_output_alone(make, flags, channels, mode):
    model = make("--output_nc", "1", "--gan_mode", mode, *flags)
    assert model.netD.state_dict()["model.0.weight"].shape[1] == channels
    shapes = []
    model.netD.register_forward_hook(lambda net, args, result: shapes.append(args[0].shape))
    step(model, random_batch(channels=(3, 1)))
    assert set(shapes) == {(1, channels, 64, 64)}


def test_lambda_gan_0_builds_no_d_and_trains_g_alone(make):
    model = make("--lambda_GAN", "0")
    assert list(model.nets) == list(model.optimizers) == ["G"]
    with pytest.raises(AttributeError, match="--lambda_GAN is 0"):
        assert model.netD
    before = copy.deepcopy(model.netG.state_dict())
    step(model, random_batch())
    assert not torch.equal(*(w["model.model.0.weight"] for w in (before, model.netG.state_dict())))


def test_a_run_without_a_gan_saves_and_prints_no_d(command, pairs):
    flags = ["--dataroot", pairs, "--name", "r", "--lambda_GAN", "0", "--print_freq", "1"]
    result = command("train", *TINY, *flags)
    assert result.status == 0, result.err
    saved = {path.name for path in Path("checkpoints/r").glob("*.pth")}
    assert saved == {"latest_net_G.pth", "latest_state.pth"}
    lines = map(parse_line, Path("checkpoints/r/loss_log.txt").read_text().splitlines())
    assert [list(entry.losses) for entry in lines if entry] == [["G_L1"]] * 3
    assert command("train", *TINY, *flags, "--continue_train").status == 0
    assert command("test", "--name", "r", *ON_CPU).status == 0
    assert "0_fake_B.png" in result_images("r")


@pytest.mark.parametrize("flags", ["--pixel_loss none", "--lambda_L1 0"])
def test_a_g_with_nothing_to_learn_from_is_refused(make, flags):
    refusal(lambda: make("--lambda_GAN", "0", *flags.split()), "--lambda_GAN 0", flags)


@pytest.mark.parametrize("flag", ["--lambda_L1", "--lambda_GAN", "--lambda_vgg"])
@pytest.mark.parametrize("value", ["-1", "inf", "nan"])
def test_weights_of_losses_are_numbers_from_0(make, flag, value):
    refusal(lambda: make(flag, value), f"{flag} {float(value)}", "from 0")


def test_an_unknown_pixel_loss_lists_the_known_ones(make):
    refusal(lambda: make("--pixel_loss", "l3"), "--pixel_loss", "'l3'", "l1", "l2", "none")


# G without skips -------------------------------------------------------------------------


def severed(netG: str) -> nn.Module:
    """A generator whose innermost down-convolution lets nothing through."""
    net = define_G(3, 3, 4, netG, "instance")
    *_, innermost = (m for m in net.modules() if isinstance(m, UnetSkipConnectionBlock))
    nn.init.zeros_(innermost.model[1].weight)
    return net


@pytest.mark.parametrize("size", ["64", "128"])
def test_all_that_an_encoder_decoder_says_passes_its_bottleneck(size):
    A, B = (random_batch(seed)["A"] for seed in range(2))
    encdec, unet = severed(f"encdec_{size}"), severed(f"unet_{size}")
    assert torch.equal(encdec(A), encdec(B))
    assert not torch.allclose(unet(A), unet(B))
    whole = define_G(3, 3, 4, f"encdec_{size}", "batch", init_gain=0.2)
    assert not torch.allclose(whole(A), whole(B))


@pytest.mark.parametrize("size", ["64", "128", "256"])
def test_an_encoder_decoder_is_the_unet_with_half_as_wide_up_convolutions(size):
    with torch.device("meta"):
        encdec, unet = (define_G(3, 3, 4, f"{kind}_{size}") for kind in ("encdec", "unet"))
    ours, theirs = encdec.state_dict(), unet.state_dict()
    assert list(ours) == list(theirs)
    differing = {key for key in ours if ours[key].shape != theirs[key].shape}
    ups = {
        f"{name}.weight": m for name, m in unet.named_modules() if isinstance(m, nn.ConvTranspose2d)
    }
    innermost = max(ups, key=lambda key: key.count("."))
    assert differing == ups.keys() - {innermost}
    for key in differing:
        assert (2 * ours[key].shape[0], *ours[key].shape[1:]) == theirs[key].shape


# Dropout at test time --------------------------------------------------------------------


def translator(make: Callable, tmp_path: Path, *flags: str) -> Callable[[Tensor], Tensor]:
    """What a run with dropout and batch norm translates with these flags of test.py."""
    if not (tmp_path / "run").exists():
        model = make("--init_gain", "0.1")
        for seed in range(3):
            step(model, random_batch(seed))  # running statistics worth the name
        model.save_networks("latest")
    return Translator.load(tmp_path / "run", "--gpu_ids", "-1", *flags).translate


def test_dropout_off_is_the_batch_statistics_without_dropout(make, tmp_path):
    image = random_batch(7)["A"]
    off = translator(make, tmp_path, "--dropout_at_test", "off")(image)
    net = define_G(3, 3, 4, "unet_64", "batch", use_dropout=True)
    net.load_state_dict(torch.load(tmp_path / "run" / "latest_net_G.pth", weights_only=True))
    (dropout,) = (m for m in net.train().modules() if isinstance(m, nn.Dropout))
    dropout.p = 0
    with torch.no_grad():
        torch.testing.assert_close(off, net(image), atol=1e-6, rtol=1e-5)


def test_dropout_off_differs_from_on_and_from_eval_and_has_no_noise(make, tmp_path):
    image, flags = random_batch(7)["A"], ["--dropout_at_test", "off"]
    off, other_seed, on, eval_, both = (
        translator(make, tmp_path, *more)(image)
        for more in (flags, [*flags, "--seed", "5"], [], ["--eval"], ["--eval", *flags])
    )
    assert torch.equal(off, other_seed) and torch.equal(eval_, both)
    assert (off - on).abs().mean() > 1e-3 and (off - eval_).abs().mean() > 1e-3


def test_dropout_off_reaches_the_results_and_their_page_says_so(make, command, tmp_path, pairs):
    translator(make, tmp_path)
    fakes, said = {}, {}
    for choice, seed in product(("on", "off"), (0, 1)):
        flags = ["--checkpoints_dir", tmp_path, "--name", "run", "--dataroot", pairs, *ON_CPU]
        result = command("test", *flags, "--dropout_at_test", choice, "--seed", seed)
        assert result.status == 0, result.err
        fakes[choice, seed] = result_images("run")["0_fake_B.png"].tolist()
        page = Path("results/run/test_latest/index.html").read_text()
        said[choice] = "Dropout is off (" in page
    assert fakes["off", 0] == fakes["off", 1] != fakes["on", 0] != fakes["on", 1]
    assert said == {"on": False, "off": True}


def test_dropout_at_test_knows_on_and_off():
    refusal(lambda: TestOptions().read(["--dropout_at_test", "no"]), "--dropout_at_test", "'no'")


# Calls of the reference ------------------------------------------------------------------------


def test_gpu_ids_are_taken_by_position_and_decide_nothing():
    torch.manual_seed(0)
    now = [define_G(3, 1, 4, "unet_64", "batch", True), define_D(4, 4, "n_layers", 2, "batch")]
    torch.manual_seed(0)
    old = [
        define_G(3, 1, 4, "unet_64", "batch", True, "normal", 0.02, [0, 1]),
        define_D(4, 4, "n_layers", 2, "batch", "normal", 0.02, [0, 1]),
    ]
    for net, twin in zip(now, old, strict=True):
        assert {p.device.type for p in twin.parameters()} == {"cpu"}
        torch.testing.assert_close(twin.state_dict(), net.state_dict(), rtol=0, atol=0)
    conv = nn.Conv2d(1, 1, 1)
    assert init_net(conv, "normal", 0.02, [0]) is conv
    for function in (define_G, define_D, init_net):
        assert "gpu_ids" in inspect.signature(function).parameters
