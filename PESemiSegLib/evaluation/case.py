"""One scan measured: segmented by a model, compared with what is true about it, at all thresholds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from PESemiSegLib.evaluation.lesions import LesionReport, match_lesions
from PESemiSegLib.evaluation.marks import Emboli
from PESemiSegLib.evaluation.metrics import MaskMetrics, SurfaceMetrics, mask_metrics, surface_metrics
from PESemiSegLib.evaluation.paper_compat import PaperCompatMetrics, paper_compat
from PESemiSegLib.evaluation.sweep import FROC_THRESHOLDS, CurvePoint, cut_at, scan_score, sweep_counts
from PESemiSegLib.evaluation.truth import Truth

if TYPE_CHECKING:
    from PESemiSegLib.inference.lungs import LungField
    from PESemiSegLib.inference.result import BoxArray
    from PESemiSegLib.models.package import ModelPackage
    from PESemiSegLib.volumes.volume import Volume


@dataclass(frozen=True)
class CaseResult:
    """What one scan came to. `patient` stays in memory; what is written names patients by number."""

    patient: str
    site: str
    overlap: MaskMetrics
    surface: SurfaceMetrics
    lesions: LesionReport
    seconds: float
    paper: PaperCompatMetrics = field(default_factory=PaperCompatMetrics)
    curve: tuple[CurvePoint, ...] = ()
    score: float = 0.0

    @property
    def key(self) -> str:
        """Site and patient: the unit that is resampled and paired."""
        return f"{self.site}/{self.patient}"

    @property
    def annotated(self) -> bool:
        """The annotator marked something, so that Dice and its like are defined."""
        return self.overlap.true_ml > 0

    @property
    def pe_free(self) -> bool:
        """Neither the annotator nor the exact emboli mark anything."""
        return not self.annotated and not self.lesions.lesions

    @property
    def dice(self) -> float:
        """Dice with the annotator's mask; NaN where that is empty, whatever the model marks."""
        return self.overlap.dice if self.annotated else math.nan

    def row(self, name: str | None = None) -> dict[str, Any]:
        """One line of the table of patients; `name` stands for the patient, whose own is used without it.

        Figures of overlap and surface are NaN without an annotated mask, as in the means.
        """
        compared = {
            "dice": self.overlap.dice,
            "iou": self.overlap.iou,
            "sensitivity": self.overlap.sensitivity,
            "precision": self.overlap.precision,
            "nsd_1mm": self.surface.nsd_1mm,
            "nsd_2mm": self.surface.nsd_2mm,
            "hd95_mm": self.surface.hd95_mm,
        }
        return {
            "patient": self.patient if name is None else name,
            "site": self.site,
            "pe": not self.pe_free,
            **(compared if self.annotated else dict.fromkeys(compared, math.nan)),
            "true_ml": self.overlap.true_ml,
            "predicted_ml": self.overlap.predicted_ml,
            "volume_error_ml": self.overlap.volume_error_ml,
            "emboli": len(self.lesions.lesions),
            "found": self.lesions.found,
            "marks": self.lesions.marks,
            "false_marks": self.lesions.false_marks,
            "scan_score": self.score,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class Measuring:
    """How a scan is measured: the rule of finding, and the thresholds of the curves."""

    min_overlap: float = 0.0
    thresholds: tuple[float, ...] = FROC_THRESHOLDS


def measure(
    case: tuple[str, str],
    volume: Volume,
    truth: Truth,
    package: ModelPackage,
    measuring: Measuring,
    settings: dict[str, Any],
) -> CaseResult:
    """Segment `volume` with `settings` of `inference.segment` and measure it; `case` is (patient, site).

    The lung filter that the settings name also stands between probability and curves.
    """
    from PESemiSegLib.inference.segment import segment

    started = time.monotonic()
    result = segment(volume, package, judge=False, **settings)
    seconds = time.monotonic() - started
    used = result.provenance["settings"]
    edge = used["threshold"] if used["core_threshold"] > used["threshold"] else math.inf
    mask, probability, lungs = result.mask, result.probability, result.lungs
    if result.allowed is not None:
        result.allowed.apply(probability.values, probability.box)
    smallest = used["min_lesion_mm3"]
    return measured(case, mask, probability, truth, volume, seconds, measuring, smallest, lungs, edge)


def measured(
    case: tuple[str, str],
    mask: np.ndarray,
    probability: BoxArray,
    truth: Truth,
    volume: Volume,
    seconds: float,
    measuring: Measuring,
    smallest_mm3: float,
    lungs: LungField | None = None,
    edge: float = math.inf,
) -> CaseResult:
    """The figures of a mask uint8 (z, y, x) and its probability, filtered and cropped, on the scan's grid.

    edge: the threshold at which marks are drawn where their core has a higher one, see `sweep.cut_at`.
    """
    x, y, z = volume.spacing_mm
    voxel_mm3 = volume.grid.voxel_volume_mm3
    box = _around(mask, truth)
    near = Truth(truth.mask[box], None if truth.instances is None else truth.instances[box], truth.locations)
    patient, site = case
    points, score = _curve(probability, truth, measuring, smallest_mm3 / voxel_mm3, edge)
    return CaseResult(
        patient=patient,
        site=site,
        overlap=mask_metrics(mask[box], near.mask, voxel_mm3),
        surface=surface_metrics(mask[box], near.mask, (z, y, x)),
        lesions=match_lesions(
            mask[box],
            near.mask,
            voxel_mm3,
            instances=near.instances,
            locations=near.locations,
            min_overlap=measuring.min_overlap,
            region_of=_region_by_place(lungs, [s.start for s in box]),
        ),
        seconds=seconds,
        paper=paper_compat(
            (probability.slice(int(k)), truth.mask[k]) for k in np.flatnonzero(truth.mask.any(axis=(1, 2)))
        ),
        curve=tuple(points),
        score=score,
    )


def _curve(
    probability: BoxArray, truth: Truth, measuring: Measuring, smallest_voxels: float, edge: float
) -> tuple[Sequence[CurvePoint], float]:
    emboli = Emboli.of(truth.mask, truth.instances, probability.box.slices)
    cuts = [cut_at(threshold, edge) for threshold in measuring.thresholds]
    counts = sweep_counts(probability.values, emboli, cuts, (smallest_voxels,))
    points = [
        CurvePoint(threshold, c.found(emboli.size, measuring.min_overlap), c.false_marks, c.marks)
        for threshold, c in zip(measuring.thresholds, counts, strict=True)
    ]
    return points, scan_score(probability.values, smallest_voxels, min(measuring.thresholds), edge)


def _region_by_place(lungs: LungField | None, offset: Sequence[int]) -> Callable[[np.ndarray], str] | None:
    """Central: within 45 mm of the midline and mostly outside the lungs, as `findings.side_of` has it."""
    if lungs is None or not lungs.found:
        return None
    from PESemiSegLib.inference.findings import side_of

    def region(kji: np.ndarray) -> str:
        return "central" if side_of(kji + np.asarray(offset), lungs) == "central" else "peripheral"

    return region


def _around(mask: np.ndarray, truth: Truth) -> tuple[slice, slice, slice]:
    """The smallest box that holds marks and truth; at least one voxel."""
    from PESemiSegLib.inference.findings import bounding_box

    boxes = [bounding_box(a) for a in (mask, truth.mask, truth.instances) if a is not None]
    known = [box for box in boxes if box is not None]
    if not known:
        return (slice(0, 1),) * 3
    low = [min(box.start[axis] for box in known) for axis in range(3)]
    high = [max(box.stop[axis] for box in known) for axis in range(3)]
    z, y, x = (slice(a, b) for a, b in zip(low, high, strict=True))
    return z, y, x
