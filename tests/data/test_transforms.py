"""From images to tensors: geometry exact against PIL done by hand, and refusals."""

import pickle
import random
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import tifffile
import torch
from conftest import draw
from PIL import Image, ImageOps

from data.base_dataset import get_params, get_transform
from data.channels import check_channels, to_channels
from data.transforms import PREPROCESS, Geometry, to_tensor
from options.base_options import Options
from options.train_options import TrainOptions

BICUBIC = Image.Resampling.BICUBIC
WIDE, TALL, SQUARE = (60, 30), (30, 60), (40, 40)

# --preprocess, the file's size, what it is resized to, and whether a 16x16 crop follows.
GEOMETRY = [
    *(("resize_and_crop", size, (24, 24), True) for size in (WIDE, TALL, SQUARE)),
    *(("crop", size, size, True) for size in (WIDE, TALL, SQUARE)),
    ("scale_width", WIDE, (24, 16), False),  # 12 in proportion, but at least crop_size
    ("scale_width", TALL, (24, 48), False),
    ("scale_width", SQUARE, (24, 24), False),
    ("scale_width_and_crop", WIDE, (24, 16), True),
    ("scale_width_and_crop", TALL, (24, 48), True),
    ("scale_width_and_crop", SQUARE, (24, 24), True),
    *(("none", size, size, False) for size in (WIDE, TALL, SQUARE)),
]


def geometry(preprocess: str, flip: bool = True) -> Geometry:
    return Geometry(preprocess, load_size=24, crop_size=16, flip=flip)


def applied(geometry: Geometry, image: Image.Image, params: dict) -> Image.Image:
    return geometry.crop_and_flip(geometry.resize(image), params)


def options(*flags: str) -> Options:
    return TrainOptions().read(["--load_size", "24", "--crop_size", "16", *flags])


def same(one: Image.Image, other: Image.Image) -> bool:
    return (one.mode, one.size, one.tobytes()) == (other.mode, other.size, other.tobytes())


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("preprocess", "size", "resized", "crops"), GEOMETRY)
def test_geometry_equals_pil_by_hand(preprocess, size, resized, crops, mirrored):
    image = draw(size)
    x, y = 5, resized[1] - 16
    expected = image.resize(resized, BICUBIC)
    expected = expected.crop((x, y, x + 16, y + 16)) if crops else expected
    expected = expected.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else expected
    params = {"crop_pos": (x, y), "flip": mirrored}
    assert same(applied(geometry(preprocess), image, params), expected)


