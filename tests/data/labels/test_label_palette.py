"""The colours of label maps."""

import io

import numpy as np
import pytest
from conftest import FACADES, needs_facades
from PIL import Image
from support.label_maps import COLOURS, label_map

from data.labels.palette import FEW, exact_palette, find_palette
from util.palette import nearest_colour


def as_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).resize((120, 120), Image.Resampling.BICUBIC).save(
        file, "JPEG", quality=quality
    )
    return np.array(Image.open(file))


@pytest.mark.parametrize("quality", [None, 95, 75])
def test_the_colours_are_found_through_resizing_and_compression(quality):
    images = [label_map(seed) for seed in range(12)]
    images = [as_jpeg(p, quality) for p in images] if quality else images
    palette = find_palette(images)
    assert len(palette) == len(COLOURS) and palette[0].tolist() == pytest.approx(
        list(COLOURS[0]), abs=8
    )
    for colour in COLOURS:
        assert np.linalg.norm(palette.astype(float) - colour, axis=1).min() < 16


def test_untouched_label_maps_show_every_colour_exactly():
    images = [label_map(seed) for seed in range(12)]
    images[3][50, :20] = (1, 2, 3)  # a line too thin to be an area
    palette = exact_palette(images)
    assert palette[0].tolist() == list(COLOURS[0]) and palette[-1].tolist() == [1, 2, 3]
    assert {tuple(colour) for colour in palette.tolist()} == {*COLOURS, (1, 2, 3)}
    assert exact_palette([as_jpeg(p, 95) for p in images]) is None
    many = np.arange(3 * (FEW + 1), dtype=np.uint8).reshape(1, -1, 3)
    assert exact_palette([many]) is None and len(exact_palette([many[:, 1:]])) == FEW
    assert exact_palette([]) is None and exact_palette([np.zeros((4, 4, 3), np.uint8)]) is None


def test_noise_gradients_and_a_single_colour_are_no_palette():
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (64, 64, 3)).astype(np.uint8)
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (64, 256, 3))
    for image in (noise, ramp, np.full((64, 64, 3), 9, np.uint8), np.zeros((3, 3, 3), np.uint8)):
        assert find_palette([image]) is None
    assert find_palette([]) is None


@pytest.mark.slow
@needs_facades
def test_the_facades_have_twelve_labels_and_their_photos_none():
    files = sorted((FACADES / "train").iterdir())[:40]
    pairs = [np.array(Image.open(file).convert("RGB")) for file in files]
    assert len(find_palette(pair[:, 256:] for pair in pairs)) == 12
    assert find_palette(pair[:, :256] for pair in pairs) is None


def test_each_pixel_has_the_class_of_the_nearest_colour():
    palette = np.array([[0, 0, 0], [255, 255, 255], [200, 0, 0]], np.uint8)
    image = np.array([[[9, 20, 3], [250, 240, 255]], [[180, 10, 30], [90, 0, 0]]], np.uint8)
    assert nearest_colour(image, palette).tolist() == [[0, 1], [2, 0]]
