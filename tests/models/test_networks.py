"""Networks, initialisation, GAN losses and schedules, against the published keys and formulas."""

import json
import math
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from data.channels import BACKGROUNDS
from data.image_cache import CACHES
from data.transforms import FILTERS, PREPROCESS
from models import networks
from models.losses import stack_losses
from models.networks import DISCRIMINATORS, GENERATORS, NORMS, define_D, define_G, init_net
from options.parser import FlagParser
from options.shared_flags import add_shared_flags
from options.train_flags import add_train_flags
from util.feature_distance import FEATURE_METRICS
from util.metrics import HOLE_METRICS, LABEL_METRICS, METRICS

STATE_DICTS = json.loads((Path(__file__).parents[1] / "data" / "state_dicts.json").read_text())
UPSAMPLE = ("transpose", "resize")
CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def build_published(row: str) -> nn.Module:
    """Build the network of a row, netG/norm/dropout=X or netD+n/norm, without its memory."""
    with torch.device("meta"):
        if generator := re.fullmatch(r"(\w+)/(\w+)/dropout=(\w+)", row):
            netG, norm, dropout = generator.groups()
            return define_G(3, 3, 64, netG, norm, use_dropout=dropout == "True")
        netD, n_layers, norm = re.fullmatch(r"(\w+)(\d)/(\w+)", row).groups()
        return define_D(6, 64, netD, int(n_layers), norm)


@pytest.mark.parametrize("row", STATE_DICTS)
def test_state_dict_equals_the_published_one(row):
    state = build_published(row).state_dict()
    assert [[k, list(v.shape), str(v.dtype)] for k, v in state.items()] == STATE_DICTS[row]


# Generators ------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("netG", GENERATORS)
def test_generator_keeps_any_image_size_and_has_its_channels(netG, norm):
    with torch.device("meta"):
        net = define_G(1, 2, 4, netG, norm, use_dropout=True)
        for size in ((1, 1), (9, 6), (65, 130), (64, 64)):
            assert net(torch.empty(1, 1, *size)).shape == (1, 2, *size)


@pytest.mark.parametrize("upsample", UPSAMPLE)
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("netG", ["unet_64", "resnet_6blocks"])
def test_generator_gives_finite_images_in_range_at_odd_sizes(netG, norm, upsample):
    net = define_G(3, 1, 4, netG, norm, upsample=upsample)
    for size in ((1, 1), (3, 70), (31, 17)):
        y = net(torch.rand(1, 3, *size) * 2 - 1)
        assert y.shape == (1, 1, *size)
        assert y.abs().max() <= 1  # false for nan too


@pytest.mark.parametrize(("netG", "size"), [("unet_64", (64, 128)), ("resnet_6blocks", (12, 20))])
def test_sizes_of_the_stride_are_not_padded(netG, size):
    net, x = define_G(3, 3, 4, netG, "instance"), torch.randn(2, 3, *size)
    assert torch.equal(net(x), net.model(x))


@pytest.mark.parametrize(
    ("netG", "size", "pad"),
    [("unet_64", (50, 71), (28, 29, 7, 7)), ("resnet_6blocks", (13, 22), (1, 1, 1, 2))],
)
def test_padding_is_a_centred_reflection_cropped_back(netG, size, pad):
    net, x = define_G(3, 3, 4, netG, "instance"), torch.randn(1, 3, *size)
    padded = net.model(F.pad(x, pad, mode="reflect"))
    torch.testing.assert_close(net(x), F.pad(padded, [-n for n in pad]))


def biased(net: nn.Module) -> list[bool]:
    return [m.bias is not None for m in net.modules() if isinstance(m, CONVOLUTIONS)]


