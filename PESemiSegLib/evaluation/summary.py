"""The figures of a group of scans, with intervals over patients: all together and by site."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from PESemiSegLib.evaluation.bootstrap import Interval, bootstrap_mean, bootstrap_ratio, bootstrap_share
from PESemiSegLib.evaluation.case import CaseResult
from PESemiSegLib.evaluation.figures import PER_PATIENT, REGIONS, by_patient, patient_means
from PESemiSegLib.evaluation.lesions import SIZE_BINS_MM3, Lesion, size_bin
from PESemiSegLib.evaluation.scans import auc_interval

SIZE_BINS = tuple(size_bin(low) for low in SIZE_BINS_MM3[:-1])
Wanted = Callable[[Lesion], bool]
Value = Callable[[CaseResult], float]


def summarise(results: Sequence[CaseResult], resamples: int = 2000) -> dict[str, Any]:
    """The figures of one group of scans, with patient bootstrap intervals.

    Dice and its like: mean over patients of their annotated scans. Emboli: pooled. False marks: per scan.
    """
    free = [r for r in results if r.pe_free]
    positive = [r for r in results if not r.pe_free]
    lesions = [lesion for r in results for lesion in r.lesions.lesions]

    def sensitivity(wanted: Wanted) -> Interval:
        return lesion_sensitivity(results, wanted, resamples)

    counts = {
        "scans": len(results),
        "patients": len(by_patient(results)),
        "scans_without_pe": len(free),
        "scans_without_pe_and_marks": sum(r.lesions.marks == 0 for r in free),
        "excluded_both_empty": sum(r.overlap.both_empty for r in results),
        "without_surface_distance": sum(r.annotated and math.isinf(r.surface.hd95_mm) for r in results),
        "emboli": len(lesions),
    }
    means = {
        figure.key: bootstrap_mean(list(patient_means(results, figure).values()), resamples=resamples)
        for figure in PER_PATIENT
    }
    return (
        counts
        | means
        | {
            "lesion_sensitivity": sensitivity(lambda lesion: True),
            "false_marks_per_scan": _ratio(results, _false_marks, _one, resamples),
            "false_marks_per_scan_without_pe": _ratio(free, _false_marks, _one, resamples),
            "scan_auc": auc_interval(results, resamples),
            "scan_sensitivity": _share(positive, lambda r: float(r.lesions.marks > 0), _one, resamples),
            "scan_specificity": _share(free, lambda r: float(r.lesions.marks == 0), _one, resamples),
            "by_region": {
                name: sensitivity(lambda lesion, region=region: lesion.region == region)  # type: ignore[misc]
                for region, name in REGIONS.items()
            },
            "by_location": {
                place: sensitivity(lambda lesion, place=place: lesion.location == place)  # type: ignore[misc]
                for place in sorted({lesion.location for lesion in lesions})
            },
            "by_size": {
                name: sensitivity(lambda lesion, name=name: size_bin(lesion.volume_mm3) == name)  # type: ignore[misc]
                for name in SIZE_BINS
            },
        }
    )


def lesion_sensitivity(results: Sequence[CaseResult], wanted: Wanted, resamples: int = 2000) -> Interval:
    """Share of the wanted emboli that was found, pooled over scans."""

    def found(result: CaseResult) -> float:
        return float(sum(lesion.found for lesion in result.lesions.lesions if wanted(lesion)))

    def there(result: CaseResult) -> float:
        return float(sum(wanted(lesion) for lesion in result.lesions.lesions))

    return _share(results, found, there, resamples)


def summarise_paper(results: Sequence[CaseResult], resamples: int = 2000) -> dict[str, Any]:
    """`PaperCompatMetrics` of a group (1A.8): means over positive slices, intervals over patients."""
    figures = {"iou_at_0.8": "iou_sum", "soft_dice": "dice_sum", "sensitivity_at_0.1": "sensitivity_sum"}
    return {"positive_slices": sum(r.paper.slices for r in results)} | {
        name: _ratio(
            results,
            lambda r, part=part: float(getattr(r.paper, part)),  # type: ignore[misc]
            lambda r: float(r.paper.slices),
            resamples,
        )
        for name, part in figures.items()
    }


def by_site(
    results: Sequence[CaseResult],
    figures: Callable[[Sequence[CaseResult]], dict[str, Any]] = summarise,
) -> dict[str, dict[str, Any]]:
    """`figures` for every site, and for all together where there are several."""
    sites = sorted({r.site for r in results})
    groups = {site: figures([r for r in results if r.site == site]) for site in sites}
    return groups | ({"all": figures(results)} if len(sites) > 1 else {})


def summary_rows(groups: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The summaries as a table: one line per figure, one column per site."""
    rows: list[dict[str, Any]] = []
    for name, value in next(iter(groups.values())).items():
        if isinstance(value, dict):
            for part in _parts(group[name] for group in groups.values()):
                rows.append(
                    {"figure": f"lesion_sensitivity, {part}"}
                    | {s: g[name].get(part, "n/a") for s, g in groups.items()}
                )
        else:
            rows.append({"figure": name} | {site: group[name] for site, group in groups.items()})
    return rows


def _parts(groups: Iterable[dict[str, Any]]) -> list[str]:
    """All keys in the order they come in first."""
    return list(dict.fromkeys(key for group in groups for key in group))


def _ratio(results: Sequence[CaseResult], part: Value, whole: Value, resamples: int) -> Interval:
    return bootstrap_ratio(*_sums(results, part, whole), resamples=resamples)


def _share(results: Sequence[CaseResult], part: Value, whole: Value, resamples: int) -> Interval:
    """The same where `part` counts some of `whole`."""
    return bootstrap_share(*_sums(results, part, whole), resamples=resamples)


def _sums(results: Sequence[CaseResult], part: Value, whole: Value) -> tuple[list[float], list[float]]:
    groups = by_patient(results).values()
    return [sum(map(part, group)) for group in groups], [sum(map(whole, group)) for group in groups]


def _one(result: CaseResult) -> float:
    return 1.0


def _false_marks(result: CaseResult) -> float:
    return float(result.lesions.false_marks)
