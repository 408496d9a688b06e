"""Segments every case of a manifest and measures it, one after another or several at once, resumably."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PESemiSegLib.cohorts.manifest import Case, Manifest
from PESemiSegLib.errors import InputError
from PESemiSegLib.evaluation.case import CaseResult, Measuring, measure
from PESemiSegLib.evaluation.parallel import outcomes, sendable
from PESemiSegLib.evaluation.store import ResultStore, data_fingerprint
from PESemiSegLib.evaluation.summary import by_site, summarise, summary_rows
from PESemiSegLib.evaluation.truth import read_case
from PESemiSegLib.evaluation.wording import written

if TYPE_CHECKING:
    from PESemiSegLib.models.package import ModelPackage

__all__ = ["CaseDone", "by_site", "evaluate_cases", "evaluate_models", "summarise", "summary_rows"]
_LOG = logging.getLogger(__name__)
CancelCheck = Callable[[], bool]


@dataclass(frozen=True)
class CaseDone:
    """Progress: so many of all scans are done; results in the order of the models, and whether from store."""

    done: int
    total: int
    results: tuple[CaseResult, ...]
    stored: bool

    @property
    def words(self) -> str:
        """The figures of each model, and the time."""
        figures = " | ".join(
            f"Dice {written(result.dice)}, emboli {result.lesions.found}/{len(result.lesions.lesions)}, "
            f"false marks {result.lesions.false_marks}"
            for result in self.results
        )
        took = "stored" if self.stored else f"{sum(result.seconds for result in self.results):.0f} s"
        return f"{figures}, {took}"


def labelled(cases: Iterable[Case]) -> list[Case]:
    """The labelled ones; raises InputError where there is none."""
    found = [case for case in cases if case.role == "labelled"]
    if not found:
        raise InputError("There is no labelled case to be measured; check role and split in the manifest.")
    return found


def evaluate_cases(
    manifest: Manifest | Iterable[Case],
    package: ModelPackage,
    *,
    min_overlap: float = 0.0,
    progress: Callable[[int, int, CaseResult], None] = lambda done, total, result: None,
    **settings: Any,
) -> list[CaseResult]:
    """`evaluate_models` for one model, nothing stored; `settings` go to `inference.segment`."""
    (results,) = evaluate_models(
        manifest,
        [package],
        measuring=Measuring(min_overlap),
        progress=lambda step: progress(step.done, step.total, step.results[0]),
        **settings,
    )
    return results


def evaluate_models(
    manifest: Manifest | Iterable[Case],
    packages: Sequence[ModelPackage],
    *,
    measuring: Measuring | None = None,
    folder: Path | None = None,
    jobs: int = 1,
    progress: Callable[[CaseDone], None] = lambda step: None,
    cancelled: CancelCheck | None = None,
    **settings: Any,
) -> list[list[CaseResult]]:
    """Segment and measure every labelled case with every model.

    Args:
        folder: where results of single scans are stored and looked for; None stores nothing.
        jobs: scans at once, each in a process of its own.
        cancelled: asked every 0.1 s; when true, all stop.
        settings: for `inference.segment`.

    Returns: per model the results in the order of the cases.

    Raises InputError where there is no labelled case, or, once the others are done and stored, with a list of
    those that cannot be measured; ConfigError for bad settings; Cancelled.
    """
    cases = labelled(manifest)
    measuring = measuring or Measuring()
    work = _Work(tuple(packages), measuring, folder, settings)
    results: dict[int, tuple[CaseResult, ...]] = {}
    for index, (measured, stored) in outcomes(work, cases, jobs, cancelled):
        results[index] = measured
        progress(CaseDone(len(results), len(cases), measured, stored))
    return [[results[index][n] for index in range(len(cases))] for n in range(len(packages))]


Outcome = tuple[tuple[CaseResult, ...], bool]


@dataclass(frozen=True)
class _Work:
    """What is done with every case."""

    packages: tuple[ModelPackage, ...]
    measuring: Measuring
    folder: Path | None
    settings: dict[str, Any]

    @property
    def stores(self) -> bool:
        """See `parallel.Work`."""
        return self.folder is not None

    def do(self, case: Case, cancelled: CancelCheck | None) -> Outcome:
        """The results of one case, from the store where they are there; and whether all were."""
        known, keys = self._stored(case)
        missing = [n for n, result in enumerate(known) if result is None]
        if missing:
            volume, truth = read_case(case)
            for n in missing:
                started = time.monotonic()
                settings = self.settings | {"cancelled": cancelled}
                known[n] = result = measure(
                    (case.patient, case.site), volume, truth, self.packages[n], self.measuring, settings
                )
                _LOG.debug("a case took %.1f s", time.monotonic() - started)
                if self.folder is not None:
                    ResultStore(self.folder).save(keys[n], result)
        return tuple(result for result in known if result is not None), not missing

    def to_send(self) -> _Work:
        """The same for another process: unpacked packages stay with this one, which outlives it."""
        return replace(self, packages=tuple(map(sendable, self.packages)))

    def _stored(self, case: Case) -> tuple[list[CaseResult | None], list[str]]:
        if self.folder is None:
            return [None] * len(self.packages), []
        store, data = ResultStore(self.folder), data_fingerprint(case)
        keys = [store.key(data, package, self.measuring, self.settings) for package in self.packages]
        return [store.load(key, case) for key in keys], keys
