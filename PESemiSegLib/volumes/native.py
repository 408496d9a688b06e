"""How the input lay in space, and the way between it and the axial working grid, both ways."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt

from .grid import FloatArray, Grid, make_affine, orthonormalised
from .resample import resample

AIR_HU = -1024
ALIGNED_DEGREES = 5.0  # inputs turned less than this keep their own voxels: only axes are swapped and flipped
Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class NativeGrid:
    """The input's stack of slices and how its voxels map to the working grid.

    Args:
        stack: the input as a regular stack (slices, rows, columns); sheared for a tilted gantry.
        working: the axial grid of `Volume.hu`.
        axes: the stack's array axis that each working array axis (z, y, x) takes; None where the working
            grid was resampled.
        flips: whether each working axis (z, y, x) runs against the stack's.
        writes_stack: whether the stack is the input's own, regular and orthogonal grid.
        slice_positions: (n,) index along the stack, maybe fractional, of each source slice, in the order of
            `SeriesFacts.source_files`; None where source slices and stack are the same.
    """

    stack: Grid
    working: Grid
    axes: tuple[int, int, int] | None
    flips: tuple[bool, bool, bool] = (False, False, False)
    writes_stack: bool = True
    slice_positions: FloatArray | None = None

    @property
    def slice_gap_mm(self) -> float:
        """The largest distance between neighbouring source slices; see `Volume.slice_gap_mm`."""
        steps = np.ones(1) if self.slice_positions is None else np.diff(np.sort(self.slice_positions))
        return float(steps.max(initial=1.0) * self.stack.spacing_mm[2])

    @property
    def output_grid(self) -> Grid:
        return self.stack if self.writes_stack else self.working

    def to_working(self, array: Array, *, linear: bool, fill: float) -> Array:
        """Stack (slices, rows, columns) -> working (z, y, x); exact where `axes` is known."""
        if self.axes is None:
            matrix = np.linalg.inv(self.stack.affine) @ self.working.affine
            return resample(array, matrix, self.working.shape, linear=linear, fill=fill)
        turned = np.transpose(array, self.axes)
        return np.ascontiguousarray(np.flip(turned, tuple(a for a in range(3) if self.flips[a])))

    def to_stack(self, array: Array, *, linear: bool, fill: float) -> Array:
        """Working (z, y, x) -> stack (slices, rows, columns); exact where `axes` is known."""
        if array.shape != self.working.shape:
            raise ValueError(f"array of shape {array.shape} is not on the working grid {self.working.shape}")
        if self.axes is None:
            matrix = np.linalg.inv(self.working.affine) @ self.stack.affine
            return resample(array, matrix, self.stack.shape, linear=linear, fill=fill)
        turned = np.flip(array, tuple(a for a in range(3) if self.flips[a]))
        return np.ascontiguousarray(np.transpose(turned, np.argsort(self.axes)))

    def to_output(self, array: Array, *, linear: bool, fill: float) -> Array:
        """Working (z, y, x) -> array on `output_grid`."""
        if not self.writes_stack:
            if array.shape != self.working.shape:
                raise ValueError(f"array of shape {array.shape} is not on the grid {self.working.shape}")
            return array
        return self.to_stack(array, linear=linear, fill=fill)

    def to_source(self, array: Array, *, linear: bool, fill: float) -> Array:
        """Working (z, y, x) -> (source slices, rows, columns), in the order of the source files or frames."""
        stack = self.to_stack(array, linear=linear, fill=fill)
        if self.slice_positions is None:
            return stack
        positions = np.clip(self.slice_positions, 0, len(stack) - 1)
        if not linear:
            return stack[np.rint(positions).astype(int)]
        return interpolated_slices(stack, positions)

    def from_source(self, array: Array, *, fill: float) -> Array:
        """(source slices, rows, columns) -> working (z, y, x); filled-in planes take the nearest slice."""
        positions = self.slice_positions
        if positions is not None and len(positions) == len(array):
            planes = np.arange(self.stack.shape[0])
            array = array[np.abs(planes[:, None] - positions[None, :]).argmin(axis=1)]
        if array.shape != self.stack.shape:
            raise ValueError(f"array of shape {array.shape} is not on the source grid {self.stack.shape}")
        return self.to_working(array, linear=False, fill=fill)


def interpolated_slices(stack: Array, positions: FloatArray) -> Array:
    """Slices (n, rows, columns) read linearly at fractional `positions` along a stack's first axis."""
    out = np.empty((len(positions), *stack.shape[1:]), dtype=stack.dtype)
    rounds = stack.dtype.kind in "iub"
    for row, position in zip(out, positions, strict=True):
        below = min(int(position), len(stack) - 1)
        part = position - below
        if part < 1e-6 or below + 1 >= len(stack):
            row[...] = stack[below]
            continue
        mixed = stack[below] * np.float32(1 - part) + stack[below + 1] * np.float32(part)
        row[...] = np.rint(mixed) if rounds else mixed
    return out


