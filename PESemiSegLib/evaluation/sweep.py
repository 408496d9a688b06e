"""One scan at many thresholds: what is found and what is false at each, and the score of the whole scan.

The marks of a higher threshold lie within those of a lower one, so that the scan is labelled once, at the
lowest; every island is then looked at by itself, in its own small box.
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
)


@dataclass(frozen=True)
class CurvePoint:
    """One scan at one threshold."""

    threshold: float
    found: int
    false_marks: int
    marks: int


def sweep_counts(
    probability: np.ndarray,
    truth: Emboli,
    thresholds: Sequence[float],
    smallest_voxels: Sequence[float] = (0.0,),
) -> list[Counts]:
    """Counts for every pair of threshold and smallest mark, in the order of two nested loops.

    probability and truth: (z, y, x) of one part of a scan. smallest_voxels: marks of fewer are dropped.
    """
    totals = [none(truth) for _ in range(len(thresholds) * len(smallest_voxels))]
    for where, values in islands(probability, min(thresholds), min(smallest_voxels)):
        local = truth.part(where)
        top = float(values.max())
        for n, threshold in enumerate(thresholds):
            if top < threshold:
                continue
            marks = Marks.find(values >= threshold, local)
            for m, smallest in enumerate(smallest_voxels, start=n * len(smallest_voxels)):
                totals[m] += marks.counts(smallest)
    return totals


def scan_score(probability: np.ndarray, smallest_voxels: float = 0.0, floor: float = 0.05) -> float:
    """The highest threshold at which a mark of at least the smallest size remains; 0 where below `floor`."""
    voxels = max(1, math.ceil(smallest_voxels))
    best = 0.0
    tops = sorted(islands(probability, floor, voxels), key=lambda island: -float(island[1].max()))
    for _, values in tops:
        if float(values.max()) <= best:
            break
        best = max(best, _peak(values, voxels, max(best, floor)))
    return best


def _peak(values: np.ndarray, voxels: int, floor: float) -> float:
    """The highest value at which a part of so many voxels remains; 0 where none reaches `floor`."""
    levels = np.unique(values[values >= floor])
    if voxels == 1:
        return float(levels[-1])
    low, high = -1, len(levels)  # levels[low] holds, levels[high] does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _holds(values >= levels[middle], voxels) else (low, middle)
    return float(levels[low]) if low >= 0 else 0.0


def _holds(mask: np.ndarray, voxels: int) -> bool:
    labels, _ = ndimage.label(mask, TOUCHING)
    return bool(np.bincount(labels[mask], minlength=1).max() >= voxels)


def islands(
    probability: np.ndarray, floor: float, smallest_voxels: float = 0.0
) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    """Box and values (0 outside the island) of every large enough connected part at or above `floor`."""
    labels, _ = ndimage.label(probability >= floor, TOUCHING)
    for number, where in enumerate(ndimage.find_objects(labels), start=1):
        own = labels[where] == number
        if np.count_nonzero(own) >= smallest_voxels:
            yield where, np.where(own, probability[where], probability.dtype.type(0))
