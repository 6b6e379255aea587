"""Volumes: slices across the body, whatever the order in which a file stores its voxels."""

from abc import abstractmethod
from functools import cached_property

import numpy as np

from data.measurements.grid import Box, Grid, by, part_of

AXES = ("sagittal", "coronal", "axial")  # slices across the axes to the Right, Anterior, Superior
AXIS_ENDS = ("LR", "PA", "IS")  # to where each of them goes, backwards and forwards
CLOSE = 0.01  # of a voxel: how far apart two volumes' corners may lie


class Volume(Grid):
    """A 3-D array with an affine from its voxels to millimetres (Right, Anterior, Superior).

    Slices are numbered from left to right, from back to front or from bottom to top. In a slice,
    columns go to the right (sagittal: to the front), rows go down (axial: to the back). Oblique
    volumes are sliced along the stored axis that is nearest.
    """

    channels = 1
    ending = ".nii.gz"

    def __init__(self, path: str, shape: tuple[int, ...], affine: np.ndarray, axis: str):
        """`shape` and `affine` are those of the stored array; `axis` is one of `AXES`."""
        from nibabel.orientations import io_orientation

        self.path, self.shape, self.affine = path, shape, affine
        finite = np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 0
        if not finite:
            raise ValueError(f"{path}: its affine has no three directions: {affine.tolist()}")
        self.orientation = io_orientation(affine)
        self.axis = AXES.index(axis)
        self.stored_axis = self.orientation[:, 0].tolist().index(self.axis)
        self.count = shape[self.stored_axis]
        order = np.argsort(self.orientation[:, 0])
        plane_axes = [order[axis] for axis in range(3) if axis != self.axis]
        self.size = tuple(shape[stored] for stored in plane_axes)
        self.pixel_size = tuple(self.spacing[plane_axes].tolist())

    @abstractmethod
    def plane(self, index: int) -> np.ndarray:
        """Return the values at `index` of the stored axis, (…, 1, …) floats as they are stored."""

    def read(self, number: int = 0, box: Box | None = None) -> np.ndarray:
        forward = self.orientation[self.stored_axis, 1] > 0
        plane = self.plane(number if forward else self.count - 1 - number)
        return part_of(slices_of(plane, self.orientation, self.axis)[0], box)[..., None]

    @cached_property
    def corners(self) -> np.ndarray:
        """The places in mm of the voxel at the left, back and bottom, and of those at the other
        ends of the three edges from there, (4, 3).
        """
        from nibabel.orientations import inv_ornt_aff

        affine = self.affine @ inv_ornt_aff(self.orientation, self.shape)
        ends = np.diag([n - 1 for n in np.array(self.shape)[np.argsort(self.orientation[:, 0])]])
        voxels = np.vstack([np.hstack([np.zeros((3, 1)), ends]), np.ones(4)])
        return (affine @ voxels)[:3].T

    def describe(self) -> str:
        spacing = tuple(float(f"{step:.3g}") for step in self.spacing)
        axes = "".join(AXIS_ENDS[int(a)][int(sign > 0)] for a, sign in self.orientation)
        return f"{by(self.shape)} voxels of {by(spacing)} mm, {axes}"

    def difference(self, other: Grid) -> str:
        if difference := super().difference(other):
            return difference
        if not isinstance(other, Volume):
            return "a volume and an image"
        apart = np.abs(self.corners - other.corners).max()
        if apart > CLOSE * self.spacing.min():
            return f"voxels that lie up to {apart:.3g} mm apart"
        return ""

    @property
    def spacing(self) -> np.ndarray:
        """The distances of voxels along the stored axes, in mm."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)


def slices_of(array: np.ndarray, orientation: np.ndarray, axis: int) -> np.ndarray:
    """Return a stored array (X, Y, Z) as slices across an axis of `AXES`, (count, H, W): a view.

    `orientation` has for each stored axis its axis of `AXES`, and 1 or -1 for its direction.
    """
    order = np.argsort(orientation[:, 0])  # the stored axes in the order of AXES
    view = array.transpose(order)
    view = view[tuple(slice(None, None, int(orientation[stored, 1])) for stored in order)]
    return np.moveaxis(view, axis, 0).transpose(0, 2, 1)[:, ::-1]
