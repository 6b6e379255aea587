"""Distances of sets of features against brute force, their intervals, what may be compared."""

import numpy as np
import pytest
import torch

from util import feature_distance
from util.feature_distance import (
    FEATURE_METRICS,
    KERNEL_SCALE,
    NETWORK,
    Distance,
    MeasuredDistance,
    frechet,
    frechet_distance,
    halves_of,
    kernel,
    kernel_distances,
    trained_with_these,
)


def drawn(count: int, features: int, seed: int = 0, shift: float = 0.0) -> torch.Tensor:
    """Return features whose numbers depend on each other, (count, features)."""
    rng = np.random.default_rng([seed, count, features])
    mixing = np.random.default_rng(features).normal(size=(features, features))
    return torch.from_numpy(rng.normal(size=(count, features)) @ mixing / features**0.5 + shift)


def by_eigenvalues(x: torch.Tensor, y: torch.Tensor) -> float:
    """Return the Fréchet distance by the eigenvalues of the product of both covariances."""
    x, y = x.numpy(), y.numpy()
    one, two = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    roots = np.sqrt(np.linalg.eigvals(one @ two).astype(complex)).real.sum()
    away = ((x.mean(0) - y.mean(0)) ** 2).sum()
    return away + np.trace(one) + np.trace(two) - 2 * roots


# More images than features, fewer, and each on one side.
@pytest.mark.parametrize(("n", "m", "features"), [(40, 60, 6), (9, 7, 20), (30, 5, 12), (4, 50, 9)])
def test_the_frechet_distance_is_that_of_the_eigenvalues(n, m, features):
    x, y = drawn(n, features), drawn(m, features, seed=1, shift=0.3)
    # The eigenvalues of a product of few images are rounding where they should be 0.
    assert frechet_distance(x, y) == pytest.approx(by_eigenvalues(x, y), rel=1e-5)
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x), rel=1e-9)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)


def test_the_frechet_distance_of_two_gaussians_is_that_of_the_closed_form():
    rng, count = np.random.default_rng(0), 100_000
    spread, shift = np.array([1.0, 2.0, 0.5]), np.array([1.0, 0.0, -2.0])
    x, y = (torch.from_numpy(rng.normal(size=(count, 3))) for _ in range(2))
    x = x * torch.from_numpy(spread) + torch.from_numpy(shift)
    assert frechet_distance(x, y) == pytest.approx(5 + ((spread - 1) ** 2).sum(), rel=0.02)


def plain_kernel_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Return the unbiased squared MMD by a loop over all pairs."""

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    def within(z: np.ndarray) -> float:
        pairs = [k(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j]
        return float(np.mean(pairs))

    return within(x) + within(y) - 2 * float(np.mean([k(a, b) for a in x for b in y]))


def test_the_kernel_distance_is_that_of_a_loop_over_pairs_of_all_images_and_of_parts(monkeypatch):
    x, y = drawn(9, 5), drawn(7, 5, seed=1, shift=0.5)
    parts = torch.ones(9, 2, dtype=torch.float64)
    parts[[0, 3, 4, 8], 1] = 0
    wanted = [plain_kernel_distance(x[p > 0].numpy(), y.numpy()) for p in parts.T]
    for block in (4, 1024):
        monkeypatch.setattr(feature_distance, "BLOCK", block)
        found = kernel_distances(x, y, parts) / KERNEL_SCALE
        assert found.tolist() == pytest.approx(wanted, rel=1e-9)


def test_the_kernel_distance_of_equal_distributions_is_0_on_average_and_the_frechet_is_not():
    pairs = [(drawn(8, 4, seed=2 * i), drawn(8, 4, seed=2 * i + 1)) for i in range(300)]
    values = np.array([kernel(*pair).value for pair in pairs])
    error = values.std() / len(values) ** 0.5
    assert abs(values.mean()) < 3 * error
    assert np.mean([frechet_distance(*pair) for pair in pairs]) > 1


def test_halves_have_no_image_twice_and_are_the_same_in_each_call():
    for count in (4, 11):
        parts = halves_of(count)
        assert torch.equal(parts, halves_of(count))
        assert parts.sum(0).tolist() == [count // 2] * parts.shape[1]
        both = parts[:, ::2] + parts[:, 1::2]  # the two halves of a split
        assert both.max() == 1


@pytest.mark.parametrize("measure", [frechet, kernel])
def test_the_spread_of_halves_is_that_of_fresh_images(measure):
    y = drawn(400, 3, seed=1000, shift=1.0)
    fresh = [drawn(120, 3, seed=i) for i in range(80)]
    found = [measure(x, y) for x in fresh]
    wanted = np.std([of.value for of in found])
    told = np.mean([(of.interval().high - of.value) / 1.96 for of in found])
    assert told == pytest.approx(wanted, rel=0.25)


def test_half_the_images_are_farther_in_the_frechet_distance_alone():
    x, y = drawn(40, 20), drawn(300, 20, seed=1)
    assert frechet(x, y).half > 1.3 * frechet(x, y).value
    assert kernel(x, y).half == pytest.approx(kernel(x, y).value, abs=KERNEL_SCALE * 0.02)


def test_a_difference_of_outputs_of_the_same_inputs_has_a_narrower_interval():
    x, y = drawn(60, 4), drawn(200, 4, seed=1, shift=1.0)
    one, other = frechet(x, y), frechet(x + 0.05, y)
    more = one.minus(other)
    assert more.mean == one.value - other.value > 0
    assert more.low > 0 and one.interval().low < other.value  # which cannot tell them apart
    assert one.minus(frechet(x[:40], y)) is None


def test_distances_to_other_images_cannot_be_compared():
    far, near = (Distance(value, np.array([value, value + 1]), 8) for value in (9.0, 5.0))
    one = MeasuredDistance(far, near, reference="a")
    assert one.minus(MeasuredDistance(near, None, reference="a")).mean == 4
    assert one.minus(MeasuredDistance(near, None, reference="b")) is None
    assert one.above_floor().mean == 4
    assert MeasuredDistance(far, None, reference="a").above_floor() is None


@pytest.mark.parametrize(
    ("saved", "own"),
    [
        ({}, False),
        ({"perceptual": None}, False),
        ({"perceptual": "vgg19"}, False),
        ({"perceptual": NETWORK}, True),
        ({"perceptual": ["odd"]}, False),
    ],
)
def test_saved_options_say_whether_these_features_trained_a_run(saved, own):
    assert NETWORK == "efficientnet_lite0" and trained_with_these(saved) is own
    assert FEATURE_METRICS == ("FD-EffLite0", "KD-EffLite0")
