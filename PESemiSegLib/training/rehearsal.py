"""A dry run: two batches with every term switched on, to see that a run fits, and what it would take."""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from PESemiSegLib.cohorts.manifest import Manifest, read_manifest
from PESemiSegLib.errors import DeviceError
from PESemiSegLib.training.blocks import scans_by_patient
from PESemiSegLib.training.config import TrainConfig
from PESemiSegLib.training.crops import placed
from PESemiSegLib.training.draws import seeded
from PESemiSegLib.training.run import RunOptions, check_cohort, check_device, crops_of
from PESemiSegLib.training.start import check_base, starting_networks
from PESemiSegLib.training.strategies.base import Clock
from PESemiSegLib.training.trainer import Trainer

_SCANS = 2  # of each kind that are read


@dataclass(frozen=True)
class Rehearsal:
    """What a dry run found. memory_mb: the peak, of the process or of the GPU; None where it is not known."""

    seconds_per_iteration: float
    hours: float
    memory_mb: float | None
    patients: dict[str, int]
    timeline: list[str]


def rehearse(config: TrainConfig, options: RunOptions) -> Rehearsal:
    """Prove with two batches that a run fits: networks, data, memory, time. The run's folder stays as it is.

    Raises what a run would raise, and DeviceError where the GPU's memory is too small.
    """
    check_device(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    manifest = read_manifest(options.manifest)
    check_cohort(config, manifest)
    if options.base is not None:
        check_base(config, options.base)
    with tempfile.TemporaryDirectory(prefix="pesemiseg-") as spare:
        places = replace(options, cache=options.cache or Path(spare))
        trainer = Trainer(
            config,
            crops_of(config, places, _few(config, manifest)),
            Path(spare),
            networks=starting_networks(config, options.base),
            device=options.device,
        )
        try:
            seconds = two_steps(trainer)
        except torch.cuda.OutOfMemoryError as error:
            advice = "take fewer crops per batch, smaller ones, or another device"
            raise DeviceError(f"Two batches do not fit the memory of {options.device}; {advice}.") from error
        timeline = trainer.timeline()
        del trainer  # maps of the cache, which Windows would not let go
    hours = seconds * config.iterations / 3600
    if config.max_minutes > 0:
        hours = min(hours, config.max_minutes / 60)
    return Rehearsal(seconds, hours, _peak_memory_mb(options.device), manifest.counts(), timeline)


def two_steps(trainer: Trainer) -> float:
    """Take two steps with every term switched on; returns the seconds of the second one.

    The first one reads unlabelled crops even where the strategy does so now and then only. The weights
    change: throw the trainer away afterwards. Raises NonFiniteLoss.
    """
    config, seconds = trainer.config, 0.0
    for number in range(2):
        labelled, unlabelled = trainer.draw(number)
        if number == 0 and trainer.crops.unlabelled is not None:
            unlabelled = trainer.crops.unlabelled.batch(0)
        clock, started = Clock(number * config.discriminator_every, 1.0), time.monotonic()
        with seeded(config.seed, clock.iteration, trainer.device):
            trainer.strategy.step(*placed(labelled, unlabelled, trainer.device), clock)
        seconds = time.monotonic() - started
    return seconds


def _few(config: TrainConfig, manifest: Manifest) -> Manifest:
    """Some scans of each role; of three-dimensional networks both phases of some patients."""
    if config.network.volume is not None:
        few = scans_by_patient(config, manifest, "train")[:_SCANS]
        return Manifest(tuple(dict.fromkeys(case for scans in few for case in scans)))
    roles = ("labelled", "unlabelled")
    return Manifest(tuple(case for role in roles for case in manifest.select("train", role).cases[:_SCANS]))


def _peak_memory_mb(device: str) -> float | None:
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
