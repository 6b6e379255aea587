"""Small files of measurements: NIfTI volumes, DICOM series, GeoTIFF rasters."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import rasterio
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from rasterio.transform import Affine

SHAPE = (7, 6, 5)  # right, anterior, superior
SPACING = (1.0, 1.5, 3.0)
UTM = "EPSG:32633"


def numbers(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Return an array in which each number is there once."""
    return np.arange(np.prod(shape)).reshape(shape)


def affine_of(orientation: str, spacing: tuple[float, ...] = SPACING) -> np.ndarray:
    """Return the affine of an array whose axes go to the letters of `orientation`, such as LPS."""
    found = np.eye(4)
    found[:3, :3] = 0
    for stored, letter in enumerate(orientation):
        axis = next(n for n, both in enumerate(("RL", "AP", "SI")) if letter in both)
        found[axis, stored] = spacing[axis] * (1 if letter in "RAS" else -1)
    found[:3, 3] = (-10, 20, 5)
    return found


def write_nifti(
    path: Path, array: np.ndarray, affine: np.ndarray | None = None, **header: Any
) -> Path:
    """Write an array as NIfTI; `header` are its slope and intercept, and its byte order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = affine_of("RAS") if affine is None else affine
    fields = nibabel.Nifti1Header(endianness=header.get("endianness", "<"))
    fields.set_data_dtype(array.dtype.newbyteorder(header.get("endianness", "<")))
    image = nibabel.Nifti1Image(array, affine, fields)
    image.header.set_xyzt_units("mm")
    if "slope" in header:
        image.header.set_slope_inter(header["slope"], header["intercept"])
    nibabel.save(image, path)
    return path


def write_dicom(
    folder: Path,
    array: np.ndarray,
    *,
    across: tuple[float, ...] = (0, 0, 1),
    columns: tuple[float, ...] = (1, 0, 0),
    rows: tuple[float, ...] = (0, 1, 0),
    slope: float = 1.0,
    intercept: float = 0.0,
    **more: Any,
) -> Path:
    """Write (slices, H, W) as a series; the directions are in DICOM's axes (Left, Posterior,
    Superior), pixels of 1.5 x 1 mm, slices 3 mm apart.
    """
    folder.mkdir(parents=True, exist_ok=True)
    series = more.pop("SeriesInstanceUID", generate_uid())
    for number, plane in enumerate(array):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = (
            CTImageStorage,
            ExplicitVRLittleEndian,
        )
        meta.MediaStorageSOPInstanceUID = generate_uid()
        file = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        file.SeriesInstanceUID, file.PatientID, file.Modality = series, "P1", "CT"
        file.Rows, file.Columns = plane.shape
        file.PixelSpacing, file.SliceThickness = [1.5, 1.0], 3.0
        file.ImageOrientationPatient = [*map(float, columns), *map(float, rows)]
        file.ImagePositionPatient = (np.float64(across) * 3 * number + (-10, 20, 5)).tolist()
        file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
        file.BitsAllocated = file.BitsStored = 16
        file.HighBit, file.PixelRepresentation = 15, int(plane.dtype.kind == "i")
        file.RescaleSlope, file.RescaleIntercept = slope, intercept
        for name, value in more.items():
            setattr(file, name, value)
        file.PixelData = plane.astype(f"<{plane.dtype.kind}2").tobytes()
        # Files of a series are in no order.
        file.save_as(folder / f"{(number * 7) % 101:03d}.dcm", enforce_file_format=True)
    return folder


def write_raster(
    path: Path, bands: np.ndarray, transform: Affine | None = None, **how: Any
) -> Path:
    """Write (bands, H, W) as a GeoTIFF of UTM zone 33 with pixels of 10 m."""
    path.parent.mkdir(parents=True, exist_ok=True)
    transform = transform or Affine(10, 0, 500_000, 0, -10, 4_600_000)
    scales = how.pop("scales", None)
    texts = {name: how.pop(name) for name in ("units", "descriptions") if name in how}
    count, height, width = bands.shape
    size = {"count": count, "height": height, "width": width, "dtype": bands.dtype.name}
    how = {"crs": UTM, "transform": transform} | how
    with rasterio.open(path, "w", driver="GTiff", **size, **how) as file:
        file.write(bands)
        if scales:
            file.scales, file.offsets = scales
        for name, text in texts.items():  # of each band
            setattr(file, name, text)
    return path
