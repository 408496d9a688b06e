"""The figures per patient: their names, units, which way is better, and how several scans of one join."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from PESemiSegLib.evaluation.case import CaseResult

REGIONS = {
    "central": "central (trunk, main and lobar arteries)",
    "peripheral": "peripheral (segmental and beyond)",
}


@dataclass(frozen=True)
class Figure:
    """One figure of a scan; `of` gives NaN where it is not defined, and such scans do not count."""

    key: str
    title: str
    unit: str
    better: Literal["higher", "lower", "neither"]
    of: Callable[[CaseResult], float]


def _annotated(value: Callable[[CaseResult], float]) -> Callable[[CaseResult], float]:
    """Only where the annotator marked something, and only finite."""

    def of(result: CaseResult) -> float:
        figure = value(result) if result.annotated else math.nan
        return figure if math.isfinite(figure) else math.nan

    return of


def _found_share(result: CaseResult) -> float:
    emboli = len(result.lesions.lesions)
    return result.lesions.found / emboli if emboli else math.nan


PER_PATIENT = (
    Figure("dice", "Dice", "", "higher", _annotated(lambda r: r.overlap.dice)),
    Figure("iou", "IoU", "", "higher", _annotated(lambda r: r.overlap.iou)),
    Figure("sensitivity", "Sensitivity (voxels)", "", "higher", _annotated(lambda r: r.overlap.sensitivity)),
    Figure("precision", "Precision (voxels)", "", "higher", _annotated(lambda r: r.overlap.precision)),
    Figure("nsd_1mm", "NSD at 1 mm", "", "higher", _annotated(lambda r: r.surface.nsd_1mm)),
    Figure("nsd_2mm", "NSD at 2 mm", "", "higher", _annotated(lambda r: r.surface.nsd_2mm)),
    Figure("hd95_mm", "HD95", "mm", "lower", _annotated(lambda r: r.surface.hd95_mm)),
    Figure(
        "volume_error_ml",
        "Volume error (marked − true)",
        "ml",
        "neither",
        lambda r: r.overlap.volume_error_ml,
    ),
    Figure(
        "absolute_volume_error_ml",
        "Volume error, absolute",
        "ml",
        "lower",
        lambda r: abs(r.overlap.volume_error_ml),
    ),
)
COMPARED = (
    *(figure for figure in PER_PATIENT if figure.better != "neither"),
    Figure("lesion_sensitivity", "Emboli found, share per patient", "", "higher", _found_share),
    Figure(
        "false_marks_per_scan", "False marks per scan", "", "lower", lambda r: float(r.lesions.false_marks)
    ),
)


def by_patient(results: Sequence[CaseResult]) -> dict[str, list[CaseResult]]:
    """The scans of each patient, patients in the order they come in first."""
    groups: dict[str, list[CaseResult]] = {}
    for result in results:
        groups.setdefault(result.key, []).append(result)
    return groups


def patient_means(results: Sequence[CaseResult], figure: Figure) -> dict[str, float]:
    """The mean over each patient's scans where the figure is defined; NaN for a patient without one."""
    means = {}
    for key, group in by_patient(results).items():
        known = [value for value in map(figure.of, group) if not math.isnan(value)]
        means[key] = sum(known) / len(known) if known else math.nan
    return means


class OfPatient(Protocol):
    """A result that knows whose it is."""

    @property
    def key(self) -> str:
        """Site and patient."""

    @property
    def patient(self) -> str:
        """The patient's own name."""


def pseudonyms(results: Sequence[OfPatient], *, identify: bool = False) -> dict[str, str]:
    """By key, `P01`, `P02` ... in the order the patients come in: what tables and pages call them.

    identify: their own names instead.
    """
    if identify:
        return {result.key: result.patient for result in results}
    return numbered([result.key for result in results])


def naming(identify: bool) -> str:
    """How patients are called in a table, in words."""
    called = "are called as in" if identify else "are numbered in the order of"
    return f"Patients {called} the manifest."


def numbered(keys: Sequence[str]) -> dict[str, str]:
    """`P01`, `P02` ... for keys in the order they come in first."""
    keys = list(dict.fromkeys(keys))
    width = max(2, len(str(len(keys))))
    return {key: f"P{number:0{width}d}" for number, key in enumerate(keys, start=1)}
