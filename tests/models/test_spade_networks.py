"""The networks of SPADE: keys and shapes of the published weights, outputs as recorded."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.recorded import assert_recorded, filled, noise, state_dicts, traces
from torch import Tensor

from models.spade_networks import ImageEncoder, MultiscaleDiscriminator, SPADEGenerator

FACADES = {"upsampling": "most", "use_vae": True, "first_size": (2, 2)}
BUILD = {
    "G coco (182+1 classes, instance map, normal, 256)": lambda: SPADEGenerator(184),
    "G ade20k (150+1, no instance, normal, 256)": lambda: SPADEGenerator(151),
    "D coco": lambda: MultiscaleDiscriminator(187),
    "D ade20k": lambda: MultiscaleDiscriminator(154),
    "E crop 256": lambda: ImageEncoder(),
    "E crop 128": lambda: ImageEncoder(crop_size=128),
    "G cityscapes (35 classes, instance map, more, 512x256)": lambda: SPADEGenerator(
        36, upsampling="more"
    ),
    "G facades (13 classes, no instance map, most, use_vae)": lambda: SPADEGenerator(13, **FACADES),
}
FORWARD = traces("forward", "spade")


def test_the_encoder_reads_images_of_any_channels():
    mean, log_variance = ImageEncoder(8, 64, 16, image_nc=1)(torch.zeros(2, 1, 64, 64))
    assert mean.shape == log_variance.shape == (2, 16)


@pytest.mark.parametrize("name", state_dicts("spade"))
def test_keys_and_shapes_are_those_of_the_published_weights(name: str) -> None:
    with torch.device("meta"):
        found = {key: [*value.shape] for key, value in BUILD[name]().state_dict().items()}
    assert found == state_dicts("spade")[name]


@pytest.fixture
def semantics() -> Tensor:
    labels = torch.from_numpy(np.random.RandomState(7).randint(0, 5, (2, 1, 64, 64)))
    return F.one_hot(labels[:, 0], 5).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(
    ("name", "flags"),
    [("normal 64x64", {}), ("instance norm, no spectral", {"norm": "instance", "spectral": False})],
)
def test_the_generators_images_are_those_recorded(semantics, name, flags, mode) -> None:
    netG = filled(SPADEGenerator(5, ngf=8, **flags)).train(mode == "train")
    assert_recorded(netG(semantics), FORWARD[f"G spade {name}, {mode}"])


def test_the_image_of_a_z_is_that_recorded(semantics) -> None:
    netG = SPADEGenerator(5, ngf=8, use_vae=True, z_dim=16, first_size=(2, 2))
    image = filled(netG).eval()(semantics, noise("z", (2, 16)))
    assert_recorded(image, FORWARD["G spade vae z, eval"])


def test_the_features_of_d_are_those_recorded() -> None:
    netD = filled(MultiscaleDiscriminator(8, ndf=8))
    scales = netD(noise("D", (2, 8, 64, 96)))
    for found, wanted in zip(scales, FORWARD["D multiscale, train, all features"], strict=True):
        for features, trace in zip(found, wanted, strict=True):
            assert_recorded(features, trace)


def test_the_encoders_numbers_are_those_recorded() -> None:
    mean, log_variance = filled(ImageEncoder(8))(noise("E", (2, 3, 200, 300)))
    assert_recorded(mean, FORWARD["E mu"])
    assert_recorded(log_variance, FORWARD["E logvar"])


@pytest.mark.parametrize(("upsampling", "stride"), [("normal", 32), ("more", 64), ("most", 128)])
def test_any_multiple_of_the_stride_comes_back_at_its_size(upsampling: str, stride: int) -> None:
    netG = SPADEGenerator(3, ngf=2, upsampling=upsampling, norm="instance")
    assert netG.stride == stride
    assert netG(torch.rand(1, 3, stride * 2, stride)).shape == (1, 3, stride * 2, stride)
