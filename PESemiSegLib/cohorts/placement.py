"""Whether a mask lies on what it marks: the test that finds masks which were flipped or turned on their way.

A clot is darker than contrast and denser than lung, and its outline follows edges of the image. A mask that
was mirrored along an axis, or whose rows and columns were swapped, covers lung, contrast and bone alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

CLOT_HU = (-20.0, 170.0)
_PLAUSIBLE_MEDIAN_HU = (0.0, 150.0)
_FEWEST_VOXELS = 20  # fewer say nothing
_CLEARLY = 1.5  # so many times better, another placement is the right one
_MOST_VOXELS = 200_000

_TURNS: dict[str, Callable[[np.ndarray, tuple[int, ...]], np.ndarray]] = {
    "turned upside down (slices in the opposite order)": lambda p, n: p * [-1, 1, 1] + [n[0] - 1, 0, 0],
    "flipped front to back": lambda p, n: p * [1, -1, 1] + [0, n[1] - 1, 0],
    "flipped left to right": lambda p, n: p * [1, 1, -1] + [0, 0, n[2] - 1],
    "turned by half a turn in the plane": lambda p, n: p * [1, -1, -1] + [0, n[1] - 1, n[2] - 1],
    "transposed (rows and columns swapped)": lambda p, n: p[:, [0, 2, 1]],
}


@dataclass(frozen=True)
class Fit:
    """How well a mask fits: the median HU inside, the share of it as dense as clot, the edge at its outline.

    edge_hu: mean of the in-plane gradient, HU per pixel. score: share times edge.
    """

    median_hu: float
    clot_share: float
    edge_hu: float

    @property
    def score(self) -> float:
        return self.clot_share * self.edge_hu


@dataclass(frozen=True)
class Placement:
    """The verdict: `misplaced` says how the mask seems to lie instead (an error), `doubt` what is odd."""

    misplaced: str = ""
    doubt: str = ""


def check_placement(hu: np.ndarray, mask: np.ndarray) -> Placement:
    """Compare a mask as it lies with the same mask mirrored or transposed.

    hu: int16 (z, y, x); mask: (z, y, x), voxels > 0 are marked. Nothing is put right here: a mask that fits
    clearly better in another way is refused by the caller, not turned in silence.
    """
    inside, outline = _points(mask)
    if len(inside) < _FEWEST_VOXELS:
        return Placement()
    own = fit(hu, inside, outline)
    rivals = {
        name: fit(hu, turn(inside, hu.shape), turn(outline, hu.shape))
        for name, turn in _TURNS.items()
        if "transposed" not in name or hu.shape[1] == hu.shape[2]
    }
    name, best = max(rivals.items(), key=lambda item: item[1].score)
    if best.score > _CLEARLY * own.score and best.clot_share > own.clot_share:
        return Placement(misplaced=f"the mask fits the image better {name}")
    low, high = _PLAUSIBLE_MEDIAN_HU
    if not low <= own.median_hu <= high:
        return Placement(doubt=f"the marked voxels have a median of {own.median_hu:.0f} HU, which is no clot")
    return Placement()


def fit(hu: np.ndarray, inside: np.ndarray, outline: np.ndarray) -> Fit:
    """The fit of marked voxels, int (N, 3), and the voxels along their outline, int (M, 3), as z, y, x."""
    values = hu[tuple(inside.T)]
    z, y, x = outline.T
    along_y = _at(hu, z, y + 1, x) - _at(hu, z, y - 1, x)
    along_x = _at(hu, z, y, x + 1) - _at(hu, z, y, x - 1)
    return Fit(
        median_hu=float(np.median(values)),
        clot_share=float(np.mean((values > CLOT_HU[0]) & (values < CLOT_HU[1]))),
        edge_hu=float(np.hypot(along_y, along_x).mean() / 2.0),
    )


def _points(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Marked voxels, and those on either side of their outlines in the plane; sampled evenly where many."""
    from scipy import ndimage

    inside: list[np.ndarray] = []
    outline: list[np.ndarray] = []
    for z in np.flatnonzero(mask.any(axis=(1, 2))):
        plane = mask[z] > 0
        cross = np.ones((3, 3), bool)
        edge = ndimage.binary_dilation(plane, cross) & ~ndimage.binary_erosion(plane, cross)
        for where, points in ((plane, inside), (edge, outline)):
            found = np.argwhere(where)
            points.append(np.column_stack([np.full(len(found), z), found]))
    if not inside:
        return np.zeros((0, 3), int), np.zeros((0, 3), int)
    both = [np.concatenate(points) for points in (inside, outline)]
    thinned = [points[:: -(-len(points) // _MOST_VOXELS)] for points in both]
    return thinned[0], thinned[1]


def _at(hu: np.ndarray, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    value: np.ndarray = hu[z, y.clip(0, hu.shape[1] - 1), x.clip(0, hu.shape[2] - 1)].astype(np.float32)
    return value
