"""Owns the lung filter: which part of a prediction may stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy import ndimage
from skimage.segmentation import clear_border

from PESemiSegLib.errors import ConfigError
from PESemiSegLib.inference.lungs import LungField, to_coarse
from PESemiSegLib.inference.result import Box

Mode = Literal["hull", "paper", "none"]

PAPER_AIR_HU = -160  # the paper's threshold, which is also the window's lower end
HULL_MARGIN_MM = 8.0  # beyond the lungs in-plane: the pleura's blurred edge, and vessels that bulge out
HULL_MARGIN_Z_MM = 10.0


@dataclass(frozen=True)
class LungFilter:
    """What may stand, bool (z, y, x) on a coarse grid; `allowed` None lets everything stand."""

    mode: Mode
    allowed: np.ndarray | None
    stride: tuple[int, int, int]

    def apply(self, mask: np.ndarray, box: Box) -> np.ndarray:
        """Delete from `mask` (z, y, x of `box`) what may not stand there; works in place and returns it."""
        if self.allowed is None:
            return mask
        index = [
            to_coarse(np.arange(lo, hi), step, size)
            for lo, hi, step, size in zip(box.start, box.stop, self.stride, self.allowed.shape, strict=True)
        ]
        for plane, k in zip(mask, index[0], strict=True):
            plane *= self.allowed[k][np.ix_(index[1], index[2])]
        return mask


def require_mode(mode: str) -> None:
    """Raise ConfigError for a filter that there is not."""
    if mode not in get_args(Mode):
        raise ConfigError(f"lung filter {mode!r} is unknown; choose {', '.join(get_args(Mode))}")


def make_filter(mode: Mode, hu: np.ndarray, lungs: LungField) -> LungFilter:
    """Build the lung filter for `hu` int16 (z, y, x), of which `lungs` is the lung field.

    "hull": per slice the convex hull of both lungs (a missing one mirrored), 8 mm wider and 10 mm up and
    down; it contains the hila and the mediastinal arteries. "paper": 1A.7 (a) and (b), see `_paper`. "none":
    all. Without lungs the filter lets everything stand. Raises ConfigError for another mode.
    """
    require_mode(mode)
    if mode == "none" or not lungs.found:
        return LungFilter(mode, None, lungs.stride)
    allowed = _hull(lungs) if mode == "hull" else _paper(hu, lungs.stride)
    return LungFilter(mode, allowed, lungs.stride)


def _hull(lungs: LungField) -> np.ndarray:
    """Convex hull of both lungs in every slice, with margins; coarse bool (z, y, x).

    The hull makes 1A.7's closing and filling needless: it contains their result.
    """
    dz, dy, dx = lungs.coarse_spacing_mm
    hull = np.zeros(lungs.mask.shape, dtype=bool)
    for k, plane in enumerate(lungs.both_sides):
        hull[k] = convex_fill(plane)
    # A maximum over neighbouring slices also bridges a slice in which one lung ends.
    up = round(HULL_MARGIN_Z_MM / dz)
    hull = ndimage.maximum_filter1d(hull, 2 * up + 1, axis=0, mode="constant")
    hull = ndimage.maximum_filter1d(hull, 2 * round(HULL_MARGIN_MM / dy) + 1, axis=1, mode="constant")
    return ndimage.maximum_filter1d(hull, 2 * round(HULL_MARGIN_MM / dx) + 1, axis=2, mode="constant")


def convex_fill(plane: np.ndarray) -> np.ndarray:
    """All pixels of `plane` (y, x) whose centre lies in the convex hull of its true pixels' centres.

    Row by row between the hulls of the first and the last true pixels: no trouble with points in a line, on
    which Qhull gives up.
    """
    filled = np.zeros_like(plane)
    rows = np.flatnonzero(plane.any(1))
    if not rows.size:
        return filled
    first = plane[rows].argmax(1)
    last = plane.shape[1] - 1 - plane[rows][:, ::-1].argmax(1)
    between = np.arange(rows[0], rows[-1] + 1)
    left = _lower_hull(rows, first, between)
    right = -_lower_hull(rows, -last, between)
    columns = np.arange(plane.shape[1])
    filled[between] = (columns >= left[:, None] - 1e-9) & (columns <= right[:, None] + 1e-9)
    return filled


def _lower_hull(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The lower convex hull of points (x ascending, y), evaluated at `at` (Andrew's monotone chain)."""
    chain: list[tuple[int, int]] = []
    for point in zip(x.tolist(), y.tolist(), strict=True):
        while len(chain) > 1 and _turns_down(chain[-2], chain[-1], point):
            chain.pop()
        chain.append(point)
    px, py = zip(*chain, strict=True)
    return np.interp(at, px, py)


def _turns_down(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) <= (b[1] - a[1]) * (c[0] - a[0])


def _paper(hu: np.ndarray, stride: tuple[int, int, int]) -> np.ndarray:
    """The paper's two corrections, as it words them; coarse bool (z, y, x).

    (a) Lung mask: binarise at -160 HU, choose a 0-valued (airy) pixel in the middle of the image, grow a
    region from it, use it as filter. Read here: the airy pixel nearest to the centre of the middle slice,
    grown in 3D (in 2D it would hold one lung at most, against the paper's sensitivity), holes filled slice by
    slice (else every vessel, and with it every embolus, would go). (b) Boundary lines: delete the rows above
    the first and below the last row with air inside the body, slice by slice. The seed is as fragile as it
    sounds: gas in the oesophagus or a separate lung misleads it, and central arteries are lost in any case.
    """
    airy = hu[:: stride[0], :: stride[1], :: stride[2]] < PAPER_AIR_HU
    labels, _ = ndimage.label(airy)
    middle = labels[labels.shape[0] // 2]
    rows, columns = np.nonzero(middle)
    if not rows.size:
        return np.zeros_like(airy)
    centre = (np.array(middle.shape) - 1) / 2
    nearest = np.argmin((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2)
    region = labels == middle[rows[nearest], columns[nearest]]
    for plane, air in zip(region, airy, strict=True):
        plane[...] = ndimage.binary_fill_holes(plane)
        lines = np.flatnonzero(clear_border(air).any(1))
        if lines.size:
            plane[: lines[0]] = plane[lines[-1] + 1 :] = False
    return region
