"""Owns what lies round the body in a coarse CT: room air, and the padding of a round field of view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

VOID_HU = -930  # room air and padding; lung is denser
IN_PLANE = np.zeros((3, 3, 3), dtype=bool)  # neighbours by faces within a slice
IN_PLANE[1] = ndimage.generate_binary_structure(2, 1)
SQUARE = np.ones((1, 3, 3), dtype=bool)


@dataclass(frozen=True)
class Surroundings:
    """Room air `void` (z, y, x), `padding` (y, x) of a round field of view, `edge` (y, x) of the image."""

    void: np.ndarray
    padding: np.ndarray
    edge: np.ndarray

    def enclosed(self, solid: np.ndarray) -> np.ndarray:
        """Voxels with body on at least three of their four in-plane sides; leaves out what lies round it.

        Body is the largest piece of `solid` (z, y, x) thicker than three voxels: no couch sheet, no gown.
        Beyond a border, or the rim of a round field of view, that does not show room air the body goes on:
        so cropped chests keep their lungs.
        """
        opened = ndimage.binary_opening(solid & ~self.padding, SQUARE)
        labels, count = ndimage.label(opened)
        size = np.bincount(labels.ravel(), minlength=count + 1)
        size[0] = 0
        body = labels == size.argmax() if count else opened
        if self.padding.any():
            rows = body.any(axis=2, keepdims=True)  # the couch lies below
            rows = np.logical_or.accumulate(rows, 1) & np.logical_or.accumulate(rows[:, ::-1], 1)[:, ::-1]
            inside = ~self.void & ~self.padding & rows
            body |= ndimage.binary_dilation(inside, IN_PLANE) & self.padding
        sides = np.zeros(solid.shape, dtype=np.uint8)
        for axis in (1, 2):
            for step in (slice(None), slice(None, None, -1)):
                ordered = np.moveaxis(body, axis, 0)[step]
                face = np.moveaxis(self.void | self.padding, axis, 0)[step][0]
                beyond = face.mean(axis=-1, keepdims=True) < 0.2
                seen = np.logical_or.accumulate(ordered, axis=0) | beyond
                sides += np.moveaxis(seen[step], 0, axis)
        return sides >= 3

    def centre_column(self) -> float:
        """Column of the middle of the body: the median column of all that is neither room air nor padding."""
        columns = (~self.void & ~self.padding).sum((0, 1)).cumsum()
        return float(np.searchsorted(columns, columns[-1] / 2)) if columns[-1] else self.void.shape[2] / 2


def find_surroundings(sub: np.ndarray) -> Surroundings:
    """Room air and padding of coarse HU (z, y, x).

    Room air is emptier than lung on a 3x3 mean, and joined to the edge of the image or of a round field of
    view.
    """
    padding = _round_padding(sub)
    edge = ndimage.binary_dilation(padding)
    edge[[0, -1], :] = edge[:, [0, -1]] = True
    # At the threshold itself padding draws the mean beside it to neither side.
    shown = np.where(padding, np.int16(VOID_HU), sub) if padding.any() else sub
    smooth = ndimage.uniform_filter(shown, (1, 3, 3), output=np.float32)
    reach = ndimage.binary_dilation(edge, iterations=2) if padding.any() else edge
    labels, count = ndimage.label((smooth < VOID_HU) & ~padding, IN_PLANE)
    outside = np.zeros(count + 1, dtype=bool)
    outside[labels[:, reach]] = True
    outside[0] = False
    return Surroundings(np.asarray(outside[labels]), padding, edge)


def _round_padding(sub: np.ndarray) -> np.ndarray:
    """Pixels (y, x) beyond the inscribed ellipse, if they hold one value throughout the volume; else none."""
    _, ny, nx = sub.shape
    y, x = (np.arange(ny) - (ny - 1) / 2) / (ny / 2), (np.arange(nx) - (nx - 1) / 2) / (nx / 2)
    radius = np.hypot(y[:, None], x[None, :])
    value = sub[0, 0, 0]
    # The coarse grid is not quite centred: beyond the rim for certain, then what has that value near the rim.
    if value > VOID_HU or radius.max() < 1.2 or (sub[:, radius > 1.04] != value).any():
        return np.zeros((ny, nx), dtype=bool)
    return np.asarray((radius > 0.96) & (sub == value).all(0))
