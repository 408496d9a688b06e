"""Regular voxel grids in patient space: from voxel indices (i, j, k) to LPS millimetres and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Grid:
    """A regular grid.

    Args:
        shape: (z, y, x), the order of the array's axes, that is (k, j, i).
        affine: 4x4 float64, (i, j, k, 1) -> LPS mm; its columns are the steps along x, y and z of the array.

    Raises:
        ValueError: if the shape is not three positive numbers or the affine is not an invertible 4x4.
    """

    shape: tuple[int, int, int]
    affine: FloatArray

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"a grid has three axes of at least one voxel, got {shape}")
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or np.linalg.det(affine[:3, :3]) == 0:
            raise ValueError("a grid's affine is a finite, invertible 4x4 matrix")
        affine.flags.writeable = False
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", shape)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxels along (x, y, z) of the array."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def origin(self) -> tuple[float, float, float]:
        """LPS mm of the centre of voxel (0, 0, 0)."""
        x, y, z = self.affine[:3, 3]
        return float(x), float(y), float(z)

    @property
    def direction(self) -> FloatArray:
        """3x3; columns are the unit vectors of the array's x, y and z axes in LPS."""
        return np.asarray(self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def voxel_volume_mm3(self) -> float:
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def shear_degrees(self) -> float:
        """How far two of the axes are from a right angle, at most."""
        direction = self.direction
        cosine = np.abs(direction.T @ direction - np.eye(3)).max()
        return float(np.degrees(np.arcsin(min(1.0, cosine))))

    @property
    def is_sheared(self) -> bool:
        """Whether no orthogonal grid has all voxels within a quarter of a voxel (else it is rounding)."""
        return not self.same_as(orthonormalised(self), tolerance_mm=0.25 * min(self.spacing_mm))

    def to_lps(self, ijk: npt.ArrayLike) -> FloatArray:
        """Voxel indices (..., 3) as (i, j, k), possibly fractional -> LPS mm (..., 3)."""
        points = np.asarray(ijk, dtype=np.float64)
        return np.asarray(points @ self.affine[:3, :3].T + self.affine[:3, 3])

    def to_ijk(self, lps: npt.ArrayLike) -> FloatArray:
        """LPS mm (..., 3) -> voxel indices (..., 3) as (i, j, k), fractional."""
        points = np.asarray(lps, dtype=np.float64) - self.affine[:3, 3]
        return np.asarray(points @ np.linalg.inv(self.affine[:3, :3]).T)

    def corners_lps(self) -> FloatArray:
        """LPS mm (8, 3) of the centres of the corner voxels."""
        z, y, x = self.shape
        ijk = [(i, j, k) for k in (0, z - 1) for j in (0, y - 1) for i in (0, x - 1)]
        return self.to_lps(ijk)

    def same_as(self, other: Grid, tolerance_mm: float = 1e-3) -> bool:
        """Whether both grids have the same shape and every voxel lies in the same place."""
        if self.shape != other.shape:
            return False
        return bool(np.abs(self.corners_lps() - other.corners_lps()).max() <= tolerance_mm)


def make_affine(
    spacing_mm: npt.ArrayLike, origin: npt.ArrayLike = (0.0, 0.0, 0.0), direction: npt.ArrayLike | None = None
) -> FloatArray:
    """4x4 (i, j, k) -> LPS mm from (x, y, z) spacing, origin and 3x3 direction (columns are axes)."""
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3) if direction is None else np.asarray(direction, dtype=np.float64)
    affine[:3, :3] *= np.asarray(spacing_mm, dtype=np.float64)
    affine[:3, 3] = origin
    return affine


def orthonormalised(grid: Grid) -> Grid:
    """The orthogonal grid nearest to a grid with rounding errors in its axes (same spacing, same centre)."""
    left, _, right = np.linalg.svd(grid.direction)
    affine = np.eye(4)
    affine[:3, :3] = (left @ right) * np.asarray(grid.spacing_mm)
    z, y, x = grid.shape
    middle = np.array([x - 1, y - 1, z - 1]) / 2
    affine[:3, 3] = grid.to_lps(middle) - affine[:3, :3] @ middle
    return Grid(grid.shape, affine)
