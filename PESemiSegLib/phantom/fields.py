"""Owns what is sampled on grids: voxel axes, coarse fields read smoothly at any resolution, noise in mm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from PESemiSegLib.errors import InputError
from PESemiSegLib.volumes.grid import Grid

Array = np.ndarray


@dataclass(frozen=True)
class Axes:
    """Voxel centres of an axial grid along x, y and z, in LPS mm (float32, ascending)."""

    x: Array
    y: Array
    z: Array

    @classmethod
    def of(cls, grid: Grid) -> Axes:
        """Axes of an axis-aligned LPS grid; raises InputError for a rotated or flipped one."""
        steps = np.diag(grid.affine)[:3]
        if not np.allclose(grid.affine[:3, :3], np.diag(steps)) or (steps <= 0).any():
            raise InputError("phantom: the grid must be axial LPS with positive spacing; resample afterwards")
        counts = grid.shape[::-1]
        lines = [grid.affine[i, 3] + steps[i] * np.arange(counts[i]) for i in range(3)]
        return cls(*(line.astype(np.float32) for line in lines))

    @property
    def shape(self) -> tuple[int, int, int]:
        return (len(self.z), len(self.y), len(self.x))

    @property
    def spacing_mm(self) -> Array:
        """(x, y, z); 1 mm along an axis of a single sample."""
        return np.array([float(a[1] - a[0]) if len(a) > 1 else 1.0 for a in (self.x, self.y, self.z)])

    def box(self, low: Array, high: Array) -> tuple[slice, slice, slice]:
        """(z, y, x) slices of the voxels between two corners given as (x, y, z) mm."""
        spans = [
            slice(int(np.searchsorted(axis, lo)), int(np.searchsorted(axis, hi, side="right")))
            for axis, lo, hi in zip((self.x, self.y, self.z), low, high, strict=True)
        ]
        return spans[2], spans[1], spans[0]

    def boxes(self, low: Array, high: Array) -> Iterator[tuple[int, tuple[slice, slice, slice]]]:
        """Index and (z, y, x) box of each pair of corners (n, 3) mm that meets the grid."""
        lines = (self.x, self.y, self.z)
        first = np.stack([np.searchsorted(a, low[:, i]) for i, a in enumerate(lines)], 1)
        last = np.stack([np.searchsorted(a, high[:, i], side="right") for i, a in enumerate(lines)], 1)
        for i in np.flatnonzero((last > first).all(1)):
            (x0, y0, z0), (x1, y1, z1) = first[i].tolist(), last[i].tolist()
            yield int(i), (slice(z0, z1), slice(y0, y1), slice(x0, x1))

    def at(self, box: tuple[slice, slice, slice]) -> tuple[Array, Array, Array]:
        """Broadcastable (x, y, z) coordinates of a box: shapes (1,1,n), (1,n,1), (n,1,1)."""
        return self.x[None, None, box[2]], self.y[None, box[1], None], self.z[box[0], None, None]


def _cubic(t: Array, smooth: bool) -> Array:
    """Weights (n, 4) of B-spline (`smooth`) or Catmull-Rom interpolation at fractions t."""
    if smooth:
        w = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
        return np.stack(w, 1) / 6.0
    w = [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3]
    return np.stack(w, 1) / 2.0


def _weights(origin: float, step: float, count: int, line: Array, smooth: bool) -> Any:
    """Sparse (len(line), count) interpolation matrix; samples beyond the lattice are clamped."""
    from scipy.sparse import csr_array

    u = np.clip((line.astype(np.float64) - origin) / step, 0.0, count - 1.0)
    base = np.minimum(u.astype(int), max(count - 2, 0))
    w = _cubic(u - base, smooth).astype(np.float32)
    rows = np.repeat(np.arange(len(line)), 4)
    columns = np.clip(base[:, None] + np.arange(-1, 3), 0, count - 1)
    return csr_array((w.ravel(), (rows, columns.ravel())), shape=(len(line), count))


@dataclass
class CoarseField:
    """Values on a coarse (z, y, x) lattice in mm, read on any grid through separable cubic weights."""

    values: Array
    origin: tuple[float, float, float]  # x, y, z
    step: tuple[float, float, float]
    smooth: bool = False
    _w: tuple[Any, Any, Any] | None = field(default=None, repr=False)

    def bind(self, axes: Axes) -> CoarseField:
        """Copy prepared to be read slice by slice on `axes`."""
        lines = (axes.x, axes.y, axes.z)
        w = [
            _weights(self.origin[i], self.step[i], self.values.shape[2 - i], lines[i], self.smooth)
            for i in range(3)
        ]
        return CoarseField(self.values, self.origin, self.step, self.smooth, (w[0], w[1], w[2]))

    def plane(self, k: int, rows: slice = slice(None), columns: slice = slice(None)) -> Array:
        """The bound field on slice k, shape (y, x), float32."""
        assert self._w is not None, "bind the field to axes first"
        wx, wy, wz = self._w
        used, weight = wz.indices[wz.indptr[k] : wz.indptr[k + 1]], wz.data[wz.indptr[k] : wz.indptr[k + 1]]
        plane = sum(w * self.values[i] for i, w in zip(used, weight, strict=True))
        if columns != slice(None):
            wx = wx[columns]
        if rows != slice(None):
            wy = wy[rows]
        return wy @ np.ascontiguousarray((wx @ np.ascontiguousarray(plane.T)).T)

    def block(self, box: tuple[slice, slice, slice]) -> Array:
        """The bound field on a (z, y, x) box."""
        planes = [self.plane(k, box[1], box[2]) for k in range(box[0].start, box[0].stop)]
        return np.stack(planes) if planes else np.zeros((0, 0, 0), np.float32)

    def at(self, points: Array) -> Array:
        """Trilinear values at (n, 3) points in mm (x, y, z)."""
        from scipy.ndimage import map_coordinates

        ijk = (np.asarray(points, float) - self.origin) / self.step
        return map_coordinates(self.values, ijk[:, ::-1].T, order=1, mode="nearest")


def lattice_noise(rng: np.random.Generator, low: Array, high: Array, step_mm: float) -> CoarseField:
    """Smooth noise of unit variance over a box given in mm; the same on every grid."""
    counts = [int(np.ceil((h - lo) / step_mm)) + 3 for lo, h in zip(low, high, strict=True)]
    values = rng.standard_normal(counts[::-1], dtype=np.float32) * np.float32(2.9)  # B-spline shrinks the sd
    origin = tuple(float(v) - step_mm for v in low)
    return CoarseField(values, (origin[0], origin[1], origin[2]), (step_mm,) * 3, smooth=True)


@dataclass(frozen=True)
class WaveNoise:
    """Sum of random sinusoids: smooth noise of unit variance at any points, (n, 3) mm -> (n, channels)."""

    k: Array
    phase: Array

    @classmethod
    def draw(
        cls, rng: np.random.Generator, wavelength_mm: float, channels: int = 1, waves: int = 24
    ) -> WaveNoise:
        direction = rng.standard_normal((channels, waves, 3))
        direction /= np.linalg.norm(direction, axis=2, keepdims=True)
        length = wavelength_mm * rng.uniform(0.7, 1.6, (channels, waves, 1))
        return cls(direction * (2 * np.pi / length), rng.uniform(0, 2 * np.pi, (channels, waves)))

    def __call__(self, points: Array) -> Array:
        scale = np.sqrt(2.0 / self.phase.shape[1])
        parts = [np.sin(points @ k.T + p).sum(1) * scale for k, p in zip(self.k, self.phase, strict=True)]
        return np.stack(parts, 1)