@pytest.mark.parametrize("upsample", UPSAMPLE)
@pytest.mark.parametrize("norm", NORMS)
def test_only_instance_norm_keeps_convolution_biases_except_at_the_ends(norm, upsample):
    instance = norm.endswith("instance")
    for netG, before_last in (("unet_64", 11), ("resnet_6blocks", 17)):
        net = define_G(3, 3, 4, netG, norm, upsample=upsample)
        assert biased(net) == [instance] * before_last + [True]
    assert biased(define_D(6, 4, "basic", norm=norm)) == [True, *[instance] * 3, True]
    assert biased(define_D(6, 4, "pixel", norm=norm)) == [True, instance, instance]


# Discriminators --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("netD", "n_layers", "field"),
    [("pixel", 3, 1), ("basic", 1, 70), *[("n_layers", *n) for n in ((1, 16), (3, 70), (5, 286))]],
)
def test_receptive_field_of_a_logit(netD, n_layers, field):
    net = define_D(1, 1, netD, n_layers, "none")
    for p in net.parameters():
        nn.init.uniform_(p, 0.1, 1)  # positive, so that no gradient cancels
    x = torch.zeros(1, 1, 2 * field + 64, 2 * field + 64, requires_grad=True)
    logits = net(x)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    for axis in (0, 1):
        touched = x.grad[0, 0].ne(0).any(axis).nonzero().flatten()
        assert touched[-1] - touched[0] + 1 == field


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("netD", "n_layers"), [("n_layers", 1), ("basic", 9), ("n_layers", 5)])
def test_smallest_image_is_judged_and_a_smaller_one_names_the_flag(netD, n_layers, norm):
    net = define_D(2, 2, netD, n_layers, norm).train()
    least = net.min_size
    assert net(torch.randn(1, 2, least, least)).isfinite().all()
    for size in ((least - 1, least), (least, least - 1)):
        with pytest.raises(ValueError, match=rf"^--n_layers_D.* {least} pixels.* {least - 1}\b"):
            net(torch.randn(1, 2, *size))


# Initialisation --------------------------------------------------------------------------


def test_normal_initialisation_has_the_papers_statistics():
    net = define_D(6, 64, "basic", norm="batch")
    for m in (m for m in net.modules() if isinstance(m, CONVOLUTIONS)):
        assert m.weight.mean().abs() < 2e-3
        assert m.weight.std().item() == pytest.approx(0.02, rel=0.15)
    weights = torch.cat([m.weight for m in net.modules() if isinstance(m, nn.BatchNorm2d)])
    assert weights.mean().item() == pytest.approx(1, abs=0.005)
    assert weights.std().item() == pytest.approx(0.02, rel=0.15)
    assert not any(p.any() for name, p in net.named_parameters() if name.endswith("bias"))


def test_every_init_type_gives_its_own_scale():
    conv, gain = nn.Conv2d(64, 128, 3), 0.5  # fan in 576, fan out 1152
    stds = {"normal": gain, "xavier": gain * math.sqrt(2 / 1728), "kaiming": math.sqrt(2 / 576)}
    assert {*stds, "orthogonal"} == set(networks.INITS)
    for init_type, std in stds.items():
        init_net(conv, init_type, gain)
        assert conv.weight.std().item() == pytest.approx(std, rel=0.03)
    W = init_net(conv, "orthogonal", gain).weight.flatten(1)
    torch.testing.assert_close(W @ W.T, gain**2 * torch.eye(128), atol=1e-5, rtol=0)


# Closed sets -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "flag", "known"),
    [
        (lambda: define_G(3, 3, 4, "odd"), "--netG", GENERATORS),
        (lambda: define_D(6, 4, "odd"), "--netD", DISCRIMINATORS),
        (lambda: networks.get_norm_layer("odd"), "--norm", NORMS),
        (lambda: init_net(nn.Conv2d(1, 1, 1), "odd"), "--init_type", networks.INITS),
        (lambda: networks.GANLoss("odd"), "--gan_mode", networks.GAN_MODES),
        (lambda: rates("odd"), "--lr_policy", networks.LR_POLICIES),
        (lambda: define_G(3, 3, 4, "unet_64", upsample="odd"), "--upsample", UPSAMPLE),
    ],
)
def test_unknown_name_is_an_error_that_lists_the_known_ones(call, flag, known):
    with pytest.raises(ValueError, match=f"^{flag} odd") as error:
        call()
    assert all(re.search(rf"\b{name}\b", str(error.value)) for name in known)


