"""DICOM series: a folder with a file for each slice."""

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from data.image_folder import is_hidden, is_image_file
from data.measurements.grid import decoded, require
from data.measurements.nifti import whole_type
from data.measurements.volume import Volume
from util.errors import one_line

log = logging.getLogger(__name__)

ENDINGS = (".dcm", ".dicom", ".ima")
UNEVEN = 0.02  # of the distance of two slices: how much distances may differ
TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # DICOM's axes go to the Left and to the Posterior


class DicomVolume(Volume):
    """A series of images in a folder; slope and intercept are applied, padding is no data."""

    def __init__(self, folder: str | Path, axis: str = "axial"):
        for package in ("pydicom", "nibabel"):
            require(package, "medical", str(folder))
        self.folder = Path(folder)
        headers = [_header(file) for file in series_files(self.folder)]
        if not headers:
            raise ValueError(f"{folder}: holds no DICOM files")
        self.headers = check_series(headers, self.folder)
        first = self.headers[0]
        slopes = [float(_value(h, "RescaleSlope", 1)) for h in self.headers]
        intercepts = [float(_value(h, "RescaleIntercept", 0)) for h in self.headers]
        self.scales = list(zip(slopes, intercepts, strict=True))
        kind = "i" if first.PixelRepresentation else "u"
        stored = np.dtype(f"{kind}{first.BitsAllocated // 8}")
        bits = getattr(first, "BitsStored", None)
        self.dtype = whole_type(stored, slopes, intercepts, bits)
        padding = getattr(first, "PixelPaddingValue", None)
        self.padding = padding
        self.nodata = None if padding is None else padding * slopes[0] + intercepts[0]
        shape = int(first.Columns), int(first.Rows), len(self.headers)
        super().__init__(str(folder), shape, affine_of(self.headers), axis)
        self.decoded = self.stored_axis != 2

    def plane(self, index: int) -> np.ndarray:
        if not self.decoded:
            return self._slice(index)[..., None]
        selection = [slice(None)] * 3
        selection[self.stored_axis] = slice(index, index + 1)
        return decoded.get(self.path, self._all)[tuple(selection)]

    @property
    def patient(self) -> str:
        """The patient's number, "" if the files do not say it."""
        return str(getattr(self.headers[0], "PatientID", ""))

    def _all(self) -> np.ndarray:
        return np.stack([self._slice(number) for number in range(len(self.headers))], -1)

    def _slice(self, number: int) -> np.ndarray:
        """Return the values of a file, (columns, rows) floats."""
        import pydicom

        path = self.headers[number].filename
        try:
            dataset = pydicom.dcmread(path, force=True)
            if "TransferSyntaxUID" not in dataset.file_meta:  # a file without a preamble
                dataset.file_meta.TransferSyntaxUID = syntax_of(dataset)
            array = dataset.pixel_array
        except Exception as error:
            raise ValueError(f"{path}: cannot be read ({one_line(error)})") from None
        if array.shape != self.shape[1::-1]:
            raise ValueError(f"{path}: holds {array.shape}, expected {self.shape[1::-1]}")
        slope, intercept = self.scales[number]
        values = array.astype(np.float32) * np.float32(slope) + np.float32(intercept)
        if self.padding is not None:
            values[array == self.padding] = np.nan
        return values.T


def syntax_of(header: Any) -> str:
    """Return the transfer syntax that a file without one has, by how it was read."""
    from pydicom import uid

    implicit, little = header.original_encoding
    if implicit:
        return uid.ImplicitVRLittleEndian
    return uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian


def series_files(folder: Path) -> list[Path]:
    """Return the DICOM files in a folder, by their names or by how they start."""
    files = [p for p in sorted(folder.iterdir()) if p.is_file() and not is_hidden(p.name)]
    candidates = [p for p in files if p.name.upper() != "DICOMDIR" and not is_image_file(p.name)]
    return [p for p in candidates if p.suffix.lower() in ENDINGS or is_dicom(p)]


