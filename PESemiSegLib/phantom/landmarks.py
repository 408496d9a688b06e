"""Where the scanner's artefacts come from: the beating heart and the dense vena cava, on the image grid."""

from dataclasses import dataclass

import numpy as np

from PESemiSegLib.phantom.parameters import PatientParameters
from PESemiSegLib.volumes.grid import Grid

_HEART_MM = (10.0, -25.0, -66.0)
_HEART_RADIUS_MM = 52.0
_SVC_MM = (
    (-25.0, -22.0, 44.0),
    (-29.0, -19.0, 22.0),
    (-31.0, -16.0, -5.0),
    (-31.0, -14.0, -32.0),
    (-29.0, -16.0, -48.0),
)
"""LPS mm in the atlas of heart.py, whose carina is the origin; patients scale it by their size."""


@dataclass(frozen=True)
class Landmarks:
    """In voxels of the image. svc_yx: (slices, 2) centre of the vena cava, NaN in slices without it."""

    heart_zyx: tuple[float, float, float]
    heart_radius_mm: float
    svc_yx: np.ndarray


def landmarks(parameters: PatientParameters, grid: Grid) -> Landmarks:
    """The landmarks of a patient on an axial grid."""
    size = np.array(parameters.size)
    x, y, z = grid.to_ijk(np.array(_HEART_MM) * size)
    line = grid.to_ijk(np.array(_SVC_MM) * size)[::-1]  # from below, as the slices go
    slices = np.arange(grid.shape[0])
    svc = [np.interp(slices, line[:, 2], line[:, axis], left=np.nan, right=np.nan) for axis in (1, 0)]
    return Landmarks((z, y, x), _HEART_RADIUS_MM * float(size.mean()), np.stack(svc, axis=1))
