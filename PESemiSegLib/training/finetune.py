"""Adapts a model to another hospital: base package + labelled cohort + unlabelled scans -> a new package."""

from __future__ import annotations

import contextlib
import gc
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PESemiSegLib.cohorts.manifest import read_manifest
from PESemiSegLib.errors import ConfigError, OutputError
from PESemiSegLib.evaluation import tables
from PESemiSegLib.evaluation.before_after import judged_on, write_before_after
from PESemiSegLib.evaluation.drawing import require_plotting
from PESemiSegLib.evaluation.store import CASES
from PESemiSegLib.evaluation.verdict import Verdict, compare
from PESemiSegLib.models.kinds import IDENTIFICATION
from PESemiSegLib.models.package import ModelPackage, amend_package, read_package
from PESemiSegLib.training.config import TrainConfig
from PESemiSegLib.training.export import export
from PESemiSegLib.training.log import EVENTS
from PESemiSegLib.training.presets import PRESETS, preset
from PESemiSegLib.training.run import RunOptions, prepare, train
from PESemiSegLib.training.trainer import Event

MODEL, EVALUATION = "model", "evaluation"
_NOT_JUDGED = "Training has ended; the comparison with the base has not."
_NO_VERDICT = (
    "No labelled patients were held out (split 'test'): the figures tell how the training went and how far "
    "both models agree, not how good the marks are."
)
_NOTHING_TO_COMPARE = Verdict("no labels", ("There is no scan to compare the new model with its base on.",))


@dataclass(frozen=True)
class Adapted:
    """What came of a run: the new package, the verdict on it, and the page (None without labels)."""

    package: ModelPackage
    verdict: Verdict
    page: Path | None


def settings_for(
    base: Path,
    preset_name: str | None = None,
    strategy: str | None = None,
    *,
    stage: str = "finetune",
    **overrides: Any,
) -> TrainConfig:
    """The settings to go on from a package with: a stage of the preset, on the package's own networks.

    preset_name: None takes the one the base was made with, or cpu_demo. Raises PackageError, ConfigError.
    """
    info = read_package(base).info
    if stage == "finetune" and info.what is IDENTIFICATION:
        raise ConfigError(
            f"A model of {info.what.name} learns from pairs of scans and is not fine-tuned; go on from it "
            "with `pesemiseg train --base`."
        )
    made_with = str(info.training.get("preset", ""))
    config = preset(preset_name or (made_with if made_with in PRESETS else "cpu_demo"), stage, strategy)
    classes = info.what.classes
    sampling = replace(config.sampling, context=info.context, hu_window=info.hu_window, classes=classes)
    own, wanted = info.discriminator_config, config.discriminator
    if not config.strategy.startswith("adversarial"):  # D is only trained beside: the base's will do
        judge = own
    elif own.kind == wanted.kind:  # its size, with mask and features as loud as the preset has them
        judge = replace(own, mask_weight=wanted.mask_weight, feature_weight=wanted.feature_weight)
    else:
        judge = wanted
    config = replace(
        config,
        kind=info.what.name,
        network=info.network_config,
        sampling=sampling,
        spacing_mm=info.spacing_mm,
        discriminator=judge,
    )
    return config.with_overrides(**overrides)


def finetune(
    config: TrainConfig,
    options: RunOptions,
    *,
    listen: Callable[[Event], None] = lambda event: None,
    cancelled: Callable[[], bool] = lambda: False,
    enough: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] | None = None,
    judging: Callable[[int, int], None] = lambda done, total: None,
    segmenting: Mapping[str, Any] | None = None,
) -> Adapted:
    """Adapt `options.base` and write the new package to `model` in the run's folder; the base stays as it is.

    The new package keeps the base's operating point, and is then compared with the base: on the labelled
    cases of the split 'test', to a verdict and the page `evaluation/evaluation.html`; without any, on
    unlabelled scans, to how far both agree. `options.resume` goes on from the last checkpoint, or from the
    last scan that was compared.

    cancelled: True saves and raises Cancelled. enough: True ends the training here. progress, judging:
    (done, total) volumes of the cache, scans compared. segmenting: settings of `inference.segment`.

    Raises ConfigError, InputError, OutputError, PackageError, Cancelled, NonFiniteLoss.
    """
    if options.base is None:
        raise ConfigError("Fine-tuning starts from a model; name its package as the base.")
    base, target = read_package(options.base), options.folder / MODEL
    if target.resolve() == base.path.resolve():
        raise OutputError("The new model would replace its base; choose another folder.")
    require_plotting()
    prepare(config, options, progress)
    notes = _Notes(options.folder / EVENTS, listen)
    trainer = train(config, options, notes, cancelled, enough)
    package = export(
        trainer,
        options,
        target,
        threshold=base.info.threshold,
        core_threshold=base.info.core_threshold,
        min_lesion_mm3=base.info.min_lesion_mm3,
        metrics=notes.training | {"note": _NOT_JUDGED},
    )
    del trainer
    gc.collect()  # its memory, and the maps of the cache: who listens to it holds it in a circle
    settings = dict(segmenting or {})
    verdict = _judged(base, package, options, judging, cancelled, settings)
    if verdict.before:
        found = {"held_out": tables.plain(verdict.to_dict())}
    else:
        verdict = replace(verdict, sentences=(*verdict.sentences, *notes.sentences))
        found = {"agreement": tables.plain(verdict.agreement), "note": _NO_VERDICT}
    package = amend_package(package, target, overwrite=True, metrics=notes.training | found)
    page = write_before_after(options.folder / EVALUATION, base, package, verdict, settings)
    return Adapted(package, verdict, page)


def _judged(
    base: ModelPackage,
    package: ModelPackage,
    options: RunOptions,
    progress: Callable[[int, int], None],
    cancelled: Callable[[], bool],
    settings: dict[str, Any],
) -> Verdict:
    """The new package against its base; scans that were compared before a stop are not compared again."""
    cases = judged_on(read_manifest(options.manifest))
    if not cases:
        return _NOTHING_TO_COMPARE
    stored = options.folder / EVALUATION / CASES
    return compare(base, package, cases, folder=stored, progress=progress, cancelled=cancelled, **settings)


class _Notes:
    """Passes events on, and remembers the last figures of validation and health, first those of `record`."""

    def __init__(self, record: Path, listen: Callable[[Event], None]) -> None:
        self._listen = listen
        self.training: dict[str, Any] = {}
        self.sentences: tuple[str, ...] = ()
        for line in record.read_text(encoding="utf-8").splitlines() if record.exists() else ():
            with contextlib.suppress(ValueError):  # a line torn by a crash
                self._remember(json.loads(line))

    def __call__(self, event: Event) -> None:
        self._remember(event)
        self._listen(event)

    def _remember(self, event: Event) -> None:
        if event["kind"] == "validation":
            names = ("dice", "sensitivity", "precision")
            self.training["validation_crops"] = {name: float(event[name]) for name in names}
        elif event["kind"] == "health":
            self.training["health"] = {name: float(value) for name, value in event["figures"].items()}
            self.training["warnings"] = list(event["warnings"])
            self.sentences = tuple(event["sentences"])
