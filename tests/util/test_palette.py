"""Colours of classes, and the edges of instances."""

from argparse import Namespace

import numpy as np
import torch

from util.label_maps import instance_edges
from util.palette import (
    as_hex,
    default_colours,
    from_hex,
    in_colours,
    nearest_and_distance,
    shown_colours,
)
from util.util import tensor2im


def test_the_colours_of_numbers_are_those_of_pascal_voc() -> None:
    colours = default_colours(256)
    assert as_hex(colours)[:4] == ["#000000", "#800000", "#008000", "#808000"]
    assert colours[21].tolist() == [128, 64, 128] and colours[255].tolist() == [224, 224, 192]
    assert len({*as_hex(colours)}) == 256


def test_a_run_shows_its_own_colours_and_unknown_pixels() -> None:
    opt = Namespace(label_nc=3, label_colours=["#ff0000", "#0000ff"])
    assert as_hex(shown_colours(opt)) == ["#ff0000", "#0000ff", "#008000", "#e0e0c0"]
    opt = Namespace(label_nc=2, label_colours=None)
    shown = in_colours(torch.tensor([[[[0, 1], [2, 0]]]]), shown_colours(opt))
    assert shown.shape == (1, 3, 2, 2) and shown.dtype == torch.float32
    assert tensor2im(shown).tolist() == [[[0, 0, 0], [128, 0, 0]], [[224, 224, 192], [0, 0, 0]]]
    grey = np.arange(256, dtype=np.uint8)[:, None].repeat(3, 1)
    assert np.array_equal(tensor2im(in_colours(torch.arange(256)[None, None, None], grey))[0], grey)


def test_the_nearest_colour_equals_a_search_of_each_pixel() -> None:
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (90, 60, 3)).astype(np.uint8)
    colours = generator.integers(0, 256, (40, 3)).astype(np.uint8)
    distances = np.linalg.norm(image[:, :, None].astype(float) - colours, axis=3)
    index, distance = nearest_and_distance(image, colours)
    assert np.array_equal(index, distances.argmin(2)) and np.allclose(distance, distances.min(2))
    assert np.array_equal(from_hex(as_hex(colours)), colours)


def test_a_pixel_that_differs_from_a_neighbour_is_an_edge() -> None:
    instance = torch.tensor([[[7, 7, 7, 7], [7, 7, 7, 7], [7, 7, 9, 9]]])
    expected = [[[0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 1, 1]]]
    assert instance_edges(instance).tolist() == expected
    assert instance_edges(instance[None].expand(2, 1, 3, 4)).tolist() == [expected] * 2
    assert not instance_edges(torch.zeros(1, 1, 1)).any()
