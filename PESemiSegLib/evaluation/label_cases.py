"""Measures models with several classes: every labelled scan, by the runner of all evaluations; tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from PESemiSegLib.cohorts.manifest import Case
from PESemiSegLib.errors import InputError
from PESemiSegLib.evaluation import tables
from PESemiSegLib.evaluation.by_image import HEADING, image_figures, summarise_images
from PESemiSegLib.evaluation.classes import LabelResult, label_metrics, label_rows, summarise_labels
from PESemiSegLib.evaluation.evaluate import labelled
from PESemiSegLib.evaluation.figures import pseudonyms
from PESemiSegLib.evaluation.parallel import outcomes, sendable
from PESemiSegLib.evaluation.truth import read_labels

if TYPE_CHECKING:
    from PESemiSegLib.models.package import ModelPackage

CancelCheck = Callable[[], bool]


def evaluate_labels(
    cases: Iterable[Case],
    packages: Sequence[ModelPackage],
    *,
    jobs: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
    cancelled: CancelCheck | None = None,
    **settings: Any,
) -> list[list[LabelResult]]:
    """Segment every labelled case with every model (all of one kind) and compare the label maps.

    Arguments and errors as in `evaluate.evaluate_models`; nothing is stored between runs.
    """
    chosen = labelled(cases)
    work = _Work(tuple(packages), settings)
    results: dict[int, tuple[LabelResult, ...]] = {}
    for index, measured in outcomes(work, chosen, jobs, cancelled):
        results[index] = measured
        progress(len(results), len(chosen))
    return [[results[index][n] for index in range(len(chosen))] for n in range(len(packages))]


@dataclass(frozen=True)
class _Work:
    """What is done with every case, see `parallel.Work`."""

    stores = False
    packages: tuple[ModelPackage, ...]
    settings: dict[str, Any]

    def do(self, case: Case, cancelled: CancelCheck | None) -> tuple[LabelResult, ...]:
        """The results of one case. Raises InputError for labels that the kind does not have."""
        from PESemiSegLib.inference.segment import segment

        volume, truth = read_labels(case)
        results = []
        for package in self.packages:
            kind, started = package.info.what, time.monotonic()
            result = segment(
                volume, package, kind=kind.name, judge=False, cancelled=cancelled, **self.settings
            )
            names = [part.name for part in kind.segments]
            if int(truth.min()) < 0 or int(truth.max()) > len(names):
                raise InputError(
                    f"the mask holds labels up to {int(truth.max())}; {kind.name} has {len(names)}."
                )
            metrics = label_metrics(result.mask, truth, names, volume.grid.voxel_volume_mm3)
            seconds, images = time.monotonic() - started, {}
            if kind.healthy:
                images = image_figures(result.mask, truth, names, [part.name for part in kind.healthy])
            results.append(LabelResult(case.patient, case.site, metrics, seconds, images))
        return tuple(results)

    def to_send(self) -> _Work:
        """See `parallel.Work`."""
        return replace(self, packages=tuple(map(sendable, self.packages)))


def write_label_report(
    folder: Path,
    packages: Sequence[ModelPackage],
    results: Sequence[Sequence[LabelResult]],
    *,
    identify: bool = False,
) -> str:
    """Write `classes.csv` (scan by scan), `summary.csv`, `.md` and `evaluation.json`; returns the Markdown.

    Where there are figures by image, `summary.md` has their table too, and `images.csv` is written.
    results: per package, on the same scans. identify: patients by their own name. Raises OutputError.
    """
    called = pseudonyms(results[0], identify=identify)
    names = [f"{package.info.name} ({package.sha256[:6]})" for package in packages]
    rows = [
        {"model": name} | row
        for name, entry in zip(names, results, strict=True)
        for row in label_rows(entry, called)
    ]
    summaries = {name: summarise_labels(entry) for name, entry in zip(names, results, strict=True)}
    flat = [{"model": name} | row for name, part in summaries.items() for row in part]
    markdown = tables.to_markdown(flat)
    by_image = {name: summarise_images(entry) for name, entry in zip(names, results, strict=True)}
    images = [{"model": name} | row for name, part in by_image.items() for row in part]
    if images:
        markdown += f"\n{HEADING}:\n\n{tables.to_markdown(images)}"
    record = (
        tables.heading()
        | {
            "models": [
                {"name": name, "sha256": package.sha256, "marks": package.info.what.name}
                for name, package in zip(names, packages, strict=True)
            ],
            "scans": len(results[0]),
            "patients": len(set(called.values())),
            "seconds_per_scan": [float(np.mean([r.seconds for r in entry])) for entry in results],
            "summary": summaries,
        }
        | ({"images": by_image} if images else {})
    )
    tables.write_text(folder / "classes.csv", tables.to_csv(rows))
    tables.write_text(folder / "summary.csv", tables.to_csv(flat))
    tables.write_text(folder / "summary.md", markdown)
    if images:
        tables.write_text(folder / "images.csv", tables.to_csv(images))
    tables.write_text(folder / "evaluation.json", tables.to_json(record))
    return markdown