@pytest.mark.parametrize(("preprocess", "size", "resized", "crops"), GEOMETRY)
def test_the_centre_is_cropped_and_never_mirrored(preprocess, size, resized, crops):
    expected, (x, y) = draw(size).resize(resized, BICUBIC), ((n - 16) // 2 for n in resized)
    expected = expected.crop((x, y, x + 16, y + 16)) if crops else expected
    ours = geometry(preprocess)
    assert same(ours.center_crop(ours.resize(draw(size))), expected)


def test_geometry_is_read_from_the_options_and_cannot_change():
    ours = Geometry.from_options(options("--preprocess", "crop", "--no_flip"))
    assert ours == geometry("crop", flip=False)
    with pytest.raises(FrozenInstanceError):
        ours.load_size = 3


@pytest.mark.parametrize("preprocess", PREPROCESS)
def test_without_flip_nothing_is_mirrored(preprocess):
    drawn = [{"crop_pos": (0, 0), "flip": flip} for flip in (True, False)]
    plain = geometry(preprocess, flip=False)
    assert same(*(applied(plain, draw(WIDE), params) for params in drawn))


def test_scale_width_keeps_proportions_down_to_the_crop_size():
    for height in range(20, 61):
        got = geometry("scale_width").resize(draw((60, height)))
        assert got.size == (24, max(24 * height // 60, 16))


@pytest.mark.parametrize(
    ("preprocess", "size", "last_x", "last_y"),
    [
        ("resize_and_crop", (60, 30), 4, 4),
        ("crop", (20, 18), 4, 2),
        ("scale_width_and_crop", (60, 54), 4, 2),
        ("scale_width_and_crop", (60, 20), 4, 0),
        ("crop", (10, 17), 0, 1),
    ],
)
def test_random_params_reach_both_ends_and_no_further(preprocess, size, last_x, last_y):
    random.seed(0)
    ours = Geometry(preprocess, load_size=20, crop_size=16)
    drawn = [ours.draw(size) for _ in range(300)]
    assert {params["crop_pos"] for params in drawn} == {
        (x, y) for x in range(last_x + 1) for y in range(last_y + 1)
    }
    assert 100 < sum(params["flip"] for params in drawn) < 200


@pytest.mark.parametrize("size", [(15, 40), (40, 15)])
def test_image_smaller_than_the_crop_is_refused(size):
    with pytest.raises(ValueError, match=f"{size[0]}x{size[1]} .*--crop_size 16"):
        applied(geometry("crop"), draw(size), {"crop_pos": (0, 0), "flip": False})


def test_image_as_large_as_the_crop_is_left_whole():
    image = draw((16, 16))
    plain = geometry("crop", flip=False)
    assert same(applied(plain, image, plain.draw(image.size)), image)


def test_unknown_preprocess_lists_the_known_ones():
    with pytest.raises(ValueError, match="--preprocess resize") as error:
        geometry("resize").resize(draw(WIDE))
    assert all(name in str(error.value) for name in PREPROCESS)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_to_tensor_equals_torchvision_bit_for_bit(mode):
    from torchvision import transforms as reference  # imported late: it takes seconds

    channels = len(mode)
    levels = np.stack([np.roll(np.arange(256, dtype=np.uint8), c) for c in range(channels)], -1)
    image = Image.fromarray(levels.reshape(8, 32, channels).squeeze())
    half = (0.5,) * channels
    expected = reference.Normalize(half, half)(reference.ToTensor()(image))
    assert expected.shape == (channels, 8, 32)
    assert torch.equal(to_tensor(image), expected)


def test_to_channels_gives_rgb_or_grey():
    image, grey = draw(WIDE), draw(WIDE).convert("L")
    assert same(to_channels(image, 3), image) and same(to_channels(image, 1), grey)
    assert same(to_channels(grey, 3), grey.convert("RGB")) and same(to_channels(grey, 1), grey)


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_other_channel_counts_are_refused(channels):
    with pytest.raises(ValueError, match=rf"--output_nc {channels}: .*1 \(grey\) or 3 \(RGB\)"):
        check_channels(channels, "output_nc")
    assert check_channels(1, "output_nc") is check_channels(3, "output_nc") is None


def test_files_beyond_the_usual_limit_of_pixels_are_counted_with_that_of_the_flag(tmp_path):
    file = tmp_path / "bands.tif"
    tifffile.imwrite(file, np.zeros((40, 30, 5), np.uint8), planarconfig="contig")
    check_channels(5, "input_nc", [str(file)], max_pixels=1200)
    with pytest.raises(ValueError, match="--input_nc 5: images have"):
        check_channels(5, "input_nc", [str(file)], max_pixels=1199)


def test_transform_is_picklable():
    transform = get_transform(
        options("--preprocess", "crop"), params={"crop_pos": (3, 4), "flip": True}
    )
    again = pickle.loads(pickle.dumps(transform))
    assert torch.equal(again(draw(WIDE)), transform(draw(WIDE)))


def test_transform_without_params_draws_its_own_for_each_image():
    transform = get_transform(options("--preprocess", "crop"), convert=False)
    random.seed(3)
    got = [transform(draw(WIDE)) for _ in range(5)]
    random.seed(3)
    for image in got:
        params = geometry("crop").draw(WIDE)
        assert same(image, applied(geometry("crop"), draw(WIDE), params))
    assert len({image.tobytes() for image in got}) > 1


def test_shared_params_give_different_images_one_crop_and_flip():
    opt = options()
    random.seed(0)
    drawn = [get_params(opt, WIDE) for _ in range(6)]
    assert {params["flip"] for params in drawn} == {True, False}
    for params in drawn:
        x, y = params["crop_pos"]
        for image in (draw(WIDE, seed=1), draw(WIDE, seed=2)):
            expected = image.resize((24, 24), BICUBIC).crop((x, y, x + 16, y + 16))
            expected = ImageOps.mirror(expected) if params["flip"] else expected
            assert torch.equal(get_transform(opt, params)(image), to_tensor(expected))


def test_get_transform_in_grey_gives_one_channel_and_heeds_no_flip():
    opt = options("--no_flip")
    params = {"crop_pos": (2, 7), "flip": True}
    grey = draw(WIDE).convert("L").resize((24, 24), BICUBIC).crop((2, 7, 18, 23))
    assert torch.equal(get_transform(opt, params, grayscale=True)(draw(WIDE)), to_tensor(grey))
