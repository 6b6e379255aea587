"""The networks of pix2pixHD: keys and shapes of the published weights, outputs as recorded."""

from functools import partial

import numpy as np
import pytest
import torch
from support.recorded import assert_recorded, filled, noise, state_dicts, traces
from torch import nn

from models.instance_features import InstanceEncoder, averaged
from models.pix2pixHD_networks import GlobalGenerator, LocalEnhancer, MultiscaleDiscriminator

BUILD = {
    "G global (label 35 + instance edge, 4 downs, 9 blocks)": partial(GlobalGenerator, 36),
    "G local (1 enhancer, ngf 32)": partial(LocalEnhancer, 36),
    "G global batch norm": partial(GlobalGenerator, 36, norm_layer=nn.BatchNorm2d),
    "E encoder (feat 3, nef 16, 4 downs)": InstanceEncoder,
    "D 2 scales, 3 layers, features": partial(MultiscaleDiscriminator, 39),
    "D 3 scales, 3 layers, features": partial(MultiscaleDiscriminator, 39, num_D=3),
    "D 2 scales, 3 layers, no features": partial(MultiscaleDiscriminator, 39, features=False),
}
FORWARD = traces("forward", "pix2pixHD")


def recorded(start: str):
    """Return the trace whose name starts so."""
    return next(trace for name, trace in FORWARD.items() if name.startswith(start))


@pytest.mark.parametrize("name", state_dicts("pix2pixHD"))
def test_keys_and_shapes_are_those_of_the_published_weights(name: str) -> None:
    with torch.device("meta"):
        found = {key: [*value.shape] for key, value in BUILD[name]().state_dict().items()}
    assert found == state_dicts("pix2pixHD")[name]


def test_the_images_of_the_generators_are_those_recorded() -> None:
    x = noise("hd", (2, 6, 64, 96))
    netG = filled(GlobalGenerator(6, ngf=8, n_downs=3, n_blocks=2))
    assert_recorded(netG(x), recorded("G global"))
    netG = filled(LocalEnhancer(6, ngf=8, n_downs=2, n_blocks=2, n_blocks_local=2))
    assert_recorded(netG(x), recorded("G local"))


@pytest.mark.parametrize("features", [True, False])
def test_the_features_of_d_are_those_recorded(features: bool) -> None:
    netD = filled(MultiscaleDiscriminator(9, ndf=8, features=features))
    scales = netD(noise("hdD", (2, 9, 64, 96)))
    for found, wanted in zip(scales, recorded(f"D 2 scales features={features}"), strict=True):
        for values, trace in zip(found, wanted, strict=True):
            assert_recorded(values, trace)


def test_the_features_of_instances_are_those_recorded() -> None:
    small = np.random.RandomState(3).randint(0, 4, (1, 1, 32, 32))
    instances = torch.from_numpy(small.repeat(2, axis=2).repeat(2, axis=3))
    found = filled(InstanceEncoder(nef=8, n_downs=2))(noise("hdE", (1, 3, 64, 64)), instances)
    assert_recorded(found, recorded("E, image"))


def test_every_pixel_of_an_instance_has_the_mean_of_its_features() -> None:
    ids = torch.tensor([[7, 7, 900], [7, 900, 900]])
    found = averaged(torch.tensor([[[1.0, 2.0, 10.0], [6.0, 20.0, 30.0]]]), ids)
    assert found.tolist() == [[[3.0, 3.0, 20.0], [3.0, 20.0, 20.0]]]
