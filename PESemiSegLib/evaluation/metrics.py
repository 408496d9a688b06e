"""Metrics of one mask against another: overlap, volume and surface, with what happens to empty masks said.

Conventions. Both masks empty: overlap and surface figures are NaN, and the case is counted apart. Truth empty
but marks present: Dice, IoU and precision 0, sensitivity NaN. Truth present but no mark: Dice, IoU and
sensitivity 0, precision NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

_ROUNDING_MM = 1e-6  # a border one voxel off by exactly the tolerance is within it


@dataclass(frozen=True)
class MaskMetrics:
    """Overlap of two masks of one patient; volumes in ml, error = predicted - true."""

    dice: float
    iou: float
    sensitivity: float
    precision: float
    true_ml: float
    predicted_ml: float
    both_empty: bool

    @property
    def volume_error_ml(self) -> float:
        """Predicted minus true volume."""
        return self.predicted_ml - self.true_ml


def mask_metrics(prediction: np.ndarray, truth: np.ndarray, voxel_mm3: float) -> MaskMetrics:
    """Compare two masks (any shape, non-zero = marked) voxel by voxel; ValueError on unequal shapes."""
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction {prediction.shape} and truth {truth.shape} differ in shape")
    marked, true = prediction != 0, truth != 0
    hits = int(np.count_nonzero(marked & true))
    predicted, real = int(np.count_nonzero(marked)), int(np.count_nonzero(true))
    union = predicted + real - hits
    return MaskMetrics(
        dice=_share(2 * hits, predicted + real),
        iou=_share(hits, union),
        sensitivity=_share(hits, real),
        precision=_share(hits, predicted),
        true_ml=real * voxel_mm3 / 1000.0,
        predicted_ml=predicted * voxel_mm3 / 1000.0,
        both_empty=union == 0,
    )


@dataclass(frozen=True)
class SurfaceMetrics:
    """Distances between two surfaces: shares within 1 and 2 mm, and the 95th percentile in mm."""

    nsd_1mm: float
    nsd_2mm: float
    hd95_mm: float


def surface_metrics(
    prediction: np.ndarray, truth: np.ndarray, spacing_zyx_mm: tuple[float, float, float]
) -> SurfaceMetrics:
    """NSD and HD95 between border voxels (with a background face neighbour), like MONAI's without subvoxels.

    NaN where both masks are empty; NSD 0 and HD95 infinite where only one is.
    """
    marked, true = prediction != 0, truth != 0
    if not marked.any() or not true.any():
        none = not marked.any() and not true.any()
        return SurfaceMetrics(*((math.nan,) * 3 if none else (0.0, 0.0, math.inf)))
    box = _bounding_box(marked | true)
    # Trees of border voxels rather than distance maps: those take twenty bytes for every voxel of the chest.
    points = [np.argwhere(_edges(mask[box])) * np.asarray(spacing_zyx_mm) for mask in (marked, true)]
    there, _ = cKDTree(points[1]).query(points[0])
    back, _ = cKDTree(points[0]).query(points[1])

    def within(tolerance_mm: float) -> float:
        near = tolerance_mm + _ROUNDING_MM
        return float((there <= near).sum() + (back <= near).sum()) / (len(there) + len(back))

    return SurfaceMetrics(
        nsd_1mm=within(1.0),
        nsd_2mm=within(2.0),
        hd95_mm=float(max(np.percentile(there, 95), np.percentile(back, 95))),
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """The smallest box around the mask; distances between its voxels do not depend on what lies outside."""
    box = []
    for axis in range(mask.ndim):
        line = np.flatnonzero(mask.any(axis=tuple(i for i in range(mask.ndim) if i != axis)))
        box.append(slice(int(line[0]), int(line[-1]) + 1))
    return tuple(box)


def _edges(mask: np.ndarray) -> np.ndarray:
    edges: np.ndarray = mask & ~ndimage.binary_erosion(mask)
    return edges
