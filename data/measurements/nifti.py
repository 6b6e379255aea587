"""NIfTI volumes, .nii and .nii.gz."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from data.measurements.grid import by, decoded, require
from data.measurements.volume import Volume
from util.errors import one_line

ENDINGS = (".nii", ".nii.gz")


class NiftiVolume(Volume):
    """A NIfTI file, or an image of nibabel, with one volume; slope and intercept are applied."""

    def __init__(self, source: Any, axis: str = "axial"):
        """`source` is the path of a file, or an image of nibabel."""
        self.in_memory = not isinstance(source, str | Path)
        path = (source.get_filename() or "the image") if self.in_memory else str(source)
        require("nibabel", "medical", path)
        self.image = image = source if self.in_memory else open_nifti(path)
        shape = image.shape
        while len(shape) > 3 and shape[-1] == 1:
            shape = shape[:-1]
        if len(shape) > 3:
            raise ValueError(
                f"{path}: has {len(shape)} dimensions ({by(shape)}); give one volume a file"
            )
        shape = (*shape, 1, 1)[:3]
        if 0 in shape:
            raise ValueError(f"{path}: has no voxels ({by(shape)})")
        self.dtype = value_type(image, path)
        # A compressed file cannot be entered in the middle.
        compressed = path.lower().endswith(".gz") or len(image.shape) < 3
        self.decoded = compressed and not self.in_memory
        super().__init__(path, shape, image.affine, axis)

    def plane(self, index: int) -> np.ndarray:
        selection = [slice(None)] * 3
        selection[self.stored_axis] = slice(index, index + 1)
        try:
            if self.in_memory:
                values = self._kept[tuple(selection)]
            elif self.decoded:
                values = decoded.get(self.path, self._all)[tuple(selection)]
            else:
                values = self._values(self.image.dataobj[(*selection, *self._more)])
        except Exception as error:  # nibabel raises nearly anything on a damaged file
            raise ValueError(f"{self.path}: cannot be read ({one_line(error)})") from None
        return values.astype(np.float64 if self.dtype == "float64" else np.float32)

    @property
    def _more(self) -> tuple[int, ...]:
        """The only index along each further dimension."""
        return (0,) * (len(self.image.shape) - 3)

    def _all(self) -> np.ndarray:
        return self._values(np.asanyarray(self.image.dataobj))

    @cached_property
    def _kept(self) -> np.ndarray:
        """All values of an image of nibabel, whose file may have to be decoded."""
        return self._all()

    def _values(self, array: np.ndarray) -> np.ndarray:
        array = np.asanyarray(array)
        return array.reshape((*array.shape, 1, 1)[:3])


def open_nifti(path: str) -> Any:
    """Open a NIfTI file without its voxels; ValueError names it if that fails."""
    import nibabel

    try:
        image = nibabel.load(path)
        if not isinstance(image, nibabel.Nifti1Pair):
            raise ValueError(f"is no NIfTI file but {type(image).__name__}")
        return image
    except Exception as error:
        raise ValueError(f"{path}: cannot be read as NIfTI ({one_line(error)})") from None


def value_type(image: Any, path: str) -> str:
    """Return the type of a NIfTI image's values, once slope and intercept are applied."""
    stored = image.get_data_dtype()
    if stored.kind not in "uif":
        raise ValueError(f"{path}: holds {stored}; expected whole numbers or floats")
    if stored.kind == "f":
        return "float64" if stored.itemsize > 4 else "float32"
    slope, intercept = (getattr(image.dataobj, name, n) for name, n in (("slope", 1), ("inter", 0)))
    return whole_type(stored, [slope], [intercept])


def whole_type(
    stored: np.dtype, slopes: list[float], intercepts: list[float], bits: int | None = None
) -> str:
    """Return the type that holds the values slope · number + intercept of an integer type, of which
    `bits` are used, by default all.
    """
    if any(value % 1 for value in [*slopes, *intercepts]):
        return "float32"
    if all(value == 1 for value in slopes) and not any(intercepts):
        return stored.newbyteorder("=").name
    unused = 8 * stored.itemsize - (bits or 8 * stored.itemsize)
    limits = [int(end) >> unused for end in (np.iinfo(stored).min, np.iinfo(stored).max)]
    ends = [s * end + i for s, i in zip(slopes, intercepts, strict=True) for end in limits]
    for name in ("int16", "int32"):
        if np.iinfo(name).min <= min(ends) and max(ends) <= np.iinfo(name).max:
            return name
    return "float64"
