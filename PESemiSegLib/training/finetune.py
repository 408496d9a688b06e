"""Adapts a model to another hospital: base package + labelled cohort + unlabelled scans -> a new package."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from PESemiSegLib.cohorts.manifest import Manifest, read_manifest
from PESemiSegLib.errors import ConfigError, DeviceError, OutputError
from PESemiSegLib.models.package import ModelPackage, read_package
from PESemiSegLib.training.config import TrainConfig
from PESemiSegLib.training.export import export
from PESemiSegLib.training.presets import PRESETS, preset
from PESemiSegLib.training.run import RunOptions, check_device, open_crops, prepare, slice_cache, train
from PESemiSegLib.training.start import check_base, starting_networks
from PESemiSegLib.training.trainer import Event, Trainer

MODEL = "model"
Judge = Callable[[ModelPackage, ModelPackage, Manifest], dict[str, Any]]
"""Compares (base, adapted) on the held-out labelled cases; what it returns goes into the card's metrics."""

_NO_VERDICT = (
    "No labelled patients were held out (split 'test'): these figures tell how the training went, "
    "not how good the marks are."
)


@dataclass(frozen=True)
class Rehearsal:
    """What a dry run found. memory_mb: the peak, of the process or of the GPU; None where it is not known."""

    seconds_per_iteration: float
    hours: float
    memory_mb: float | None
    patients: dict[str, int]
    timeline: list[str]


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
    made_with = str(info.training.get("preset", ""))
    config = preset(preset_name or (made_with if made_with in PRESETS else "cpu_demo"), stage, strategy)
    sampling = replace(config.sampling, context=info.context, hu_window=info.hu_window)
    free = not config.strategy.startswith("adversarial")  # D is only trained beside: the base's will do
    kept = free or info.discriminator_config.kind == config.discriminator.kind
    config = replace(
        config,
        network=info.network_config,
        sampling=sampling,
        spacing_mm=info.spacing_mm,
        discriminator=info.discriminator_config if kept else config.discriminator,
    )
    return config.with_overrides(**overrides)


def rehearse(config: TrainConfig, options: RunOptions) -> Rehearsal:
    """Prove with two batches that a run fits: networks, data, memory, time. The run's folder stays as it is.

    Raises what a run would raise, and DeviceError where the GPU's memory is too small.
    """
    check_device(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    manifest = read_manifest(options.manifest)
    if options.base is not None:
        check_base(config, options.base)
    few = Manifest(
        tuple(
            case for role in ("labelled", "unlabelled") for case in manifest.select("train", role).cases[:2]
        )
    )
    with tempfile.TemporaryDirectory(prefix="pesemiseg-") as spare:
        cache = slice_cache(config, replace(options, cache=options.cache or Path(spare)))
        trainer = Trainer(
            config,
            open_crops(config, few, cache),
            Path(spare),
            networks=starting_networks(config, options.base),
            device=options.device,
        )
        try:
            seconds = trainer.rehearse()
        except torch.cuda.OutOfMemoryError as error:
            advice = "take fewer crops per batch, smaller ones, or another device"
            raise DeviceError(f"Two batches do not fit the memory of {options.device}; {advice}.") from error
        timeline = trainer.strategy.timeline()
        del trainer  # maps of the cache, which Windows would not let go
    hours = seconds * config.iterations / 3600
    if config.max_minutes > 0:
        hours = min(hours, config.max_minutes / 60)
    return Rehearsal(seconds, hours, _peak_memory_mb(options.device), manifest.counts(), timeline)


def finetune(
    config: TrainConfig,
    options: RunOptions,
    *,
    listen: Callable[[Event], None] = lambda event: None,
    cancelled: Callable[[], bool] = lambda: False,
    enough: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] | None = None,
    judge: Judge | None = None,
) -> ModelPackage:
    """Adapt `options.base` and write the new package to `model` in the run's folder; the base stays as it is.

    `options.resume` goes on from the last checkpoint. cancelled: True saves and raises Cancelled. enough:
    True stops here and writes the package. progress: (done, total) volumes of the cache. judge: see Judge;
    called where labelled cases of the split 'test' are in the manifest.

    Raises ConfigError, InputError, OutputError, PackageError, Cancelled, NonFiniteLoss.
    """
    if options.base is None:
        raise ConfigError("Fine-tuning starts from a model; name its package as the base.")
    base, target = read_package(options.base), options.folder / MODEL
    if target.resolve() == base.path.resolve():
        raise OutputError("The new model would replace its base; choose another folder.")
    prepare(config, options, progress)
    notes = _Notes(listen)
    trainer = train(config, options, notes, cancelled, enough)
    package = export(trainer, options, target, metrics=notes.metrics)
    held_out = read_manifest(options.manifest).select("test", "labelled")
    if judge is None or not len(held_out):
        return package
    metrics = notes.training | {"held_out": judge(base, package, held_out)}
    return export(trainer, options, target, metrics=metrics)


class _Notes:
    """Passes events on and remembers the last figures of validation and health."""

    def __init__(self, listen: Callable[[Event], None]) -> None:
        self._listen = listen
        self.training: dict[str, Any] = {}

    def __call__(self, event: Event) -> None:
        if event["kind"] == "validation":
            names = ("dice", "sensitivity", "precision")
            self.training["validation_crops"] = {name: float(event[name]) for name in names}
        elif event["kind"] == "health":
            self.training["health"] = {name: float(value) for name, value in event["figures"].items()}
            self.training["warnings"] = list(event["warnings"])
        self._listen(event)

    @property
    def metrics(self) -> dict[str, Any]:
        return self.training | {"note": _NO_VERDICT}


def _peak_memory_mb(device: str) -> float | None:
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
