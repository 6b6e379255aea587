"""Values of measurements and masks: the fix that is proposed leads to right data, by commands."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import torch
from conftest import TINY, draw, draw_pairs, result_images

from data.files.image_files import load_image_or_array
from data.transforms import Geometry, in_range, pixels, to_tensor

Command = Callable[..., SimpleNamespace]
TEST = ["--name", "r", "--gpu_ids", "-1", "--num_threads", "0"]
NO_DATA = {"GDAL": -3.4028235e38, "a negative number": -9999.0, "a small hole": -1e30}
METRES = (1500.0, 2500.0)


def ramp(low: float, high: float, size: int = 100) -> np.ndarray:
    """Return values that rise from the left to the right."""
    return np.linspace(low, high, size)[None].repeat(size, 0)


def laid(root: Path, array: np.ndarray, ending: str = ".tif") -> Path:
    """Write three times the array as A, and drawn images as B, for training and test."""
    for phase in ("train", "test"):
        for side in "AB":
            (root / f"{phase}{side}").mkdir(parents=True)
        for i in range(3):
            path = root / f"{phase}A" / f"{i}{ending}"
            tifffile.imwrite(path, array) if ending == ".tif" else np.save(path, array)
            height, width = array.shape[:2] if array.shape[0] > 20 else array.shape[1:]
            draw((width, height), seed=i).save(root / f"{phase}B" / f"{i}.png")
    return root


def trained(command: Command, root: Path, *flags: object) -> SimpleNamespace:
    grey = [*TINY, "--input_nc", 1, "--name", "r", "--no_html", "--dataroot", root]
    result = command("train", *grey, *flags)
    assert "Traceback" not in result.err and len(result.err.splitlines()) <= 1
    return result


@pytest.mark.parametrize("kind", NO_DATA)
@pytest.mark.parametrize("rule", ["1500,2500", "percentile"])
def test_missing_data_spread_to_no_neighbour(command, tmp_path, kind, rule) -> None:
    array = ramp(*METRES).astype(np.float32)
    array[:30, :30] = NO_DATA[kind]
    root = laid(tmp_path / "d", array)
    result = trained(command, root, "--range_A", rule)
    assert result.status == 0, result.err
    assert command("test", *TEST).status == 0
    shown = result_images("r")["0_real_A.png"].astype(int)
    low, high = METRES if rule != "percentile" else np.percentile(array[array > 0], [0.5, 99.5])
    wanted = (ramp(*METRES, 64)[0] - low) / (high - low) * 255
    beside = shown[10, 22:] if shown.ndim == 2 else shown[10, 22:, 0]
    assert np.abs(beside - wanted[22:].clip(0, 255)).max() < 6  # the hole ends at 19


def test_what_is_clipped_first_is_resized_as_ordinary_data(tmp_path) -> None:
    array = ramp(0, 1).astype(np.float32)
    np.save(tmp_path / "plain.npy", array)
    array[:30] = 1e38
    np.save(tmp_path / "hole.npy", array)
    geometry = Geometry("resize_and_crop", 37, 37)
    plain, hole = (
        to_tensor(geometry.resize(in_range(load_image_or_array(tmp_path / f"{name}.npy"))))
        for name in ("plain", "hole")
    )
    assert torch.equal(plain[:, 14:], hole[:, 14:]) and hole.abs().max() <= 1


WIDE = {
    "float64 with an offset": (1e9 + ramp(0, 1e3), (1e9, 1e9 + 1e3)),
    "uint32": ((4e9 + ramp(0, 1e3)).astype(np.uint32), (4e9, 4e9 + 1e3)),
    "int64": ((1e10 + ramp(0, 1e3)).astype(np.int64), (1e10, 1e10 + 1e3)),
    "float64 far away": (1e12 + ramp(0, 1e3), (1e12, 1e12 + 1e3)),
}


@pytest.mark.parametrize("kind", WIDE)
def test_a_large_offset_costs_no_precision(tmp_path, kind) -> None:
    array, limits = WIDE[kind]
    np.save(tmp_path / "a.npy", array)
    image = in_range(load_image_or_array(tmp_path / "a.npy"), limits)
    assert np.allclose(to_tensor(image)[0, 0], np.linspace(-1, 1, 100), atol=2.1e-3)
    assert len(np.unique(to_tensor(image))) == 100
    resized = to_tensor(Geometry("resize_and_crop", 50, 50).resize(image))
    assert np.allclose(resized[0, 0, 1:-1], np.linspace(-0.99, 0.99, 50)[1:-1], atol=5e-3)


@pytest.mark.parametrize("kind", WIDE)
def test_such_images_train_with_the_range_that_is_proposed(command, tmp_path, kind) -> None:
    array, _ = WIDE[kind]
    root = laid(tmp_path / "d", array, ".npy")
    result = trained(command, root, "--range_A", "percentile")
    assert result.status == 0, result.err
    assert command("test", *TEST).status == 0
    assert len(np.unique(result_images("r")["0_real_A.png"])) > 50


@pytest.mark.parametrize("shape", [(3, 72, 80), (1, 72, 72), (4, 90, 100)])
def test_channels_that_come_first_are_named(command, tmp_path, shape) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    root = laid(tmp_path / "d", array, ".npy")
    for count in (1, 3, shape[0]):
        result = trained(command, root, "--input_nc", count)
        assert result.status == 2 and "looks like (C, H, W): save it as (H, W, C)" in result.err
    turned = laid(tmp_path / "turned", array.transpose(1, 2, 0), ".npy")
    assert trained(command, turned, "--input_nc", shape[0]).status == 0


def test_a_mask_of_booleans_is_black_and_white(command, tmp_path) -> None:
    root = laid(tmp_path / "d", ramp(0, 1) > 0.5, ".npy")
    assert trained(command, root).status == 0
    image = pixels(load_image_or_array(root / "trainA" / "0.npy")).array()
    assert set(np.unique(image)) == {0, 255}


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (ramp(0, 1) + 1j, ["holds complex numbers (complex128)", "absolute value"]),
        (np.array([{"a": 1}, {}], object), ["holds Python objects, not numbers"]),
    ],
)
def test_arrays_that_are_no_images_say_why(command, tmp_path, array, words) -> None:
    root = laid(tmp_path / "d", ramp(0, 1))
    for phase in ("train", "test"):
        np.save(root / f"{phase}A" / "0.npy", array, allow_pickle=True)
        (root / f"{phase}A" / "0.tif").unlink()
    result = trained(command, root)
    assert result.status == 2 and [word for word in words if word not in result.err] == []


def test_class_numbers_with_a_void_class_are_known(command, tmp_path, caplog) -> None:
    labels = np.random.default_rng(0).integers(0, 19, (12, 12)).repeat(8, 0).repeat(8, 1)
    labels[:20, :20] = 255
    root = laid(tmp_path / "d", labels.astype(np.uint8), ".npy")
    assert trained(command, root).status == 0
    said = " ".join(text for text in caplog.messages if text.startswith("data check"))
    assert "among them 255 (class numbers?)" in said and "--filter_A nearest" in said
    assert "leaves it out" not in said


def test_a_test_names_the_range_of_the_run_and_no_other(command, tmp_path, caplog) -> None:
    root = laid(tmp_path / "d", ramp(0, 4000).astype(np.uint16))
    for path in (root / "testA").iterdir():
        tifffile.imwrite(path, ramp(0, 32000).astype(np.uint16))
    assert trained(command, root, "--range_A", "0,4000").status == 0
    caplog.clear()
    assert command("test", *TEST).status == 0
    (said,) = [text for text in caplog.messages if text.startswith("data check")]
    assert "lie outside 0 to 4000, the range of the run" in said and "--range_A" not in said


def test_pairs_of_any_two_images_are_remarked_on(command, pairs, caplog) -> None:
    line = ["--dataset_mode", "unaligned", "--model", "pix2pix", "--input_nc", 3]
    assert trained(command, draw_pairs(pairs), *line).status == 0
    assert "pairs each A with any B, which --model pix2pix cannot learn from" in caplog.text
    caplog.clear()
    assert trained(command, pairs, *line, "--serial_batches").status == 0
    assert "cannot learn" not in caplog.text
