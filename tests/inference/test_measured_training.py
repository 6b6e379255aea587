"""Small trainings on measurements whose outputs are better than the mean of the targets."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import rasterio
from PIL import Image
from support.measured_files import write_nifti, write_raster

Command = Callable[..., SimpleNamespace]
SHAPE = (64, 64, 12)
TRAINED = [
    *("--dataset_mode", "measurements", "--gpu_ids", "-1", "--num_threads", "0", "--no_html"),
    *("--netG", "unet_64", "--ngf", "16", "--ndf", "16", "--crop_size", "64", "--batch_size", "4"),
    *("--n_epochs", "15", "--n_epochs_decay", "15"),
]


def phantom(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a body of ellipsoids as MR (no unit) and CT (Hounsfield units), int16."""
    draw = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
    tissue = np.zeros(SHAPE, int)
    for kind in range(1, 5):
        middle, radii = draw.uniform(-0.4, 0.4, 3), draw.uniform(0.25, 0.5, 3)
        if kind == 1:
            middle, radii = np.zeros(3), np.array([0.8, 0.9, 2])
        apart = (places - middle[:, None, None, None]) / radii[:, None, None, None]
        tissue[(np.square(apart).sum(0) < 1) & ((tissue > 0) | (kind == 1))] = kind
    mr = np.array([0, 300, 700, 150, 900])[tissue] + draw.normal(0, 15, SHAPE)
    ct = np.array([-1000, 40, 300, -100, 1200])[tissue] + draw.normal(0, 8, SHAPE)
    return tuple(np.rint(a).astype(np.int16) for a in (mr.clip(0), ct))


def run(command: Command, root: Path, *flags: str) -> Path:
    done = command("train", *TRAINED, "--dataroot", root, "--name", "run", *flags)
    assert done.status == 0, done.err
    done = command("test", "--name", "run", "--gpu_ids", "-1", "--num_threads", "0")
    assert done.status == 0, done.err
    return done.cwd / "results" / "run" / "test_latest" / "values"


@pytest.mark.slow
def test_ct_from_mr_is_twice_as_near_as_the_mean(command: Command, tmp_path: Path) -> None:
    root = tmp_path / "data"
    for phase, first, count in (("train", 0, 8), ("test", 100, 2)):
        for n in range(count):
            for side, array in zip("AB", phantom(first + n), strict=True):
                write_nifti(root / f"{phase}{side}" / f"p{n}.nii.gz", array)
    values = run(command, root, "--range_B", "-1024,1500")
    for n in range(2):
        output, target = (
            np.asanyarray(nibabel.load(path).dataobj).astype(float)
            for path in (values / f"p{n}_fake_B.nii.gz", root / "testB" / f"p{n}.nii.gz")
        )
        of_mean = np.abs(target - target.mean()).mean()
        assert np.abs(output - target).mean() < of_mean / 2


def smooth(draw: np.random.Generator, size: int, period: int) -> np.ndarray:
    few = draw.normal(size=(size // period + 2,) * 2).astype(np.float32)
    return np.asarray(Image.fromarray(few).resize((size, size), Image.Resampling.BICUBIC))


@pytest.mark.slow
def test_elevation_with_holes_is_twice_as_near_as_the_mean(
    command: Command, tmp_path: Path
) -> None:
    root, draw, size = tmp_path / "data", np.random.default_rng(0), 200
    for phase, count in (("train", 3), ("test", 1)):
        for n in range(count):
            height = 500 + 200 * smooth(draw, size, 40)
            noise = draw.normal(0, 0.02, (2, size, size))
            bands = np.stack([0.1 + height / 2000, 0.8 - height / 2000]) + noise
            lacking = smooth(draw, size, 60) > 1
            write_raster(root / f"{phase}A" / f"s{n}.tif", bands.astype(np.float32))
            stored = np.where(lacking, -9999, height).astype(np.float32)
            write_raster(root / f"{phase}B" / f"s{n}.tif", stored[None], nodata=-9999)
    flags = ("--nodata", "mask", "--windows_per_epoch", "100", "--range_A", "0,1")
    with (
        rasterio.open(run(command, root, *flags) / "s0_fake_B.tif") as output,
        rasterio.open(root / "testB" / "s0.tif") as target,
    ):
        fake, real = output.read(1), target.read(1, masked=True)
        assert real.mask.any()
        assert np.abs(fake - real).mean() < np.abs(real - real.mean()).mean() / 2
