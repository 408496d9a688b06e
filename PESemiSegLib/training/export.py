"""From a trained run to a model package with a full card."""

from __future__ import annotations

import os
import platform
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from PESemiSegLib import __version__
from PESemiSegLib.cohorts.manifest import Manifest, read_manifest
from PESemiSegLib.models.info import PackageInfo
from PESemiSegLib.models.kinds import kind_named
from PESemiSegLib.models.package import ModelPackage, read_package, write_package
from PESemiSegLib.training import parallel
from PESemiSegLib.training.config import TrainConfig
from PESemiSegLib.training.plain import to_plain
from PESemiSegLib.training.unread import unread

if TYPE_CHECKING:
    from PESemiSegLib.training.run import RunOptions
    from PESemiSegLib.training.trainer import Trainer


def export(trainer: Trainer, options: RunOptions, folder: Path, **changes: Any) -> ModelPackage:
    """Write the trainer's segmenter (averaged, or the best that was kept) and discriminator as a package.

    changes: fields of PackageInfo, such as threshold, core_threshold, min_lesion_mm3 and metrics.
    """
    config = trainer.config
    manifest = read_manifest(options.manifest)
    best = trainer.best.load(config) if config.keep == "best" else None
    kind = kind_named(config.kind)
    info = PackageInfo(
        name=options.name,
        network=config.network.to_dict(),
        discriminator=config.discriminator.to_dict() if kind.judged else {},
        spacing_mm=config.spacing_mm,
        data_origin=_origin(manifest, options.base),
        hu_window=config.sampling.hu_window,
        context=config.network.context,
        kind=kind.package,
        training={
            "strategy": config.strategy,
            "preset": config.name,
            "command": options.command,
            "seed": config.seed,
            "iterations": trainer.iteration,
            "hours": round(trainer.spent_s / 3600, 3),
            "processes": parallel.size(),
            "machine": describe_machine(options.device),
            "pesemiseg": __version__,
            "torch": torch.__version__,
            "data_fingerprint": manifest.fingerprint,
            "patients": manifest.counts(),
            "settings": settings_in_use(config),
        }
        | ({"parent": parent_of(options.base)} if options.base else {})
        | ({"kept": best[2]} if best else {}),
    )
    judge = None if trainer.discriminator is None else trainer.discriminator.module
    with nullcontext(best[0]) if best else trainer.average.applied() as segmenter:
        return write_package(
            folder,
            replace(info, **changes),
            segmenter,  # type: ignore[arg-type]
            best[1] if best else judge,  # type: ignore[arg-type]
            overwrite=True,
        )


def settings_in_use(config: TrainConfig) -> dict[str, Any]:
    """The settings for the card: without those of strategies that the run did not use."""
    plain, idle = to_plain(config), unread(config)
    semi = {name: value for name, value in plain.pop("semi").items() if f"semi.{name}" not in idle}
    return plain | ({"semi": semi} if semi else {})


def parent_of(base: Path) -> dict[str, str]:
    """Name and hash of the package that a run started from, for the card."""
    package = read_package(base)
    return {"name": package.info.name, "sha256": package.sha256}


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


def _origin(manifest: Manifest, base: Path | None) -> str:
    """Where all scans come from, as the card must say: a recipe lies beside every made-up one."""
    made_up = {(case.image.parent / "recipe.json").exists() for case in manifest.select("train")}
    origins = {"phantom" if is_made_up else "patients" for is_made_up in made_up}
    if base is not None:
        origins.add(read_package(base).info.data_origin)
    return origins.pop() if len(origins) == 1 else "mixed"
