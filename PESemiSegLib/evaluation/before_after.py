"""Before against after, as every adapted model is judged: on whom, and what is left in the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PESemiSegLib.cohorts.manifest import Case, Manifest
from PESemiSegLib.evaluation import tables
from PESemiSegLib.evaluation.classes import LabelResult
from PESemiSegLib.evaluation.figures import pseudonyms
from PESemiSegLib.evaluation.label_report import write_label_report
from PESemiSegLib.evaluation.report import write_report
from PESemiSegLib.evaluation.verdict import Verdict
from PESemiSegLib.evaluation.wording import written

if TYPE_CHECKING:
    from PESemiSegLib.models.package import ModelPackage

VERDICT = "verdict.json"
_ENOUGH = 8  # unlabelled scans that two models are compared on where nothing is held out


def judged_on(manifest: Manifest) -> list[Case]:
    """The held-out labelled cases (split 'test'); without any, unlabelled scans to compare the models on.

    Those are the held-out ones, else the first few of training: agreement needs no label, so that nothing is
    flattered by having been seen.
    """
    held_out = manifest.select("test", "labelled")
    if len(held_out):
        return list(held_out)
    unlabelled = manifest.select("test", "unlabelled").cases or manifest.select("train", "unlabelled").cases
    return list(unlabelled[:_ENOUGH])


def case_lines(verdict: Verdict) -> list[str]:
    """One line per held-out scan, patients by number; nothing without labels."""
    names = pseudonyms(verdict.before)
    lines = []
    pairs: list[tuple[Any, Any]] = list(zip(verdict.before, verdict.after, strict=True))
    for before, after in pairs:
        told = _classes(before, after) if isinstance(before, LabelResult) else _emboli(before, after)
        lines.append(f"{names[before.key]}, site {before.site}: {told}")
    return lines


def _classes(before: Any, after: Any) -> str:
    first, second = (written(result.mean("dice")) for result in (before, after))
    return f"mean Dice {first} before, {second} after"


def _emboli(before: Any, after: Any) -> str:
    told = []
    if before.annotated:
        told.append(f"Dice {written(before.dice)} before, {written(after.dice)} after")
    if emboli := len(before.lesions.lesions):
        told.append(f"emboli found {before.lesions.found} and {after.lesions.found} of {emboli}")
    told = told or ["no PE"]
    told.append(f"false marks {before.lesions.false_marks} and {after.lesions.false_marks}")
    return "; ".join(told)


def write_before_after(
    folder: Path,
    before: ModelPackage,
    after: ModelPackage,
    verdict: Verdict,
    settings: Mapping[str, Any] | None = None,
) -> Path | None:
    """Write `verdict.json` and, where there were labels, page, tables and pictures; returns the page.

    Raises OutputError.
    """
    tables.make_folder(folder)
    tables.write_text(folder / VERDICT, tables.to_json(verdict.to_dict()))
    if not verdict.before:
        return None
    results: Any = [verdict.before, verdict.after]
    if before.info.what.classes > 2:
        write_label_report(folder, [before, after], results)
    else:
        write_report(folder, [before, after], results, settings=settings)
    return folder / tables.PAGE
