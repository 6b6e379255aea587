"""Georeferenced rasters (GeoTIFF), read in windows."""

import logging
import os
from collections import OrderedDict
from pathlib import Path
from threading import Lock, get_ident
from typing import Any

import numpy as np

from data.files.image_types import WIDE
from data.measurements.grid import Box, Grid, by, require
from util.errors import one_line

ENDINGS = (".tif", ".tiff")
MOST_OPEN = 128  # files of a process; systems allow about 1000
MIDDLE = 256  # pixels of a side of the part by which an alpha band is judged
CLOSE = 0.01  # of a pixel: how far apart two rasters' corners may lie


class Raster(Grid):
    """The bands of a TIFF file without its alpha band; scale and offset are applied.

    Pixels are no data where the file says so: by its nodata value, a mask or an alpha band.
    """

    count = 1
    ending = ".tif"

    def __init__(self, path: str | Path):
        require("rasterio", "geo", str(path))
        self.path = str(path)
        file = self.file()
        from rasterio.enums import ColorInterp

        meanings = dict(zip(file.indexes, file.colorinterp, strict=True))
        self.bands = [band for band, meaning in meanings.items() if meaning != ColorInterp.alpha]
        self.alpha = [band for band, meaning in meanings.items() if meaning == ColorInterp.alpha]
        # GDAL takes a fourth band of 8 bits for alpha, and for a mask of the others.
        self.alpha_is_band = bool(self.alpha) and holds_values(file, self.alpha[0])
        if self.alpha_is_band:
            self.bands, self.alpha = [*file.indexes], []
        self.channels = len(self.bands)
        if (pages := len(file.subdatasets)) > 1:
            raise ValueError(f"{path}: has {pages} pages; save them as the bands of one")
        if not self.bands:
            raise ValueError(f"{path}: has an alpha band alone, and no values")
        kinds = [file.dtypes[band - 1] for band in self.bands]
        if odd := next((kind for kind in kinds if kind.startswith("complex")), None):
            raise ValueError(f"{path}: holds {odd}; expected whole numbers or floats")
        self.size = file.width, file.height
        self.crs, self.transform = file.crs, file.transform
        self.scales = [(file.scales[b - 1], file.offsets[b - 1]) for b in self.bands]
        self.nodata = file.nodata
        self.units = self._of_bands(file.units)
        self.band_names = self._of_bands(file.descriptions)
        stored = np.result_type(*kinds)
        if stored.kind not in "uif":
            raise ValueError(f"{path}: holds {stored}; expected whole numbers or floats")
        scaled = any(scale != (1, 0) for scale in self.scales)
        self.dtype = "float32" if scaled and stored.kind in "ui" else stored.name
        self.tiled = (file.block_shapes[0], file.profile.get("tiled", False))

    def _of_bands(self, texts: tuple[str | None, ...]) -> tuple[str, ...] | None:
        """Return what a file says of each band; None if nothing."""
        band_texts = tuple(texts[band - 1] or "" for band in self.bands)
        return band_texts if any(band_texts) else None

    def file(self) -> Any:
        """Return the open file; ValueError names it if it cannot be opened."""
        return opened.get(self.path)

    def read(self, number: int = 0, box: Box | None = None) -> np.ndarray:
        from rasterio.windows import Window

        left, top, right, bottom = box or (0, 0, *self.size)
        window = Window(left, top, right - left, bottom - top)
        return self._values(window=window)

    def overview(self, most: int) -> np.ndarray:
        """Return the raster with its longer side reduced to at most `most` pixels, as `read`."""
        share = min(1.0, most / max(self.size))
        width, height = (max(1, round(n * share)) for n in self.size)
        return self._values(out_shape=(self.channels, height, width))

    def _values(self, **how: Any) -> np.ndarray:
        try:
            masked = self.file().read(self.bands, masked=not self.alpha_is_band, **how)
            if self.alpha_is_band:
                masked = np.ma.masked_array(masked, masked == self.nodata)
            lacking = np.broadcast_to(masked.mask, masked.shape)
            if self.alpha:  # of which GDAL makes a mask for some types alone
                plane = self.file().read(
                    self.alpha[:1], **how | {"out_shape": (1, *masked.shape[1:])}
                )
                lacking = lacking | (plane == 0)
        except Exception as error:
            why = one_line(error.__cause__ or error)  # rasterio's own says nothing
            raise ValueError(f"{self.path}: cannot be read ({why})") from None
        wide = self.dtype in WIDE
        values = masked.data.astype(np.float64 if wide else np.float32)
        for plane, (scale, offset) in zip(values, self.scales, strict=True):
            if (scale, offset) != (1, 0):
                plane *= scale
                plane += offset
        values[lacking] = np.nan
        return values.transpose(1, 2, 0)

    def describe(self) -> str:
        pixel = f"{np.hypot(self.transform.a, self.transform.d):.6g}"
        place = f"of {pixel} in {self.crs}" if self.crs else "without a place"
        return f"{by(self.size)} pixels {place}"

    def difference(self, other: Grid) -> str:
        if difference := super().difference(other):
            return difference
        if not isinstance(other, Raster) or not (self.crs and other.crs):
            return ""
        if self.crs != other.crs:
            return f"{self.crs} and {other.crs}"
        ours, theirs = np.array(self.corners()), np.array(other.corners())
        apart = np.abs(ours - theirs).max()
        pixel = np.hypot(self.transform.a, self.transform.d)
        if apart > CLOSE * pixel:
            return f"pixels that lie up to {apart:.6g} apart in the units of {self.crs}"
        return ""

    def corners(self) -> list[tuple[float, float]]:
        """Return the places of the four corners in the units of the CRS."""
        width, height = self.size
        a, b, c, d, e, f = self.transform[:6]
        ends = (0, 0), (width, 0), (width, height), (0, height)
        return [(a * x + b * y + c, d * x + e * y + f) for x, y in ends]


