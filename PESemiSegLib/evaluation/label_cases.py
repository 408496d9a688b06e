"""Measures models with several classes: every labelled scan, by the runner of all evaluations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from PESemiSegLib.cohorts.manifest import Case
from PESemiSegLib.errors import InputError
from PESemiSegLib.evaluation.by_image import TITLES, image_figures
from PESemiSegLib.evaluation.classes import ClassMetrics, LabelResult, label_metrics
from PESemiSegLib.evaluation.evaluate import labelled
from PESemiSegLib.evaluation.folds import Model
from PESemiSegLib.evaluation.parallel import CancelCheck, CaseDone, OfModels, by_model
from PESemiSegLib.evaluation.store import ResultStore, floats, segmenting
from PESemiSegLib.evaluation.truth import read_labels

if TYPE_CHECKING:
    from PESemiSegLib.models.package import ModelPackage
    from PESemiSegLib.volumes.volume import Volume


def evaluate_labels(
    cases: Iterable[Case],
    packages: Sequence[Model],
    *,
    folder: Path | None = None,
    jobs: int = 1,
    progress: Callable[[CaseDone[LabelResult]], None] = lambda step: None,
    cancelled: CancelCheck | None = None,
    **settings: Any,
) -> list[list[LabelResult]]:
    """Segment every labelled case with every model (all of one kind) and compare the label maps.

    Arguments and errors as in `evaluate.evaluate_models`.
    """
    work = _Work(tuple(packages), folder, settings)
    return by_model(work, labelled(cases), jobs, progress, cancelled)


@dataclass(frozen=True)
class _Work(OfModels):
    """What is done with every case, see `parallel.Work`."""

    folder: Path | None
    settings: dict[str, Any]

    @property
    def stores(self) -> bool:
        """See `parallel.Work`."""
        return self.folder is not None

    def do(self, case: Case, cancelled: CancelCheck | None) -> tuple[tuple[LabelResult, ...], bool]:
        """The results of one case. Raises InputError for labels that the kind does not have."""

        def how(package: ModelPackage) -> dict[str, Any]:
            kind = package.info.what
            return {"kind": kind.name, "settings": segmenting(package, self.settings)}

        def measured(packages: Sequence[ModelPackage]) -> Iterator[LabelResult]:
            volume, truth = read_labels(case)
            kind = packages[0].info.what
            if int(truth.min()) < 0 or int(truth.max()) > len(kind.segments):
                known = len(kind.segments)
                raise InputError(f"the mask holds labels up to {int(truth.max())}; {kind.name} has {known}.")
            for package in packages:
                yield self._measured(case, volume, truth, package, cancelled)

        return ResultStore(self.folder, _read).of(case, self.of(case), how, measured)

    def _measured(
        self,
        case: Case,
        volume: Volume,
        truth: np.ndarray,
        package: ModelPackage,
        cancelled: CancelCheck | None,
    ) -> LabelResult:
        from PESemiSegLib.inference.segment import segment

        kind, started = package.info.what, time.monotonic()
        result = segment(volume, package, kind=kind.name, judge=False, cancelled=cancelled, **self.settings)
        names = [part.name for part in kind.segments]
        metrics = label_metrics(result.mask, truth, names, volume.grid.voxel_volume_mm3)
        seconds, images = time.monotonic() - started, {}
        if kind.healthy:
            images = image_figures(result.mask, truth, names, [part.name for part in kind.healthy])
        return LabelResult(case.patient, case.site, metrics, seconds, images)


def _images(entry: Sequence[Sequence[Any]]) -> np.ndarray:
    """(images, TITLES); of a map without any label there is no image, and JSON keeps no shape of that."""
    return np.array(entry, dtype=float).reshape(-1, len(TITLES))


def _read(record: dict[str, Any], case: Case) -> LabelResult:
    return LabelResult(
        patient=case.patient,
        site=case.site,
        classes={name: ClassMetrics(**floats(entry)) for name, entry in record["classes"].items()},
        seconds=float(record["seconds"]),
        images={name: _images(entry) for name, entry in record["images"].items()},
    )
