"""Outputs as files of the kind of their input: with its place, in the values of the target."""

import contextlib
import errno
import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data.files.high_depth_output import write_array
from data.files.image_types import StoredType
from data.measurements.grid import Grid
from data.measurements.raster import Raster, open_raster
from data.measurements.values import Range, from_network, in_type
from data.measurements.volume import Volume, slices_of
from util.files import atomic_write, naming
from util.util import as_pil


class Output(ABC):
    """The output of one subject, filled slice by slice and row by row, from top to bottom."""

    ending: str

    def __init__(self, like: Grid, stored: StoredType, value_range: Range):
        """`like` is the first input, `stored` the type of the targets' values."""
        self.like, self.stored, self.range = like, stored, value_range

    @abstractmethod
    def put(self, number: int, row: int, image: np.ndarray) -> None:
        """Store rows of a slice, (h, W, C) in [-1, 1], NaN for no data."""

    def values(self, image: np.ndarray) -> np.ndarray:
        """Return numbers in [-1, 1] as values of the target, in its type."""
        values = from_network(image, self.range)
        return in_type(values, self.stored.dtype, self.stored.nodata, self.range[0])


class VolumeOutput(Output):
    """A NIfTI image with affine, spacing and units of the input."""

    ending = ".nii.gz"

    def __init__(self, like: Volume, stored: StoredType, value_range: Range):
        super().__init__(like, stored, value_range)
        self.array = np.zeros(like.shape, stored.dtype)
        self.slices = slices_of(self.array, like.orientation, like.axis)  # a view

    def put(self, number: int, row: int, image: np.ndarray) -> None:
        self.slices[number, row : row + len(image)] = self.values(image)[..., 0]

    def image(self) -> Any:
        """Return the volume as an image of nibabel."""
        import nibabel

        header = getattr(getattr(self.like, "image", None), "header", None)
        of_nifti = isinstance(header, nibabel.Nifti1Header)  # or of version 2
        if of_nifti:
            header = header.copy()
            header.extensions.clear()  # what they say is about the input
            header["cal_min"] = header["cal_max"] = 0
            header["intent_code"], header["intent_name"] = 0, b""
        else:
            header = nibabel.Nifti1Header()
            header.set_xyzt_units("mm")
        header.set_data_dtype(self.array.dtype)
        header.set_slope_inter(1, 0)
        for text in ("descrip", "db_name", "aux_file"):
            if text in header:
                header[text] = b""
        image = nibabel.Nifti1Image(self.array, self.like.affine, header)
        if not of_nifti:
            image.set_sform(self.like.affine, "scanner")
            image.set_qform(self.like.affine, "scanner")
        return image

    def save(self, path: Path) -> None:
        """Write the volume as .nii or .nii.gz."""
        with naming(path), atomic_write(path) as file:
            content = self.image().to_bytes()
            file.write(_zipped(content) if path.suffix == ".gz" else content)


class ArrayOutput(Output):
    """An array (H, W, C), saved as the targets' files are."""

    def __init__(self, like: Grid, stored: StoredType, value_range: Range, masked: bool = False):
        """`masked` says whether points may have no data."""
        super().__init__(like, stored, value_range)
        self.ending, self.masked = stored.ending, masked
        self.rows: list[np.ndarray] = []
        self.lacking: list[np.ndarray] = []

    def put(self, number: int, row: int, image: np.ndarray) -> None:
        self.rows.append(self.values(image))
        self.lacking.append(np.isnan(image))

    def array(self) -> np.ndarray:
        """Return the values, (H, W, C); as a masked array if points may have no data."""
        values = np.concatenate(self.rows)
        return np.ma.array(values, mask=np.concatenate(self.lacking)) if self.masked else values

    def save(self, path: Path) -> None:
        """Write the values as .npy, .tif or .png."""
        array = np.concatenate(self.rows)
        if array.dtype != np.uint8 or path.suffix in (".npy", ".tif"):
            write_array(array, path)
            return
        with atomic_write(path) as file:
            as_pil(array).save(file, path.suffix[1:])


class RasterOutput(Output):
    """A GeoTIFF with CRS, transform and blocks of the input, written while it is made."""

    ending = ".tif"

    def __init__(
        self, file: Any, like: Raster, stored: StoredType, value_range: Range, masked: bool = False
    ):
        """`file` is open for writing, see `raster_file`. If points may have no data (`masked`) and
        no value says so, a mask does.
        """
        super().__init__(like, stored, value_range)
        self.file, self.waiting, self.row = file, [], 0
        self.with_mask = masked and file.nodata is None

    def put(self, number: int, row: int, image: np.ndarray) -> None:
        self.waiting.append(image)
        height = self.file.block_shapes[0][0]
        rows = sum(map(len, self.waiting)) // height * height  # whole blocks
        if row + len(image) == self.like.size[1]:
            rows = self.like.size[1] - self.row
        if rows:
            whole = np.concatenate(self.waiting)
            self._write(whole[:rows])
            self.waiting = [whole[rows:]]

    def _write(self, image: np.ndarray) -> None:
        from rasterio.windows import Window

        window = Window(0, self.row, image.shape[1], len(image))
        self.file.write(self.values(image).transpose(2, 0, 1), window=window)
        if self.with_mask:
            self.file.write_mask(~np.isnan(image).any(2), window=window)
        self.row += len(image)


@contextlib.contextmanager
def raster_file(path: Path, like: Raster, channels: int, stored: StoredType) -> Iterator[Any]:
    """Open a GeoTIFF of the place and the blocks of `like` for writing; it is there once whole."""
    import rasterio

    profile = like.file().profile
    width, height = like.size
    options = {"driver": "GTiff", "width": width, "height": height, "count": channels}
    options |= {"dtype": stored.dtype, "crs": like.crs, "transform": like.transform}
    no_data = np.nan if stored.nodata is None and "float" in stored.dtype else stored.nodata
    options |= {"nodata": no_data, "compress": "deflate", "bigtiff": "if_safer"}
    options |= {"interleave": "band"}
    options |= {"photometric": "minisblack"} if channels == 4 else {}  # the last is no alpha
    if profile.get("tiled"):
        options |= {
            "tiled": True,
            "blockxsize": profile["blockxsize"],
            "blockysize": profile["blockysize"],
        }
    elif profile["blockysize"] < height or profile["blockxsize"] < width:
        options |= {"blockysize": profile["blockysize"]}
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tif")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        environment = rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True)  # a mask is no file of its own
        with environment, naming(path), open_raster(str(unfinished), mode="w", **options) as file:
            if stored.units:
                file.units = stored.units
            if stored.band_names:
                file.descriptions = stored.band_names
            yield file
        check_written(unfinished, path)
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def check_written(unfinished: Path, path: Path) -> None:
    """Raise an OSError with the name `path` if a written raster cannot be read: GDAL says nothing
    of a disk that was full when the file was closed.
    """
    try:
        with open_raster(str(unfinished)) as file:
            for _, window in file.block_windows(1):
                file.read(window=window)
    except Exception:
        raise OSError(
            errno.ENOSPC, "cannot be written whole; is the disk full?", str(path)
        ) from None


def _zipped(content: bytes) -> bytes:
    """Return bytes as gzip packs them, without a time, so that equal volumes are equal files."""
    import gzip

    return gzip.compress(content, 6, mtime=0)
