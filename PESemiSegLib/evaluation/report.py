"""Writes what an evaluation came to: tables, curves, pictures, and at last the page that shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PESemiSegLib.evaluation import tables
from PESemiSegLib.evaluation.case import CaseResult
from PESemiSegLib.evaluation.figures import pseudonyms
from PESemiSegLib.evaluation.folds import CrossValidated
from PESemiSegLib.evaluation.frame import facts_of, picture_files
from PESemiSegLib.evaluation.froc import froc, sensitivity_at
from PESemiSegLib.evaluation.page import Comparison, render
from PESemiSegLib.evaluation.plots import pictures
from PESemiSegLib.evaluation.scans import roc
from PESemiSegLib.evaluation.summary import by_site, summarise_paper, summary_rows
from PESemiSegLib.evaluation.verdict import judge
from PESemiSegLib.evaluation.wording import model_names

if TYPE_CHECKING:
    from PESemiSegLib.evaluation.folds import Model

Models = Mapping[str, Sequence[CaseResult]]


def write_report(
    folder: Path,
    packages: Sequence[Model],
    results: Sequence[Sequence[CaseResult]],
    *,
    min_overlap: float = 0.0,
    settings: Mapping[str, Any] | None = None,
    identify: bool = False,
) -> str:
    """Write CSV, JSON, pictures and the page into `folder`; returns the summary as Markdown.

    results: per package, all on the same scans. identify: patients by their own name rather than a number.
    Raises OutputError.
    """
    names = model_names(packages)
    models = dict(zip(names, results, strict=True))
    called = pseudonyms(results[0], identify=identify)
    comparisons = [
        Comparison(a, b, judge(models[a], models[b], (a, b)))
        for n, a in enumerate(names)
        for b in names[n + 1 :]
    ]
    facts = {name: _facts(package, settings or {}) for name, package in zip(names, packages, strict=True)}
    groups = {name: by_site(entry) for name, entry in models.items()}
    paper = {name: by_site(entry, summarise_paper) for name, entry in models.items()}
    markdown = _summary_markdown(groups, comparisons)
    patients = _patient_rows(models, called)
    record = tables.heading() | {
        "models": facts,
        "sites": groups,
        "sensitivity_at": {name: sensitivity_at(entry) for name, entry in models.items()},
        "paper_compat": paper,
        "comparisons": [{"first": c.first, "second": c.second} | c.verdict.to_dict() for c in comparisons],
        "patients": patients,
    }
    made = pictures(models, called)
    files: dict[str, str | bytes] = {
        "patients.csv": tables.to_csv(patients),
        "emboli.csv": tables.to_csv(_embolus_rows(models, called)),
        "summary.csv": tables.to_csv(_long_rows(groups)),
        "paper_compat.csv": tables.to_csv(_long_rows(paper)),
        "comparisons.csv": tables.to_csv(_comparison_rows(comparisons)),
        "froc.csv": tables.to_csv(list(_froc_rows(models))),
        "roc.csv": tables.to_csv(list(_roc_rows(models))),
        "summary.md": markdown,
        "evaluation.json": tables.to_json(record),
        **picture_files(made),
        tables.PAGE: render(models, facts, made, comparisons, min_overlap=min_overlap, identify=identify),
    }
    tables.write_all(folder, files)
    return markdown


def _facts(package: Model, settings: Mapping[str, Any]) -> dict[str, Any]:
    from PESemiSegLib.inference.settings import Settings

    one = package.packages[0] if isinstance(package, CrossValidated) else package
    resolved = Settings(**settings).resolved(one)
    return facts_of(package) | {
        "threshold": resolved.threshold,
        "core_threshold": resolved.core_threshold,
        "smallest_mark_mm3": resolved.min_lesion_mm3,
        "lung_filter": resolved.lung_filter,
        "precision": resolved.precision,
    }


def _summary_markdown(
    groups: Mapping[str, dict[str, dict[str, Any]]], comparisons: Sequence[Comparison]
) -> str:
    parts = []
    for name, sites in groups.items():
        title = f"## {name}\n\n" if len(groups) > 1 else ""
        parts.append(title + tables.to_markdown(summary_rows(sites)))
    parts += [f"**{c.second} against {c.first}.** {c.verdict}\n" for c in comparisons]
    return "\n".join(parts)


def _patient_rows(models: Models, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """One line per model and scan; a patient with several scans has several lines."""
    return [
        {"model": model} | result.row(names[result.key])
        for model, results in models.items()
        for result in results
    ]


def _embolus_rows(models: Models, names: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {"model": model, "patient": names[result.key], "site": result.site} | asdict(lesion)
        for model, results in models.items()
        for result in results
        for lesion in result.lesions.lesions
    ]


def _long_rows(groups: Mapping[str, dict[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """One line per model, site and figure: value, interval and the number of patients behind it."""
    rows = []
    for model, sites in groups.items():
        for site, summary in sites.items():
            for figure, value in _flat(summary):
                row = {"model": model, "site": site, "figure": figure, "value": value}
                interval = {"low": "", "high": "", "patients": ""}
                if not isinstance(value, (int, float)):
                    interval = asdict(value)
                rows.append(row | interval)
    return rows


def _flat(summary: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in summary.items():
        if isinstance(value, Mapping):
            yield from ((f"lesion_sensitivity, {part}", entry) for part, entry in value.items())
        else:
            yield name, value


def _comparison_rows(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    rows = []
    for comparison in comparisons:
        for test in comparison.verdict.tests.values():
            row = {"first_model": comparison.first, "second_model": comparison.second} | asdict(test)
            difference = row.pop("difference")
            rows.append(
                row
                | {
                    "patients": test.patients,
                    "difference": difference["value"],
                    "difference_low": difference["low"],
                    "difference_high": difference["high"],
                }
            )
    return rows


def _froc_rows(models: Models) -> Iterator[dict[str, Any]]:
    for model, results in models.items():
        curve = froc(results)
        if curve is not None:
            for t, rate, share in zip(curve.thresholds, curve.false_marks, curve.sensitivity, strict=True):
                yield {
                    "model": model,
                    "threshold": float(t),
                    "false_marks_per_scan": float(rate),
                    "emboli_found": float(share),
                }


def _roc_rows(models: Models) -> Iterator[dict[str, Any]]:
    for model, results in models.items():
        for false_rate, true_rate, score in zip(*roc(results), strict=True):
            yield {
                "model": model,
                "score": float(score),
                "false_positive_rate": float(false_rate),
                "sensitivity": float(true_rate),
            }
