"""Metrics of label maps with several classes, as Tan et al. define them (Eq. 7 to 10).

Per class, one against the rest, over the voxels of a scan:
IoU = TP / (TP + FP + FN), Dice = 2 TP / (2 TP + FP + FN) (their Eq. 8 prints TP + FP + TP, ambiguity 14),
specificity = TN / (TN + FP), precision = TP / (TP + FP). A class that the truth does not hold has no IoU and
no Dice (NaN), whatever is marked: else a mean would be over other scans for each model. Its false voxels
count against specificity and precision. Means leave NaN out, and background is no class.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from PESemiSegLib.evaluation.bootstrap import Interval, bootstrap_mean
from PESemiSegLib.evaluation.paired import Paired, paired

MEAN = "mean"  # stands for the mean of the classes where a class is named
FIGURES = ("iou", "dice", "specificity", "precision")
TITLES = {"iou": "MIOU", "dice": "Dice", "specificity": "Specificity", "precision": "Precision"}


@dataclass(frozen=True)
class ClassMetrics:
    """One class against the rest; volumes in ml."""

    iou: float
    dice: float
    specificity: float
    precision: float
    true_ml: float
    predicted_ml: float


@dataclass(frozen=True)
class LabelResult:
    """What one scan came to: the metrics of each class by its name. `patient` stays in memory.

    images: of kinds with findings beside healthy tissue, also those of each image, see `by_image`.
    """

    patient: str
    site: str
    classes: Mapping[str, ClassMetrics]
    seconds: float
    images: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Site and patient: the unit that is resampled."""
        return f"{self.site}/{self.patient}"

    def mean(self, figure: str) -> float:
        """The mean over the classes that have this figure; NaN where none has."""
        values = [getattr(metrics, figure) for metrics in self.classes.values()]
        known = [value for value in values if not math.isnan(value)]
        return sum(known) / len(known) if known else math.nan


def confusion(prediction: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """Voxels by (true class, predicted class), int64 (classes, classes).

    Raises ValueError for unequal shapes and labels outside 0 to classes - 1.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction {prediction.shape} and truth {truth.shape} differ in shape")
    for labels in (prediction, truth):
        if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise ValueError(f"labels lie within 0 to {classes - 1}")
    table = np.zeros(classes * classes, np.int64)
    for predicted, true in zip(prediction, truth, strict=True):  # slice by slice: no copy of the volume
        pairs = true.astype(np.intp) * classes + predicted
        table += np.bincount(pairs.ravel(), minlength=classes * classes)
    return table.reshape(classes, classes)


def class_metrics(table: np.ndarray, value: int, voxel_mm3: float) -> ClassMetrics:
    """The metrics of one class of a `confusion` table."""
    hits = int(table[value, value])
    true, predicted = int(table[value].sum()), int(table[:, value].sum())
    false, missed = predicted - hits, true - hits
    rest = int(table.sum()) - hits - false - missed
    return ClassMetrics(
        iou=_share(hits, hits + false + missed) if true else math.nan,
        dice=_share(2 * hits, 2 * hits + false + missed) if true else math.nan,
        specificity=_share(rest, rest + false),
        precision=_share(hits, hits + false),
        true_ml=true * voxel_mm3 / 1000.0,
        predicted_ml=predicted * voxel_mm3 / 1000.0,
    )


def label_metrics(
    prediction: np.ndarray, truth: np.ndarray, names: Sequence[str], voxel_mm3: float
) -> dict[str, ClassMetrics]:
    """The metrics of two label maps (z, y, x) per class but background; label n is called names[n - 1]."""
    table = confusion(prediction, truth, len(names) + 1)
    return {name: class_metrics(table, value, voxel_mm3) for value, name in enumerate(names, start=1)}


def summarise_labels(results: Sequence[LabelResult], resamples: int = 2000) -> list[dict[str, Any]]:
    """The paper's table: one row per class and one for their mean, with intervals over patients."""
    names = list(results[0].classes) if results else []
    rows = []
    for name in (*names, MEAN):
        row: dict[str, Any] = {"class": name}
        for figure in FIGURES:
            row[TITLES[figure]] = _over_patients(results, name, figure, resamples)
        rows.append(row)
    return rows


def compare_labels(first: Sequence[LabelResult], second: Sequence[LabelResult]) -> dict[str, Paired]:
    """The second model against the first on the same scans: Dice by class, and of their mean (MEAN).

    Raises ValueError where the patients are not the same.
    """
    return {
        name: paired(
            f"Dice of {name}" if name != MEAN else "Dice, mean of the classes",
            *(_by_patient(results, name, "dice") for results in (first, second)),
        )
        for name in (*first[0].classes, MEAN)
    }


def label_rows(results: Sequence[LabelResult], called: Mapping[str, str]) -> list[dict[str, Any]]:
    """One line per scan and class, for a CSV; `called` names each patient (by `key`)."""
    return [
        {"patient": called[result.key], "site": result.site, "class": name}
        | {figure: getattr(metrics, figure) for figure in (*FIGURES, "true_ml", "predicted_ml")}
        for result in results
        for name, metrics in result.classes.items()
    ]


def _over_patients(results: Sequence[LabelResult], name: str, figure: str, resamples: int) -> Interval:
    """The mean over patients; those without the figure are left out."""
    return bootstrap_mean(list(_by_patient(results, name, figure).values()), resamples=resamples)


def _by_patient(results: Sequence[LabelResult], name: str, figure: str) -> dict[str, float]:
    """By key the mean over the patient's scans that have the figure; NaN where none has."""
    patients: dict[str, list[float]] = {result.key: [] for result in results}
    for result in results:
        value = result.mean(figure) if name == MEAN else getattr(result.classes[name], figure)
        if not math.isnan(value):
            patients[result.key].append(value)
    return {key: sum(values) / len(values) if values else math.nan for key, values in patients.items()}


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
