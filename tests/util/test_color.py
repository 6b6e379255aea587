"""CIE Lab and sRGB, against scikit-image."""

from itertools import product

import numpy as np
import pytest
import torch
from skimage.color import lab2rgb, rgb2lab
from torch import Tensor

from util.color import RGB_FROM_XYZ, XYZ_FROM_RGB, lab_to_rgb, rgb_to_lab

LEVELS = np.arange(256) / 255
# Images as scikit-image has them, (H, W, 3) in [0, 1].
IMAGES = {
    "random": np.random.default_rng(0).random((40, 50, 3)),
    "greys": np.repeat(LEVELS.reshape(16, 16, 1), 3, axis=2),
    "primaries": np.array([*product((0.0, 1.0), repeat=3)]).reshape(2, 4, 3),
    "dark": np.random.default_rng(1).random((40, 50, 3)) * 0.1,  # around the knee of the curve
}


def planes(image: np.ndarray) -> Tensor:
    """(H, W, 3) → (3, H, W)."""
    return torch.from_numpy(image).movedim(-1, 0)


def pixels(tensor: Tensor) -> np.ndarray:
    """(3, H, W) → (H, W, 3)."""
    return tensor.movedim(0, -1).numpy()


def any_lab(size: tuple[int, int] = (60, 70)) -> np.ndarray:
    """Lab (H, W, 3) in and far outside of what sRGB can show."""
    unit = np.random.default_rng(2).random((*size, 3))
    return unit * [100, 256, 256] - [0, 128, 128]


@pytest.mark.parametrize("name", IMAGES)
def test_lab_is_that_of_scikit_image(name):
    lab = rgb_to_lab(planes(IMAGES[name]))
    assert lab.dtype == torch.float64
    np.testing.assert_allclose(pixels(lab), rgb2lab(IMAGES[name]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", IMAGES)
def test_rgb_is_that_of_scikit_image(name):
    lab = rgb2lab(IMAGES[name])
    rgb = lab_to_rgb(planes(lab))
    assert rgb.dtype == torch.float64
    np.testing.assert_allclose(pixels(rgb), lab2rgb(lab), rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")
def test_colours_that_srgb_cannot_show_are_clipped_as_in_scikit_image():
    rgb = lab_to_rgb(planes(any_lab()))
    np.testing.assert_allclose(pixels(rgb), lab2rgb(any_lab()), rtol=0, atol=1e-6)
    outside = ((rgb == 0) | (rgb == 1)).any(0).double().mean()
    assert rgb.min() == 0 and rgb.max() == 1 and outside > 0.5


def test_white_black_and_red_are_where_cie_has_them():
    lab = rgb_to_lab(planes(np.array([[[1.0, 1, 1], [0, 0, 0], [1, 0, 0]]])))
    by_hand = torch.tensor([[100.0, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]], dtype=torch.float64)
    torch.testing.assert_close(lab[:, 0].T, by_hand, atol=0.01, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_level_of_every_channel_survives_the_round_trip(dtype):
    levels = torch.arange(256)
    torch.manual_seed(0)
    image = torch.randint(256, (3, 4, 256))
    image[:, 3] = levels  # the greys
    for channel in range(3):
        image[channel, channel] = levels
    back = lab_to_rgb(rgb_to_lab(image.to(dtype) / 255)) * 255
    assert torch.equal(back.round().long(), image)
    assert (back - image).abs().max() < 0.01


def test_the_range_of_srgb_in_lab_fits_what_the_networks_see():
    steps = np.linspace(0, 1, 18)
    lab = rgb_to_lab(planes(np.array([*product(steps, repeat=3)]).reshape(18, -1, 3)))
    L, ab = lab[0], lab[1:]
    assert L.min() > -1e-6 and L.max() < 100 + 1e-6
    assert 98 < ab.abs().max() < 110


@pytest.mark.parametrize("convert", [rgb_to_lab, lab_to_rgb])
def test_a_batch_is_its_single_images(convert):
    batch = torch.rand(2, 5, 3, 4, 7, dtype=torch.float64) * 60
    batch = batch / 60 if convert is rgb_to_lab else batch
    converted = convert(batch)
    assert converted.shape == batch.shape
    one_by_one = [convert(image) for image in batch.flatten(0, 1)]
    torch.testing.assert_close(converted.flatten(0, 1), torch.stack(one_by_one))


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")
def test_float32_stays_float32_and_near_float64():
    for convert, exact, near in (
        (rgb_to_lab, planes(IMAGES["random"]), 1e-3),
        (lab_to_rgb, planes(any_lab()), 1e-4),
    ):
        converted = convert(exact.float())
        assert converted.dtype == torch.float32
        torch.testing.assert_close(converted.double(), convert(exact), atol=near, rtol=0)


def test_what_is_given_is_left_alone():
    for convert in (rgb_to_lab, lab_to_rgb):
        given = torch.rand(3, 4, 4)
        before = given.clone()
        convert(given)
        assert torch.equal(given, before)


def test_the_inverse_of_the_matrix_is_its_inverse():
    inverse = torch.tensor(XYZ_FROM_RGB, dtype=torch.float64).inverse()
    assert (inverse - torch.tensor(RGB_FROM_XYZ, dtype=torch.float64)).abs().max() < 1e-15
