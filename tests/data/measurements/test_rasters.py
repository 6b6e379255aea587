"""GeoTIFF rasters are read in windows and written with their place and their blocks."""

import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import tifffile
from conftest import refusal
from rasterio.enums import Resampling
from rasterio.transform import Affine
from support.measured_files import UTM, write_raster
from support.peaks import linux_only

from data.files.image_types import StoredType
from data.measurements import raster as raster_module
from data.measurements.output import RasterOutput, check_written, raster_file
from data.measurements.ranges import fitted_ranges
from data.measurements.raster import Raster
from data.measurements.values import to_network
from data.value_range import read_ranges, write_ranges

ROTATED = Affine(8, -5, 500_000, -5, -8, 4_600_000)
TILED = {"tiled": True, "blockxsize": 32, "blockysize": 16}


def bands(count: int = 2, size: tuple[int, int] = (70, 50), dtype: str = "float32") -> np.ndarray:
    return np.arange(count * size[0] * size[1]).reshape(count, *size).astype(dtype)


@pytest.mark.parametrize("how", [{}, TILED, {"compress": "deflate"}, {"interleave": "pixel"}])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
def test_windows_hold_the_values_of_the_file(tmp_path: Path, how: dict, dtype: str) -> None:
    stored = bands(dtype=dtype)
    raster = Raster(write_raster(tmp_path / "r.tif", stored, **how))
    assert (raster.size, raster.channels, raster.dtype) == ((50, 70), 2, dtype)
    np.testing.assert_array_equal(raster.read(), stored.transpose(1, 2, 0))
    part = raster.read(0, (3, 10, 40, 33))
    np.testing.assert_array_equal(part, stored.transpose(1, 2, 0)[10:33, 3:40])


def test_overviews_do_not_change_what_is_read(tmp_path: Path) -> None:
    stored = bands(1, (128, 128))
    path = write_raster(tmp_path / "r.tif", stored, **TILED)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4], Resampling.nearest)
    raster = Raster(path)
    np.testing.assert_array_equal(raster.read()[..., 0], stored[0])
    assert raster.overview(32).shape == (32, 32, 1) and raster.overview(999).shape == (128, 128, 1)


def test_pixels_without_data_are_nan_however_the_file_says_it(tmp_path: Path) -> None:
    stored = bands(dtype="int16")
    stored[:, :5] = -1
    by_value = write_raster(tmp_path / "value.tif", stored, nodata=-1)
    by_mask = write_raster(tmp_path / "mask.tif", stored)
    with rasterio.open(by_mask, "r+") as file:
        file.write_mask(stored[0] >= 0)
    alpha = np.where(stored[:1] >= 0, 255, 0).astype("int16")
    by_alpha = write_raster(
        tmp_path / "alpha.tif",
        np.concatenate([stored[:1], alpha]),
        alpha="yes",
    )
    for path, count in ((by_value, 2), (by_mask, 2), (by_alpha, 1)):
        raster = Raster(path)
        assert raster.channels == count, path
        lacking = np.isnan(raster.read())
        assert lacking[:5].all() and not lacking[5:].any(), path
    assert Raster(by_value).nodata == -1


def test_scale_and_offset_are_applied(tmp_path: Path) -> None:
    stored = bands(dtype="int16")
    path = write_raster(tmp_path / "r.tif", stored, scales=((0.1, 1.0), (5.0, 0.0)))
    raster = Raster(path)
    expected = stored.transpose(1, 2, 0) * (0.1, 1.0) + (5.0, 0.0)
    np.testing.assert_allclose(raster.read(), expected, rtol=1e-6)
    assert raster.dtype == "float32"


def test_an_output_has_the_units_and_the_names_of_the_bands_of_the_targets(tmp_path: Path) -> None:
    path = write_raster(
        tmp_path / "r.tif", bands(), units=("m", ""), descriptions=("height", "red")
    )
    target, plain = Raster(path), Raster(write_raster(tmp_path / "plain.tif", bands(1)))
    assert (target.units, target.band_names) == (("m", ""), ("height", "red"))
    assert (plain.units, plain.band_names) == (None, None)
    opt = SimpleNamespace(
        range_B=[0.0, 4000.0], nodata="error", phase="train", checkpoints_dir=tmp_path, name="n"
    )
    write_ranges(fitted_ranges({"B": [target]}, opt), opt)
    stored = read_ranges(opt)["B"][0]
    with raster_file(tmp_path / "out.tif", plain, 2, stored) as file:
        RasterOutput(file, plain, stored, (0.0, 4000.0)).put(0, 0, np.zeros((70, 50, 2)))
    with rasterio.open(tmp_path / "out.tif") as after:
        assert [unit or "" for unit in after.units] == ["m", ""]
        assert after.descriptions == ("height", "red")


def test_a_raster_can_go_to_another_process(tmp_path: Path) -> None:
    raster = Raster(write_raster(tmp_path / "r.tif", bands()))
    copy = pickle.loads(pickle.dumps(raster))
    np.testing.assert_array_equal(copy.read(), raster.read())


