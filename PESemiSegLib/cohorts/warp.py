"""Owns the laying of a registered scan, or its mask, on the grid of the other: no embolus is lost by it."""

from __future__ import annotations

import numpy as np

from PESemiSegLib.cohorts.registration import Registration
from PESemiSegLib.cohorts.registration_fit import image_of, placed
from PESemiSegLib.volumes.grid import Grid
from PESemiSegLib.volumes.preprocess import SPACING_TOLERANCE


def warped(
    array: np.ndarray, grid: Grid, onto: Grid, registration: Registration, *, fill: float
) -> np.ndarray:
    """An array (z, y, x) on `grid` of the contrast scan, brought onto a grid of the plain one.

    Linear, after a mean as wide as a voxel of `onto` along each axis where that is coarser. A mask (bool or
    uint8) is moved as a share and cut at a half, which keeps its volume better than the nearest voxel; see
    `cut`. The dtype stays. `fill` where the contrast scan does not reach.
    """
    import SimpleITK as sitk

    mask = array.dtype in (np.dtype(bool), np.dtype(np.uint8))
    moving = image_of(_averaged(array.astype(np.float32), grid, onto), grid)
    empty = sitk.Image([int(n) for n in reversed(onto.shape)], sitk.sitkUInt8)
    moved = sitk.Resample(moving, placed(empty, onto), registration.transform, sitk.sitkLinear, float(fill))
    values = sitk.GetArrayFromImage(moved)
    if mask:
        return cut(values).astype(array.dtype)
    return np.rint(values).astype(array.dtype) if array.dtype.kind in "iu" else values.astype(array.dtype)


def cut(share: np.ndarray) -> np.ndarray:
    """Where a mask is, bool (z, y, x), of the share of each voxel that it fills.

    From a half on; and where an embolus fills no voxel by half (3 mm between two slices of 5 mm), from half
    of the most that it fills: a patient with PE must not become one without.
    """
    from scipy import ndimage

    emboli, count = ndimage.label(share > 0, np.ones((3, 3, 3)))
    most = np.array([np.inf, *ndimage.maximum(share, emboli, np.arange(1, count + 1))], dtype=np.float32)
    least = np.where(most < 0.5, most / 2, np.minimum(most, 0.5))
    least[0] = np.inf
    return np.asarray(share >= least[emboli])


def _averaged(values: np.ndarray, grid: Grid, onto: Grid) -> np.ndarray:
    """The mean, at each voxel, over the extent of a voxel of `onto`, along the axes where that is larger."""
    from scipy import ndimage

    extents_mm = np.linalg.norm(grid.direction.T @ onto.affine[:3, :3], axis=1)
    for axis, (extent_mm, mm) in enumerate(zip(extents_mm[::-1], grid.spacing_mm[::-1], strict=True)):
        width = extent_mm / mm
        if width > 1 + SPACING_TOLERANCE:
            reach = int(np.ceil((width - 1) / 2))
            weights = np.clip((width + 1) / 2 - np.abs(np.arange(-reach, reach + 1)), 0, 1)
            values = ndimage.correlate1d(values, weights / width, axis, mode="nearest")
    return values
