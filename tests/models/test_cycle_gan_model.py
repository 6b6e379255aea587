"""The CycleGAN update, against plain torch code."""

import copy

import pytest
import torch
import torch.nn.functional as F
from conftest import GAN_LOSSES, doubled, random_batch, refusal, step
from torch import nn

from models.cycle_gan_model import CycleGANModel
from models.networks import gradient_penalty
from util.image_pool import ImagePool

CYCLE = ["--model", "cycle_gan", "--netG", "resnet_6blocks"]
ORDER = ["D_A", "G_A", "cycle_A", "idt_A", "D_B", "G_B", "cycle_B", "idt_B"]
WEIGHTS = ["--lambda_A", "7", "--lambda_B", "3", "--lambda_identity", "0.4"]


def forward(model: CycleGANModel, batch: dict) -> CycleGANModel:
    model.set_input(batch)
    model.forward()
    return model


def parameters(optimizer: torch.optim.Optimizer) -> list[int]:
    return [id(p) for group in optimizer.param_groups for p in group["params"]]


def of(*nets: nn.Module) -> list[int]:
    return [id(p) for net in nets for p in net.parameters()]


# The update ------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", GAN_LOSSES)
def test_update_is_both_gs_against_the_old_ds_then_both_ds(make, mode):
    is_real, is_fake, fools = GAN_LOSSES[mode]
    model = make(*CYCLE, *WEIGHTS, "--gan_mode", mode, "--lr", "0.002", "--pool_size", "3")
    nets, batches = doubled(model)
    given = [step(model, batch).get_current_losses() for batch in batches]

    G_A, G_B, D_A, D_B = (nets[name] for name in ("G_A", "G_B", "D_A", "D_B"))
    adam_G, adam_D = (
        torch.optim.Adam([*one.parameters(), *two.parameters()], 0.002, (0.5, 0.999))
        for one, two in ((G_A, G_B), (D_A, D_B))
    )
    pool_B, pool_A = ImagePool(3, seed=0), ImagePool(3, seed=1)
    for ours, (A, B) in zip(given, ((b["A"], b["B"]) for b in batches), strict=True):
        fake_B, fake_A = G_A(A), G_B(B)
        losses = {
            "G_A": fools(D_A(fake_B)),
            "cycle_A": 7 * F.l1_loss(G_B(fake_B), A),
            "idt_A": 0.4 * 3 * F.l1_loss(G_A(B), B),
            "G_B": fools(D_B(fake_A)),
            "cycle_B": 3 * F.l1_loss(G_A(fake_A), B),
            "idt_B": 0.4 * 7 * F.l1_loss(G_B(A), A),
        }
        adam_G.zero_grad()
        sum(losses.values()).backward()
        adam_G.step()
        pooled_fake_B, pooled_fake_A = pool_B.query(fake_B.detach()), pool_A.query(fake_A.detach())
        losses["D_A"] = 0.5 * (is_real(D_A(B)) + is_fake(D_A(pooled_fake_B)))
        losses["D_B"] = 0.5 * (is_real(D_B(A)) + is_fake(D_B(pooled_fake_A)))
        adam_D.zero_grad()
        (losses["D_A"] + losses["D_B"]).backward()
        adam_D.step()
        theirs = {name: loss.item() for name, loss in losses.items()}
        assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-6)


def test_losses_are_printed_in_the_published_order(make):
    assert list(step(make(*CYCLE), random_batch()).get_current_losses()) == ORDER


def test_defaults_are_those_of_the_paper(make):
    opt = make(*CYCLE).opt
    assert (opt.gan_mode, opt.norm, opt.pool_size) == ("lsgan", "instance", 50)
    assert opt.no_dropout
    assert (opt.lambda_A, opt.lambda_B, opt.lambda_identity) == (10, 10, 0.5)
    assert opt.dataset_mode == "unaligned" and opt.defaults["netG"] == "resnet_9blocks"


def test_one_optimizer_trains_both_gs_and_one_both_ds(make):
    model = make(*CYCLE)
    nets = model.nets
    assert list(nets) == ["G_A", "G_B", "D_A", "D_B"] and list(model.optimizers) == ["G", "D"]
    assert parameters(model.optimizers["G"]) == of(nets["G_A"], nets["G_B"])
    assert parameters(model.optimizers["D"]) == of(nets["D_A"], nets["D_B"])


def test_gs_loss_leaves_no_gradient_in_the_ds_and_ds_none_in_the_gs(make):
    model, learning = make(*CYCLE), []

    def record():
        gradients = {name: next(net.parameters()).grad for name, net in model.nets.items()}
        learning.append({name for name, gradient in gradients.items() if gradient is not None})
        for net in model.nets.values():
            net.zero_grad(set_to_none=True)

    for optimizer in model.optimizers.values():
        optimizer.step = record
    step(model, random_batch())
    assert learning == [{"G_A", "G_B"}, {"D_A", "D_B"}]
    assert all(p.requires_grad for net in model.nets.values() for p in net.parameters())


