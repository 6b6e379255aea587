"""What datasets share: the transform that the options describe."""

from typing import Any

import numpy as np
import pytest
import torch
from conftest import draw
from PIL import Image

from data.base_dataset import get_params, get_transform
from data.transforms import to_tensor
from options.train_options import TrainOptions

Filter = Image.Resampling


def options(*flags: Any) -> Any:
    sizes = ["--load_size", "24", "--crop_size", "24", "--no_flip"]
    return TrainOptions().read(["--dataroot", "unused", *sizes, *flags])


# How scripts name a filter (a string: torchvision's mode of that name), and PIL's name for it.
METHODS = [
    *((Filter.NEAREST, Filter.NEAREST), (Image.BICUBIC, Filter.BICUBIC), (2, Filter.BILINEAR)),
    *((name, Filter[name]) for name in ("NEAREST", "BILINEAR", "BICUBIC", "LANCZOS")),
]


@pytest.mark.parametrize(("method", "expected"), METHODS)
@pytest.mark.parametrize("preprocess", ["resize_and_crop", "scale_width"])
def test_the_method_is_pils_filter_or_torchvisions_mode(method, expected, preprocess):
    from torchvision.transforms import InterpolationMode  # imported late: it takes seconds

    method = InterpolationMode[method] if isinstance(method, str) else method
    image = draw((40, 40))
    resized = get_transform(options("--preprocess", preprocess), method=method)(image)
    assert torch.equal(resized, to_tensor(image.resize((24, 24), expected)))


def test_the_method_is_bicubic_unless_said():
    image = draw((40, 30))
    default = get_transform(options())(image)
    assert torch.equal(default, to_tensor(image.resize((24, 24), Filter.BICUBIC)))
    assert not torch.equal(default, get_transform(options(), method=Filter.NEAREST)(image))


def test_without_conversion_it_stays_a_image():
    image = draw((40, 30))
    kept = get_transform(options("--preprocess", "none"), convert=False)(image)
    assert isinstance(kept, Image.Image)
    assert np.array_equal(np.asarray(kept), np.asarray(image))


def test_shared_params_give_two_images_one_crop():
    opt = options("--crop_size", "8", "--preprocess", "crop")
    image = draw((40, 30))
    crops = set()
    for _ in range(8):
        params = get_params(opt, image.size)
        one, other = (get_transform(opt, params)(image) for _ in range(2))
        assert torch.equal(one, other) and one.shape == (3, 8, 8)
        crops.add(one.numpy().tobytes())
    assert len(crops) > 1


@pytest.mark.parametrize("mode", ["1", "F", "I;16", "I"])
def test_images_of_other_modes_keep_their_values(mode):
    """Floats are in 0..1, as for torchvision's ToTensor, and integers of 16 bits."""
    shares = np.linspace(0, 1, 24 * 24).reshape(24, 24)
    deep = np.round(shares * 65535)
    image = {
        "1": Image.fromarray(shares > 0.5),
        "F": Image.fromarray(shares.astype(np.float32)),
        "I;16": Image.fromarray(deep.astype(np.uint16)),
        "I": Image.fromarray(deep.astype(np.int32)),
    }[mode]
    assert image.mode == mode
    wanted = (shares > 0.5) if mode == "1" else shares
    found = get_transform(options("--preprocess", "none"), grayscale=True)(image)
    np.testing.assert_allclose(found[0].numpy(), wanted * 2 - 1, atol=1e-4)
