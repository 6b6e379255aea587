"""Masks and sketches of users: numbers of every type and range give the same bools."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conftest import refusal
from PIL import Image
from torch import Tensor

from data.holes.mask_files import as_image, mask_of
from data.holes.sketches import lines_of
from data.holes.user_maps import map_of

HOLE = np.zeros((40, 48), bool)
HOLE[6:30, 8:20] = True
TENSOR = torch.from_numpy(HOLE)

ARRAYS = {
    "floats in 0..1": HOLE * 1.0,
    "float16": HOLE.astype(np.float16),
    "floats of a resized mask": np.where(HOLE, 1.04, -0.04),
    "floats in -1..1": HOLE * 2.0 - 1,
    "floats in 0..255": HOLE * 255.0,
    "integers in -1..1": HOLE.astype(np.int64) * 2 - 1,
    "uint8 of 0 and 1": HOLE.astype(np.uint8),
    "uint16 of 0 and 255": np.uint16(255 * HOLE),
    "uint16": np.uint16(65535 * HOLE),
    "int64 of 0 and 255": HOLE.astype(np.int64) * 255,
    "int64 of 0 and 1": HOLE.astype(np.int64),
    "one channel": HOLE[..., None],
    "one channel first": HOLE[None],
    "bools in RGB": np.stack([HOLE] * 3, -1),
    "0 and 1 in RGB": np.stack([HOLE] * 3, -1).astype(np.uint8),
    "floats in RGB": np.stack([HOLE] * 3, -1) * 1.0,
}
TENSORS = {
    "bool": TENSOR,
    "bool, one channel": TENSOR[None],
    "uint8 of 0 and 1": TENSOR.byte(),
    "uint8": TENSOR.byte() * 255,
    "int64": TENSOR.long(),
    "floats in 0..1": TENSOR.float().requires_grad_(),
    "floats in -1..1": TENSOR.float()[None] * 2 - 1,
    "bfloat16": TENSOR.bfloat16(),
}
IMAGES = {mode: as_image(HOLE).convert(mode) for mode in ("1", "P", "LA", "RGB", "CMYK", "I", "F")}
IMAGES["16 bits"] = Image.fromarray(np.uint16(65535 * HOLE))
IMAGES["0 and 1"] = Image.fromarray(HOLE.astype(np.uint8))


@pytest.mark.parametrize("read", [mask_of, lines_of])
@pytest.mark.parametrize(
    "source",
    [*ARRAYS.values(), *TENSORS.values(), *IMAGES.values()],
    ids=[*(f"array: {k}" for k in ARRAYS), *(f"tensor: {k}" for k in TENSORS), *IMAGES],
)
def test_all_numbers_give_the_same_mask_and_the_same_lines(source: Any, read: Callable) -> None:
    found = map_of(source, read)
    assert found.dtype == bool and np.array_equal(found, HOLE)


def test_bools_are_lines_also_where_they_are_most() -> None:
    for most in (~HOLE, torch.from_numpy(~HOLE), (~HOLE).astype(np.uint8)):
        assert np.array_equal(map_of(most, lines_of), ~HOLE)
    assert np.array_equal(map_of(as_image(~HOLE), lines_of), HOLE)  # paper, dark lines


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (TENSOR[None, None], ["expected a mask (H, W), (1, H, W)", "got (1, 1, 40, 48)"]),
        (TENSOR.repeat(3, 1, 1), ["expected a mask (H, W)", "got (3, 40, 48)"]),
        (np.zeros((0, 4)), ["got (0, 4)"]),
        (np.where(HOLE, np.nan, 0), ["NaN"]),
        (HOLE * 70_000, ["0..1, -1..1, 0..255 or 0..65535, got 0 to 70000"]),
        (HOLE * -9.0, ["0..65535, got -9 to"]),
        (HOLE * 255 - 1.0, ["got -1 to 254"]),
        (HOLE * 1j, ["complex128"]),
        (HOLE.tolist(), ["expected a file, a PIL image, an array or a tensor, got list"]),
        (5, ["got int"]),
    ],
)
def test_what_is_no_mask_is_refused_in_one_line(source: Any, words: list[str]) -> None:
    refusal(lambda: map_of(source, mask_of, name="a mask"), *words)


def test_a_tensor_on_a_graph_stays_as_it_is() -> None:
    source: Tensor = TENSOR.float().requires_grad_()
    map_of(source, mask_of)
    assert source.grad is None and source.sum() == HOLE.sum()
