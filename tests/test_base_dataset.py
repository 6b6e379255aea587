"""What datasets share: the transform that the options describe."""

from typing import Any

import numpy as np
import pytest
import torch
from conftest import draw
from PIL import Image
from torchvision.transforms import InterpolationMode

from data.base_dataset import get_params, get_transform
from data.transforms import to_tensor
from options.train_options import TrainOptions

Filter = Image.Resampling


def options(*flags: Any) -> Any:
    sizes = ["--load_size", "24", "--crop_size", "24", "--no_flip"]
    return TrainOptions().read(["--dataroot", "unused", *sizes, *flags])


# How scripts name a filter, and PIL's name for it.
METHODS = [
    *((Filter.NEAREST, Filter.NEAREST), (Image.BICUBIC, Filter.BICUBIC), (2, Filter.BILINEAR)),
    (InterpolationMode.NEAREST, Filter.NEAREST),
    (InterpolationMode.BILINEAR, Filter.BILINEAR),
    (InterpolationMode.BICUBIC, Filter.BICUBIC),
    (InterpolationMode.LANCZOS, Filter.LANCZOS),
]


@pytest.mark.parametrize(("method", "expected"), METHODS)
@pytest.mark.parametrize("preprocess", ["resize_and_crop", "scale_width"])
def test_the_method_is_pils_filter_or_torchvisions_mode(method, expected, preprocess):
    picture = draw((40, 40))
    resized = get_transform(options("--preprocess", preprocess), method=method)(picture)
    assert torch.equal(resized, to_tensor(picture.resize((24, 24), expected)))


def test_the_method_is_bicubic_unless_said():
    picture = draw((40, 30))
    default = get_transform(options())(picture)
    assert torch.equal(default, to_tensor(picture.resize((24, 24), Filter.BICUBIC)))
    assert not torch.equal(default, get_transform(options(), method=Filter.NEAREST)(picture))


def test_without_conversion_it_stays_a_picture():
    picture = draw((40, 30))
    kept = get_transform(options("--preprocess", "none"), convert=False)(picture)
    assert isinstance(kept, Image.Image)
    assert np.array_equal(np.asarray(kept), np.asarray(picture))


def test_shared_params_give_two_pictures_one_crop():
    opt = options("--crop_size", "8", "--preprocess", "crop")
    picture = draw((40, 30))
    crops = set()
    for _ in range(8):
        params = get_params(opt, picture.size)
        one, other = (get_transform(opt, params)(picture) for _ in range(2))
        assert torch.equal(one, other) and one.shape == (3, 8, 8)
        crops.add(one.numpy().tobytes())
    assert len(crops) > 1
