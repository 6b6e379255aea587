"""The pix2pix update, its validation and its files, against plain torch code."""

import copy
import shutil

import pytest
import torch
import torch.nn.functional as F
from conftest import GAN_LOSSES, doubled, random_batch, refusal, step
from torch import Tensor

from models.image_noise import per_image_dropout
from models.pix2pix_model import Pix2PixModel
from options.test_options import TestOptions
from training.validation import mean_scores
from util.seeding import image_seed


def forward(model: Pix2PixModel, pair: dict) -> Pix2PixModel:
    model.set_input(pair)
    model.forward()
    return model


def translate(model: Pix2PixModel, *images: dict) -> list[Tensor]:
    results = []
    for image in images:
        model.set_input(image)
        model.test()
        results.append(model.get_current_visuals()["fake_B"])
    return results


# The update ------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", GAN_LOSSES)
def test_update_is_d_first_then_g_against_the_updated_d(make, mode):
    is_real, is_fake, fools = GAN_LOSSES[mode]
    model = make("--gan_mode", mode, "--lr", "0.002", "--lambda_L1", "7")
    nets, batches = doubled(model)

    torch.manual_seed(1)
    given = [list(step(model, pair).get_current_losses().values()) for pair in batches]

    torch.manual_seed(1)
    G, D = nets["G"], nets["D"]
    adam_G, adam_D = (torch.optim.Adam(n.parameters(), 0.002, (0.5, 0.999)) for n in (G, D))
    by_hand = []
    for A, B in ((pair["A"], pair["B"]) for pair in batches):
        fake = G(A)
        D_fake = is_fake(D(torch.cat([A, fake.detach()], 1)))
        D_real = is_real(D(torch.cat([A, B], 1)))
        adam_D.zero_grad()
        (0.5 * (D_fake + D_real)).backward()
        adam_D.step()
        G_GAN, G_L1 = fools(D(torch.cat([A, fake], 1))), 7 * F.l1_loss(fake, B)
        adam_G.zero_grad()
        (G_GAN + G_L1).backward()
        adam_G.step()
        by_hand.append([loss.item() for loss in (G_GAN, G_L1, D_real, D_fake)])

    for ours, theirs in zip(given, by_hand, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("flags", [(), ("--diffaug", "color,translation,cutout")])
def test_pixels_without_data_have_no_loss_and_no_gradient(make, flags):
    model = make("--lambda_L1", "7", *flags)
    _, (pair, *_) = doubled(model, 1)
    valid = torch.ones(2, 1, 64, 64, dtype=torch.float64)
    valid[0, :, :40] = 0
    pair = pair | {"B": pair["B"] * valid, "valid": valid}
    forward(model, pair)
    assert not model.fake_B[0, :, :40].any() and model.fake_B[0, :, 40:].all()
    seen = []
    fake = model.fake_B = model.fake_B.detach().requires_grad_()
    fake.register_hook(seen.append)
    torch.manual_seed(2)
    (model.loss_G() * 1.0).backward()
    of_L1 = 7 * F.l1_loss(fake.detach(), pair["B"])
    assert model.losses["G_L1"].item() == pytest.approx(of_L1.item())
    assert seen[0][0, :, 40:].any() and seen[0][1].any()


def test_outputs_of_pixels_without_data_do_not_reach_g(make):
    model = make()
    _, (pair, *_) = doubled(model, 1)
    nothing = torch.zeros(2, 1, 64, 64, dtype=torch.float64)
    forward(model, pair | {"B": pair["B"] * 0, "valid": nothing})
    model.loss_G().backward()
    assert not any(p.grad.any() for p in model.netG.parameters() if p.grad is not None)
    assert {name: loss.item() for name, loss in model.losses.items()} == {"G_GAN": 0, "G_L1": 0}


def test_padding_is_no_part_of_the_metrics(make):
    model, pair = make(), random_batch()
    valid = torch.zeros(1, 1, 64, 64)
    valid[..., 10:40, 5:60] = 1
    model.set_input(pair | {"B": pair["B"] * valid, "valid": valid})
    model.test()
    fake, real = model.metric_pair()
    assert fake.shape == real.shape == (1, 3, 30, 55)
    assert torch.equal(real, pair["B"][..., 10:40, 5:60])


def test_a_batch_that_has_data_everywhere_trains_as_one_without_a_mask(make):
    one, other = make("--lr", "0.002"), make("--lr", "0.002")
    pair = random_batch()
    for model, batch in ((one, pair), (other, pair | {"valid": torch.ones(1, 1, 64, 64)})):
        torch.manual_seed(1)
        step(model, batch)
    for mine, theirs in zip(one.netG.parameters(), other.netG.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_d_sees_the_fake_detached(make):
    model = forward(make(), random_batch())
    model.loss_D().backward()
    assert all(p.grad is None for p in model.netG.parameters())
    assert all(p.grad is not None for p in model.netD.parameters())


def test_losses_are_printed_in_the_published_order(make):
    assert list(step(make(), random_batch()).get_current_losses()) == [
        "G_GAN",
        "G_L1",
        "D_real",
        "D_fake",
    ]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_wgangp_adds_a_full_precision_penalty_on_mixed_pairs(make, precision):
    flags = ("--gan_mode", "wgangp", "--norm", "instance", "--precision", precision)
    model = forward(make(*flags), random_batch(size=2))
    torch.manual_seed(5)
    with model.autocast():
        loss, parameters = model.loss_D(), list(model.netD.parameters())
    A, B, fake = model.real_A, model.real_B, model.fake_B.detach()
    fake_AB, real_AB = torch.cat([A, fake], 1), torch.cat([A, B], 1)
    with model.autocast():
        half = 0.5 * (model.netD(fake_AB).mean() - model.netD(real_AB).mean())
    torch.manual_seed(5)
    mix = torch.rand(2, 1, 1, 1)
    mixed = torch.cat([A, mix * B + (1 - mix) * fake], 1).requires_grad_(True)
    (gradient,) = torch.autograd.grad(model.netD(mixed).sum(), mixed)
    penalty = 10 * (gradient.flatten(1).norm(dim=1) - 1).square().mean()
    torch.testing.assert_close(loss, half + penalty)
    with_penalty, without = (torch.autograd.grad(value, parameters) for value in (loss, half))
    assert not torch.allclose(with_penalty[0], without[0])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("mode", ["vanilla", "wgangp"])
def test_a_step_moves_both_networks_in_either_precision(make, mode, precision):
    model = make("--gan_mode", mode, "--precision", precision)
    before = copy.deepcopy([model.netG.state_dict(), model.netD.state_dict()])
    step(model, random_batch())
    assert all(abs(v) < 1e4 for v in model.get_current_losses().values())
    for net, old in zip((model.netG, model.netD), before, strict=True):
        for name, p in net.named_parameters():
            assert p.dtype == model.fake_B.dtype == torch.float32 and p.isfinite().all()
            assert p.dim() == 1 or not torch.equal(p, old[name])


# Input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("direction", "source", "target"), [("AtoB", *"AB"), ("BtoA", *"BA")])
def test_direction_chooses_input_and_target(make, direction, source, target):
    model = forward(make("--direction", direction), pair := random_batch())
    assert torch.equal(model.real_A, pair[source]) and torch.equal(model.real_B, pair[target])
    assert model.get_image_paths() == pair[f"{source}_paths"]
    assert list(model.get_current_visuals()) == ["real_A", "fake_B", "real_B"]


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_images_without_targets_cannot_train_but_can_be_translated(make, direction):
    source, model = direction[0], make("--direction", direction)
    with pytest.raises(ValueError, match=f"^--dataset_mode aligned: .* --direction {direction}"):
        model.set_input(random_batch(names=source))
    model.save_networks("latest")
    tester = make("--direction", direction, options=TestOptions)
    translate(tester, random_batch(names=source))
    assert list(tester.get_current_visuals()) == ["real_A", "fake_B"]
    translate(tester, random_batch())
    assert list(tester.get_current_visuals()) == ["real_A", "fake_B", "real_B"]


def test_a_crop_too_small_for_d_is_an_error_before_training(make):
    deep = ("--netD", "n_layers", "--n_layers_D", "4", "--load_size", "48", "--crop_size")
    make(*deep, "48")
    with pytest.raises(ValueError, match=r"^--n_layers_D: .* 48 pixels, these have 47;"):
        make(*deep, "47")


# Validation and test ---------------------------------------------------------------------


def test_validation_is_the_mean_l1_of_test_time_and_leaves_no_trace(make):
    batches = [random_batch(seed) for seed in range(3)]
    model = step(make(), batches[0])
    twin = copy.deepcopy(model.netG)
    before = copy.deepcopy([net.state_dict() for net in model.nets.values()])
    noise = torch.get_rng_state()
    loss = mean_scores(model, batches)

    assert torch.equal(torch.get_rng_state(), noise)
    after = [net.state_dict() for net in model.nets.values()]
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert all(net.training for net in model.nets.values())
    by_hand = 0
    for pair in batches:
        with torch.no_grad(), per_image_dropout([image_seed(0, pair["A_paths"][0])]):
            by_hand += (twin(pair["A"]) - pair["B"]).abs().mean().item() / 3
    assert loss == mean_scores(model, batches)
    assert loss["L1"] == pytest.approx(by_hand / 2, abs=1 / 255)  # of 8 bits, in [0, 1]


def test_a_translation_depends_on_image_and_seed_not_on_the_order(make):
    make().save_networks("latest")
    one, two = random_batch(1), random_batch(2)
    first, second = translate(make(options=TestOptions), one, two)
    again = translate(make(options=TestOptions), two, one, one)
    assert torch.equal(again[0], second)
    assert torch.equal(again[1], first) and torch.equal(again[2], first)
    (other,) = translate(make("--seed", "1", options=TestOptions), one)
    assert not torch.equal(other, first)


def test_in_testing_weights_are_read_and_none_are_drawn(make):
    (saved := make()).save_networks("latest")
    state = make(options=TestOptions).netG.state_dict()
    assert torch.equal(torch.get_rng_state(), torch.manual_seed(0).get_state())
    assert all(torch.equal(state[key], value) for key, value in saved.netG.state_dict().items())


# Files -----------------------------------------------------------------------------------


def test_a_missing_d_starts_fresh_and_says_so(make, tmp_path, caplog):
    (saved := make()).save_networks("latest")
    (tmp_path / "run" / "latest_net_D.pth").unlink()
    model = make("--continue_train", "--ndf", "6")
    (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert warning.startswith("network D starts from scratch") and "latest_net_D.pth" in warning
    torch.testing.assert_close(model.netG.state_dict(), saved.netG.state_dict())


def test_a_missing_g_is_an_error(make, tmp_path):
    make().save_networks("5")
    (tmp_path / "run" / "5_net_G.pth").unlink()
    with pytest.raises(
        ValueError, match="5_net_G.pth: no such checkpoint; the folder holds weights of D only"
    ):
        make("--continue_train", "--epoch", "5")


HINTS = {
    "--ngf 6": "--ngf 4",
    "--netG unet_128 --norm instance": "--netG unet_64 --norm batch",
    "--output_nc 1": "--output_nc 3",
    "--upsample resize": "--upsample transpose",
}


@pytest.mark.parametrize(("flags", "hint"), HINTS.items())
def test_weights_that_do_not_fit_name_the_flags_that_do(make, flags, hint):
    make().save_networks("latest")
    with pytest.raises(ValueError, match=rf"latest_net_G.pth: .* with {hint}; use the same flags$"):
        make("--continue_train", *flags.split())


@pytest.mark.parametrize(
    ("one", "other", "kind"), [("D", "G", "discriminator"), ("G", "D", "generator")]
)
def test_weights_of_the_other_network_are_told_so(make, tmp_path, one, other, kind):
    make().save_networks("latest")
    folder = tmp_path / "run"
    shutil.copy(folder / f"latest_net_{one}.pth", folder / f"latest_net_{other}.pth")
    with pytest.raises(ValueError, match=f"latest_net_{other}.pth: holds a {kind} in place of a "):
        make("--continue_train")


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (["--model", "pix2pix"], ["label"]),
        (["--model", "cycle_gan", "--netG", "unet_64"], ["label"]),
        (["--model", "pix2pix", "--direction", "BtoA"], ["A"]),
        (["--model", "template"], ["B"]),
    ],
)
def test_a_batch_without_the_models_images_is_one_line(make, flags, names):
    model = make(*flags, "--dataset_mode", "aligned")
    batch = {name: torch.zeros(1, 3, 64, 64) for name in names}
    batch |= {f"{name}_paths": ["a.png"] for name in names}
    refusal(lambda: model.set_input(batch), "--dataset_mode aligned: has no images", "--model")


def test_each_gan_loss_leaves_out_pixels_without_data(make):
    """Of D on fakes and on reals, and of G; where nothing has data the metrics take the images."""
    model, pair, seen = make(), random_batch(), []
    criterion = model.criterionGAN
    model.criterionGAN = lambda *a, valid, **k: (
        seen.append(valid) or criterion(*a, valid=valid, **k)
    )
    valid = torch.zeros(1, 1, 64, 64)
    valid[..., :32] = 1
    step(model, pair | {"valid": valid})
    assert len(seen) == 3 and all(torch.equal(of_loss, valid) for of_loss in seen)
    model.set_input(pair | {"valid": torch.zeros(1, 1, 64, 64)})
    model.test()
    assert [image.shape for image in model.metric_pair()] == [pair["B"].shape] * 2


def test_pixels_without_data_move_with_what_d_sees(make):
    model = make("--diffaug", "translation,cutout")
    valid = (torch.rand(2, 1, 64, 64) > 0.5).float()
    model.set_input(random_batch(size=2) | {"valid": valid})
    (image,), moved = model.augmented(valid.expand(-1, 6, -1, -1))
    assert torch.equal(image[:, :1], moved) and not torch.equal(moved, valid)


def test_layers_of_features_have_the_weight_of_pix2pixhd(make, monkeypatch):
    """The sum over n + 1 layers, times 4 / (n + 1): as many as 4 layers weigh."""
    monkeypatch.setattr("models.pix2pix_model.feature_matching", lambda *_: torch.tensor(3.0))
    model = make("--netD", "multiscale", "--n_layers_D", "2", "--lambda_feat", "5")
    step(model, random_batch())
    assert model.losses["G_GAN_Feat"].item() == pytest.approx(5 * 4 / 3 * 3)
