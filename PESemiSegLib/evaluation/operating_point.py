"""Chooses a model's threshold and smallest mark on validation patients, never on test patients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from PESemiSegLib.cohorts.manifest import Case
from PESemiSegLib.evaluation.truth import Truth, read_case

if TYPE_CHECKING:
    from PESemiSegLib.models.package import ModelPackage

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SMALLEST_MM3 = (0.0, 5.0, 10.0, 20.0, 40.0)
_TOUCHING = np.ones((3, 3, 3), dtype=bool)


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

    Means: Dice over scans with an annotated mask, emboli pooled, false marks over all scans.
    """
    from PESemiSegLib.inference.segment import segment

    rows: dict[tuple[float, float], list[_Counts]] = {}
    for done, case in enumerate(cases, start=1):
        volume, truth = read_case(case)
        result = segment(volume, package, threshold=min(thresholds), min_lesion_mm3=0.0, **settings)
        here = result.box.slices
        allowed = np.where(result.mask[here] > 0, result.probability.values, 0.0)
        tally = _Tally(truth, here)
        for threshold in thresholds:
            marks = _Marks.find(allowed >= threshold, tally)
            for smallest in smallest_mm3:
                counts = marks.counts(smallest / volume.grid.voxel_volume_mm3, tally)
                rows.setdefault((threshold, smallest), []).append(counts)
        progress(done)
    return [_point(threshold, smallest, counts) for (threshold, smallest), counts in rows.items()]


@dataclass(frozen=True)
class _Counts:
    """One case at one setting."""

    dice: float  # NaN without an annotated mask
    found: int
    emboli: int
    false_marks: int


class _Tally:
    """What is true inside the computed box, and how much of it there is in the whole scan."""

    def __init__(self, truth: Truth, box: tuple[slice, ...]) -> None:
        instances = truth.instances
        if instances is None:
            instances, _ = ndimage.label(truth.mask, _TOUCHING)
        self.mask = truth.mask[box]
        self.instances = instances[box]
        self.voxels = int(np.count_nonzero(truth.mask))
        self.emboli = int(np.count_nonzero(np.bincount(instances.ravel())[1:]))


@dataclass(frozen=True)
class _Marks:
    """The marks of one threshold: voxels and true voxels by mark, and which mark meets which embolus."""

    size: np.ndarray
    hits: np.ndarray
    is_true: np.ndarray
    meetings: np.ndarray  # (pairs, 2): mark, embolus

    @classmethod
    def find(cls, mask: np.ndarray, tally: _Tally) -> _Marks:
        """Label the marks once; every smallest size is then a choice among them."""
        labels, count = ndimage.label(mask, _TOUCHING)
        touching = np.zeros(count + 1, dtype=bool)
        touching[np.unique(labels[tally.mask | (tally.instances > 0)])] = True
        inside = (tally.instances > 0) & mask
        return cls(
            size=np.bincount(labels.ravel(), minlength=count + 1),
            hits=np.bincount(labels[tally.mask], minlength=count + 1),
            is_true=touching,
            meetings=np.unique(np.column_stack([labels[inside], tally.instances[inside]]), axis=0),
        )

    def counts(self, smallest_voxels: float, tally: _Tally) -> _Counts:
        """The figures when marks of fewer voxels are dropped."""
        kept = self.size >= smallest_voxels
        kept[0] = False  # label 0 is no mark
        total = int(self.size[kept].sum()) + tally.voxels
        return _Counts(
            dice=2.0 * int(self.hits[kept].sum()) / total if tally.voxels else math.nan,
            found=len(np.unique(self.meetings[kept[self.meetings[:, 0]], 1])),
            emboli=tally.emboli,
            false_marks=int(np.count_nonzero(kept & ~self.is_true)),
        )


def _point(threshold: float, smallest: float, rows: Sequence[_Counts]) -> Point:
    known = [row.dice for row in rows if not math.isnan(row.dice)]
    emboli = sum(row.emboli for row in rows)
    return Point(
        threshold=threshold,
        min_lesion_mm3=smallest,
        dice=sum(known) / len(known) if known else math.nan,
        lesion_sensitivity=sum(row.found for row in rows) / emboli if emboli else math.nan,
        false_marks_per_scan=sum(row.false_marks for row in rows) / len(rows),
    )


def _number(value: float) -> float:
    return 0.0 if math.isnan(value) else value
