"""Runs one cell: train, or go on training, measure on the held-out patients, store the figures whole."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cohort
from plan import ORACLE, Cell
from scales import Scale

import PESemiSegLib
from PESemiSegLib.errors import ConfigError
from PESemiSegLib.evaluation import tables
from PESemiSegLib.evaluation.case import CaseResult
from PESemiSegLib.evaluation.evaluate import evaluate_models
from PESemiSegLib.evaluation.figures import PER_PATIENT
from PESemiSegLib.evaluation.froc import sensitivity_at
from PESemiSegLib.phantom.recipe import GENERATOR_VERSION
from PESemiSegLib.training.config import TrainConfig
from PESemiSegLib.training.export import describe_machine, export, settings_in_use
from PESemiSegLib.training.plain import from_plain, to_plain
from PESemiSegLib.training.presets import preset
from PESemiSegLib.training.run import RunOptions, prepare, train
from PESemiSegLib.training.trainer import CHECKPOINT, Event

_LOG = logging.getLogger(__name__)
MODEL = "model"
_DIGITS = 5


@dataclass(frozen=True)
class Places:
    """work: scans, caches and runs, all to be made anew; results: one JSON file per cell, to be kept."""

    work: Path
    results: Path

    @property
    def patients(self) -> Path:
        """Where the made-up scans are."""
        return self.work / "patients"

    def result(self, cell: Cell) -> Path:
        """Where a cell's figures are."""
        return self.results / f"{cell.name}.json"


def settings(cell: Cell, scale: Scale) -> TrainConfig:
    """The settings of a cell: the scale's preset and changes, the cell's network, strategy and seed."""
    stage = "semi" if cell.target else "supervised"
    strategy = "supervised" if cell.strategy == ORACLE else cell.strategy
    config = preset(scale.preset, stage, strategy)
    network = {**scale.common.get("network", {}), **cell.network}
    sampling = {**scale.common.get("sampling", {}), "context": network["context"]}
    changes = {**scale.common, **(scale.second if cell.target else scale.first)}
    minutes = changes.pop("minutes", None)
    if scale.matched == "minutes" and minutes:
        changes |= {"max_minutes": minutes}
    config = config.with_overrides(**changes | {"network": network, "sampling": sampling, "seed": cell.seed})
    if cell.target and strategy == "supervised":  # as many crops a step as those that read unlabelled ones
        config = config.with_overrides(sampling={"batch": config.sampling.batch + config.semi.batch})
    return config.with_overrides(**cell.changes)


def recipe(cell: Cell, scale: Scale) -> dict[str, Any]:
    """All that decides a cell's figures, as JSON."""
    return {
        "settings": to_plain(_in_use(settings(cell, scale))),
        "target": cell.target,
        "labels": cell.strategy == ORACLE,
        "base": "" if cell.base is None else _fingerprint(cell.base, scale),
        "patients": {site: asdict(counts) for site, counts in scale.counts.items()},
        "phantom": [scale.phantom, GENERATOR_VERSION],
        "segmenting": dict(scale.segmenting),
    }


def _in_use(config: TrainConfig) -> TrainConfig:
    """The settings with those of strategies that the run does not have at their defaults."""
    return from_plain(TrainConfig, settings_in_use(config))


def stored(cell: Cell, scale: Scale, places: Places) -> dict[str, Any] | None:
    """A cell's figures; None where they are not there, of other settings, or without a site that is wanted.

    A setting that has come into being since counts as having had its default; those of strategies that the
    cell does not have do not count.
    """
    try:
        found: dict[str, Any] = json.loads(places.result(cell).read_text(encoding="utf-8"))
        then, now = dict(found["recipe"]), recipe(cell, scale)
        had, has = (from_plain(TrainConfig, known.pop("settings")) for known in (then, now))
    except (OSError, ValueError, KeyError, ConfigError):
        return None
    return (
        found if _in_use(had) == has and then == now and set(cell.tests) <= found["figures"].keys() else None
    )


def run(cell: Cell, scale: Scale, places: Places, cancelled: Callable[[], bool]) -> None:
    """Train and measure a cell, and its ancestors' models where they are missing; store the figures.

    Raises what training and segmenting raise.
    """
    record = _trained(cell, scale, places, cancelled)
    figures = {site: _measured(cell, site, scale, places, cancelled) for site in cell.tests}
    result = {
        "cell": cell.name,
        "recipe": recipe(cell, scale),
        "program": PESemiSegLib.__version__,
        "machine": describe_machine(scale.device),
        **record,
        "figures": _rounded(tables.plain(figures)),
    }
    tables.make_folder(places.results)
    tables.write_text(places.result(cell), tables.to_json(result))


