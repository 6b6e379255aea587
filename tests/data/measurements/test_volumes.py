"""Volumes are read in their values and at their places, whatever the order of their voxels."""

from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from support.measured_files import (
    SHAPE,
    SPACING,
    affine_of,
    numbers,
    write_dicom,
    write_nifti,
)

from data.files.image_types import StoredType
from data.image_folder import make_dataset
from data.measurements.dicom import DicomVolume
from data.measurements.nifti import NiftiVolume, whole_type
from data.measurements.output import VolumeOutput
from data.measurements.values import in_type, to_network
from data.measurements.volume import AXES

INT16 = StoredType(".nii.gz", "int16")
ORIENTATIONS = ["RAS", "LPS", "ASL", "SRA", "PIR"]


def in_order(array: np.ndarray, orientation: str) -> np.ndarray:
    """Return an array of (right, anterior, superior) stored in another order."""
    found = nibabel.orientations.axcodes2ornt(orientation)
    order = nibabel.orientations.ornt_transform(nibabel.orientations.axcodes2ornt("RAS"), found)
    return nibabel.orientations.apply_orientation(array, order)


def refused(kind: type, path: Path, said: str) -> None:
    """Expect one line that begins with the path."""
    with pytest.raises(ValueError) as error:
        kind(path)
    message = str(error.value)
    assert message.startswith(str(path)) and said in message and "\n" not in message


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("axis", AXES)
def test_slices_are_those_of_the_body_in_every_order_of_voxels(
    tmp_path: Path, orientation: str, axis: str
) -> None:
    body = numbers().astype(np.int16)
    stored = in_order(body, orientation)
    affine = affine_of(orientation)
    # The voxel at the right, anterior and superior end has one place.
    ends = np.argwhere(stored == body[-1, -1, -1])[0]
    affine[:3, 3] = 0
    affine[:3, 3] = -(affine @ [*ends, 1])[:3]
    volume = NiftiVolume(write_nifti(tmp_path / "v.nii", stored, affine), axis)
    number = AXES.index(axis)
    assert volume.count == SHAPE[number]
    for at in (0, volume.count - 1):
        expected = body.take(at, number).T[::-1]  # the first row is anterior or superior
        np.testing.assert_array_equal(volume.read(at)[..., 0], expected)
    assert volume.size == volume.read(0).shape[1::-1]
    same = NiftiVolume(write_nifti(tmp_path / "w.nii", body, _moved(body)), axis)
    assert not same.difference(volume) and not volume.difference(same)


def test_volumes_of_nifti_2_become_nifti(tmp_path: Path) -> None:
    array = numbers((4, 6, 7)).astype(np.int16)
    nibabel.save(nibabel.Nifti2Image(array, affine_of("RAS")), tmp_path / "a.nii")
    volume = NiftiVolume(tmp_path / "a.nii")
    output = VolumeOutput(volume, INT16, (0.0, 1.0))
    assert np.allclose(output.image().affine, volume.affine)


def test_empty_tags_of_dicom_are_missing_ones(tmp_path: Path) -> None:
    array = numbers((4, 6, 7)).astype(np.int16)
    empty = {"RescaleSlope": None, "RescaleIntercept": None, "NumberOfFrames": None}
    empty |= {"SpacingBetweenSlices": None, "SliceThickness": None}
    volume = DicomVolume(write_dicom(tmp_path / "p1", array, **empty))
    same = DicomVolume(write_dicom(tmp_path / "p2", array))
    assert np.array_equal(volume.read(1), same.read(1)) and not volume.difference(same)
    single = DicomVolume(write_dicom(tmp_path / "p3", array[:1], **empty))
    assert single.count == 1


def _moved(body: np.ndarray) -> np.ndarray:
    affine = affine_of("RAS")
    affine[:3, 3] = -affine[:3, :3] @ (np.array(body.shape) - 1)
    return affine


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("axis", AXES)
def test_an_output_of_all_slices_is_the_volume_in_the_order_of_the_input(
    tmp_path: Path, orientation: str, axis: str
) -> None:
    array = numbers(SHAPE[::-1]).astype(np.int16)
    volume = NiftiVolume(write_nifti(tmp_path / "v.nii.gz", array, affine_of(orientation)), axis)
    output = VolumeOutput(volume, INT16, (-100.0, 900.0))
    for number in range(volume.count):
        output.put(number, 0, to_network(volume.read(number), (-100.0, 900.0)))
    output.save(tmp_path / "out.nii.gz")
    found, before = (nibabel.load(tmp_path / name) for name in ("out.nii.gz", "v.nii.gz"))
    np.testing.assert_array_equal(np.asanyarray(found.dataobj), array)
    np.testing.assert_array_equal(found.affine, before.affine)
    assert found.header.get_zooms() == before.header.get_zooms()
    assert found.header.get_xyzt_units() == ("mm", "unknown")
    assert found.get_data_dtype() == np.int16