def test_choices_of_the_flags_are_the_names_that_the_code_knows():
    add_shared_flags(parser := FlagParser())
    add_train_flags(parser)
    choices = {name: set(a.choices) for name, a in parser.options().items() if a.choices}
    assert choices == {
        "norm": set(NORMS),
        "norm_D": {"instance", "batch", "none"}
        | {f"spectral{n}" for n in ("", "instance", "batch")},
        "init_type": set(networks.INITS),
        "cache": set(CACHES),
        "alpha": set(BACKGROUNDS),
        "filter_A": set(FILTERS),
        "filter_B": set(FILTERS),
        "gan_mode": set(networks.GAN_MODES),
        "lr_policy": {*networks.LR_POLICIES, "plateau"},
        "preprocess": set(PREPROCESS),
        "upsample": set(UPSAMPLE),
        "precision": {"auto", "fp32", "tf32", "bf16"},
        "direction": {"AtoB", "BtoA"},
        "on_bad_image": {"error", "skip"},
        "save_on_error": {"data", "all", "none"},
        "best_metric": {*METRICS, *HOLE_METRICS, *LABEL_METRICS, *FEATURE_METRICS},
    }
    in_help = {name: set(re.findall(r"\w+", a.help)) for name, a in parser.options().items()}
    assert set(networks.GENERATORS) <= in_help["netG"]
    assert set(networks.DISCRIMINATORS) <= in_help["netD"]


# Losses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "real", "fake", "fool"),
    [
        ("vanilla", lambda x: -x.sigmoid().log(), lambda x: -(1 - x.sigmoid()).log(), None),
        ("lsgan", lambda x: (x - 1) ** 2, lambda x: x**2, None),
        ("wgangp", lambda x: -x, lambda x: x, None),
        ("hinge", lambda x: (1 - x).clamp(min=0), lambda x: (1 + x).clamp(min=0), lambda x: -x),
    ],
)
def test_gan_loss_is_its_formula_on_both_sides(mode, real, fake, fool):
    loss, x = networks.GANLoss(mode), torch.randn(2, 1, 5, 5) * 2
    torch.testing.assert_close(loss(x, True), real(x).mean())
    torch.testing.assert_close(loss(x, False), fake(x).mean())
    torch.testing.assert_close(loss(x, True, for_discriminator=False), (fool or real)(x).mean())


def test_gradient_penalty_of_a_linear_discriminator_is_analytic():
    netD = nn.Sequential(nn.Flatten(), nn.Linear(12, 1))
    real, fake = torch.randn(2, 4, 3, 2, 2)
    penalty = networks.gradient_penalty(netD, real, fake, weight=7.0)
    w, norm = netD[1].weight, netD[1].weight.detach().norm()
    torch.testing.assert_close(penalty.detach(), 7 * (norm - 1) ** 2)
    penalty.backward()
    torch.testing.assert_close(w.grad, 14 * (norm - 1) * w.detach() / norm, atol=1e-5, rtol=1e-5)


# Schedules -------------------------------------------------------------------------------


