"""Metrics against independent implementations and against what is known of them."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate, gaussian_filter

from util.metrics import HOLE_METRICS, METRICS, bootstrap, compare


def pair(height: int, width: int, channels: int = 3, noise: float = 20) -> tuple:
    """Return a smooth random image and a noisy copy, (1, C, H, W) uint8."""
    generator = np.random.default_rng(height * width)
    coarse = generator.uniform(0, 255, (1, channels, 8, 8))
    real = torch.nn.functional.interpolate(
        torch.from_numpy(coarse), size=(height, width), mode="bilinear"
    )
    fake = real + torch.from_numpy(generator.normal(0, noise, real.shape))
    return tuple(p.clamp(0, 255).byte() for p in (fake, real))


def arrays(fake: torch.Tensor, real: torch.Tensor) -> tuple:
    return tuple(p[0].permute(1, 2, 0).numpy() for p in (fake, real))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(11, 11), (64, 48), (33, 90)])
def test_l1_psnr_and_ssim_equal_those_of_scikit_image(size, channels):
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    fake, real = pair(*size, channels)
    found = {name: value.item() for name, value in compare(fake, real).items()}
    a, b = arrays(fake, real)
    assert found["L1"] == pytest.approx(np.abs(a / 255 - b / 255).mean(), abs=1e-12)
    assert found["PSNR"] == pytest.approx(peak_signal_noise_ratio(b, a), abs=1e-9)
    how = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    theirs = structural_similarity(a, b, channel_axis=2, data_range=255, **how)
    assert found["SSIM"] == pytest.approx(theirs, abs=1e-9)


def ms_ssim_by_scipy(a: np.ndarray, b: np.ndarray) -> float:
    """The five scales of (H, W, C) in 0..1, as the paper's authors do them."""

    def mean(x: np.ndarray) -> np.ndarray:
        return gaussian_filter(x, 1.5, truncate=3.5, axes=(0, 1))[5:-5, 5:-5]

    product = 1
    for i, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        ma, mb = mean(a), mean(b)
        covariance, spread = mean(a * b) - ma * mb, mean(a * a + b * b) - ma**2 - mb**2
        value = (2 * covariance + 9e-4) / (spread + 9e-4)
        if i == 4:
            value *= (2 * ma * mb + 1e-4) / (ma**2 + mb**2 + 1e-4)
        product *= max(value.mean(), 0) ** weight
        a, b = (correlate(x, np.full((2, 2, 1), 0.25), origin=(-1, -1, 0)) for x in (a, b))
        a, b = a[::2, ::2], b[::2, ::2]
    return product


@pytest.mark.parametrize("noise", [5, 60, 200])
@pytest.mark.parametrize("size", [(161, 170), (256, 200)])
def test_ms_ssim_equals_that_by_scipy_and_nearly_that_of_torchmetrics(size, noise):
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    fake, real = pair(*size, noise=noise)
    found = compare(fake, real)["MS-SSIM"].item()
    a, b = (image / 255 for image in arrays(fake, real))
    assert found == pytest.approx(ms_ssim_by_scipy(a, b), abs=1e-9)
    if min(size) >= 176:  # it counts the last size's edges too, and wants more pixels
        floats = [p.double() / 255 for p in (fake, real)]
        theirs = multiscale_structural_similarity_index_measure(*floats, data_range=1.0)
        assert found == pytest.approx(theirs.item(), abs=5e-3)


def test_a_batch_gives_what_each_image_gives():
    pairs = [pair(40, 30, noise=noise) for noise in (1, 30)]
    together = compare(*(torch.cat(side) for side in zip(*pairs, strict=True)))
    for i, alone in enumerate(compare(*p) for p in pairs):
        for name, values in alone.items():
            assert together[name][i].item() == pytest.approx(values.item(), abs=1e-12)


def test_equal_images_are_as_near_as_can_be_and_noise_moves_every_metric():
    _, real = pair(176, 176)
    found = {name: value.item() for name, value in compare(real, real).items()}
    assert found == {"L1": 0, "PSNR": 100, "SSIM": pytest.approx(1), "MS-SSIM": pytest.approx(1)}
    near, far = (compare(*pair(176, 176, noise=noise)) for noise in (5, 50))
    for name, metric in METRICS.items():
        assert (near[name] < far[name]) == metric.lower_is_better


@pytest.mark.parametrize(
    ("size", "names"),
    [
        (10, ["L1", "PSNR"]),
        (11, ["L1", "PSNR", "SSIM"]),
        (160, ["L1", "PSNR", "SSIM"]),
        (161, ["L1", "PSNR", "SSIM", "MS-SSIM"]),
    ],
)
def test_a_metric_is_left_out_where_the_size_does_not_allow_it(size, names):
    assert list(compare(*pair(size, size + 7))) == names