def test_oblique_volumes_keep_their_affine(tmp_path: Path) -> None:
    turned = affine_of("RAS")
    angle = np.deg2rad(20)
    turn = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    turned[:3, :3] = turn @ turned[:3, :3]
    volume = NiftiVolume(write_nifti(tmp_path / "v.nii", numbers().astype(np.int16), turned))
    np.testing.assert_array_equal(volume.read(2)[..., 0], numbers()[..., 2].T[::-1])
    np.testing.assert_allclose(volume.spacing, SPACING)
    output = VolumeOutput(volume, INT16, (0.0, 1.0)).image()
    np.testing.assert_array_equal(output.affine, volume.affine)


@pytest.mark.parametrize("endianness", ["<", ">"])
@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
def test_slope_intercept_and_byte_order_are_applied(
    tmp_path: Path, endianness: str, name: str
) -> None:
    stored = numbers().astype(np.int16)
    path = write_nifti(tmp_path / name, stored, endianness=endianness, slope=0.5, intercept=-7)
    volume = NiftiVolume(path)
    np.testing.assert_allclose(volume.read(1)[..., 0], stored[..., 1].T[::-1] * 0.5 - 7, rtol=1e-6)
    assert volume.dtype == "float32"
    whole = write_nifti(tmp_path / f"w_{name}", stored, slope=1, intercept=-1024)
    assert NiftiVolume(whole).dtype == "int32"  # -32768 - 1024 is no int16


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("shape", [(6, 5, 1), (6, 5, 1, 1), (6, 5)])
def test_a_volume_may_have_one_slice(tmp_path: Path, shape: tuple[int, ...], axis: str) -> None:
    array = np.arange(30, dtype=np.float32).reshape(shape)
    volume = NiftiVolume(write_nifti(tmp_path / "v.nii", array), axis)
    read = np.stack([volume.read(n)[..., 0] for n in range(volume.count)])
    assert read.size == 30 and set(read.ravel()) == set(range(30))


def test_boxes_are_parts_of_slices(tmp_path: Path) -> None:
    volume = NiftiVolume(write_nifti(tmp_path / "v.nii", numbers().astype(np.int16)))
    np.testing.assert_array_equal(volume.read(3, (1, 2, 5, 6)), volume.read(3)[2:6, 1:5])


def test_files_that_are_no_volume_are_refused_in_one_line(tmp_path: Path) -> None:
    several = write_nifti(tmp_path / "t.nii", np.zeros((4, 4, 4, 30), np.int16))
    complex_numbers = write_nifti(tmp_path / "c.nii", np.zeros((4, 4, 4), np.complex64))
    (tmp_path / "text.nii").write_text("no volume")
    (tmp_path / "empty.nii.gz").write_bytes(b"")
    for path, said in {
        several: "has 4 dimensions (4x4x4x30); give one volume a file",
        complex_numbers: "holds complex64",
        tmp_path / "text.nii": "cannot be read as NIfTI",
        tmp_path / "empty.nii.gz": "cannot be read as NIfTI",
    }.items():
        refused(NiftiVolume, path, said)


def test_a_truncated_volume_is_named(tmp_path: Path) -> None:
    for name in ("v.nii", "v.nii.gz"):
        path = write_nifti(tmp_path / name, np.arange(1000).reshape(10, 10, 10))
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(ValueError, match="cannot be read") as error:
            volume = NiftiVolume(path)
            [volume.read(n) for n in range(10)]
        assert str(error.value).startswith(str(path))


# DICOM's axes go to the Left, to the Posterior and to the Superior.
DIRECTIONS = {
    "axial": {"columns": (1, 0, 0), "rows": (0, 1, 0), "across": (0, 0, 1)},
    "sagittal": {"columns": (0, 1, 0), "rows": (0, 0, -1), "across": (-1, 0, 0)},
    "coronal": {"columns": (1, 0, 0), "rows": (0, 0, -1), "across": (0, 1, 0)},
}


