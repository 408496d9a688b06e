"""One scan at many thresholds: what is found and what is false at each, and the score of the whole scan.

The marks of a higher threshold lie within those of a lower one, so that the scan is labelled once, at the
lowest; every island is then looked at by itself, in its own small box. What is cut at is a pair (edge, core),
as in `inference.findings`: marks are drawn at `edge`, and count by their voxels at or above `core`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from PESemiSegLib.evaluation.marks import TOUCHING, Counts, Emboli, Marks, none

FROC_THRESHOLDS = (
    *(round(0.05 * step, 2) for step in range(1, 20)),
    0.98,
    0.99,
    0.995,
    0.999,
)


Cut = tuple[float, float]


def cut_at(threshold: float, edge: float = math.inf) -> Cut:
    """The cut of the curves at `threshold`: marks are drawn at `edge` as long as the core is above it."""
    return min(threshold, edge), threshold


@dataclass(frozen=True)
class CurvePoint:
    """One scan at one threshold: of the core, where the edge has its own."""

    threshold: float
    found: int
    false_marks: int
    marks: int


def sweep_counts(
    probability: np.ndarray,
    truth: Emboli,
    cuts: Sequence[Cut],
    smallest_voxels: Sequence[float] = (0.0,),
) -> list[Counts]:
    """Counts for every pair of cut and smallest mark, in the order of two nested loops.

    probability and truth: (z, y, x) of one part of a scan. cuts: those of one edge side by side, which are
    then labelled once. smallest_voxels: marks with a smaller core are dropped.
    """
    totals = [none(truth) for _ in range(len(cuts) * len(smallest_voxels))]
    for where, values in islands(probability, min(edge for edge, _ in cuts), min(smallest_voxels)):
        local = truth.part(where)
        top = values.max()
        marks, at = None, math.nan  # of the last edge
        for n, (edge, core) in enumerate(cuts):
            if top < core:
                continue
            if marks is None or edge != at:
                marks = None  # its labels, four bytes a voxel, go before the next come
                marks, at = Marks.find(values >= edge, local), edge
            held = marks.voxels_in(values >= core)
            for m, smallest in enumerate(smallest_voxels, start=n * len(smallest_voxels)):
                if held.max() >= smallest:
                    totals[m] += marks.counts(smallest, held)
    return totals


def scan_score(
    probability: np.ndarray, smallest_voxels: float = 0.0, floor: float = 0.05, edge: float = math.inf
) -> float:
    """The highest threshold, of `cut_at`, at which a mark of the smallest size remains; 0 below `floor`."""
    voxels = max(1, math.ceil(smallest_voxels))
    best = 0.0
    tops = sorted(islands(probability, floor, voxels), key=lambda island: -float(island[1].max()))
    for _, values in tops:
        if float(values.max()) <= best:
            break
        best = max(best, _peak(values, voxels, max(best, floor), edge))
    return best


def _peak(values: np.ndarray, voxels: int, floor: float, edge: float) -> float:
    """The highest value at which a mark with so many voxels remains; 0 where none reaches `floor`."""
    levels = np.unique(values[values >= floor])
    if voxels == 1:
        return float(levels[-1])
    low, high = -1, len(levels)  # levels[low] holds, levels[high] does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _holds(values, cut_at(levels[middle], edge), voxels) else (low, middle)
    return float(levels[low]) if low >= 0 else 0.0


def _holds(values: np.ndarray, cut: Cut, voxels: int) -> bool:
    edge, core = cut
    labels, _ = ndimage.label(values >= edge, TOUCHING)
    return bool(np.bincount(labels[values >= core], minlength=1).max() >= voxels)


def islands(
    probability: np.ndarray, floor: float, smallest_voxels: float = 0.0
) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    """Box and values (0 outside the island) of every large enough connected part at or above `floor`."""
    labels, _ = ndimage.label(probability >= floor, TOUCHING)
    for number, where in enumerate(ndimage.find_objects(labels), start=1):
        own = labels[where] == number
        if np.count_nonzero(own) >= smallest_voxels:
            yield where, np.where(own, probability[where], probability.dtype.type(0))
