"""The table of CPMN (Tables 1 and 2) and its tests: sensitivity, specificity, area, Dice, model by model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from PESemiSegLib.evaluation import tables
from PESemiSegLib.evaluation.bootstrap import Interval, bootstrap_mean, bootstrap_share
from PESemiSegLib.evaluation.figures import pseudonyms
from PESemiSegLib.evaluation.identified import IdentifiedScan
from PESemiSegLib.evaluation.paired import permutation_p
from PESemiSegLib.evaluation.paired_scans import compare_rates, delong
from PESemiSegLib.evaluation.scans import auc_interval
from PESemiSegLib.models.info import INTENDED_USE
from PESemiSegLib.models.kinds import IDENTIFICATION

if TYPE_CHECKING:
    from PESemiSegLib.models.package import ModelPackage

POSITIVE_FROM = 0.5
"""Probability from which a scan counts as PE: the paper gives none."""


def figures_row(scans: Sequence[IdentifiedScan], positive_from: float = POSITIVE_FROM) -> dict[str, Any]:
    """One row: intervals over patients. Dice is the mean over the scans with PE."""
    told = [scan.score >= positive_from for scan in scans]
    pairs = list(zip(scans, told, strict=True))
    return {
        "sensitivity": _share([yes for scan, yes in pairs if not scan.pe_free]),
        "specificity": _share([not yes for scan, yes in pairs if scan.pe_free]),
        "AUC": auc_interval(scans),
        "Dice": bootstrap_mean([scan.dice for scan in scans]),
    }


def comparison_row(
    first: Sequence[IdentifiedScan],
    second: Sequence[IdentifiedScan],
    positive_from: float = POSITIVE_FROM,
) -> dict[str, Any]:
    """The second model less the first on the same scans; two-sided p by permutation, of areas by DeLong."""
    positive = np.array([not scan.pe_free for scan in first])
    scores = [np.array([scan.score for scan in scans]) for scans in (first, second)]
    rates = compare_rates(positive, *(score >= positive_from for score in scores))
    areas = delong(positive, *scores)
    dice = np.array([b.dice - a.dice for a, b in zip(first, second, strict=True)])
    dice = dice[np.isfinite(dice)]
    row: dict[str, Any] = {}
    for name, rate in rates.items():
        row |= {name: rate.difference, f"p ({name})": _p(rate.p)}
    row |= {"AUC": areas.difference, "p (DeLong)": _p(areas.p)}
    return row | {"Dice": bootstrap_mean(dice.tolist()), "p (Dice)": _p(permutation_p(dice))}


def write_identified(
    folder: Path,
    packages: Sequence[ModelPackage],
    results: Sequence[Sequence[IdentifiedScan]],
    *,
    name_patients: bool = False,
) -> str:
    """Write `scans.csv`, `summary.csv`, `.md` and `evaluation.json`; returns the Markdown.

    results: per package, on the same patients; each is compared with the first. Raises OutputError.
    """
    called = pseudonyms(results[0], identify=name_patients)
    names = [f"{package.info.name} ({package.sha256[:6]})" for package in packages]
    entries = list(zip(names, packages, results, strict=True))
    rows = [
        {"model": name, "reads": _reads(package), "scans with PE": sum(not s.pe_free for s in scans)}
        | {"without": sum(s.pe_free for s in scans)}
        | figures_row(scans)
        for name, package, scans in entries
    ]
    against = [
        {f"less {names[0]}": name} | comparison_row(results[0], scans) for name, _, scans in entries[1:]
    ]
    flat = [
        {"model": name, "patient": called[scan.key], "site": scan.site}
        | {"pe": not scan.pe_free, "score": scan.score, "dice": scan.dice, "seconds": scan.seconds}
        for name, _, scans in entries
        for scan in scans
    ]
    markdown = f"{INTENDED_USE} {IDENTIFICATION.warning}\n\n{tables.to_markdown(rows)}"
    if against:
        markdown += f"\nPaired tests on the same patients:\n\n{tables.to_markdown(against)}"
    record = tables.heading() | {
        "warning": IDENTIFICATION.warning,
        "models": [{"name": name, "sha256": p.sha256, "reads": _reads(p)} for name, p, _ in entries],
        "positive_from": POSITIVE_FROM,
        "summary": rows,
        "comparisons": against,
    }
    tables.write_text(folder / "scans.csv", tables.to_csv(flat))
    tables.write_text(folder / "summary.csv", tables.to_csv(rows))
    tables.write_text(folder / "summary.md", markdown)
    tables.write_text(folder / "evaluation.json", tables.to_json(record))
    return markdown


def _share(right: Sequence[bool]) -> Interval:
    return bootstrap_share([float(yes) for yes in right], [1.0] * len(right))


def _reads(package: ModelPackage) -> str:
    volume = package.info.network_config.volume
    return "contrast" if volume is not None and volume.phase == "contrast" else "no contrast"


def _p(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.3f}"
