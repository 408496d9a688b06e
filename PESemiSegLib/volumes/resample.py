"""Linear and nearest-neighbour resampling of an array through an index-to-index affine, slab by slab."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

SLAB_VOXELS = 8_000_000


def resample(
    array: npt.NDArray[Any],
    matrix: npt.NDArray[np.float64],
    shape: tuple[int, int, int],
    *,
    linear: bool,
    fill: float = 0,
) -> npt.NDArray[Any]:
    """Read `array` at the places of an output grid.

    Args:
        array: (z, y, x), any real dtype.
        matrix: 4x4, output voxel (i, j, k) -> input voxel (i, j, k). Working in indices keeps sheared and
            oblique grids free of any image library's rules for directions.
        shape: (z, y, x) of the output.
        linear: trilinear; otherwise nearest neighbour.
        fill: value outside the input.

    Returns:
        Array of `shape` and of the input's dtype; integers (and masks) are rounded, not cut off.
    """
    import SimpleITK as sitk

    dtype = array.dtype
    carrier = {"?": np.uint8, "e": np.float32}.get(dtype.char, dtype.type)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array, dtype=carrier))
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation(matrix[:3, 3].tolist())
    rounds = linear and dtype.kind in "iub"
    pixel = sitk.sitkFloat32 if rounds else image.GetPixelID()
    out = np.empty(shape, dtype=dtype)
    step = max(1, SLAB_VOXELS // (shape[1] * shape[2]))
    for start in range(0, shape[0], step):
        depth = min(step, shape[0] - start)
        slab = sitk.Resample(
            image,
            (shape[2], shape[1], depth),
            transform,
            sitk.sitkLinear if linear else sitk.sitkNearestNeighbor,
            (0.0, 0.0, float(start)),
            (1.0, 1.0, 1.0),
            (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
            float(fill),
            pixel,
        )
        values = sitk.GetArrayViewFromImage(slab)
        out[start : start + depth] = np.rint(values) if rounds else values
    return out
