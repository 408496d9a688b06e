"""Segments every case of a manifest and measures it: per patient, per embolus, per site."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PESemiSegLib.cohorts.manifest import Case, Manifest
from PESemiSegLib.errors import InputError
from PESemiSegLib.evaluation.bootstrap import Interval, bootstrap_mean, bootstrap_ratio
from PESemiSegLib.evaluation.lesions import SIZE_BINS_MM3, Lesion, LesionReport, match_lesions, size_bin
from PESemiSegLib.evaluation.metrics import MaskMetrics, SurfaceMetrics, mask_metrics, surface_metrics
from PESemiSegLib.evaluation.truth import read_case

if TYPE_CHECKING:
    from PESemiSegLib.models.package import ModelPackage

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class CaseResult:
    """What one scan came to."""

    patient: str
    site: str
    overlap: MaskMetrics
    surface: SurfaceMetrics
    lesions: LesionReport
    seconds: float

    @property
    def pe_free(self) -> bool:
        """Neither the annotator nor the exact emboli mark anything."""
        return self.overlap.true_ml == 0 and not self.lesions.lesions

    def row(self) -> dict[str, Any]:
        """One line of the table of patients."""
        return {
            "patient": self.patient,
            "site": self.site,
            "dice": self.overlap.dice,
            "iou": self.overlap.iou,
            "sensitivity": self.overlap.sensitivity,
            "precision": self.overlap.precision,
            "true_ml": self.overlap.true_ml,
            "volume_error_ml": self.overlap.volume_error_ml,
            "nsd_1mm": self.surface.nsd_1mm,
            "nsd_2mm": self.surface.nsd_2mm,
            "hd95_mm": self.surface.hd95_mm,
            "emboli": len(self.lesions.lesions),
            "found": self.lesions.found,
            "false_marks": self.lesions.false_marks,
            "seconds": self.seconds,
        }


def evaluate_cases(
    manifest: Manifest | Iterable[Case],
    package: ModelPackage,
    *,
    min_overlap: float = 0.0,
    progress: Callable[[int, int, CaseResult], None] = lambda done, total, result: None,
    **settings: Any,
) -> list[CaseResult]:
    """Segment and measure every labelled case; `settings` go to `inference.segment`.

    Raises InputError where there is none, and what reading and segmenting raise.
    """
    cases = [case for case in manifest if case.role == "labelled"]
    if not cases:
        raise InputError("There is no labelled case to be measured; check role and split in the manifest.")
    results = []
    for done, case in enumerate(cases, start=1):
        results.append(_evaluate(case, package, min_overlap, settings))
        progress(done, len(cases), results[-1])
    return results


def _evaluate(case: Case, package: ModelPackage, min_overlap: float, settings: dict[str, Any]) -> CaseResult:
    import time

    from PESemiSegLib.inference.segment import segment

    volume, truth = read_case(case)
    started = time.monotonic()
    prediction = segment(volume, package, **settings).mask
    seconds = time.monotonic() - started
    x, y, z = volume.spacing_mm
    return CaseResult(
        patient=case.patient,
        site=case.site,
        overlap=mask_metrics(prediction, truth.mask, volume.grid.voxel_volume_mm3),
        surface=surface_metrics(prediction, truth.mask, (z, y, x)),
        lesions=match_lesions(
            prediction,
            truth.mask,
            volume.grid.voxel_volume_mm3,
            instances=truth.instances,
            locations=truth.locations,
            min_overlap=min_overlap,
        ),
        seconds=seconds,
    )


def summarise(results: Sequence[CaseResult], resamples: int = 2000) -> dict[str, Any]:
    """The figures of one group of scans, with patient bootstrap intervals.

    Dice and its like: mean over scans where either mask holds something. Emboli: pooled over scans.
    """
    free = [r for r in results if r.pe_free]
    lesions = [lesion for r in results for lesion in r.lesions.lesions]

    def mean(values: Iterable[float]) -> Interval:
        finite = [v if math.isfinite(v) else math.nan for v in values]
        return bootstrap_mean(finite, resamples=resamples)

    def sensitivity(wanted: Callable[[Lesion], bool]) -> Interval:
        chosen = [[lesion for lesion in r.lesions.lesions if wanted(lesion)] for r in results]
        found = [float(sum(lesion.found for lesion in group)) for group in chosen]
        return bootstrap_ratio(found, [float(len(group)) for group in chosen], resamples=resamples)

    positive = [r for r in results if not r.pe_free]
    return {
        "scans": len(results),
        "scans_without_pe": len(free),
        "scans_without_pe_and_marks": sum(r.lesions.marks == 0 for r in free),
        "excluded_both_empty": sum(r.overlap.both_empty for r in results),
        "emboli": len(lesions),
        "dice": mean(r.overlap.dice for r in positive),
        "iou": mean(r.overlap.iou for r in positive),
        "sensitivity": mean(r.overlap.sensitivity for r in positive),
        "precision": mean(r.overlap.precision for r in positive),
        "nsd_1mm": mean(r.surface.nsd_1mm for r in positive),
        "nsd_2mm": mean(r.surface.nsd_2mm for r in positive),
        "hd95_mm": mean(r.surface.hd95_mm for r in positive),
        "volume_error_ml": mean(r.overlap.volume_error_ml for r in results),
        "lesion_sensitivity": sensitivity(lambda lesion: True),
        "false_marks_per_scan": mean(float(r.lesions.false_marks) for r in results),
        "false_marks_per_scan_without_pe": mean(float(r.lesions.false_marks) for r in free),
        "by_location": {
            place: sensitivity(lambda lesion, place=place: lesion.location == place)  # type: ignore[misc]
            for place in sorted({lesion.location for lesion in lesions})
        },
        "by_size": {
            name: sensitivity(lambda lesion, name=name: size_bin(lesion.volume_mm3) == name)  # type: ignore[misc]
            for name in (size_bin(low) for low in SIZE_BINS_MM3[:-1])
        },
    }


def by_site(results: Sequence[CaseResult]) -> dict[str, dict[str, Any]]:
    """`summarise` for every site, and for all together where there are several."""
    sites = sorted({r.site for r in results})
    groups = {site: summarise([r for r in results if r.site == site]) for site in sites}
    return groups | ({"all": summarise(results)} if len(sites) > 1 else {})


def summary_rows(groups: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The summaries as a table: one line per figure, one column per site."""
    rows: list[dict[str, Any]] = []
    for name, value in next(iter(groups.values())).items():
        if isinstance(value, dict):
            for part in sorted({key for group in groups.values() for key in group[name]}):
                rows.append(
                    {"figure": f"lesion_sensitivity, {part}"}
                    | {s: g[name].get(part, "n/a") for s, g in groups.items()}
                )
        else:
            rows.append({"figure": name} | {site: group[name] for site, group in groups.items()})
    return rows
