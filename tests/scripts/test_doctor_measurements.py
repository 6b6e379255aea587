"""The doctor on measurements: damage, partners, grids, no data, and what phases share."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rasterio.transform import Affine
from support.measured_files import numbers, write_dicom, write_nifti, write_raster

Command = Callable[..., SimpleNamespace]


@pytest.fixture
def look(command: Command, caplog: pytest.LogCaptureFixture) -> Callable[..., tuple[int, str]]:
    """Run the doctor on measurements; return its status and what it says."""

    def run(root: Path, *flags: str) -> tuple[int, str]:
        caplog.clear()
        done = command(
            "scripts.doctor", "--dataset_mode", "measurements", "--dataroot", root, *flags
        )
        return done.status, caplog.text + done.err

    return run


def volumes(root: Path, phase: str = "train", names: str = "p0 p1") -> Path:
    for side in "AB":
        for name in names.split():
            write_nifti(root / f"{phase}{side}" / f"{name}.nii.gz", numbers().astype(np.int16))
    return root


def test_good_volumes_are_described(look, tmp_path: Path) -> None:
    status, said = look(volumes(tmp_path / "d"))
    assert status == 0 and "int16, 1 channel, 7x6x5 voxels of 1.0x1.5x3.0 mm" in said
    assert "4 files, 0 bad" in said


def test_damage_partners_and_grids_are_all_named(look, tmp_path: Path) -> None:
    root = volumes(tmp_path / "d", names="p0 p1 p2 p3")
    path = root / "trainA" / "p0.nii.gz"
    path.write_bytes(path.read_bytes()[:-30])
    (root / "trainB" / "p1.nii.gz").unlink()
    write_nifti(root / "trainB" / "p2.nii.gz", numbers((7, 6, 4)).astype(np.int16))
    status, said = look(root)
    assert status == 1
    for words in (
        "BAD  " + str(path) + ": cannot be read",
        "trainA/p1.nii.gz: has no partner in B",
        "trainA/p2.nii.gz: lies on another grid than",
        "5 and 4 slices",
    ):
        assert words in said


def test_points_without_data_are_counted(look, tmp_path: Path) -> None:
    root = volumes(tmp_path / "d")
    array = numbers().astype(np.float32)
    array[0] = np.nan
    write_nifti(root / "trainB" / "p1.nii.gz", array)
    status, said = look(root)
    assert status == 1 and "p1.nii.gz: 14.29% of its points have no data; --nodata mask" in said
    status, said = look(root, "--nodata", "mask")
    assert status == 0 and "14.29%" in said


def test_points_of_slices_that_are_left_out_do_not_count(look, tmp_path: Path) -> None:
    array = numbers().astype(np.float32)
    array[..., 0] = np.nan
    for side in "AB":
        write_nifti(tmp_path / "d" / f"train{side}" / "p0.nii", array)
    status, said = look(tmp_path / "d")
    assert status == 1 and "20.00% of its points have no data" in said
    status, said = look(tmp_path / "d", "--slice_range", "1,-1")
    assert status == 0 and "no data" not in said


def test_groups_in_several_phases_are_named(look, command: Command, tmp_path: Path) -> None:
    root = volumes(tmp_path / "d", names="anna_1 anna_2 ben_1")
    volumes(root, "test", "anna_3 carl_1")
    status, said = look(root, "--group", r"(\w+)_\d")
    assert status == 1 and "has groups in several phases" in said
    assert "give each to one phase" in said
    assert "anna in train and test" in said and "ben" not in said.split("groups")[1]
    _, said = look(root)
    assert "several phases" not in said
    status, said = look(root, "--group", "[")
    assert status == 2 and "--group [: is no regular expression" in said
    status, said = look(root, "--group", "dora")
    assert status == 2 and "--group dora: finds nothing in" in said


def test_patients_of_series_in_several_phases_are_named_by_themselves(look, tmp_path: Path) -> None:
    array = numbers((5, 6, 7)).astype(np.int16)
    for phase, name, patient in (("train", "s1", "P1"), ("train", "s2", "P2"), ("test", "x", "P2")):
        for side in "AB":
            write_dicom(tmp_path / "d" / f"{phase}{side}" / name, array, PatientID=patient)
    status, said = look(tmp_path / "d")
    assert status == 1 and "has patients in several phases" in said
    assert "P2 in train and test" in said and "P1 in" not in said


def test_a_pair_of_two_patients_is_named(look, tmp_path: Path) -> None:
    array = numbers((5, 6, 7)).astype(np.int16)
    for side, patient in (("A", "P1"), ("B", "P2")):
        write_dicom(tmp_path / "d" / f"train{side}" / "s", array, PatientID=patient)
    status, said = look(tmp_path / "d")
    assert status == 1 and "is of patient P1, but" in said and "of P2" in said


def test_rasters_of_one_place_in_several_phases_are_named(look, tmp_path: Path) -> None:
    root, values = tmp_path / "d", np.eye(40, dtype=np.float32)[None]
    for phase, name, left in (("train", "s1", 0), ("train", "s2", 5000), ("test", "s3", 300)):
        for side in "AB":
            place = Affine(10, 0, 500_000 + left, 0, -10, 4_600_000)
            write_raster(root / f"{phase}{side}" / f"{name}.tif", values, place)
    status, said = look(root)
    assert status == 0
    assert "trainA/s1.tif: shows 25% of what" in said and "testA/s3.tif shows, which is in" in said
    assert "s2.tif: shows" not in said and "trainB/s1.tif: shows" not in said
    assert "and 5 other files: float32, 1 channel, 40x40 pixels of 10 in EPSG:32633" in said


def test_a_folder_without_measurements_is_one_line(look, tmp_path: Path) -> None:
    (tmp_path / "d" / "trainA").mkdir(parents=True)
    (tmp_path / "d" / "trainB").mkdir()
    status, said = look(tmp_path / "d")
    assert status == 1 and "holds no volumes" in said
    assert "Traceback" not in said


def test_a_test_without_targets_is_in_good_health(look, tmp_path: Path) -> None:
    root = volumes(tmp_path / "d")
    write_nifti(root / "testA" / "p9.nii.gz", numbers().astype(np.int16))
    status, said = look(root)
    assert status == 0 and "5 files, 0 bad" in said


def test_a_damaged_slice_of_a_series_is_named_with_its_folder(look, tmp_path: Path) -> None:
    array = numbers((5, 6, 7)).astype(np.int16)
    for side in "AB":
        write_dicom(tmp_path / "d" / f"train{side}" / "p1", array)
    (tmp_path / "d" / "trainA" / "p1" / "007.dcm").write_bytes(b"no image")
    status, said = look(tmp_path / "d")
    assert status == 1 and "trainA/p1/007.dcm: cannot be read as DICOM" in said
    assert "--on_bad_image" not in said


def test_a_bad_file_is_no_remark_however_much_is_wrong_with_it(look, tmp_path: Path) -> None:
    root = volumes(tmp_path / "d", names="p0")
    (root / "trainA" / "alone.nii.gz").write_bytes(b"no volume")
    status, said = look(root)
    assert status == 1 and said.count("alone.nii.gz: ") == 2, said
    assert "3 files, 1 bad, 2 remarks" in said  # what the two others hold


def test_a_raster_without_coordinates_beside_one_with_them_is_named(look, tmp_path: Path) -> None:
    root, values = tmp_path / "d", np.eye(40, dtype=np.float32)[None]
    write_raster(root / "trainA" / "s.tif", values)
    write_raster(root / "trainB" / "s.tif", values, crs=None)
    status, said = look(root)
    assert status == 0
    assert "trainB/s.tif: has no coordinates, though" in said and "trainA/s.tif has some" in said


def test_no_folder_and_a_folder_without_files_are_one_line(look, tmp_path: Path) -> None:
    status, said = look(tmp_path / "none")
    assert status == 2 and "none does not exist" in said
    (tmp_path / "d" / "trainA").mkdir(parents=True)
    status, said = look(tmp_path / "d")
    assert status == 1 and "expected trainA/" in said and said.count("expected trainA/") == 1