@linux_only
def test_more_rasters_than_may_be_open_are_read(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(raster_module.opened, "most", 4)
    paths = [write_raster(tmp_path / f"{n}.tif", bands(1) + n) for n in range(12)]
    rasters = [Raster(path) for path in paths]
    for _ in range(2):
        for n, raster in enumerate(rasters):
            np.testing.assert_array_equal(raster.read()[..., 0], bands(1)[0] + n)
    files = [file.resolve() for file in Path("/proc/self/fd").iterdir() if file.exists()]
    assert sum(file.parent == tmp_path for file in files) == 4


def test_a_raster_that_has_changed_is_opened_anew(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "r.tif", bands(1))
    assert Raster(path).read().max() == bands(1).max()
    write_raster(path, bands(1, (80, 50)))
    assert Raster(path).size == (50, 80)
    path.unlink()
    refusal(lambda: Raster(path), f"{path}: cannot be read as a raster")


@pytest.mark.parametrize("transform", [None, ROTATED])
@pytest.mark.parametrize("how", [{}, TILED, {"blockysize": 7}])
@pytest.mark.parametrize("step", [1, 16, 33, 70])
def test_an_output_has_the_place_and_blocks_of_its_input(
    tmp_path: Path, transform: Affine | None, how: dict, step: int
) -> None:
    stored = bands(1)
    raster = Raster(write_raster(tmp_path / "r.tif", stored, transform, **how))
    kind, limits = StoredType(".tif", "float32", -9999.0), (0.0, 4000.0)
    with raster_file(tmp_path / "out.tif", raster, 1, kind) as file:
        output = RasterOutput(file, raster, kind, limits)
        whole = to_network(raster.read(), limits)
        whole[:3] = np.nan
        for row in range(0, 70, step):
            output.put(0, row, whole[row : row + step])
    with rasterio.open(tmp_path / "r.tif") as before, rasterio.open(tmp_path / "out.tif") as after:
        assert (after.crs, after.transform) == (before.crs, before.transform)
        assert after.block_shapes == before.block_shapes and after.nodata == -9999
        read = after.read(1, masked=True)
        assert read.mask[:3].all() and not read.mask[3:].any()
        np.testing.assert_allclose(read[3:], stored[0, 3:], atol=1e-3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.tif", "r.tif"]
    assert (tmp_path / "out.tif").stat().st_mode == (tmp_path / "r.tif").stat().st_mode


def test_a_raster_that_a_full_disk_has_cut_is_not_taken_as_whole(tmp_path: Path) -> None:
    cut = write_raster(tmp_path / "r.tif", bands(1))
    check_written(cut, tmp_path / "out.tif")
    cut.write_bytes(cut.read_bytes()[:-2000])
    with pytest.raises(OSError, match="cannot be written whole") as raised:
        check_written(cut, tmp_path / "out.tif")
    assert raised.value.filename == str(tmp_path / "out.tif")


def test_an_output_makes_its_folder(tmp_path: Path) -> None:
    raster = Raster(write_raster(tmp_path / "r.tif", bands(1)))
    kind = StoredType(".tif", "float32")
    with raster_file(tmp_path / "new/folder/out.tif", raster, 1, kind) as file:
        RasterOutput(file, raster, kind, (0.0, 1.0)).put(0, 0, np.zeros((70, 50, 1)))
    assert Raster(tmp_path / "new/folder/out.tif").size == (50, 70)


def test_pages_and_complex_numbers_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "pages.tif", np.zeros((5, 40, 40), np.uint16), photometric="minisblack"
    )
    refusal(lambda: Raster(tmp_path / "pages.tif"), "pages.tif: has 5 pages")
    write_raster(tmp_path / "c.tif", bands(1).astype(np.complex64))
    refusal(lambda: Raster(tmp_path / "c.tif"), "c.tif: holds complex64; expected")


def test_an_output_that_is_not_finished_is_not_there(tmp_path: Path) -> None:
    raster = Raster(write_raster(tmp_path / "r.tif", bands(1)))
    kind = StoredType(".tif", "float32")
    with (
        pytest.raises(KeyboardInterrupt),
        raster_file(tmp_path / "out.tif", raster, 1, kind) as file,
    ):
        RasterOutput(file, raster, kind, (0.0, 1.0)).put(0, 0, np.zeros((5, 50, 1)))
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["r.tif"]


def test_rasters_on_other_grids_are_told_apart(tmp_path: Path) -> None:
    base = Raster(write_raster(tmp_path / "a.tif", bands()))
    moved = Affine(10, 0, 500_005, 0, -10, 4_600_000)
    for name, how, said in (
        ("b", {"transform": moved}, "pixels that lie up to 5 apart in the units of EPSG:32633"),
        ("c", {"crs": "EPSG:32634"}, "EPSG:32633 and EPSG:32634"),
    ):
        other = Raster(write_raster(tmp_path / f"{name}.tif", bands(), **how))
        assert base.difference(other) == said
    small = Raster(write_raster(tmp_path / "d.tif", bands(size=(60, 50))))
    assert base.difference(small) == "50x70 and 50x60 pixels"
    same = Raster(write_raster(tmp_path / "e.tif", bands(3), crs=UTM))
    assert not base.difference(same)


def test_files_that_are_no_raster_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(ValueError, match="text.tif: cannot be read as a raster"):
        Raster(tmp_path / "text.tif")
    complex_numbers = write_raster(tmp_path / "c.tif", bands(dtype="complex64"))
    with pytest.raises(ValueError, match="c.tif: holds complex64"):
        Raster(complex_numbers)
    cut = write_raster(tmp_path / "cut.tif", bands(1, (300, 300)))
    cut.write_bytes(cut.read_bytes()[:9000])
    with pytest.raises(ValueError, match="cut.tif: cannot be read"):
        Raster(cut).read()


def test_a_fourth_band_of_values_is_no_alpha(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(0, 256, (4, 70, 50)).astype(np.uint8)
    raster = Raster(write_raster(tmp_path / "nir.tif", stored))
    assert raster.channels == 4 and np.array_equal(raster.read(), stored.transpose(1, 2, 0))
    stored[3] = np.where(stored[3] > 20, 255, 0)
    raster = Raster(write_raster(tmp_path / "alpha.tif", stored))
    assert raster.channels == 3 and np.isnan(raster.read()[stored[3] == 0]).all()
