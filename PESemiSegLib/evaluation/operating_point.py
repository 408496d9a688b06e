"""Chooses a model's thresholds and smallest mark on validation patients, never on test patients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from PESemiSegLib.cohorts.manifest import Case
from PESemiSegLib.evaluation.marks import Counts, Emboli
from PESemiSegLib.evaluation.sweep import Cut, sweep_counts
from PESemiSegLib.evaluation.truth import read_case

if TYPE_CHECKING:
    from PESemiSegLib.models.package import ModelPackage

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
EDGES = (0.3, 0.5, 0.7, 0.9)
CORES = (0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
CUTS: tuple[Cut, ...] = (
    *((threshold, threshold) for threshold in THRESHOLDS),  # first: of equals the plain one is chosen
    *((edge, core) for edge in EDGES for core in CORES if core > edge),
)
SMALLEST_MM3 = (0.0, 5.0, 10.0, 20.0, 40.0, 60.0, 80.0)


@dataclass(frozen=True)
class Point:
    """One setting and what it gives on the validation patients."""

    threshold: float
    core_threshold: float
    min_lesion_mm3: float
    dice: float
    lesion_sensitivity: float
    false_marks_per_scan: float


def choose_point(points: Sequence[Point], max_false_marks: float = 1.0) -> Point:
    """The point with the largest Dice + lesion sensitivity among those with few enough false marks per scan.

    Where none has so few, the one with the fewest. Of equals the first.
    """
    allowed = [p for p in points if p.false_marks_per_scan <= max_false_marks]
    if not allowed:
        return min(points, key=lambda p: p.false_marks_per_scan)
    return max(allowed, key=lambda p: _number(p.dice) + _number(p.lesion_sensitivity))


def sweep(
    cases: Iterable[Case],
    package: ModelPackage,
    *,
    cuts: Sequence[Cut] = CUTS,
    smallest_mm3: Sequence[float] = SMALLEST_MM3,
    progress: Callable[[int], None] = lambda done: None,
    **settings: Any,
) -> list[Point]:
    """Every pair of cut (threshold, core's threshold) and smallest mark on every case, each segmented once.

    Means: Dice over scans with an annotated mask, emboli pooled, false marks over all scans.
    """
    from PESemiSegLib.inference.segment import segment

    rows: dict[tuple[Cut, float], list[_Row]] = {}
    pairs = [(cut, smallest) for cut in cuts for smallest in smallest_mm3]
    floor = min(edge for edge, _ in cuts)
    settings |= {"threshold": floor, "core_threshold": floor, "min_lesion_mm3": 0.0}
    for done, case in enumerate(cases, start=1):
        volume, truth = read_case(case)
        result = segment(volume, package, judge=False, **settings)
        here = result.box.slices
        allowed = np.where(result.mask[here] > 0, result.probability.values, 0.0)
        emboli = Emboli.of(truth.mask, truth.instances, here)
        voxels = [smallest / volume.grid.voxel_volume_mm3 for smallest in smallest_mm3]
        for pair, counts in zip(pairs, sweep_counts(allowed, emboli, cuts, voxels), strict=True):
            rows.setdefault(pair, []).append(_row(counts, emboli))
        progress(done)
    return [_point(cut, smallest, counts) for (cut, smallest), counts in rows.items()]


@dataclass(frozen=True)
class _Row:
    """One case at one setting."""

    dice: float  # NaN without an annotated mask
    found: int
    emboli: int
    false_marks: int


def _row(counts: Counts, emboli: Emboli) -> _Row:
    return _Row(counts.dice(emboli.annotated), counts.found(emboli.size), emboli.count, counts.false_marks)


def _point(cut: Cut, smallest: float, rows: Sequence[_Row]) -> Point:
    known = [row.dice for row in rows if not math.isnan(row.dice)]
    emboli = sum(row.emboli for row in rows)
    return Point(
        threshold=cut[0],
        core_threshold=cut[1],
        min_lesion_mm3=smallest,
        dice=sum(known) / len(known) if known else math.nan,
        lesion_sensitivity=sum(row.found for row in rows) / emboli if emboli else math.nan,
        false_marks_per_scan=sum(row.false_marks for row in rows) / len(rows),
    )


def _number(value: float) -> float:
    return 0.0 if math.isnan(value) else value