def rates(policy: str, first: int = 1, metrics: tuple = (None,) * 7) -> list[float]:
    """The rate in each epoch from `first` on, of an initial 1."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    opt = SimpleNamespace(lr_policy=policy, epoch_count=first, n_epochs=3, n_epochs_decay=4)
    opt.lr_decay_iters = 3
    scheduler, used = networks.get_scheduler(optimizer, opt), []
    for metric in metrics[first - 1 :]:
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step(*([] if metric is None else [metric]))
    return used


SCHEDULES = {
    "linear": [1, 1, 1, 4 / 5, 3 / 5, 2 / 5, 1 / 5],
    "step": [1, 1, 1, 0.1, 0.1, 0.1, 0.01],
    "cosine": [(1 + math.cos(math.pi * k / 7)) / 2 for k in range(7)],
}


@pytest.mark.parametrize(("policy", "expected"), SCHEDULES.items())
def test_schedule_gives_its_rates_from_any_first_epoch(policy, expected):
    for first in (1, 2, 5, 7):
        assert rates(policy, first) == pytest.approx(expected[first - 1 :])
    assert min(rates(policy)) > 0


def test_plateau_falls_to_a_fifth_after_more_than_five_epochs_without_progress():
    stuck = (1.0, *[0.995] * 14)  # less than 1 % better is no progress
    assert rates("plateau", metrics=stuck) == pytest.approx([1] * 7 + [0.2] * 6 + [0.04] * 2)
    assert rates("plateau", metrics=tuple(0.98**k for k in range(15))) == [1] * 15


@pytest.mark.parametrize("shapes", [((6, 9), (8, 7)), ((6, 6), (6, 8)), ((9, 9), (6, 6))])
def test_the_gradient_penalty_of_different_sizes_mixes_their_middles(shapes):
    netD = nn.Conv2d(3, 1, 3, bias=False)
    real, fake = (torch.randn(2, 3, *shape) for shape in shapes)
    h, w = (min(sizes) for sizes in zip(*shapes, strict=True))

    def middle(x: torch.Tensor) -> torch.Tensor:
        top, left = (x.shape[2] - h) // 2, (x.shape[3] - w) // 2
        return x[:, :, top : top + h, left : left + w]

    torch.manual_seed(0)
    penalty = networks.gradient_penalty(netD, real, fake)
    torch.manual_seed(0)
    assert penalty == networks.gradient_penalty(netD, middle(real), middle(fake))
    assert torch.isfinite(penalty)


@pytest.mark.parametrize("mode", networks.GAN_MODES)
@pytest.mark.parametrize("for_discriminator", [True, False])
def test_patches_around_pixels_without_data_alone_have_no_gan_loss(
    mode: str, for_discriminator: bool
) -> None:
    loss = networks.GANLoss(mode)
    logits = torch.randn(2, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    valid = torch.ones(2, 1, 32, 32, dtype=torch.float64)
    how = {"target_is_real": True, "for_discriminator": for_discriminator}
    torch.testing.assert_close(loss(logits, **how, valid=valid), loss(logits, **how))
    valid[0, :, :, :16] = 0  # the left half of the first image
    masked = loss(logits, **how, valid=valid)
    (gradient,) = torch.autograd.grad(masked, logits)
    assert not gradient[0, :, :, :2].any() and gradient[0, :, :, 2:].any() and gradient[1].any()
    rest = torch.cat([logits[0, :, :, 2:].flatten(), logits[1].flatten()])
    torch.testing.assert_close(masked, loss(rest, **how) * 24 / 32)
    layers = [[logits], [logits]]
    torch.testing.assert_close(loss(layers, **how, valid=valid), masked)


def test_plain_numbers_among_losses_go_where_the_others_are():
    """As in a model that sets a loss to 0 while its weight is 0; `meta` stands for a GPU."""
    losses = [0, torch.zeros((), device="meta", dtype=torch.float64)]
    assert stack_losses(losses).device.type == "meta"
    assert stack_losses([0, torch.tensor(2)]).tolist() == [0.0, 2.0]


def test_all_kinds_of_convolutions_are_initialised():
    net = init_net(
        nn.Sequential(nn.Conv1d(9, 99, 3), nn.Conv3d(9, 99, 3), nn.ConvTranspose1d(9, 99, 3))
    )
    for layer in net:
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1) and not layer.bias.any()


def test_a_users_norm_need_not_fit_one_channel():
    net = networks.UnetGenerator(3, 3, 6, 8, norm_layer=lambda count: nn.GroupNorm(8, count))
    assert net(torch.zeros(1, 3, 64, 64)).shape == (1, 3, 64, 64)
