"""The evaluate job: models on the labelled scans of a manifest, to tables and a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PESemiSegLib.jobs.context import Context
from PESemiSegLib.jobs.work.train import files_of, require

if TYPE_CHECKING:
    from PESemiSegLib.evaluation.evaluate import CaseDone

RESULT, CASES = "result", "cases"
_KNOWN = {"manifest", "split", "model", "models", "min_overlap", "settings", "at_once"}


def work(context: Context) -> list[Path]:
    """Segment and measure every labelled case of a split; a new start keeps the scans that were measured.

    Parameters: `manifest`, `split` ("test"; "all"), `model` or `models`, `min_overlap`, `at_once` (scans side
    by side), `settings` (of `inference.segment`). Results: `result/*`, patients by number. Events name cases
    by number only.

    Raises what reading and segmenting raise.
    """
    from PESemiSegLib.cohorts.manifest import read_manifest
    from PESemiSegLib.evaluation import tables
    from PESemiSegLib.evaluation.case import Measuring
    from PESemiSegLib.evaluation.evaluate import evaluate_models
    from PESemiSegLib.evaluation.report import require_plotting, write_report
    from PESemiSegLib.models.store import Store

    params = context.params
    require(context, _KNOWN, "manifest")
    require_plotting()
    context.progress("read")
    split = params.get("split", "test")
    cases = read_manifest(Path(params["manifest"])).select(None if split == "all" else split, "labelled")
    packages = [Store().find(name) for name in params.get("models") or [params.get("model", "demo")]]
    settings, min_overlap = params.get("settings", {}), params.get("min_overlap", 0.0)

    def tell(step: CaseDone) -> None:
        dice = [result.dice for result in step.results]
        context.event("case", number=step.done, dice=dice, stored=step.stored)
        context.progress("cases", step.done, step.total)

    context.progress("cases", 0, len(cases))
    results = evaluate_models(
        cases,
        packages,
        measuring=Measuring(min_overlap),
        folder=context.folder / CASES,
        jobs=params.get("at_once", 1),
        progress=tell,
        cancelled=context.cancelled,
        **settings,
    )
    context.progress("write")
    folder = context.folder / RESULT
    tables.make_folder(folder)
    write_report(folder, packages, results, min_overlap=min_overlap, settings=settings)
    return files_of(folder)