def arrange(
    array: npt.NDArray[np.int16],
    affine: FloatArray,
    *,
    writes_stack: bool = True,
    slice_positions: FloatArray | None = None,
    labels: bool = False,
) -> tuple[npt.NDArray[np.int16], NativeGrid]:
    """Bring a stack of HU onto an axial grid (x to patient left, y to posterior, z to superior).

    Args:
        array: (slices, rows, columns) int16 HU. May be turned over in place: the caller gives it away.
        affine: 4x4 (column, row, slice) -> LPS mm, possibly sheared.
        writes_stack, slice_positions: as in `NativeGrid`.
        labels: values must not be mixed, and 0 is what lies beyond the stack, not air.

    Returns:
        hu (z, y, x) int16, C-contiguous, and the way back.
    """
    rows, slices = array.shape[1:], array.shape[0]
    stack = Grid((slices, rows[0], rows[1]), affine)
    sheared = stack.is_sheared
    if not sheared and stack.shear_degrees > 1e-4:
        stack = orthonormalised(stack)
    order, angle_degrees = _axes_towards_lps(stack.direction)
    if sheared or angle_degrees > ALIGNED_DEGREES:
        native = NativeGrid(
            stack,
            axial_grid_around(stack, order),
            axes=None,
            writes_stack=writes_stack and not sheared,
            slice_positions=slice_positions,
        )
        return native.to_working(array, linear=not labels, fill=0 if labels else AIR_HU), native

    flips_xyz = [bool(stack.direction[lps, order[lps]] < 0) for lps in range(3)]
    to_stack_ijk = np.zeros((4, 4))
    to_stack_ijk[3, 3] = 1
    for lps, axis in enumerate(order):
        to_stack_ijk[axis, lps] = -1 if flips_xyz[lps] else 1
        to_stack_ijk[axis, 3] = stack.shape[2 - axis] - 1 if flips_xyz[lps] else 0
    axes = (2 - order[2], 2 - order[1], 2 - order[0])
    shape = (stack.shape[axes[0]], stack.shape[axes[1]], stack.shape[axes[2]])
    native = NativeGrid(
        stack,
        Grid(shape, stack.affine @ to_stack_ijk),
        axes=axes,
        flips=(flips_xyz[2], flips_xyz[1], flips_xyz[0]),
        writes_stack=writes_stack,
        slice_positions=slice_positions,
    )
    if axes == (0, 1, 2) and array.flags.c_contiguous and array.flags.writeable:
        return _flipped_in_place(array, native.flips), native
    return native.to_working(array, linear=False, fill=AIR_HU), native


def axial_grid_around(stack: Grid, order: tuple[int, int, int]) -> Grid:
    """The axis-parallel LPS grid that holds a stack, with the spacing of the stack's nearest axes."""
    inverse = np.linalg.inv(stack.affine[:3, :3])
    along = [1 / abs(inverse[axis, lps]) for lps, axis in enumerate(order)]  # mm between planes along L, P, S
    spacing = np.minimum([stack.spacing_mm[axis] for axis in order], along)
    corners = stack.corners_lps()
    low, high = corners.min(axis=0), corners.max(axis=0)
    nx, ny, nz = (int(n) for n in np.ceil((high - low) / spacing - 1e-3) + 1)
    return Grid((nz, ny, nx), make_affine(spacing, low))


def _axes_towards_lps(direction: FloatArray) -> tuple[tuple[int, int, int], float]:
    """The stack axis (i, j or k) nearest to each of L, P and S, and the worst angle between them."""
    cosines = np.abs(direction)
    order = max(permutations(range(3)), key=lambda p: sum(cosines[lps, p[lps]] for lps in range(3)))
    worst = min(cosines[lps, order[lps]] for lps in range(3))
    return (order[0], order[1], order[2]), float(np.degrees(np.arccos(min(1.0, worst))))


def _flipped_in_place(array: npt.NDArray[np.int16], flips: tuple[bool, bool, bool]) -> npt.NDArray[np.int16]:
    """Flip along (z, y, x) without a second volume in memory."""
    in_plane = tuple(a - 1 for a in (1, 2) if flips[a])
    if in_plane:
        for plane in array:
            plane[...] = np.flip(plane, in_plane).copy()
    if flips[0]:
        for k in range(len(array) // 2):
            low = array[k].copy()
            array[k] = array[-1 - k]
            array[-1 - k] = low
    return array