@pytest.mark.parametrize("stored", DIRECTIONS)
@pytest.mark.parametrize("axis", AXES)
def test_a_series_has_the_values_and_places_of_its_files(
    tmp_path: Path, stored: str, axis: str
) -> None:
    array = numbers((5, 6, 7)).astype(np.int16)  # slices, rows, columns
    how = DIRECTIONS[stored]
    folder = write_dicom(tmp_path / "p1", array, slope=2.0, intercept=-100, **how)
    volume = DicomVolume(folder, axis)
    # The same as a NIfTI file, whose axes go to the Right, Anterior and Superior.
    to_ras = np.diag([-1.0, -1.0, 1.0])
    affine = np.eye(4)
    steps = [np.multiply(how["columns"], 1.0), np.multiply(how["rows"], 1.5)]
    affine[:3, :3] = to_ras @ np.stack([*steps, np.multiply(how["across"], 3.0)], 1)
    affine[:3, 3] = to_ras @ (-10, 20, 5)
    values = array.transpose(2, 1, 0) * 2.0 - 100
    nifti = NiftiVolume(write_nifti(tmp_path / "v.nii", values.astype(np.float32), affine), axis)
    assert volume.count == nifti.count and not volume.difference(nifti)
    for number in range(volume.count):
        np.testing.assert_array_equal(volume.read(number), nifti.read(number))
    assert volume.patient == "P1"


def test_whole_hounsfield_units_stay_whole(tmp_path: Path) -> None:
    array = np.full((3, 4, 4), 1024, np.uint16)
    volume = DicomVolume(write_dicom(tmp_path / "p1", array, intercept=-1024, BitsStored=12))
    assert volume.dtype == "int16" and not volume.read(0).any()
    image = VolumeOutput(volume, INT16, (-1024.0, 3071.0)).image()
    np.testing.assert_array_equal(image.affine, volume.affine)
    assert image.header.get_xyzt_units()[0] == "mm"


@pytest.mark.parametrize(
    ("stored", "slope", "intercept", "bits", "type_of_values"),
    [
        ("uint16", 1, 0, None, "uint16"),
        ("uint16", 1, -1, None, "int32"),  # up to 65534
        ("uint16", 1, -1024, 12, "int16"),
        ("uint8", 2, -100, None, "int16"),
        ("int32", 2, 0, None, "float64"),
        ("int16", 0.5, 0, None, "float32"),
    ],
)
def test_the_type_of_values_holds_all_that_may_be_stored(
    stored: str, slope: float, intercept: float, bits: int | None, type_of_values: str
) -> None:
    assert whole_type(np.dtype(stored), [slope], [intercept], bits) == type_of_values


def test_whole_slopes_keep_whole_numbers(tmp_path: Path) -> None:
    array = numbers((2, 6, 7)).astype(np.int16)
    assert DicomVolume(write_dicom(tmp_path / "p1", array, slope=2, intercept=-5)).dtype == "int32"
    assert DicomVolume(write_dicom(tmp_path / "p2", array, slope=0.5)).dtype == "float32"


@pytest.mark.parametrize(("implicit", "little"), [(True, True), (False, True), (False, False)])
def test_a_series_of_files_without_a_preamble_is_read(
    tmp_path: Path, implicit: bool, little: bool
) -> None:
    array = numbers((4, 6, 7)).astype(np.int16)
    folder = write_dicom(tmp_path / "p1", array, intercept=-20)
    before = [DicomVolume(folder).read(n) for n in range(4)]
    for path in folder.iterdir():
        header = pydicom.dcmread(path)
        bare = pydicom.Dataset()
        bare.update({element.tag: element for element in header})
        bare["PixelData"].VR = "OW"
        if not little:
            bare.PixelData = np.frombuffer(header.PixelData, "<i2").astype(">i2").tobytes()
        how = {"implicit_vr": implicit, "little_endian": little}
        pydicom.dcmwrite(path, bare, enforce_file_format=False, **how)
        assert path.read_bytes()[128:132] != b"DICM"
    np.testing.assert_array_equal([DicomVolume(folder).read(n) for n in range(4)], before)


def test_padding_of_a_series_has_no_data(tmp_path: Path) -> None:
    array = numbers((2, 3, 4)).astype(np.int16)
    array[0, 0, 0] = -2000
    volume = DicomVolume(write_dicom(tmp_path / "p1", array, PixelPaddingValue=-2000))
    lacking = np.isnan([volume.read(n) for n in range(2)])
    assert lacking.sum() == 1 and volume.nodata == -2000


