"""A whole run: manifest -> cache -> trainer -> model package, in a folder of its own."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from PESemiSegLib import __version__
from PESemiSegLib.cohorts.augment import NO_AUGMENTATION
from PESemiSegLib.cohorts.cache import CachedVolume, SliceCache
from PESemiSegLib.cohorts.manifest import Manifest, read_manifest
from PESemiSegLib.cohorts.sampling import LabelledCrops
from PESemiSegLib.errors import ConfigError, InputError, OutputError
from PESemiSegLib.models.info import PackageInfo
from PESemiSegLib.models.package import ModelPackage, write_package
from PESemiSegLib.training import parallel
from PESemiSegLib.training.config import TrainConfig, to_plain, write_yaml
from PESemiSegLib.training.log import RunLog
from PESemiSegLib.training.trainer import CHECKPOINT, Crops, Event, Trainer

SETTINGS = "settings.yaml"
_VALIDATION_SEED = 977


@dataclass(frozen=True)
class RunOptions:
    """What is not a setting of the learning: places, machine, words for the card."""

    manifest: Path
    folder: Path
    cache: Path | None = None  # default: `cache` in the run's folder
    resume: bool = False
    device: str = "cpu"
    threads: int = 0  # torch threads per process; 0 = torch's own choice
    command: str = ""
    name: str = "custom"


def prepare(
    config: TrainConfig, options: RunOptions, progress: Callable[[int, int], None] | None = None
) -> None:
    """Check the manifest, make the run's folder and fill the cache, before any process trains.

    Raises InputError, OutputError, ConfigError.
    """
    manifest = read_manifest(options.manifest)
    if not len(manifest.select("train", "labelled")):
        raise InputError(f"The manifest {options.manifest.name} has no labelled case in the split 'train'.")
    started = (options.folder / CHECKPOINT).exists()
    if started and not options.resume:
        raise OutputError(
            f"{options.folder.name} holds a run already; add --resume or choose another folder."
        )
    if options.resume and not started:
        raise InputError(f"{options.folder.name} holds no checkpoint to resume; leave --resume out.")
    try:
        options.folder.mkdir(parents=True, exist_ok=True)
        write_yaml(config, options.folder / SETTINGS)
    except OSError as error:
        raise OutputError(f"The folder {options.folder.name} cannot be written: {error.strerror}.") from error
    cases = [c for split in ("train", "val") for c in manifest.select(split, "labelled")]
    _cache(config, options).open_all(cases, progress=progress)


def train(
    config: TrainConfig,
    options: RunOptions,
    listen: Callable[[Event], None] = lambda event: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Trainer:
    """Train in this process (one of several where `parallel` has joined some); returns the finished trainer.

    Raises Cancelled, NonFiniteLoss, and what `prepare` raises.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(config.seed)
    _check_device(options.device)
    manifest = read_manifest(options.manifest)
    cache = _cache(config, options)
    first = parallel.rank() == 0
    with RunLog(options.folder, tensorboard=first) if first else _Silence() as log:

        def tell(event: Event) -> None:
            log(event)
            listen(event)

        crops = _crops(config, manifest, cache)
        trainer = Trainer(
            config, crops, options.folder, device=options.device, listen=tell, cancelled=cancelled
        )
        if options.resume:
            trainer.resume()
        trainer.run()
    return trainer


def export(trainer: Trainer, options: RunOptions, folder: Path, **changes: Any) -> ModelPackage:
    """Write the trainer's averaged segmenter and its discriminator as a package with a full card.

    changes: fields of PackageInfo, such as threshold, min_lesion_mm3 and metrics.
    """
    config = trainer.config
    manifest = read_manifest(options.manifest)
    info = PackageInfo(
        name=options.name,
        network=config.network.to_dict(),
        discriminator=config.discriminator.to_dict(),
        spacing_mm=config.spacing_mm,
        data_origin=_origin(manifest),
        hu_window=config.sampling.hu_window,
        context=config.network.context,
        training={
            "strategy": config.strategy,
            "preset": config.name,
            "command": options.command,
            "seed": config.seed,
            "iterations": trainer.iteration,
            "hours": round(trainer.seconds / 3600, 3),
            "processes": parallel.size(),
            "machine": describe_machine(options.device),
            "pesemiseg": __version__,
            "torch": torch.__version__,
            "data_fingerprint": manifest.fingerprint,
            "patients": manifest.counts(),
            "settings": to_plain(config),
        },
    )
    with trainer.average.applied() as segmenter:
        return write_package(
            folder,
            replace(info, **changes),
            segmenter,  # type: ignore[arg-type]
            trainer.discriminator.module,  # type: ignore[arg-type]
            overwrite=True,
        )


def _origin(manifest: Manifest) -> str:
    """Where the training scans come from, as the card must say: a recipe lies beside every made-up one."""
    made_up = {(case.image.parent / "recipe.json").exists() for case in manifest.select("train")}
    return "mixed" if len(made_up) > 1 else "phantom" if made_up == {True} else "patients"


def describe_machine(device: str) -> str:
    """Processor or GPU and system, nothing that names the computer."""
    if device.startswith("cuda"):
        return f"{torch.cuda.get_device_name(device)}, {platform.system()}"
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line
        ]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, {platform.system()}"


def _crops(config: TrainConfig, manifest: Manifest, cache: SliceCache) -> Crops:
    def opened(split: str) -> list[CachedVolume]:
        return cache.open_all(manifest.select(split, "labelled"))

    held_out = opened("val")
    still = replace(config.sampling, augment=NO_AUGMENTATION)
    return Crops(
        train=LabelledCrops(opened("train"), config.sampling, config.seed),
        validation=LabelledCrops(held_out, still, _VALIDATION_SEED) if held_out else None,
    )


def _cache(config: TrainConfig, options: RunOptions) -> SliceCache:
    return SliceCache(options.cache or options.folder / "cache", config.spacing_mm)


def _check_device(device: str) -> None:
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError("This torch sees no CUDA device; choose --device cpu.")


class _Silence:
    """The log of every process but the first."""

    def __enter__(self) -> Callable[[Event], None]:
        return lambda event: None

    def __exit__(self, *_: object) -> None:
        return None
