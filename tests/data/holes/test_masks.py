"""Drawn holes: their share of the image, and that they stay inside it."""

import numpy as np
import pytest

from data.holes.random_holes import MASKS, SEGMENTS, box_mask, brush_mask, stroke

DRAWS = 1000


def draws(kind: str, size: tuple[int, int], count: int = DRAWS) -> np.ndarray:
    """Return masks (count, H, W)."""
    return np.stack([MASKS[kind](size, np.random.default_rng(i)) for i in range(count)])


@pytest.mark.parametrize(
    ("kind", "mean", "least", "most"),
    [
        ("box", (0.18, 0.20), 0.14, 0.25),  # (1/2 − 2·u)² with u in 0 … 1/16: 0.141 to 0.25
        ("brush", (0.12, 0.25), 0.005, 0.75),
        ("both", (0.27, 0.40), 0.14, 0.85),
    ],
)
def test_the_share_of_the_hole_over_1000_draws(kind, mean, least, most) -> None:
    shares = draws(kind, (256, 256)).mean((1, 2))
    assert mean[0] < shares.mean() < mean[1]
    assert least <= shares.min()
    assert shares.max() <= most
    assert shares.std() > 0.02


@pytest.mark.parametrize("size", [(256, 256), (96, 160), (31, 16)])
def test_strokes_stay_inside_the_image(size: tuple[int, int]) -> None:
    corners = [stroke(size, np.random.default_rng(i)) for i in range(DRAWS)]
    x, y = np.array([point for points in corners for point in points]).T
    assert (x >= 0).all() and (x <= size[0] - 1).all()
    assert (y >= 0).all() and (y <= size[1] - 1).all()
    counts = {len(points) - 1 for points in corners}
    assert counts == set(range(SEGMENTS[0], SEGMENTS[1] + 1))
    for points in corners[:50]:  # and each leaves a hole where it was drawn
        assert all(0 <= int(px) < size[0] and 0 <= int(py) < size[1] for px, py in points)


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("size", [(16, 16), (17, 40), (64, 64)])
def test_masks_have_the_images_size_a_hole_and_something_around_it(kind, size) -> None:
    masks = draws(kind, size, 300)
    assert masks.shape[1:] == size[::-1] and masks.dtype == bool
    assert masks.any((1, 2)).all()
    assert not masks.all((1, 2)).any()


def test_holes_lie_everywhere() -> None:
    for kind in MASKS:
        often = draws(kind, (64, 64)).mean(0)
        assert often[8:-8, 8:-8].min() > 0.02, kind
        assert often.max() < 3 * often[8:-8, 8:-8].mean(), kind
        assert abs(often - often[::-1, ::-1]).max() < 0.12, kind


def test_both_is_the_union_of_a_box_and_strokes() -> None:
    both = MASKS["both"]((64, 48), np.random.default_rng(5))
    rng = np.random.default_rng(5)
    assert np.array_equal(both, box_mask((64, 48), rng) | brush_mask((64, 48), rng))


def test_sizes_are_scaled_with_the_image() -> None:
    small, large = (draws("brush", (side, side), 300).mean() for side in (64, 256))
    assert abs(small - large) < 0.03


def test_a_generator_decides_about_the_mask() -> None:
    first, again, other = (MASKS["both"]((64, 64), np.random.default_rng(s)) for s in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