def test_series_that_are_none_are_refused_in_one_line(tmp_path: Path) -> None:
    array = numbers((5, 4, 4)).astype(np.int16)
    gap = write_dicom(tmp_path / "gap", array)
    (gap / "014.dcm").unlink()  # the slice 2
    two = write_dicom(tmp_path / "two", array)
    for file in write_dicom(tmp_path / "other", array).iterdir():
        file.rename(two / f"b{file.name}")
    frames = write_dicom(tmp_path / "frames", array[:1], NumberOfFrames=3)
    bad = write_dicom(tmp_path / "bad", array)
    (bad / "000.dcm").write_bytes(b"no image")
    for folder, said in {
        gap: "slices are 3 mm apart, but 6 mm between",
        two: "holds files of several series",
        frames: "holds 3 frames; convert it to NIfTI",
        bad: "cannot be read as DICOM",
    }.items():
        refused(DicomVolume, folder, said)


def test_a_slice_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    folder = write_dicom(tmp_path / "p1", numbers((2, 4, 4)).astype(np.int16))
    file = pydicom.dcmread(folder / "007.dcm")
    file.PixelData = file.PixelData[:10]
    file.save_as(folder / "007.dcm")
    volume = DicomVolume(folder)
    volume.read(0)
    with pytest.raises(ValueError, match="007.dcm: cannot be read"):
        volume.read(1)


def test_volumes_on_other_grids_are_told_apart(tmp_path: Path) -> None:
    base = NiftiVolume(write_nifti(tmp_path / "a.nii", numbers().astype(np.int16)))
    shifted = affine_of("RAS")
    shifted[0, 3] += 0.5
    for name, array, affine, said in (
        ("b", numbers(), shifted, "voxels that lie up to 0.5 mm apart"),
        ("c", numbers((7, 6, 4)), affine_of("RAS"), "5 and 4 slices"),
        ("d", numbers((8, 6, 5)), affine_of("RAS"), "7x6 and 8x6 pixels"),
    ):
        other = write_nifti(tmp_path / f"{name}.nii", array.astype(np.int16), affine)
        assert base.difference(NiftiVolume(other)) == said
    rounded = affine_of("RAS") + 1e-5
    near = NiftiVolume(write_nifti(tmp_path / "e.nii", numbers().astype(np.int16), rounded))
    assert not base.difference(near)


def test_what_a_header_says_of_the_input_is_not_said_of_the_output(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "x.nii", numbers().astype(np.int16))
    image = nibabel.load(path)
    for field in ("descrip", "db_name", "aux_file"):
        image.header[field] = b"Anna"
    image.to_filename(path)
    header = VolumeOutput(NiftiVolume(path), INT16, (0, 1)).image().header
    assert all(header[field].item() == b"" for field in ("descrip", "db_name", "aux_file"))


@pytest.mark.parametrize(
    ("dtype", "no_data", "beside"),
    [
        ("uint8", 0, 1),
        ("uint8", 255, 254),
        ("int16", -32768, -32767),
        ("float32", 0, np.nextafter(np.float32(0), np.float32(1))),
        ("float32", -9999, np.nextafter(np.float32(-9999), np.float32(0))),
        ("float64", -9999, np.nextafter(-9999.0, 0)),
    ],
)
def test_a_value_is_never_that_of_no_data_by_chance(
    dtype: str, no_data: float, beside: float
) -> None:
    found = in_type(np.array([no_data, np.nan, 7]), dtype, no_data, 7)
    assert found.dtype == dtype and found.tolist() == [beside, no_data, 7]


def test_a_type_that_cannot_hold_the_value_for_no_data_goes_without(tmp_path: Path) -> None:
    assert in_type(np.array([np.nan, 300, 7]), "uint8", -9999, 5).tolist() == [5, 255, 7]


def test_a_file_that_is_written_again_is_read_again(tmp_path: Path) -> None:
    for value in (1, 2):
        path = write_nifti(tmp_path / "v.nii.gz", np.full((3, 3, 3), value, np.int16))
        assert (NiftiVolume(path).read(1) == value).all()


def test_files_beside_the_series_are_passed_over(tmp_path: Path) -> None:
    folder = write_dicom(tmp_path / "p1", numbers((3, 4, 4)).astype(np.int16))
    for name in ("DICOMDIR", "preview.png", "notes", "readme.txt"):
        (folder / name).write_text("no slice")
    for file in list(folder.glob("*.dcm"))[:2]:  # as many scanners name them
        file.rename(file.with_suffix(""))
    assert DicomVolume(folder).count == 3


def test_images_are_sought_in_vain_among_volumes(tmp_path: Path) -> None:
    write_nifti(tmp_path / "x.nii.gz", numbers().astype(np.int16))
    with pytest.raises(ValueError) as error:
        make_dataset(tmp_path)
    assert "(1 .nii.gz; --dataset_mode measurements reads volumes)" in str(error.value)