def box(*span: slice, size: tuple[int, int] = (40, 30), count: int = 1) -> torch.Tensor:
    hole = torch.zeros(count, 1, *size)
    hole[(..., *span)] = 1
    return hole


def test_metrics_in_a_hole_are_those_of_its_pixels() -> None:
    fake, real = pair(40, 30, noise=30)
    rows, columns = slice(8, 31), slice(7, 25)
    inside = compare(fake[..., rows, columns], real[..., rows, columns])
    found = compare(fake, real, box(rows, columns))
    assert found.keys() >= HOLE_METRICS.keys()
    assert found["hole_L1"].item() == pytest.approx(inside["L1"].item(), abs=1e-12)
    assert found["hole_PSNR"].item() == pytest.approx(inside["PSNR"].item(), abs=1e-9)
    assert found["hole_L2"].item() == pytest.approx(10 ** (-inside["PSNR"].item() / 10))
    larger = compare(fake[..., 3:36, 2:30], real[..., 3:36, 2:30])  # with half a window around it
    assert found["hole_SSIM"].item() == pytest.approx(larger["SSIM"].item(), abs=1e-9)
    assert compare(fake, real).keys().isdisjoint(HOLE_METRICS)


def test_what_lies_around_the_hole_does_not_count() -> None:
    fake, real = pair(40, 30, noise=30)
    hole = box(slice(15, 20), slice(12, 16))
    before = compare(fake, real, hole)
    fake[..., :3, :], fake[..., 35:, :] = 0, 255
    after = compare(fake, real, hole)
    assert all(before[name] == after[name] for name in HOLE_METRICS)
    assert before["L1"] != after["L1"]
    fake[..., 17, 13] ^= 255
    changed = compare(fake, real, hole)
    assert all(changed[name] != after[name] for name in HOLE_METRICS)


def test_a_hole_in_a_corner_has_the_windows_that_touch_it() -> None:
    fake, real = pair(40, 30, noise=30)
    hole = box(slice(0, 2), slice(0, 3))
    corner = compare(fake[..., :12, :13], real[..., :12, :13])["SSIM"].item()
    assert compare(fake, real, hole)["hole_SSIM"].item() == pytest.approx(corner, abs=1e-9)


def test_without_a_hole_images_are_equal_in_it() -> None:
    fake, real = pair(40, 30, noise=30)
    found = compare(fake, real, box(slice(0), slice(0)))
    wanted = {"hole_L1": 0, "hole_L2": 0, "hole_PSNR": 100, "hole_SSIM": 1}
    assert {name: found[name].item() for name in HOLE_METRICS} == wanted


def test_each_image_of_a_batch_has_a_hole_of_its_own() -> None:
    pairs = [pair(40, 30, noise=noise) for noise in (1, 30)]
    holes = [box(slice(3, 9), slice(20)), box(slice(20, 33), slice(4, 30))]
    fake, real = (torch.cat(side) for side in zip(*pairs, strict=True))
    together = compare(fake, real, torch.cat(holes))
    for i, (images, hole) in enumerate(zip(pairs, holes, strict=True)):
        for name, value in compare(*images, hole).items():
            assert together[name][i].item() == pytest.approx(value.item(), abs=1e-12)


def test_opposite_structure_gives_a_negative_ssim_and_an_ms_ssim_of_zero():
    black_and_white = torch.zeros(1, 1, 176, 176, dtype=torch.uint8)
    black_and_white[..., ::2, :] = 255
    found = compare(black_and_white, 255 - black_and_white)
    assert found["SSIM"] < 0 and found["MS-SSIM"] == 0


def test_only_images_of_one_size_and_kind_are_compared():
    fake, real = pair(20, 20)
    for other in (real[..., :-1], real.float()):
        with pytest.raises(ValueError, match="cannot compare"):
            compare(fake, other)


def test_the_bootstrap_interval_is_that_of_the_mean():
    values = np.random.default_rng(1).normal(10, 2, 400)
    mean, low, high = bootstrap(values, draws=8000)
    assert mean == pytest.approx(values.mean())
    error = values.std() / 20  # of the mean of 400
    assert low == pytest.approx(mean - 1.96 * error, abs=0.1 * error)  # 90%: 1.64
    assert high == pytest.approx(mean + 1.96 * error, abs=0.1 * error)
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap([3.0]) == (3, 3, 3)
