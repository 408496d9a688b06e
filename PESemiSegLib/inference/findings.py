"""Owns the findings: from a mask to connected marks with their measures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist

from PESemiSegLib.inference.lungs import LungField
from PESemiSegLib.inference.result import Box, BoxArray, Finding, Side
from PESemiSegLib.volumes.grid import Grid

CENTRAL_MM = 45.0  # half the width of the mediastinum at the hila
EDGE, CORE = 1, 2
_NEIGHBOURS_26 = np.ones((3, 3, 3), dtype=bool)


def levels(probability: np.ndarray, threshold: float, core: float) -> np.ndarray:
    """How far each pixel is marked, uint8: 0 not, EDGE from `threshold` on, CORE from a higher `core` on.

    Without a higher core every marked pixel is EDGE, so that the levels are the mask.
    """
    marked = (probability >= threshold).astype(np.uint8)
    if core > threshold:
        marked += probability >= core
    return marked


def clean(
    marked: np.ndarray,
    voxel_mm3: float,
    *,
    min_mm3: float = 0.0,
    fill_holes: bool = False,
    counted: int = EDGE,
) -> np.ndarray:
    """Turn levels into the mask: marks that hold enough stay, whole, as 1 (hysteresis, after Canny 1986).

    Works in place and returns `marked`. Marks are components that touch by faces, edges or corners (26
    neighbours).

    Args:
        marked: uint8 (z, y, x), see `levels`; a mask of 0 and 1 is one.
        min_mm3: least volume of the voxels that are counted.
        fill_holes: fill holes within slices first, those of the core as core.
        counted: the level from which a voxel counts. At least one must, whatever `min_mm3`.
    """
    box = bounding_box(marked)
    if box is None:
        return marked
    part = marked[box.slices]
    if fill_holes:
        for plane in part:
            if plane.any():
                plane[...] = sum(ndimage.binary_fill_holes(plane >= n) for n in range(EDGE, counted + 1))
    if min_mm3 > 0 or counted > EDGE:
        labels, count = components(part)
        # Plane by plane: bincount makes a copy of eight bytes a voxel.
        size = np.zeros(count + 1, dtype=np.int64)
        for plane, marks in zip(part, labels, strict=True):
            size += np.bincount(marks[plane >= counted], minlength=count + 1)
        kept = (size > 0) & (size * voxel_mm3 >= min_mm3)
        for plane, marks in zip(part, labels, strict=True):
            plane[...] = kept[marks]
    return marked


def components(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Label connected components (26 neighbours); two bytes a voxel where the numbers suffice."""
    labels = np.empty(mask.shape, dtype=np.uint16)
    try:
        return labels, int(ndimage.label(mask, _NEIGHBOURS_26, output=labels))
    except RuntimeError:  # more than 65535 components
        labels = np.empty(mask.shape, dtype=np.int32)
        return labels, int(ndimage.label(mask, _NEIGHBOURS_26, output=labels))


def bounding_box(mask: np.ndarray) -> Box | None:
    """The smallest box that holds all of `mask` (z, y, x); None for an empty mask."""
    ks = np.flatnonzero(mask.any((1, 2)))
    if not ks.size:
        return None
    flat = np.asarray(mask[ks[0] : ks[-1] + 1].any(axis=0))
    js, is_ = np.flatnonzero(flat.any(axis=1)), np.flatnonzero(flat.any(axis=0))
    return Box((int(ks[0]), int(js[0]), int(is_[0])), (int(ks[-1]) + 1, int(js[-1]) + 1, int(is_[-1]) + 1))


def find(
    mask: np.ndarray, grid: Grid, probability: BoxArray, confidence: BoxArray, lungs: LungField | None = None
) -> list[Finding]:
    """Measure the connected components (26 neighbours) of `mask` (z, y, x) on `grid`, largest first."""
    box = bounding_box(mask)
    if box is None:
        return []
    labels, _ = components(mask[box.slices])
    offset = np.array(box.start)
    found = []
    for index, place in enumerate(ndimage.find_objects(labels), start=1):
        local = labels[place] == index
        start = offset + [s.start for s in place]
        where = Box(_three(start), _three(start + local.shape))
        found.append(measure(local, where, grid, probability, confidence, lungs))
    found.sort(key=lambda f: (-f.volume_mm3, f.seed))
    return [replace(f, id=number) for number, f in enumerate(found, start=1)]


def measure(
    local: np.ndarray,
    box: Box,
    grid: Grid,
    probability: BoxArray,
    confidence: BoxArray,
    lungs: LungField | None,
) -> Finding:
    """One finding, not numbered yet: `local` is its mask inside its bounding `box`."""
    kji = np.argwhere(local) + np.array(box.start)
    points = grid.to_lps(kji[:, ::-1])
    return Finding(
        id=0,
        volume_mm3=len(kji) * grid.voxel_volume_mm3,
        centroid_lps_mm=_three(points.mean(0), float),
        side=side_of(kji, lungs) if lungs is not None else "central",
        slice_range=(box.start[0], box.stop[0] - 1),
        longest_axis_mm=longest_axis(kji[:, ::-1], grid.spacing_mm),
        mean_probability=float(probability.crop(box)[local].mean(dtype=np.float64)),
        mean_confidence=float(confidence.crop(box)[local].mean(dtype=np.float64)),
        box=box,
        seed=_three(kji[0]),
    )


def longest_axis(ijk: np.ndarray, spacing_mm: tuple[float, float, float]) -> float:
    """Greatest distance in mm between the centres of two voxels (n, 3) (Feret diameter), ends included.

    The ends are what one voxel measures in that direction: a row of n voxels is n voxels long, and a single
    voxel as long as its longest side.
    """
    points = ijk * np.asarray(spacing_mm)
    if len(points) > 64:
        try:
            points = points[ConvexHull(points).vertices]
        except QhullError:  # flat or in line: the extreme points of a few directions bound it well enough
            points = _extremes(points)
    if len(points) > 2000:
        points = _extremes(points)
    if len(points) < 2:
        return float(max(spacing_mm))
    distances = pdist(points)
    first, second = np.stack(np.triu_indices(len(points), 1))[:, distances.argmax()]
    direction = np.abs(points[first] - points[second]) / distances.max()
    return float(distances.max() + direction @ spacing_mm)


def _extremes(points: np.ndarray, directions: int = 500) -> np.ndarray:
    """The points that lie farthest along evenly spread directions: holds the two ends of the diameter."""
    n = np.arange(directions) + 0.5
    polar, azimuth = np.arccos(1 - n / directions), np.pi * (1 + 5**0.5) * n
    axes = np.stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)])
    along = points @ axes
    return np.asarray(points[np.unique(np.concatenate([along.argmax(0), along.argmin(0)]))])


def side_of(kji: np.ndarray, lungs: LungField) -> Side:
    """The patient's side of voxels (n, 3): central when the centroid is within 45 mm of the midline.

    Voxels inside the lungs themselves outvote that: a mark of which at least half lies in lung has a side.
    """
    column = float(kji[:, 2].mean())
    sides: tuple[Side, Side] = ("right", "left")
    side = sides[column > lungs.midline]
    off_mm = abs(column - lungs.midline) * lungs.spacing_mm[0]
    if off_mm > CENTRAL_MM or lungs.solid_at(kji).mean() >= 0.5:
        return side
    return "central"


def _three(values: np.ndarray, kind: type = int) -> tuple:
    a, b, c = values
    return (kind(a), kind(b), kind(c))