def holds_values(file: Any, band: int) -> bool:
    """Return whether a band that is marked as alpha holds values: whether the middle of the image
    has others than 0 and the maximum.
    """
    from rasterio.windows import Window

    left, top = (max(0, (n - MIDDLE) // 2) for n in (file.width, file.height))
    try:
        values = file.read(band, window=Window(left, top, MIDDLE, MIDDLE))
    except Exception:  # reported when the pixels are read
        return False
    return bool(np.setdiff1d(values, (0, 255, np.iinfo(values.dtype).max)).size)


class OpenRasters:
    """The raster files that were used last; each thread has its own, since GDAL needs that."""

    def __init__(self, most: int = MOST_OPEN):
        self.most, self.lock = most, Lock()
        self.files: OrderedDict[tuple[Any, ...], Any] = OrderedDict()

    def get(self, path: str) -> Any:
        """Return a file, opened again if it has changed; ValueError if it cannot be opened."""
        try:
            state = os.stat(path)
        except OSError as error:
            raise ValueError(f"{path}: cannot be read as a raster ({one_line(error)})") from None
        key = os.getpid(), get_ident(), path, state.st_mtime_ns, state.st_size
        with self.lock:
            file = self.files.pop(key, None)
        file = file or open_raster(path)
        with self.lock:
            self.files[key] = file
            while len(self.files) > self.most:
                self.files.popitem(last=False)  # closed when its last reader lets go of it
        return file


opened = OpenRasters()


def open_raster(path: str, **how: Any) -> Any:
    """Open a raster with rasterio, without a warning that it has no place."""
    import warnings

    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            # Errors are raised and say as much as rasterio's log.
            logging.getLogger("rasterio").setLevel(logging.CRITICAL)
            return rasterio.open(path, **how)
        except Exception as error:
            raise ValueError(f"{path}: cannot be read as a raster ({one_line(error)})") from None
