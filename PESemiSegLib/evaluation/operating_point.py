"""Chooses the threshold and the smallest mark of a model on its validation patients, never on test patients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from PESemiSegLib.cohorts.manifest import Case
from PESemiSegLib.evaluation.lesions import match_lesions
from PESemiSegLib.evaluation.metrics import mask_metrics
from PESemiSegLib.evaluation.truth import Truth, read_case

if TYPE_CHECKING:
    from PESemiSegLib.models.package import ModelPackage

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SMALLEST_MM3 = (0.0, 5.0, 10.0, 20.0, 40.0)


@dataclass(frozen=True)
class Point:
    """One setting and what it gives on the validation patients."""

    threshold: float
    min_lesion_mm3: float
    dice: float
    lesion_sensitivity: float
    false_marks_per_scan: float


def choose_point(points: Sequence[Point], max_false_marks: float = 1.0) -> Point:
    """The point with the largest Dice + lesion sensitivity among those with few enough false marks per scan.

    Where none has so few, the one with the fewest.
    """
    allowed = [p for p in points if p.false_marks_per_scan <= max_false_marks]
    if not allowed:
        return min(points, key=lambda p: p.false_marks_per_scan)
    return max(allowed, key=lambda p: _number(p.dice) + _number(p.lesion_sensitivity))


def sweep(
    cases: Iterable[Case],
    package: ModelPackage,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    smallest_mm3: Sequence[float] = SMALLEST_MM3,
    progress: Callable[[int], None] = lambda done: None,
    **settings: Any,
) -> list[Point]:
    """Every pair of threshold and smallest mark on every case; each case is segmented once.

    Means: Dice over scans where either mask holds something, emboli pooled, false marks over all scans.
    """
    from PESemiSegLib.inference.segment import segment

    figures: dict[tuple[float, float], list[tuple[float, int, int, int]]] = {}
    for done, case in enumerate(cases, start=1):
        volume, truth = read_case(case)
        result = segment(volume, package, threshold=min(thresholds), min_lesion_mm3=0.0, **settings)
        probability = np.where(result.mask[result.box.slices] > 0, result.probability.values, 0.0)
        inside = result.box.slices
        cut = Truth(truth.mask, truth.instances, truth.locations)
        for threshold in thresholds:
            for smallest in smallest_mm3:
                mask = np.zeros(volume.shape, bool)
                mask[inside] = _without_small(
                    probability >= threshold, smallest / volume.grid.voxel_volume_mm3
                )
                figures.setdefault((threshold, smallest), []).append(
                    _figures(mask, cut, volume.grid.voxel_volume_mm3)
                )
        progress(done)
    return [_point(threshold, smallest, rows) for (threshold, smallest), rows in figures.items()]


def _figures(mask: np.ndarray, truth: Truth, voxel_mm3: float) -> tuple[float, int, int, int]:
    report = match_lesions(mask, truth.mask, voxel_mm3, instances=truth.instances)
    dice = mask_metrics(mask, truth.mask, voxel_mm3).dice if truth.mask.any() else math.nan
    return dice, report.found, len(report.lesions), report.false_marks


def _point(threshold: float, smallest: float, rows: Sequence[tuple[float, int, int, int]]) -> Point:
    known = [row[0] for row in rows if not math.isnan(row[0])]
    emboli = sum(row[2] for row in rows)
    return Point(
        threshold=threshold,
        min_lesion_mm3=smallest,
        dice=sum(known) / len(known) if known else math.nan,
        lesion_sensitivity=sum(row[1] for row in rows) / emboli if emboli else math.nan,
        false_marks_per_scan=sum(row[3] for row in rows) / len(rows),
    )


def _without_small(mask: np.ndarray, voxels: float) -> np.ndarray:
    """Components of fewer voxels are removed, 26-connected, as `inference.findings.clean` does."""
    if voxels <= 0 or not mask.any():
        return mask
    labels, _ = ndimage.label(mask, np.ones((3, 3, 3), bool))
    keep = np.bincount(labels.ravel()) >= voxels
    keep[0] = False
    kept: np.ndarray = keep[labels]
    return kept


def _number(value: float) -> float:
    return 0.0 if math.isnan(value) else value