@pytest.mark.parametrize("mode", ["lsgan", "wgangp"])
def test_a_step_moves_all_four_networks(make, mode):
    model = make(*CYCLE, "--gan_mode", mode)
    before = copy.deepcopy({name: net.state_dict() for name, net in model.nets.items()})
    step(model, random_batch())
    for name, net in model.nets.items():
        for key, p in net.named_parameters():
            assert p.isfinite().all()
            assert p.dim() == 1 or not torch.equal(p, before[name][key]), (name, key)


def test_wgangp_adds_the_penalty_to_each_d(make):
    model = forward(make(*CYCLE, "--gan_mode", "wgangp"), random_batch(size=2))
    torch.manual_seed(5)
    model.loss_D()
    torch.manual_seed(5)
    for name, real, fake in (
        ("D_A", model.real_B, model.fake_B.detach()),
        ("D_B", model.real_A, model.fake_A.detach()),
    ):
        netD = model.nets[name]
        half = 0.5 * (netD(fake).mean() - netD(real).mean())
        penalty = gradient_penalty(netD, real, fake)
        torch.testing.assert_close(model.losses[name], half + penalty)
        assert penalty > 1


def test_the_pools_hold_fakes_without_gradients(make):
    model = make(*CYCLE, "--pool_size", "3")
    fakes = {"A": [], "B": []}
    for seed in range(2):
        step(model, random_batch(seed))
        fakes["A"].append(model.fake_A.detach()[0])
        fakes["B"].append(model.fake_B.detach()[0])
    for side, pool in (("A", model.pools["fake_A_pool"]), ("B", model.pools["fake_B_pool"])):
        assert not any(image.requires_grad for image in pool.images)
        assert len(pool.images) == 2
        assert all(torch.equal(a, b) for a, b in zip(pool.images, fakes[side], strict=True))


# Identity --------------------------------------------------------------------------------


def calls(model: CycleGANModel) -> dict[str, int]:
    """Count the forward passes of each G in one step."""
    counts = {"G_A": 0, "G_B": 0}
    for name in counts:

        def count(*_, name=name):
            counts[name] += 1

        model.nets[name].register_forward_hook(count)
    step(model, random_batch())
    return counts


def test_lambda_identity_0_prints_0_and_never_runs_g_for_it(make):
    model = make(*CYCLE, "--lambda_identity", "0")
    assert calls(model) == {"G_A": 2, "G_B": 2}
    losses = model.get_current_losses()
    assert list(losses) == ORDER and losses["idt_A"] == losses["idt_B"] == 0
    assert not {"idt_A", "idt_B"} & model.get_current_visuals().keys()


def test_the_identity_loss_runs_each_g_once_more_and_is_shown(make):
    model = make(*CYCLE)
    assert calls(model) == {"G_A": 3, "G_B": 3}
    visuals = model.get_current_visuals()
    assert [*visuals] == [
        *("real_A", "fake_B", "rec_A", "idt_B", "real_B", "fake_A", "rec_B", "idt_A"),
    ]
    assert visuals["idt_A"].shape == visuals["real_B"].shape


def test_the_identity_loss_wants_equal_channels(make):
    flags = [*CYCLE, "--input_nc", "1", "--output_nc", "3"]
    refusal(lambda: make(*flags), "--lambda_identity 0.5", "--input_nc 1", "--output_nc 3")
    model = make(*flags, "--lambda_identity", "0")
    losses = step(model, random_batch(channels=(1, 3))).get_current_losses()
    assert losses["idt_A"] == 0
    assert model.fake_B.shape[1] == model.rec_B.shape[1] == 3
    assert model.fake_A.shape[1] == model.rec_A.shape[1] == 1


@pytest.mark.parametrize("flag", ["--lambda_A", "--lambda_B", "--lambda_identity"])
@pytest.mark.parametrize("value", ["-1", "inf", "nan"])
def test_weights_of_losses_are_numbers_from_0(make, flag, value):
    refusal(lambda: make(*CYCLE, flag, value), f"{flag} {float(value)}", "from 0")


# Input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("direction", "source", "target"), [("AtoB", *"AB"), ("BtoA", *"BA")])
def test_direction_swaps_the_sides(make, direction, source, target):
    channels = {source: 1, target: 3}
    batch = random_batch(channels=(channels["A"], channels["B"]))
    flags = ["--direction", direction, "--input_nc", "1", "--lambda_identity", "0"]
    model = step(make(*CYCLE, *flags), batch)
    assert torch.equal(model.real_A, batch[source]) and torch.equal(model.real_B, batch[target])
    assert model.get_image_paths() == batch[f"{source}_paths"]


@pytest.mark.parametrize("side", "AB")
def test_training_wants_both_sides(make, side):
    refusal(lambda: make(*CYCLE).set_input(random_batch(names=side)), "--dataset_mode unaligned")