def is_dicom(path: Path) -> bool:
    """Return whether a file starts as DICOM files do."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def holds_series(folder: Path) -> bool:
    """Return whether some file in a folder itself is DICOM."""
    return bool(series_files(folder))


def _value(header: Any, name: str, default: float) -> Any:
    """Return a value of a header; the default where it is missing or empty."""
    value = getattr(header, name, None)
    return default if value is None else value


def check_series(headers: list[Any], folder: Path) -> list[Any]:
    """Return the headers of one series in the order of their places; ValueError if it is none."""
    for header in headers:
        lacking = [name for name in _NEEDED if getattr(header, name, None) is None]
        if lacking:
            raise ValueError(f"{header.filename}: lacks {lacking[0]}; is it an image of a series?")
        if int(_value(header, "NumberOfFrames", 1)) > 1:
            raise ValueError(
                f"{header.filename}: holds {header.NumberOfFrames} frames; convert it to NIfTI "
                f"(dcm2niix)"
            )
        if header.SamplesPerPixel != 1:
            raise ValueError(f"{header.filename}: holds colours; expected one value a pixel")
    for name, noun in _EQUAL.items():
        values = {str(getattr(header, name, "")) for header in headers}
        if len(values) > 1:
            raise ValueError(
                f"{folder}: holds files of several {noun} ({', '.join(sorted(values)[:3])}); give "
                f"each series a folder of its own"
            )
    normal = np.cross(*np.reshape(np.float64(headers[0].ImageOrientationPatient), (2, 3)))
    headers = sorted(headers, key=lambda h: float(normal @ np.float64(h.ImagePositionPatient)))
    places = [float(normal @ np.float64(h.ImagePositionPatient)) for h in headers]
    steps = np.diff(places)
    if len(steps) and (steps.min() <= 0 or np.ptp(steps) > UNEVEN * np.median(steps)):
        odd = int(np.abs(steps - np.median(steps)).argmax())
        raise ValueError(
            f"{folder}: its slices are {np.median(steps):.4g} mm apart, but {steps[odd]:.4g} mm "
            f"between {Path(headers[odd].filename).name} and "
            f"{Path(headers[odd + 1].filename).name}; add what is missing, or leave out what is "
            f"there twice"
        )
    return headers


def affine_of(headers: list[Any]) -> np.ndarray:
    """Return the affine of (column, row, slice) in mm to the Right, Anterior, Superior
    (DICOM PS3.3, C.7.6.2.1.1).
    """
    first = headers[0]
    to_columns, to_rows = np.reshape(np.float64(first.ImageOrientationPatient), (2, 3))
    between_rows, between_columns = map(float, first.PixelSpacing)
    start = np.float64(first.ImagePositionPatient)
    if len(headers) > 1:
        step = (np.float64(headers[-1].ImagePositionPatient) - start) / (len(headers) - 1)
    else:
        apart = _value(first, "SpacingBetweenSlices", 0) or _value(first, "SliceThickness", 0)
        step = np.cross(to_columns, to_rows) * float(apart or 1)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([to_columns * between_columns, to_rows * between_rows, step], 1)
    affine[:3, 3] = start
    return TO_RAS @ affine


_NEEDED = ("Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient")
_NEEDED += ("BitsAllocated", "PixelRepresentation", "SamplesPerPixel")
_EQUAL = {"SeriesInstanceUID": "series", "Rows": "heights", "Columns": "widths"}
_EQUAL |= {"ImageOrientationPatient": "orientations", "PixelSpacing": "spacings"}


def _header(path: Path) -> Any:
    import pydicom

    try:
        with warnings.catch_warnings():  # of values that nobody asks for
            warnings.simplefilter("ignore")
            header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        if "Rows" not in header and not is_dicom(path):  # older files do not start as others do
            raise ValueError("it does not start as DICOM files do")
        return header
    except Exception as error:
        raise ValueError(f"{path}: cannot be read as DICOM ({one_line(error)})") from None
