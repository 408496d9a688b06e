"""Writes what the evaluation of label maps came to: tables, pictures, and the page that shows them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from PESemiSegLib.evaluation import tables
from PESemiSegLib.evaluation.bootstrap import Interval
from PESemiSegLib.evaluation.by_image import HEADING, summarise_images
from PESemiSegLib.evaluation.classes import MEAN, LabelResult, label_rows, summarise_labels
from PESemiSegLib.evaluation.drawing import COLOURS, Picture, bars, legend, picture
from PESemiSegLib.evaluation.figures import naming, pseudonyms
from PESemiSegLib.evaluation.plain_page import PlainPage, Section
from PESemiSegLib.evaluation.verdict import Verdict, judge_labels
from PESemiSegLib.evaluation.wording import model_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from PESemiSegLib.evaluation.folds import Model

CONVENTIONS = (
    "Per class, one against the rest, over the voxels of a scan. Mean: of the classes, without background.",
    "Mean and 95 % interval: patients are resampled 2,000 times (percentile bootstrap), because voxels of "
    "one patient are not independent. With few patients (below some ten) such intervals are too short.",
    "A class that is not in the truth of a scan has no IoU and no Dice there, whatever is marked, and is "
    "left out of those means; what is marked falsely counts against specificity and precision.",
    "Differences are paired by patient; p is two-sided, by permutation of signs, and not corrected for the "
    "number of tests.",
)
_BY_IMAGE = "Errors over images are too small: the images of one patient are not independent."


def write_label_report(
    folder: Path,
    packages: Sequence[Model],
    results: Sequence[Sequence[LabelResult]],
    *,
    identify: bool = False,
) -> str:
    """Write `classes.csv` (scan by scan), `summary.csv`, `.md`, `evaluation.json` and the page.

    Several models are compared with the first, in `comparisons.csv`. Where there are figures by image, there
    is their table too, and `images.csv`.

    results: per package, on the same scans. identify: patients by their own name. Returns the summary as
    Markdown. Raises OutputError.
    """
    called = pseudonyms(results[0], identify=identify)
    names = model_names(packages)
    models = dict(zip(names, results, strict=True))
    rows = _with_model({name: label_rows(entry, called) for name, entry in models.items()})
    summaries = {name: summarise_labels(entry) for name, entry in models.items()}
    by_image = {name: summarise_images(entry) for name, entry in models.items()}
    verdicts = {
        name: judge_labels(results[0], entry, (names[0], name)) for name, entry in list(models.items())[1:]
    }
    against = {name: _compared(verdict) for name, verdict in verdicts.items()}
    flat, images, compared = (_with_model(part) for part in (summaries, by_image, against))
    first = f"Differences to {names[0]}, paired by patient"
    markdown = tables.to_markdown(flat)
    markdown += f"\n{first}:\n\n{tables.to_markdown(compared)}" if compared else ""
    markdown += f"\n{HEADING}:\n\n{tables.to_markdown(images)}" if images else ""
    record = (
        tables.heading()
        | {
            "models": [
                {"name": name, "sha256": package.sha256, "marks": package.info.what.name}
                for name, package in zip(names, packages, strict=True)
            ],
            "scans": len(results[0]),
            "patients": len(called),
            "seconds_per_scan": [float(np.mean([r.seconds for r in entry])) for entry in results],
            "summary": summaries,
        }
        | ({"comparisons": against} if against else {})
        | ({"images": by_image} if images else {})
    )
    page = PlainPage(
        models=dict(zip(names, packages, strict=True)),
        scans=len(results[0]),
        sites=sorted({result.site for result in results[0]}),
        headline={
            name: [(row["Dice"], f"Dice: {row['class']}") for row in part] for name, part in summaries.items()
        },
        pictures=[_classes(models, summaries)],
        sections=[
            Section("Classes, over patients", flat),
            Section(first, compared),
            Section("Classes, over images", images, f"{HEADING}."),
            Section("Scan by scan", rows, naming(identify)),
        ],
        verdicts={f"{name} against {names[0]}": verdict for name, verdict in verdicts.items()},
        conventions=[*CONVENTIONS, *([_BY_IMAGE] if images else [])],
    )
    files: dict[str, str | bytes] = {
        "classes.csv": tables.to_csv(rows),
        "summary.csv": tables.to_csv(flat),
        "comparisons.csv": tables.to_csv(compared),
        "images.csv": tables.to_csv(images),
        "summary.md": markdown,
        "evaluation.json": tables.to_json(record),
    }
    tables.write_all(folder, files | page.files())
    return markdown


def _compared(verdict: Verdict) -> list[dict[str, Any]]:
    return [
        {"class": name, "Dice": test.difference, "patients": test.patients, "p": test.p_permutation}
        for name, test in verdict.tests.items()
    ]


def _with_model(parts: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    return [{"model": name, **row} for name, rows in parts.items() for row in rows]


def _classes(
    models: Mapping[str, Sequence[LabelResult]], summaries: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Picture:
    """Dice of each class: every scan faintly, and the mean with its interval."""
    names = [str(row["class"]) for row in next(iter(summaries.values()))]
    places = np.arange(len(names), dtype=float)

    def draw(axes: Axes) -> None:
        for n, (model, results) in enumerate(models.items()):
            shift = (n - (len(models) - 1) / 2) * min(0.25, 0.8 / len(models))
            for place, name in zip(places, names, strict=True):
                dice = [r.mean("dice") if name == MEAN else r.classes[name].dice for r in results]
                known = [value for value in dice if not math.isnan(value)]
                axes.plot(
                    [place + shift] * len(known), known, ".", color=COLOURS[n % 6], alpha=0.3, ms=5, mew=0
                )
            intervals: list[Interval] = [row["Dice"] for row in summaries[model]]
            bars(axes, places + shift, intervals, n, model)
        axes.set_xticks(places, names)
        axes.set(ylim=(0, 1.02), ylabel="Dice", xlim=(-0.6, len(names) - 0.4))
        axes.grid(axis="x", visible=False)
        if len(models) > 3:
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        else:
            legend(axes, models)

    return picture(
        draw,
        "classes",
        "Dice, class by class",
        "Dots: scans. Symbols and bars: the mean over patients and its 95 % interval.",
        size=(7.2 + (2.0 if len(models) > 3 else 0.0), 4.2),
    )
