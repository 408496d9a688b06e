"""How figures are called and written on the page, and the conventions behind them in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PESemiSegLib.evaluation.bootstrap import Interval
from PESemiSegLib.evaluation.figures import COMPARED, PER_PATIENT

if TYPE_CHECKING:
    from PESemiSegLib.evaluation.folds import Model

UNITS = {figure.key: figure.unit for figure in (*PER_PATIENT, *COMPARED)}
_TITLES = {figure.key: figure.title for figure in (*PER_PATIENT, *COMPARED)} | {
    "scans": "Scans",
    "patients": "Patients",
    "scans_without_pe": "Scans without PE",
    "scans_without_pe_and_marks": "… of them without a mark",
    "emboli": "Emboli",
    "lesion_sensitivity": "Emboli found",
    "false_marks_per_scan": "False marks per scan",
    "false_marks_per_scan_without_pe": "… per scan without PE",
    "scan_auc": "AUC of the scan score",
    "scan_sensitivity": "Sensitivity: scans with PE that hold a mark",
    "scan_specificity": "Specificity: scans without PE that hold none",
    "positive_slices": "Slices with PE",
    "iou_at_0.8": "IoU at 0.8",
    "soft_dice": "Soft Dice",
    "sensitivity_at_0.1": "Sensitivity at 0.1",
}
BLOCKS = (
    ("Scans", ("scans", "patients", "scans_without_pe", "emboli")),
    ("Per patient, mean", tuple(figure.key for figure in PER_PATIENT)),
    (
        "Per embolus",
        ("lesion_sensitivity", "by_size", "by_region", "at_rate"),
    ),
    ("False marks", ("false_marks_per_scan", "false_marks_per_scan_without_pe")),
    ("Per scan: PE or not", ("scan_auc", "scan_sensitivity", "scan_specificity")),
)
CONVENTIONS = (
    "Mean and 95 % interval: patients are resampled 2,000 times (percentile bootstrap), because voxels "
    "and emboli of one patient are not independent. Several scans of one patient count as one patient.",
    "With few patients (below some ten) such intervals are too short; the tests stay exact.",
    "Scans without PE: where neither the annotator nor the list of emboli marks anything, Dice, IoU, "
    "sensitivity, precision and surface distances are not defined. Such scans are not counted as 1 and "
    "not as 0: they are left out of those means, and what is marked on them counts as false marks and "
    "against the specificity.",
    "An annotated scan on which the model marks nothing has Dice, IoU, sensitivity and NSD 0; it has no"
    " precision and no HD95, and is left out of those two means.",
    "An embolus is found when at least one of its voxels is marked{overlap}. A mark (connected voxels, "
    "26 neighbours) is false when it touches neither an embolus nor the annotator's mask.",
    "Where the cohort states the exact emboli, those are counted; else the connected parts of the "
    "annotator's mask.",
    "Central: pulmonary trunk, main and lobar arteries; peripheral: segmental arteries and beyond. "
    "Where the cohort states no artery, an embolus is central within 45 mm of the midline and mostly "
    "outside the lungs.",
    "NSD: share of both surfaces that lies within 1 or 2 mm of the other. HD95: the larger of the two "
    "95th percentiles of surface distances. Volume error: marked minus true, all scans.",
    "A scan is called positive as soon as it holds one mark. Its score, for the AUC, is the highest "
    "threshold (the core's, where marks are kept for one) at which a mark of at least the smallest size "
    "remains. An AUC that every resample repeats, as that of perfectly separated scans, has no interval.",
)


def model_names(packages: Sequence[Model]) -> list[str]:
    """A name for each model on page and tables: its own, with a piece of its hash where two share one."""
    names = [package.info.name for package in packages]
    return [
        name if names.count(name) == 1 else f"{name} ({package.sha256[:6]})"
        for name, package in zip(names, packages, strict=True)
    ]


def title(key: str) -> str:
    """What a figure is called."""
    unit = f", {UNITS[key]}" if UNITS.get(key) else ""
    return _TITLES.get(key, key.replace("_", " ").replace("mm3", "mm³").replace(">=", "≥")) + unit


def written(value: Any, key: str = "", decimals: int = 2) -> str:
    """A count, or `0.51 [0.40, 0.61]`; an en dash where there is nothing to tell."""
    if isinstance(value, Interval):
        if math.isnan(value.value):
            return "–"
        decimals = 1 if UNITS.get(key) == "mm" or "false_marks" in key else decimals
        low, middle, high = (_number(v, decimals) for v in (value.low, value.value, value.high))
        return middle if math.isnan(value.low) else f"{middle} [{low}, {high}]"
    if isinstance(value, float):
        return _number(value, decimals)
    return "–" if value is None else str(value)


def _number(value: float, decimals: int) -> str:
    if math.isnan(value):
        return "–"
    return "∞" if math.isinf(value) else f"{value:.{decimals}f}".replace("-", "−")
