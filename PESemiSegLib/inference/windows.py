"""Owns the window that slides over the lungs: the network's voxels, its places, and the way back.

For networks that see a block (z, y, x) at once. Places are multiples of the network's deepest stride, so that
the cells of its deepest map coincide between windows and are averaged without interpolation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from PESemiSegLib.inference.result import Box
from PESemiSegLib.volumes.preprocess import resample_matrix, spacing_differs, window_in_place

STRIDE = 32  # voxels per cell of the deepest map
OVERLAP = 0.25
"""Least overlap of neighbouring windows, MONAI's default; windows of one cell cannot overlap, and do not."""
_SIGMA = 0.125  # of the weights, as a share of the window: MONAI's importance map

Place = tuple[int, int, int]
"""First voxel (z, y, x) of a window on the network's grid."""


@dataclass(frozen=True)
class Axis:
    """One axis between the box and the network: sizes, places, and the matrices both ways (None when alike).

    net_size: voxels after resampling. padded: the network's grid with what windows need beyond.
    """

    box_size: int
    net_size: int
    padded: int
    crop: int
    into: np.ndarray | None
    back: np.ndarray | None

    @classmethod
    def plan(cls, box_size: int, spacing_mm: float, wanted_mm: float, crop: int) -> Axis:
        """Decide the sizes of one axis."""
        if not spacing_differs((spacing_mm,), wanted_mm):
            return cls(box_size, box_size, _covering(box_size, crop), crop, None, None)
        net = max(1, round(box_size * spacing_mm / wanted_mm))
        into, back = resample_matrix(box_size, net), resample_matrix(net, box_size)
        return cls(box_size, net, _covering(net, crop), crop, into, back)

    @property
    def starts(self) -> tuple[int, ...]:
        """First voxels of the windows, from end to end.

        Neighbours overlap by OVERLAP or more; those of STRIDE voxels stand side by side.
        """
        step = max(STRIDE, int(self.crop * (1 - OVERLAP)) // STRIDE * STRIDE)
        last = self.padded - self.crop
        return (*range(0, last, step), last)

    @property
    def middle(self) -> int:
        """First voxel of the window in the middle."""
        return (self.padded - self.crop) // 2 // STRIDE * STRIDE

    @property
    def weights(self) -> np.ndarray:
        """How much each voxel of a window counts (crop,): a Gaussian, never 0."""
        place = (np.arange(self.crop) + 0.5) / self.crop - 0.5
        return np.asarray(np.exp(-0.5 * (place / _SIGMA) ** 2) + 1e-3, dtype=np.float32)

    @property
    def cells_to_box(self) -> np.ndarray:
        """Linear weights (box_size, cells) from the cells of the deepest map to the voxels of the box."""
        spread = resample_matrix(self.padded // STRIDE, self.padded)[: self.net_size]
        return spread if self.back is None else np.asarray(self.back @ spread)


def _covering(size: int, crop: int) -> int:
    return max(crop, -(-size // STRIDE) * STRIDE)


def grow_to_windows(
    box: Box,
    full_shape: tuple[int, int, int],
    spacing_mm: Sequence[float],
    wanted_mm: Sequence[float],
    crop: tuple[int, int, int],
) -> Box:
    """Widen `box` to what windows cover anyway, inside the image: real voxels are better than padding.

    spacing_mm, wanted_mm: (z, y, x) of the box and of the network.
    """
    start, stop = list(box.start), list(box.stop)
    for axis in range(3):
        size, ratio = stop[axis] - start[axis], wanted_mm[axis] / spacing_mm[axis]
        if not spacing_differs((spacing_mm[axis],), wanted_mm[axis]):
            ratio = 1.0
        covered = _covering(max(1, round(size / ratio)), crop[axis])  # as Axis.plan rounds
        want = min(full_shape[axis], max(size, int(covered * ratio)))
        start[axis] = min(max(0, start[axis] - (want - size) // 2), full_shape[axis] - want)
        stop[axis] = start[axis] + want
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


class Windows:
    """The network's view of a box: windowed blocks at their places, and maps brought back to the box.

    Args:
        hu: int16 (z, y, x), the whole volume. box: the part to compute.
        spacing_mm, wanted_mm: (z, y, x) of `hu` and of the network.
        hu_window, crop: of the package; crop is (z, y, x).
    """

    def __init__(
        self,
        hu: np.ndarray,
        box: Box,
        spacing_mm: Sequence[float],
        *,
        wanted_mm: Sequence[float],
        hu_window: tuple[float, float],
        crop: tuple[int, int, int],
    ) -> None:
        self.box, self.crop, self._window = box, crop, hu_window
        self.axes = tuple(
            Axis.plan(*facts) for facts in zip(box.shape, spacing_mm, wanted_mm, crop, strict=True)
        )
        self._hu = _resampled(hu[box.slices], self.axes)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The network's grid (z, y, x), padding included."""
        z, y, x = self.axes
        return (z.padded, y.padded, x.padded)

    @property
    def middle(self) -> Place:
        """The place of the window in the middle of the box."""
        z, y, x = self.axes
        return (z.middle, y.middle, x.middle)

    @property
    def places(self) -> list[Place]:
        """Every window's place, upwards; the middle one is among them."""
        z, y, x = self.axes
        every = {(k, j, i) for k in z.starts for j in y.starts for i in x.starts}
        return sorted(every | {self.middle})

    def extent(self, place: Place) -> Box:
        """The voxels of the whole volume that a window sees, to the nearest; padding left out."""
        start, stop = [], []
        for axis, first, at in zip(self.axes, self.box.start, place, strict=True):
            voxel = axis.box_size / axis.net_size
            start.append(first + min(round(at * voxel), axis.box_size))
            stop.append(first + min(round((at + axis.crop) * voxel), axis.box_size))
        return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))

    def input(self, place: Place) -> np.ndarray:
        """The network's input (1, z, y, x) float32 in [-1, 1]; beyond the image lies air, as in training."""
        here = tuple(slice(a, a + n) for a, n in zip(place, self.crop, strict=True))
        block = window_in_place(self._hu[here].astype(np.float32), self._window)
        short = [(0, n - size) for n, size in zip(self.crop, block.shape, strict=True)]
        return np.pad(block, short, constant_values=-1.0)[None]

    def back(self, planes: np.ndarray) -> Iterator[np.ndarray]:
        """The slices (y, x) float32 of the box, upwards, of a map (z, y, x) on the network's grid."""
        z, y, x = self.axes
        for k in range(z.box_size):
            row = None if z.back is None else z.back[k]
            yield _turned(_mixed(planes, row, k)[: y.net_size, : x.net_size], y.back, x.back)

    def cells_back(self, cells: np.ndarray) -> Iterator[np.ndarray]:
        """The same of a map of the deepest cells, linear between their centres."""
        z, y, x = (axis.cells_to_box for axis in self.axes)
        for row in z:
            yield _turned(_mixed(cells, row, 0), y, x)


def _resampled(hu: np.ndarray, axes: Sequence[Axis]) -> np.ndarray:
    """HU on the network's grid without padding: a view where the spacing is alike, else float32."""
    z, y, x = axes
    if z.into is None and y.into is None and x.into is None:
        return hu
    out = np.zeros((z.net_size, y.net_size, x.net_size), dtype=np.float32)
    for k, plane in enumerate(hu):
        turned = _turned(plane.astype(np.float32), y.into, x.into)
        column = np.eye(1, z.net_size, k, dtype=np.float32)[0] if z.into is None else z.into[:, k]
        for n in np.flatnonzero(column):
            out[n] += column[n] * turned
    return out


def _mixed(planes: np.ndarray, row: np.ndarray | None, k: int) -> np.ndarray:
    """Plane `k`, or the planes weighted by `row`, float32."""
    if row is None:
        return planes[k].astype(np.float32)
    used = np.flatnonzero(row)
    return np.asarray(np.tensordot(row[used], planes[used].astype(np.float32), axes=1))


def _turned(plane: np.ndarray, rows: np.ndarray | None, columns: np.ndarray | None) -> np.ndarray:
    """A plane resampled along both axes; None leaves an axis as it is."""
    plane = plane if rows is None else rows @ plane
    return np.asarray(plane if columns is None else plane @ columns.T, dtype=np.float32)
