"""Segments every case of a manifest and measures it, one after another or several at once, resumably."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PESemiSegLib.cohorts.manifest import Case, Manifest
from PESemiSegLib.errors import InputError
from PESemiSegLib.evaluation.case import CaseResult, Measuring, measure
from PESemiSegLib.evaluation.folds import Model
from PESemiSegLib.evaluation.lesions import Lesion, LesionReport
from PESemiSegLib.evaluation.metrics import MaskMetrics, SurfaceMetrics
from PESemiSegLib.evaluation.paper_compat import PaperCompatMetrics
from PESemiSegLib.evaluation.parallel import CancelCheck, CaseDone, OfModels, by_model
from PESemiSegLib.evaluation.store import ResultStore, floats, segmenting
from PESemiSegLib.evaluation.summary import by_site, summarise, summary_rows
from PESemiSegLib.evaluation.sweep import CurvePoint
from PESemiSegLib.evaluation.truth import read_case
from PESemiSegLib.evaluation.wording import written

if TYPE_CHECKING:
    from PESemiSegLib.models.package import ModelPackage

__all__ = ["by_site", "evaluate_cases", "evaluate_models", "summarise", "summary_rows"]


def in_words(step: CaseDone[CaseResult]) -> str:
    """The figures of each model, and the time."""
    figures = " | ".join(
        f"Dice {written(result.dice)}, emboli {result.lesions.found}/{len(result.lesions.lesions)}, "
        f"false marks {result.lesions.false_marks}"
        for result in step.results
    )
    took = "stored" if step.stored else f"{sum(result.seconds for result in step.results):.0f} s"
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
    packages: Sequence[Model],
    *,
    measuring: Measuring | None = None,
    folder: Path | None = None,
    jobs: int = 1,
    progress: Callable[[CaseDone[CaseResult]], None] = lambda step: None,
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
    work = _Work(tuple(packages), measuring or Measuring(), folder, settings)
    return by_model(work, labelled(manifest), jobs, progress, cancelled)


@dataclass(frozen=True)
class _Work(OfModels):
    """What is done with every case, see `parallel.Work`."""

    measuring: Measuring
    folder: Path | None
    settings: dict[str, Any]

    @property
    def stores(self) -> bool:
        """See `parallel.Work`."""
        return self.folder is not None

    def do(self, case: Case, cancelled: CancelCheck | None) -> tuple[tuple[CaseResult, ...], bool]:
        """The results of one case, from the store where they are there; and whether all were."""

        def measured(packages: Sequence[ModelPackage]) -> Iterator[CaseResult]:
            volume, truth = read_case(case)
            settings = self.settings | {"cancelled": cancelled}
            for package in packages:
                yield measure((case.patient, case.site), volume, truth, package, self.measuring, settings)

        def how(package: ModelPackage) -> dict[str, Any]:
            return {"measuring": asdict(self.measuring), "settings": segmenting(package, self.settings)}

        return ResultStore(self.folder, read_result).of(case, self.of(case), how, measured)


def read_result(record: dict[str, Any], case: Case) -> CaseResult:
    """A stored result again, see `ResultStore`."""
    lesions = record["lesions"]
    return CaseResult(
        patient=case.patient,
        site=case.site,
        overlap=MaskMetrics(**floats(record["overlap"])),
        surface=SurfaceMetrics(**floats(record["surface"])),
        lesions=LesionReport(
            tuple(Lesion(**lesion) for lesion in lesions["lesions"]),
            int(lesions["marks"]),
            int(lesions["false_marks"]),
        ),
        seconds=float(record["seconds"]),
        paper=PaperCompatMetrics(**record["paper"]),
        curve=tuple(CurvePoint(**point) for point in record["curve"]),
        score=float(record["score"]),
    )
