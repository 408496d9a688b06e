"""The data of three-dimensional models: pairs of scans on one grid, cached, and the crops drawn from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from PESemiSegLib.cohorts.augment import NO_VOLUME_AUGMENTATION
from PESemiSegLib.cohorts.cache import SliceCache
from PESemiSegLib.cohorts.manifest import Case, Manifest
from PESemiSegLib.cohorts.phases import phase_pairs
from PESemiSegLib.cohorts.volume_crops import PhaseStack, VolumeCrops
from PESemiSegLib.errors import InputError
from PESemiSegLib.inference.phase_pairs import on_one_grid
from PESemiSegLib.networks.config import VolumeConfig
from PESemiSegLib.training.config import TrainConfig
from PESemiSegLib.training.crops import Crops

PAIRS = "pairs"
"""Folder of the registered pairs, in that of the cache."""
_VALIDATION_SEED = 97
Progress = Callable[[int, int], None]
Check = Callable[[], None]


def check_pairs(config: TrainConfig, manifest: Manifest) -> None:
    """Raise InputError unless there is something to train on."""
    if not scans_by_patient(config, manifest, "train"):
        raise InputError(
            f"The manifest {manifest.source_name} has no pair of scans in the split 'train': beside a "
            "labelled scan with contrast medium, one without of the same patient (`pesemiseg phantom "
            "--noncontrast`)."
        )


def open_blocks(
    config: TrainConfig,
    manifest: Manifest,
    folder: Path,
    progress: Progress | None = None,
    check: Check = lambda: None,
) -> Crops:
    """Register what is not registered yet, cache it, and draw crops for training and validation.

    folder: of the cache. progress: called after each patient. check: called more often, also while a pair is
    registered; may raise, to stop. Raises InputError, OutputError, and what those two raise.
    """
    volume = _volume(config)
    cache = SliceCache(folder, config.spacing_mm, config.network.classes, slice_mm=volume.slice_mm)
    wanted = {split: scans_by_patient(config, manifest, split) for split in ("train", "val")}
    total, done = sum(map(len, wanted.values())), 0
    stacks: dict[str, list[PhaseStack]] = {split: [] for split in wanted}
    for split, patients in wanted.items():
        for scans in patients:
            done += 1
            stacks[split].append(_opened(config, scans, cache, f"{done} of {total}", check))
            if progress is not None:
                progress(done, total)
    still = replace(config.sampling, volume=NO_VOLUME_AUGMENTATION)
    # The validation asks the exported pathway, which reads the first scan of each.
    alone = [PhaseStack(stack.phases[:1]) for stack in stacks["val"]]
    return Crops(
        train=VolumeCrops(stacks["train"], volume.crop, config.sampling, config.seed),
        validation=VolumeCrops(alone, volume.crop, still, _VALIDATION_SEED) if alone else None,
    )


def scans_by_patient(config: TrainConfig, manifest: Manifest, split: str) -> list[tuple[Case, ...]]:
    """(contrast,) where that phase is learnt alone, else (contrast, plain), of each patient of the split.

    Raises InputError as `phase_pairs`.
    """
    if _volume(config).phase == "contrast":
        return [(case,) for case in manifest.select(split, "labelled")]
    pairs = (pair for pair in phase_pairs(manifest) if pair[0].role == "labelled")
    return [pair for pair in pairs if pair[0].split == split]


def _opened(
    config: TrainConfig, scans: tuple[Case, ...], cache: SliceCache, number: str, check: Check
) -> PhaseStack:
    """The scans of a patient, told apart by their number in errors: file names may be all alike."""
    try:
        return _stacked(config, scans, cache, check)
    except InputError as error:
        raise InputError(f"{'Pair' if len(scans) > 1 else 'Scan'} {number}: {error}") from error


def _stacked(config: TrainConfig, scans: tuple[Case, ...], cache: SliceCache, check: Check) -> PhaseStack:
    if len(scans) == 1:
        opened: tuple[Case, ...] = scans
    else:
        contrast, plain = scans
        known = config.semi.cpmn.registered
        pair = on_one_grid(contrast, plain, cache.folder / PAIRS, registered=known, check=check)
        both = config.semi.cpmn.pathways == "both"
        opened = (pair.plain, pair.contrast) if both else (pair.plain,)
    volumes = []
    for case in opened:
        check()
        volumes.append(cache.open(case))
    return PhaseStack(tuple(volumes))


def _volume(config: TrainConfig) -> VolumeConfig:
    assert config.network.volume is not None  # who asks has looked
    return config.network.volume
