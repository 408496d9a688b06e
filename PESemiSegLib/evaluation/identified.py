"""Measures models that identify: of each patient the scan that the model reads, PE or not, and Dice."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PESemiSegLib.cohorts.labelmap import known_pe
from PESemiSegLib.cohorts.manifest import Case, Manifest
from PESemiSegLib.cohorts.phases import REGISTERED, phase_pairs
from PESemiSegLib.errors import InputError
from PESemiSegLib.evaluation import tables
from PESemiSegLib.evaluation.folds import Model
from PESemiSegLib.evaluation.metrics import mask_metrics
from PESemiSegLib.evaluation.parallel import CancelCheck, CaseDone, OfModels, by_model
from PESemiSegLib.evaluation.store import CASES, ResultStore, floats, segmenting
from PESemiSegLib.evaluation.truth import read_case
from PESemiSegLib.inference.phase_pairs import on_one_grid
from PESemiSegLib.inference.progress import Reporter

if TYPE_CHECKING:
    from PESemiSegLib.models.package import ModelPackage

PAIRS = "pairs"
"""Folder of the pairs that were registered, in that of the tables."""
_OF_IDENTIFY = ("scan_from", "any_phase", "strict")  # settings that `inference.segment` does not have


@dataclass(frozen=True)
class IdentifiedScan:
    """What a model said of one scan. `patient` stays in memory.

    pe_free: that there is no PE is true. score: the probability of PE. dice: of the mask; NaN without PE.
    """

    patient: str
    site: str
    pe_free: bool
    score: float
    dice: float
    seconds: float

    @property
    def key(self) -> str:
        """Site and patient: the unit that is resampled."""
        return f"{self.site}/{self.patient}"


def evaluate_identified(
    cohort: Manifest,
    packages: Sequence[Model],
    folder: Path,
    *,
    split: str | None = None,
    jobs: int = 1,
    progress: Callable[[CaseDone[IdentifiedScan]], None] = lambda step: None,
    cancelled: CancelCheck | None = None,
    **settings: Any,
) -> list[list[IdentifiedScan]]:
    """Identify the scans of every labelled patient that has what the models read.

    A model of scans without contrast medium reads the second one of a pair, whose truth is the mask of the
    first, registered onto it; a model of contrast scans reads the first. All models are asked of the same
    patients: those with both scans, unless every model reads contrast scans.

    Args:
        folder: registered pairs are kept in its `pairs`, results of single scans in its `cases`.
        jobs, progress, cancelled: as `evaluate_models`. settings: for `inference.identify`.

    Returns: per model the scans in the order of the patients.

    Raises InputError where there is nothing to measure, and what `evaluate_models` raises.
    """
    cases = [case for case in cohort.select(split) if case.role == "labelled"]
    plain = {}
    if any(_phase(package) == "noncontrast" for package in packages):
        plain = {first.key: second for first, second in phase_pairs(cohort)}
        cases = [case for case in cases if case.key in plain]
    elif len({case.key for case in cases}) < len(cases):
        raise InputError(
            f"{cohort.source_name}: some patients have several labelled scans, and it is not known which one "
            "counts; keep one of each."
        )
    if not cases:
        raise InputError(
            f"The manifest {cohort.source_name} has no labelled patient with the scans that the model reads: "
            "one with contrast medium and its mask, and one without."
        )
    tables.make_folder(folder)
    return by_model(_Work(tuple(packages), plain, folder, settings), cases, jobs, progress, cancelled)


def _phase(package: Model) -> str:
    volume = package.info.network_config.volume
    assert volume is not None  # of every package of this kind
    return volume.phase


@dataclass(frozen=True)
class _Work(OfModels):
    """What is done with every case, see `parallel.Work`. plain: the other scan of a patient, by key."""

    stores = True
    plain: dict[str, Case]
    folder: Path
    settings: dict[str, Any]

    def do(self, case: Case, cancelled: CancelCheck | None) -> tuple[tuple[IdentifiedScan, ...], bool]:
        """The outcome of one patient, per model; and whether all were stored."""
        others = [self.plain[case.key]] if case.key in self.plain else []
        registered = any(REGISTERED in other.problems for other in others)

        def how(package: ModelPackage) -> dict[str, Any]:
            from PESemiSegLib.inference.identify import WINDOW_RULE

            own = {name: value for name, value in self.settings.items() if name not in _OF_IDENTIFY}
            settings = segmenting(package, own) | {name: self.settings.get(name) for name in _OF_IDENTIFY}
            seen = {"network": asdict(package.info.network_config), "windows": WINDOW_RULE}
            return seen | {"settings": settings, "registered": registered}

        def measured(packages: Sequence[ModelPackage]) -> Iterator[IdentifiedScan]:
            return (self._identified(case, package, cancelled) for package in packages)

        return ResultStore(self.folder / CASES, _read).of(case, self.of(case), how, measured, *others)

    def _identified(self, case: Case, package: ModelPackage, cancelled: CancelCheck | None) -> IdentifiedScan:
        from PESemiSegLib.inference.identify import identify

        read = case
        if _phase(package) == "noncontrast":
            stop = Reporter(cancelled=cancelled).check_cancelled
            read = on_one_grid(case, self.plain[case.key], self.folder / PAIRS, check=stop).plain
        volume, truth = read_case(replace(read, lesions=None))
        started = time.monotonic()
        # The manifest says which phase it is, and has the last word.
        said = identify(volume, package, any_phase=True, cancelled=cancelled, **self.settings)
        seconds = time.monotonic() - started
        marked = bool(truth.mask.any())
        voxel_mm3 = volume.grid.voxel_volume_mm3
        return IdentifiedScan(
            case.patient,
            case.site,
            pe_free=_pe_free(case),
            score=said.pe_probability,
            dice=mask_metrics(said.mask > 0, truth.mask, voxel_mm3).dice if marked else math.nan,
            seconds=seconds,
        )


def _pe_free(case: Case) -> bool:
    """By the manifest or the mask as it was drawn, wherever the other scan ends."""
    return known_pe(case) == "no"


def _read(record: dict[str, Any], case: Case) -> IdentifiedScan:
    # The manifest may have been corrected since: what it says is no part of the stored result.
    known = {"patient": case.patient, "site": case.site, "pe_free": _pe_free(case)}
    return IdentifiedScan(**floats(record) | known)
