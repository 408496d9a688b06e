"""The evaluate job: models of any kind on the labelled scans of a manifest, to tables and pages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PESemiSegLib.jobs.context import Context
from PESemiSegLib.jobs.work.train import files_of, require

if TYPE_CHECKING:
    from PESemiSegLib.evaluation.by_kind import Step

RESULT = "result"
_KNOWN = {"manifest", "split", "model", "models", "min_overlap", "settings", "at_once"}


def work(context: Context) -> list[Path]:
    """Measure every labelled case of a split as the kind of the models has it, see `evaluation.by_kind`.

    A new start keeps what the evaluation of that kind keeps: scans that were measured, and pairs that were
    registered.

    Parameters: `manifest`, `split` ("test"; "all"), `model` or `models`, `min_overlap`, `at_once` (scans side
    by side), `settings` (of `inference.segment` or `identify`). Results: `result/*`, patients by number.
    Events name cases by number only.

    Raises what reading and measuring raise.
    """
    from PESemiSegLib.cohorts.manifest import read_manifest
    from PESemiSegLib.evaluation.by_kind import Evaluation
    from PESemiSegLib.models.store import Store

    params = context.params
    require(context, _KNOWN, "manifest")
    context.progress("read")
    split = params.get("split", "test")

    def tell(step: Step) -> None:
        context.event("case", number=step.done, stored=step.stored, **step.figures)
        context.progress("cases", step.done, step.total)

    evaluation = Evaluation(
        cohort=read_manifest(Path(params["manifest"])),
        packages=[Store().find(name) for name in params.get("models") or [params.get("model", "demo")]],
        output=context.folder / RESULT,
        split=None if split == "all" else split,
        kept=context.folder,
        min_overlap=params.get("min_overlap", 0.0),
        jobs=params.get("at_once", 1),
        settings=params.get("settings", {}),
        progress=tell,
        cancelled=context.cancelled,
    )
    context.progress("cases")
    evaluation.run()
    return files_of(context.folder / RESULT)
