"""The evaluation as one HTML page without outside references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PESemiSegLib.evaluation.case import CaseResult
from PESemiSegLib.evaluation.figures import COMPARED, naming, pseudonyms
from PESemiSegLib.evaluation.frame import Frame
from PESemiSegLib.evaluation.froc import sensitivity_at
from PESemiSegLib.evaluation.paired import Paired
from PESemiSegLib.evaluation.plots import Picture
from PESemiSegLib.evaluation.summary import summarise, summarise_paper
from PESemiSegLib.evaluation.verdict import Verdict, p_in_words
from PESemiSegLib.evaluation.wording import BLOCKS, CONVENTIONS, title, written

_PATIENT_COLUMNS = (
    ("dice", "Dice"),
    ("sensitivity", "Sensitivity"),
    ("precision", "Precision"),
    ("nsd_1mm", "NSD 1 mm"),
    ("nsd_2mm", "NSD 2 mm"),
    ("hd95_mm", "HD95 mm"),
    ("true_ml", "True ml"),
    ("predicted_ml", "Marked ml"),
    ("emboli", "Emboli"),
    ("found", "Found"),
    ("false_marks", "False marks"),
    ("scan_score", "Score"),
)


@dataclass(frozen=True)
class Comparison:
    """Two models of the page, by label, with the verdict on the second."""

    first: str
    second: str
    verdict: Verdict


def render(
    models: Mapping[str, Sequence[CaseResult]],
    facts: Mapping[str, Mapping[str, Any]],
    pictures: Sequence[Picture],
    comparisons: Sequence[Comparison],
    *,
    min_overlap: float = 0.0,
    identify: bool = False,
) -> str:
    """The page. models: results by label, all on the same scans. facts: what the page says about each model.

    identify: patients by their own name rather than a number.
    """
    some = next(iter(models.values()))
    sites = sorted({result.site for result in some})
    groups = _groups(models, sites)
    overlap = f" and at least {100 * min_overlap:.0f} % of it" if min_overlap else ""
    frame = Frame(
        facts=facts,
        scans=len(some),
        sites=sites,
        headline=dict(zip(models, map(_headline, groups[0][1]), strict=True)),
        pictures=pictures,
        conventions=[text.format(overlap=overlap) for text in CONVENTIONS],
    )
    return frame.render(
        "emboli.html",
        tables=_tables(groups),
        paper=_paper(models, sites),
        comparisons=[(entry, comparison_rows(entry.verdict.tests)) for entry in comparisons],
        columns=_PATIENT_COLUMNS,
        patients=_patients(models, pseudonyms(some, identify=identify)),
        naming=naming(identify),
    )


def comparison_rows(tests: Mapping[str, Paired]) -> list[dict[str, str]]:
    """The paired tests as rows of text."""
    rows = []
    for figure in COMPARED:
        test = tests.get(figure.key)
        if test is None or not test.patients:
            continue
        change = written(test.difference, figure.key)
        rows.append(
            {
                "figure": figure.title + (f", {figure.unit}" if figure.unit else ""),
                "better": f"{figure.better} is better",
                "first": written(test.first),
                "second": written(test.second),
                "difference": change if change.startswith(("−", "–")) else f"+{change}",
                "counts": f"{test.better} / {test.equal} / {test.worse}",
                "permutation": p_in_words(test.p_permutation).removeprefix("p ").removeprefix("= "),
                "wilcoxon": p_in_words(test.p_wilcoxon).removeprefix("p ").removeprefix("= "),
                "rank_biserial": f"{test.rank_biserial:+.2f}".replace("-", "−"),
                "left_out": str(test.left_out or ""),
            }
        )
    return rows


Summaries = list[dict[str, Any]]  # one per model


def _groups(models: Mapping[str, Sequence[CaseResult]], sites: Sequence[str]) -> list[tuple[str, Summaries]]:
    """The summaries of all scans, and of each site where there are several."""
    groups = [("All scans" if len(sites) > 1 else f"Site {sites[0]}", set(sites))]
    groups += [(f"Site {site}", {site}) for site in sites] if len(sites) > 1 else []
    found = []
    for name, wanted in groups:
        chosen = [[r for r in results if r.site in wanted] for results in models.values()]
        found.append(
            (name, [summarise(results) | {"at_rate": sensitivity_at(results)} for results in chosen])
        )
    return found


def _headline(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Three figures of a model, for a glance."""
    return [
        (written(summary["dice"]), "mean Dice per patient with PE"),
        (written(summary["lesion_sensitivity"]), "share of emboli found"),
        (written(summary["false_marks_per_scan"], "false_marks_per_scan"), "false marks per scan"),
    ]


def _tables(
    groups: Sequence[tuple[str, Summaries]],
) -> list[tuple[str, list[tuple[str, list[tuple[str, list[str]]]]]]]:
    """(group of scans, [(block, [(figure, one text per model)])])."""
    return [
        (name, [(block, [row for key in keys for row in _rows(key, summaries)]) for block, keys in BLOCKS])
        for name, summaries in groups
    ]


def _rows(key: str, summaries: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    if not isinstance(summaries[0][key], Mapping):
        return [(title(key), [written(summary[key], key) for summary in summaries])]
    prefix = "… at " if key == "at_rate" else "… "
    parts = dict.fromkeys(part for summary in summaries for part in summary[key])
    rows = [(prefix + title(part), [written(s[key].get(part)) for s in summaries]) for part in parts]
    return [row for row in rows if any(text != "–" for text in row[1])]


def _paper(
    models: Mapping[str, Sequence[CaseResult]], sites: Sequence[str]
) -> list[tuple[str, str, list[str]]]:
    """(site, model, figures) of `PaperCompatMetrics`."""
    rows = []
    for site in sites:
        for name, results in models.items():
            summary = summarise_paper([r for r in results if r.site == site])
            rows.append((site, name, [written(value, key) for key, value in summary.items()]))
    return rows


def _patients(
    models: Mapping[str, Sequence[CaseResult]], names: Mapping[str, str]
) -> list[tuple[str, list[tuple[str, str, str, list[str]]]]]:
    """(model, [(patient, site, with PE or not, figures)])."""
    tables = []
    for model, results in models.items():
        rows = []
        for result in results:
            values = result.row()
            rows.append(
                (
                    names[result.key],
                    result.site,
                    "–" if result.pe_free else "PE",
                    [written(values[key], key) for key, _ in _PATIENT_COLUMNS],
                )
            )
        tables.append((model, rows))
    return tables
