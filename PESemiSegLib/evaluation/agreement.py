"""How far two models agree on scans without labels: what changed, not which of them is right."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from PESemiSegLib.cohorts.manifest import Case
from PESemiSegLib.errors import InputError
from PESemiSegLib.evaluation.bootstrap import bootstrap_mean
from PESemiSegLib.evaluation.marks import TOUCHING
from PESemiSegLib.evaluation.metrics import mask_metrics
from PESemiSegLib.evaluation.parallel import CancelCheck, OfModels, outcomes

if TYPE_CHECKING:
    from PESemiSegLib.models.package import ModelPackage


@dataclass(frozen=True)
class Agreement:
    """Two models' marks on one scan; dice is NaN where neither marks anything.

    Of several classes it is the mean of those that either marks; marks are counted whatever their class.
    """

    key: str  # site and patient, in memory only
    site: str
    dice: float
    first_marks: int
    second_marks: int
    shared_marks: int  # of the second, those that touch one of the first
    first_ml: float
    second_ml: float


def in_use(cases: Iterable[Case]) -> list[Case]:
    """The cases that models can be compared on; raises InputError where there is none."""
    chosen = [case for case in cases if case.role != "excluded"]
    if not chosen:
        raise InputError("There is no scan to compare the models on; check role and split in the manifest.")
    return chosen


def agreements(
    cases: Iterable[Case],
    first: ModelPackage,
    second: ModelPackage,
    *,
    jobs: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
    cancelled: CancelCheck | None = None,
    **settings: Any,
) -> list[Agreement]:
    """Segment every scan with both models, labels unread; raises InputError without scans, Cancelled."""
    chosen = in_use(cases)
    found: dict[int, Agreement] = {}
    for index, agreement in outcomes(_Work((first, second), settings), chosen, jobs, cancelled):
        found[index] = agreement
        progress(len(found), len(chosen))
    return [found[index] for index in range(len(chosen))]


def agreement_of(
    first: np.ndarray,
    second: np.ndarray,
    voxel_mm3: float,
    case: tuple[str, str] = ("", ""),
    classes: int = 2,
) -> Agreement:
    """Compare two masks (z, y, x) of one scan; `case` is (patient, site). With `classes` > 2, label maps."""
    overlap = mask_metrics(second, first, voxel_mm3)
    dice = overlap.dice
    if classes > 2 and not overlap.both_empty:
        each = [mask_metrics(second == n, first == n, voxel_mm3).dice for n in range(1, classes)]
        dice = float(np.nanmean(each))
    labels, count = ndimage.label(second != 0, TOUCHING)
    _, count_first = ndimage.label(first != 0, TOUCHING)
    shared = np.unique(labels[(first != 0) & (second != 0)])
    patient, site = case
    return Agreement(
        key=f"{site}/{patient}",
        site=site,
        dice=dice,
        first_marks=int(count_first),
        second_marks=int(count),
        shared_marks=len(shared),
        first_ml=overlap.true_ml,
        second_ml=overlap.predicted_ml,
    )


def summarise_agreement(results: Sequence[Agreement]) -> dict[str, Any]:
    """Means over patients with their intervals."""
    groups: dict[str, list[Agreement]] = {}
    for result in results:
        groups.setdefault(result.key, []).append(result)

    def mean(name: str) -> Any:
        per_patient = []
        for group in groups.values():
            values = np.array([asdict(entry)[name] for entry in group], float)
            per_patient.append(float(np.nanmean(values)) if not np.isnan(values).all() else float("nan"))
        return bootstrap_mean(per_patient)

    return {
        "scans": len(results),
        "patients": len(groups),
        "scans_neither_marks": sum(not (r.first_marks or r.second_marks) for r in results),
        "dice_between_models": mean("dice"),
        "marks_per_scan_first": mean("first_marks"),
        "marks_per_scan_second": mean("second_marks"),
        "shared_marks_per_scan": mean("shared_marks"),
        "marked_ml_first": mean("first_ml"),
        "marked_ml_second": mean("second_ml"),
    }


@dataclass(frozen=True)
class _Work(OfModels):
    stores = False
    settings: dict[str, Any]

    def do(self, case: Case, cancelled: CancelCheck | None) -> Agreement:
        from PESemiSegLib.inference.segment import segment
        from PESemiSegLib.volumes.reader import read

        volume, kind = read(case.image), self.packages[0].info.what
        settings = self.settings | {"kind": kind.name, "judge": False, "cancelled": cancelled}
        healthy = [n for n, part in enumerate(kind.segments, start=1) if part in kind.healthy]  # no finding
        masks = (segment(volume, package, **settings).mask for package in self.of(case))
        first, second = (np.where(np.isin(mask, healthy), 0, mask) for mask in masks)
        case_is = (case.patient, case.site)
        return agreement_of(first, second, volume.grid.voxel_volume_mm3, case_is, kind.classes)
