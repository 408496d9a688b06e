"""Owns the way of a slice into the network and back: context, padding, and what `volumes.preprocess` does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from PESemiSegLib.inference.result import Box
from PESemiSegLib.volumes.preprocess import resample_matrix, spacing_differs, window_in_place

MULTIPLE = 16  # the network's coarsest stride, so of both sides of its input


def grow_to_multiple(box: Box, full_shape: tuple[int, int, int], multiple: int = MULTIPLE) -> Box:
    """Widen the in-plane sides of `box` to multiples, inside the image where it is large enough.

    Real pixels are better than padding, and cost the same.
    """
    start, stop = list(box.start), list(box.stop)
    for axis in (1, 2):
        size = full_shape[axis]
        want = min(size, -(-(stop[axis] - start[axis]) // multiple) * multiple)
        start[axis] = min(max(0, start[axis] - (want - (stop[axis] - start[axis])) // 2), size - want)
        stop[axis] = start[axis] + want
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


@dataclass(frozen=True)
class InPlane:
    """One axis between the box and the network: `into` (net, box) and `back` (box, net), None when alike."""

    box_size: int
    net_size: int  # after resampling, before padding
    padded: int
    into: np.ndarray | None
    back: np.ndarray | None

    @classmethod
    def plan(cls, box_size: int, spacing_mm: float, wanted_mm: float, resample: bool) -> InPlane:
        """Decide the sizes of one axis."""
        net = max(1, round(box_size * spacing_mm / wanted_mm)) if resample else box_size
        padded = -(-net // MULTIPLE) * MULTIPLE
        if not resample:
            return cls(box_size, net, padded, None, None)
        return cls(box_size, net, padded, resample_matrix(box_size, net), resample_matrix(net, box_size))


class SlicePreparer:
    """Makes the network's input from one slice of a volume at a time, and brings its output back to the box.

    Args:
        hu: int16 (z, y, x), the whole volume; slices outside the box still serve as context.
        box: the part to compute.
        spacing_mm: (x, y, z) of `hu`.
        hu_window, wanted_mm, context: of the package; `context` neighbouring slices (odd) are channels, at
            the ends of the volume the last slice is repeated.
    """

    def __init__(
        self,
        hu: np.ndarray,
        box: Box,
        spacing_mm: tuple[float, float, float],
        *,
        hu_window: tuple[float, float],
        wanted_mm: float,
        context: int = 1,
    ) -> None:
        self._hu, self._box, self._window, self.context = hu, box, hu_window, context
        self._recent: dict[int, np.ndarray] = {}  # neighbouring inputs share all planes but one
        x_mm, y_mm, _ = spacing_mm
        self.resampled = spacing_differs((x_mm, y_mm), wanted_mm)
        _, dy, dx = box.shape
        self._y = InPlane.plan(dy, y_mm, wanted_mm, self.resampled)
        self._x = InPlane.plan(dx, x_mm, wanted_mm, self.resampled)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every network input; H and W are multiples of 16."""
        return (self.context, self._y.padded, self._x.padded)

    def input(self, k: int) -> np.ndarray:
        """Network input (C, H, W) float32 in [-1, 1] for slice `k` of the volume."""
        half = self.context // 2
        last = self._hu.shape[0] - 1
        neighbours = [min(max(j, 0), last) for j in range(k - half, k + half + 1)]
        self._recent = {j: self._recent[j] if j in self._recent else self._plane(j) for j in neighbours}
        return np.stack([self._recent[j] for j in neighbours])

    def back(self, plane: np.ndarray) -> np.ndarray:
        """A network output (H, W), padding cut off and linearly resampled to the box, float32 (y, x)."""
        plane = plane[: self._y.net_size, : self._x.net_size]
        if self._y.back is None or self._x.back is None:
            return plane
        return np.asarray(self._y.back @ np.asarray(plane, dtype=np.float32) @ self._x.back.T)

    def _plane(self, k: int) -> np.ndarray:
        _, y, x = self._box.slices
        plane = self._hu[k, y, x].astype(np.float32)
        if self._y.into is not None and self._x.into is not None:  # HU first, as in training
            plane = self._y.into @ plane @ self._x.into.T
        plane = window_in_place(plane, self._window)
        pad = (self._y.padded - self._y.net_size, self._x.padded - self._x.net_size)
        return np.pad(plane, ((0, pad[0]), (0, pad[1])), mode="edge") if any(pad) else plane