def has_model(cell: Cell, scale: Scale, places: Places) -> bool:
    """Whether a cell is trained, so that others can start from it."""
    return (_folder(cell, scale, places) / "record.json").exists()


def _folder(cell: Cell, scale: Scale, places: Places) -> Path:
    """Of a run; other settings are another run."""
    return places.work / "runs" / f"{cell.name}-{_fingerprint(cell, scale)}"


def _fingerprint(cell: Cell, scale: Scale) -> str:
    """Of a cell's recipe with its ancestors'; settings that have come into being since change nothing."""
    known = recipe(cell, scale)
    text = json.dumps(
        known | {"settings": _changed(known["settings"], to_plain(TrainConfig()))}, sort_keys=True
    )
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _changed(values: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    """What of the values is not as usual."""
    return {
        name: _changed(value, usual[name])
        if isinstance(value, dict) and isinstance(usual.get(name), dict)
        else value
        for name, value in values.items()
        if value != usual.get(name)
    }


def _trained(cell: Cell, scale: Scale, places: Places, cancelled: Callable[[], bool]) -> dict[str, Any]:
    """Train a cell's model, from its last checkpoint if there is one; what it cost, and how it went."""
    folder = _folder(cell, scale, places)
    record = folder / "record.json"
    if record.exists():
        return dict(json.loads(record.read_text(encoding="utf-8")))
    base = None
    if cell.base:
        _trained(cell.base, scale, places, cancelled)
        base = _folder(cell.base, scale, places) / MODEL
    folder.mkdir(parents=True, exist_ok=True)
    options = RunOptions(
        manifest=cohort.manifest(scale, cell, places.patients, folder / "manifest.csv"),
        folder=folder,
        cache=places.work / "cache",
        resume=(folder / CHECKPOINT).exists(),
        device=scale.device,
        threads=scale.threads,
        name="table",
        base=base,
    )
    config, health = settings(cell, scale), {}

    def listen(event: Event) -> None:
        if event["kind"] == "health":
            health.update(figures=event["figures"], warnings=list(event["warnings"]))

    prepare(config, options)
    trainer = train(config, options, listen, cancelled)
    export(trainer, options, folder / MODEL)
    found = {
        "parameters": sum(p.numel() for p in trainer.segmenter.module.parameters()),
        "iterations": trainer.iteration,
        "seconds": trainer.spent_s,
        "health": health,
    }
    tables.write_text(record, json.dumps(tables.plain(found)))
    return found


def _measured(
    cell: Cell, site: str, scale: Scale, places: Places, cancelled: Callable[[], bool]
) -> dict[str, Any]:
    from PESemiSegLib.models.package import read_package

    folder = _folder(cell, scale, places)
    (results,) = evaluate_models(
        cohort.held_out(scale, site, places.patients),
        [read_package(folder / MODEL)],
        folder=folder / "cases",
        cancelled=cancelled,
        threads=scale.threads or None,
        device=scale.device,
        **scale.segmenting,
    )
    return {"patients": [_patient(result) for result in results], "found_at": sensitivity_at(results)}


def _patient(result: CaseResult) -> dict[str, Any]:
    """One scan's figures; NaN where one is not defined, as Dice is without an annotated embolus."""
    kept = ("dice", "iou", "sensitivity", "precision", "nsd_2mm")
    return {
        "patient": result.patient,
        "pe": not result.pe_free,
        "emboli": len(result.lesions.lesions),
        "found": result.lesions.found,
        "false_marks": result.lesions.false_marks,
        "paper": asdict(result.paper),
    } | {figure.key: figure.of(result) for figure in PER_PATIENT if figure.key in kept}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return round(value, _DIGITS) if isinstance(value, float) else value


def tidy(cell: Cell, scale: Scale, places: Places, keep_model: bool) -> None:
    """Give back the disk that a finished cell no longer needs."""
    folder = _folder(cell, scale, places)
    for name in ("cases", "tensorboard", *([] if keep_model else [MODEL])):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    if not keep_model:
        (folder / "record.json").unlink(missing_ok=True)
