"""The flags read off a network's weights."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from models.networks import DISCRIMINATORS, GENERATORS, define_D, define_G
from models.weights import (
    check_fit,
    describe_discriminator,
    describe_generator,
    differing_flags,
)

CHANNELS = ((3, 3), (1, 2), (4, 1))


def generator_weights(**flags) -> dict[str, torch.Tensor]:
    flags = {"input_nc": 3, "output_nc": 3, "ngf": 4, "netG": "unet_64", "norm": "batch", **flags}
    dropout = not flags.pop("no_dropout", False)
    with torch.device("meta"):
        return define_G(**flags, use_dropout=dropout).state_dict()


@pytest.mark.parametrize("upsample", ["transpose", "resize"])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("netG", GENERATORS)
def test_flags_come_back_from_the_weights(netG, norm, upsample):
    for (input_nc, output_nc), no_dropout in zip(CHANNELS, (False, True, False), strict=True):
        flags = {
            "netG": netG,
            "ngf": 4,
            "norm": norm,
            "upsample": upsample,
            "input_nc": input_nc,
            "output_nc": output_nc,
            "no_dropout": no_dropout,
        }
        described = describe_generator(generator_weights(**flags))
        if not netG.startswith("resnet"):
            del flags["no_dropout"]  # leaves a trace in a ResNet's keys only
        assert described == flags


@pytest.mark.parametrize("norm", ["sync_batch", "sync_instance"])
@pytest.mark.parametrize("netG", ["unet_64", "resnet_6blocks"])
def test_synchronised_norms_show_as_their_plain_ones(netG, norm):
    weights = generator_weights(netG=netG, norm=norm)
    assert describe_generator(weights)["norm"] == norm.removeprefix("sync_")


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("netD", DISCRIMINATORS)
def test_a_discriminator_is_no_generator(netD, norm):
    assert describe_generator(define_D(6, 4, netD, 5, norm).state_dict()) == {}


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize(
    "flags",
    [{"netD": "basic", "n_layers_D": 3}, {"netD": "n_layers", "n_layers_D": 1}]
    + [{"netD": "n_layers", "n_layers_D": 5}, {"netD": "pixel"}],
)
def test_flags_of_a_discriminator_come_back_too(flags, norm):
    weights = define_D(6, 4, **flags, norm=norm).state_dict()
    assert describe_discriminator(weights) == flags | {"ndf": 4, "norm": norm}


@pytest.mark.parametrize(
    ("opt", "said"),
    [
        ({"netD": "basic", "n_layers_D": 3, "ndf": 8}, "--ndf 4"),
        ({"netD": "n_layers", "n_layers_D": 2, "ndf": 4}, "--n_layers_D 3"),
        ({"netD": "n_layers", "n_layers_D": 3, "ndf": 4}, ""),
        ({"netD": "pixel", "n_layers_D": 3, "ndf": 4}, "--netD basic"),
    ],
)
def test_the_flags_in_which_a_discriminator_differs(opt, said):
    weights = define_D(6, 4, "basic").state_dict()
    assert differing_flags(weights, SimpleNamespace(norm="sync_batch", **opt)) == said


def test_a_generator_is_no_discriminator():
    for netG in GENERATORS:
        assert describe_discriminator(generator_weights(netG=netG)) == {}


@pytest.mark.parametrize(
    "weights",
    [
        {},
        {"anything": torch.zeros(2)},
        {"model.model.0.weight": torch.zeros(4, 3, 4, 4)},
        {"model.10.conv_block.1.weight": torch.zeros(4, 4, 3, 3)},
        {"model.0.weight": torch.zeros(()), "model.11.weight": torch.zeros(())},
        {"model.1.weight": torch.zeros(2), "model.10.conv_block.x": torch.zeros(2)},
    ],
)
def test_junk_has_no_flags(weights):
    assert describe_generator(weights) == describe_discriminator(weights) == {}


@pytest.mark.parametrize("netG", ["unet_64", "resnet_6blocks"])
def test_a_generators_keys_around_other_shapes_have_no_flags(netG):
    weights = {key: torch.zeros(()) for key in generator_weights(netG=netG)}
    assert describe_generator(weights) == {}


def options(**changes) -> SimpleNamespace:
    flags = {"netG": "resnet_6blocks", "ngf": 4, "norm": "batch", "upsample": "transpose"}
    flags |= {"input_nc": 3, "output_nc": 3, "no_dropout": False}
    return SimpleNamespace(**{**flags, **changes})


@pytest.mark.parametrize(
    ("made_with", "flags"),
    [
        ({}, ""),
        ({"norm": "sync_batch"}, ""),
        ({"ngf": 8}, "--ngf 8"),
        ({"netG": "resnet_9blocks"}, "--netG resnet_9blocks"),
        ({"norm": "instance", "output_nc": 1}, "--output_nc 1 --norm instance"),
        ({"input_nc": 1, "upsample": "resize"}, "--input_nc 1 --upsample resize"),
        ({"no_dropout": True}, "--no_dropout"),
    ],
)
def test_differing_flags_are_those_to_type(made_with, flags):
    weights = generator_weights(**vars(options(**made_with)))
    given = differing_flags(weights, options()).replace(" --", "\n--").splitlines()
    assert sorted(given) == sorted(flags.replace(" --", "\n--").splitlines())


def test_dropout_in_the_weights_asks_to_leave_the_flag_out():
    weights = generator_weights(netG="resnet_6blocks")
    assert differing_flags(weights, options(no_dropout=True)) == "without --no_dropout"


def test_a_sync_norm_in_the_options_fits_the_plain_one_in_the_file():
    weights = generator_weights(netG="resnet_6blocks", norm="instance")
    assert differing_flags(weights, options(norm="sync_instance")) == ""
    assert differing_flags(weights, options(norm="sync_batch")) == "--norm instance"


def test_weights_without_counts_of_batches_fit():
    net = define_G(3, 3, 4, "unet_64")
    opt = SimpleNamespace(model="pix2pix", netG="unet_64", norm="batch", ngf=4, no_dropout=True)
    saved = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    loaded = check_fit(net, saved, Path("old.pth"), opt)
    net.load_state_dict(loaded)
    assert loaded.keys() == net.state_dict().keys()
