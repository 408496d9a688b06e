"""Writes the table of CPMN (Tables 1 and 2) and its tests, model by model, with pictures and the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from PESemiSegLib.evaluation import tables
from PESemiSegLib.evaluation.bootstrap import Interval, bootstrap_mean, bootstrap_share
from PESemiSegLib.evaluation.drawing import COLOURS, MARKERS, Picture, picture
from PESemiSegLib.evaluation.figures import naming, pseudonyms
from PESemiSegLib.evaluation.identified import IdentifiedScan
from PESemiSegLib.evaluation.paired import permutation_p
from PESemiSegLib.evaluation.paired_scans import compare_rates, delong
from PESemiSegLib.evaluation.plain_page import PlainPage, Section
from PESemiSegLib.evaluation.plots import roc_picture
from PESemiSegLib.evaluation.scans import auc_interval
from PESemiSegLib.evaluation.wording import model_names
from PESemiSegLib.models.info import INTENDED_USE
from PESemiSegLib.models.kinds import IDENTIFICATION

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from PESemiSegLib.evaluation.folds import Model

POSITIVE_FROM = 0.5
"""Probability from which a scan counts as PE: the paper gives none."""
CONVENTIONS = (
    f"A scan counts as positive from a probability of {POSITIVE_FROM} on; the paper gives no threshold. The "
    "probability is the network's own figure, not calibrated.",
    "95 % intervals: patients are resampled 2,000 times (percentile bootstrap); Wilson's where a rate is 0 "
    "or 1, and none for an area that every resample repeats, as that of perfectly separated scans. With few "
    "patients (below some ten) such intervals are too short.",
    "Dice: mean over the scans with PE, whole scans; of scans without contrast agent the truth is the mask "
    "of the contrast scan, laid onto it.",
    "Differences are to the first model, on the same patients; p is two-sided, of areas by DeLong, of the "
    "rest by permutation, and not corrected for the number of tests.",
)
_HEADLINE = {
    "sensitivity": "of the scans with PE called positive",
    "specificity": "of the scans without PE called negative",
    "AUC": "area under the ROC curve",
    "Dice": "mean Dice of the scans with PE",
}
_SCORE = (
    f"A scan's score is its probability. The symbol is the operating point: positive from {POSITIVE_FROM} on."
)


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
    packages: Sequence[Model],
    results: Sequence[Sequence[IdentifiedScan]],
    *,
    name_patients: bool = False,
) -> str:
    """Write `scans.csv`, `summary.csv`, `.md`, `evaluation.json` and the page; returns the Markdown.

    results: per package, on the same patients; each is compared with the first. Raises OutputError.
    """
    called = pseudonyms(results[0], identify=name_patients)
    names = model_names(packages)
    entries = list(zip(names, packages, results, strict=True))
    rows: list[dict[str, Any]] = [
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
    models = {name: scans for name, _, scans in entries}
    page = PlainPage(
        models={name: package for name, package, _ in entries},
        scans=len(results[0]),
        sites=sorted({scan.site for scan in results[0]}),
        headline={row["model"]: [(row[name], words) for name, words in _HEADLINE.items()] for row in rows},
        pictures=[
            each for each in (roc_picture(models, _called, _SCORE), _scores(models)) if each is not None
        ],
        sections=[
            Section("Models", [_without(row, "scans with PE", "without") for row in rows]),
            Section(f"Less {names[0]}, on the same patients", _one_by_one(against)),
            Section(
                "Scan by scan",
                [_without(row, "seconds") for row in flat],
                naming(name_patients),
            ),
        ],
        conventions=CONVENTIONS,
        warning=IDENTIFICATION.warning,
        facts={name: {"reads": _reads(package)} for name, package, _ in entries},
    )
    files: dict[str, str | bytes] = {
        "scans.csv": tables.to_csv(flat),
        "summary.csv": tables.to_csv(rows),
        "summary.md": markdown,
        "evaluation.json": tables.to_json(record),
    }
    tables.write_all(folder, files | page.files())
    return markdown


def _without(row: Mapping[str, Any], *columns: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in columns}


def _one_by_one(against: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The comparisons with one line per figure."""
    rows = []
    for comparison in against:
        (_, name), *figures = comparison.items()
        for (figure, difference), (test, p) in zip(figures[::2], figures[1::2], strict=True):
            by = "DeLong" if "DeLong" in test else "permutation"
            rows.append({"model": name, "figure": figure, "difference": difference, "test": by, "p": p})
    return rows


def _called(scans: Sequence[IdentifiedScan]) -> tuple[float, float]:
    """Shares of scans without and with PE that are called positive."""
    shares = []
    for free in (True, False):
        told = [scan.score >= POSITIVE_FROM for scan in scans if scan.pe_free is free]
        shares.append(sum(told) / len(told) if told else math.nan)
    return shares[0], shares[1]


def _scores(models: Mapping[str, Sequence[IdentifiedScan]]) -> Picture:
    """The probability of every scan, of each model with and without PE."""
    places = 2.5 * np.arange(len(models))

    def draw(axes: Axes) -> None:
        axes.axhline(POSITIVE_FROM, color="#9aa5b1", lw=1, ls=":")
        for n, (place, scans) in enumerate(zip(places, models.values(), strict=True)):
            for side, free in enumerate((True, False)):
                scores = [scan.score for scan in scans if scan.pe_free is free]
                spread = np.linspace(-0.25, 0.25, len(scores)) if len(scores) > 1 else np.zeros(len(scores))
                axes.plot(
                    place + side + spread,
                    scores,
                    MARKERS[n % 6],
                    color=COLOURS[n % 6],
                    mfc="white" if free else COLOURS[n % 6],
                    ms=6,
                    clip_on=False,
                )
        words = [text for name in models for text in (f"without PE\n{name}", "with PE\n")]
        axes.set_xticks([place + side for place in places for side in (0, 1)], words)
        axes.set(ylim=(0, 1.02), xlim=(-0.7, places[-1] + 1.7), ylabel="Probability of PE")
        axes.grid(axis="x", visible=False)

    return picture(
        draw,
        "probabilities",
        "What the models say, scan by scan",
        f"Each symbol is a scan, hollow where there is no embolus. Dotted: {POSITIVE_FROM}, from which a "
        "scan counts as positive.",
        size=(3.0 + 2.2 * len(models), 4.2),
    )


def _share(right: Sequence[bool]) -> Interval:
    return bootstrap_share([float(yes) for yes in right], [1.0] * len(right))


def _reads(package: Model) -> str:
    volume = package.info.network_config.volume
    return "contrast" if volume is not None and volume.phase == "contrast" else "no contrast"


def _p(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.3f}"
