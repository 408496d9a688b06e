"""A whole run: manifest -> cache -> trainer -> model package, in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from PESemiSegLib.cohorts.augment import NO_AUGMENTATION
from PESemiSegLib.cohorts.build import with_fingerprints
from PESemiSegLib.cohorts.cache import CachedVolume, SliceCache
from PESemiSegLib.cohorts.manifest import Case, Manifest, read_manifest
from PESemiSegLib.cohorts.sampling import LabelledCrops, UnlabelledCrops, UnlabelledSlices
from PESemiSegLib.errors import Cancelled, ConfigError, InputError, OutputError
from PESemiSegLib.models.kinds import kind_named
from PESemiSegLib.models.package import read_package
from PESemiSegLib.training import parallel
from PESemiSegLib.training.blocks import check_pairs, open_blocks
from PESemiSegLib.training.checkpoint import settings_at
from PESemiSegLib.training.config import TrainConfig, write_yaml
from PESemiSegLib.training.crops import Crops
from PESemiSegLib.training.example import Examples
from PESemiSegLib.training.export import export
from PESemiSegLib.training.log import RunLog
from PESemiSegLib.training.settings import split_strategy
from PESemiSegLib.training.start import check_base, starting_networks
from PESemiSegLib.training.trainer import CHECKPOINT, Event, Trainer

__all__ = ["RunOptions", "check", "export", "prepare", "train"]

SETTINGS = "settings.yaml"
_VALIDATION_SEED, _UNLABELLED_SEED = 977, 3571


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
    base: Path | None = None  # a model package to start from; it is read and never changed


def prepare(
    config: TrainConfig,
    options: RunOptions,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Check the manifest, make the run's folder and fill the cache, before any process trains.

    progress: called after each volume or pair; it may raise, to stop. cancelled: asked more often, also while
    a pair is registered. Raises InputError, OutputError, ConfigError, Cancelled.
    """
    manifest = read_manifest(options.manifest)
    check(config, options, manifest)
    if not options.resume:  # copies that leak are refused; a run that goes on is held to its patients
        look = _stop_if(cancelled)
        with_fingerprints(manifest, lambda done, total: look())
    try:
        options.folder.mkdir(parents=True, exist_ok=True)
        write_yaml(config, options.folder / SETTINGS)
    except OSError as error:
        raise OutputError(f"The folder {options.folder.name} cannot be written: {error.strerror}.") from error
    if config.network.volume is not None:
        open_blocks(config, manifest, cache_folder(options), progress, _stop_if(cancelled))
        return
    cases = [c for split in ("train", "val") for c in manifest.select(split, "labelled")]
    slice_cache(config, options).open_all([*cases, *_unlabelled(config, manifest)], progress=progress)


def check(config: TrainConfig, options: RunOptions, manifest: Manifest) -> None:
    """Raise InputError, OutputError or ConfigError where a run cannot begin or go on; nothing is written."""
    check_device(options.device)
    check_cohort(config, manifest)
    if options.base is not None:
        check_base(config, options.base)
    started = (options.folder / CHECKPOINT).exists()
    if started and not options.resume:
        raise OutputError(
            f"{options.folder.name} holds a run already; add --resume or choose another folder."
        )
    if options.resume and not started:
        raise InputError(f"{options.folder.name} holds no checkpoint to resume; leave --resume out.")
    if started:
        settings_at(options.folder / CHECKPOINT, config, source_of(manifest), base_of(options))


def source_of(manifest: Manifest) -> str:
    """A hash of the patients that a run learns from or is validated on; test patients may still come."""
    used = (case for case in manifest if case.split != "test" and case.role != "excluded")
    return Manifest(tuple(used), manifest.source_name).fingerprint


def base_of(options: RunOptions) -> str:
    """The hash of the package that a run starts from; "" without one. Raises PackageError."""
    return read_package(options.base).sha256 if options.base else ""


def check_cohort(config: TrainConfig, manifest: Manifest) -> None:
    """Raise InputError unless the masks are those of the kind, and there is what the strategy learns from."""
    manifest.require_marks(kind_named(config.kind).masks)
    if config.network.volume is not None:
        check_pairs(config, manifest)
    elif not len(manifest.select("train", "labelled")):
        raise InputError(f"The manifest {manifest.source_name} has no labelled case in the split 'train'.")
    if config.keep == "best" and not len(manifest.select("val", "labelled")):
        raise InputError(
            f"The best weights are to be kept (keep: best), and {manifest.source_name} has no labelled case "
            "in the split 'val' to tell them by; add one or set keep to last."
        )
    if config.needs_unlabelled and not len(manifest.select("train", "unlabelled")):
        raise InputError(
            f"The strategy {config.strategy} learns from unlabelled scans, and {manifest.source_name} has "
            "none in the split 'train'; add rows of the role 'unlabelled'."
        )


def train(
    config: TrainConfig,
    options: RunOptions,
    listen: Callable[[Event], None] = lambda event: None,
    cancelled: Callable[[], bool] = lambda: False,
    enough: Callable[[], bool] = lambda: False,
) -> Trainer:
    """Train in this process (one of several where `parallel` has joined some); returns the finished trainer.

    listen, cancelled, enough: see Trainer. Raises Cancelled, NonFiniteLoss, and what `prepare` raises.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(config.seed)
    check_device(options.device)
    manifest = read_manifest(options.manifest)
    first = parallel.rank() == 0
    with RunLog(options.folder, tensorboard=first) if first else _Silence() as log:
        crops = crops_of(config, options, manifest, cancelled)
        examples = Examples(options.folder, crops.validation or crops.train)

        def tell(event: Event) -> None:
            log(event)
            listen(event)
            if event["kind"] == "health" and (path := examples.draw(trainer)) is not None:
                about = {"iteration": trainer.iteration, "seconds": trainer.seconds}
                tell({"kind": "example", **about, "file": path.name})

        trainer = Trainer(
            config,
            crops,
            options.folder,
            networks=starting_networks(config, options.base),
            base=base_of(options),
            device=options.device,
            listen=tell,
            cancelled=cancelled,
            enough=enough,
        )
        if options.resume:
            trainer.resume()
        trainer.run()
    return trainer


def crops_of(
    config: TrainConfig,
    options: RunOptions,
    manifest: Manifest,
    cancelled: Callable[[], bool] = lambda: False,
) -> Crops:
    """The batches of a run: blocks of pairs of scans, or slices. Raises what reading them raises."""
    if config.network.volume is not None:
        crops = open_blocks(config, manifest, cache_folder(options), check=_stop_if(cancelled))
    else:
        crops = open_crops(config, manifest, slice_cache(config, options))
    return replace(crops, source=source_of(manifest))


def open_crops(config: TrainConfig, manifest: Manifest, cache: SliceCache) -> Crops:
    """The batches of a run: labelled, unlabelled where the strategy wants them, and for validation."""

    def opened(split: str) -> list[CachedVolume]:
        return cache.open_all(manifest.select(split, "labelled"))

    held_out, strange = opened("val"), cache.open_all(_unlabelled(config, manifest))
    still = replace(config.sampling, augment=NO_AUGMENTATION)
    others = replace(config.sampling, batch=config.semi.batch)
    kind = UnlabelledCrops
    if split_strategy(config.strategy)[0] == "unet_pl":  # what it labels it keeps, and changes by itself
        kind, others = UnlabelledSlices, replace(others, augment=NO_AUGMENTATION)
    return Crops(
        train=LabelledCrops(opened("train"), config.sampling, config.seed),
        validation=LabelledCrops(held_out, still, _VALIDATION_SEED) if held_out else None,
        unlabelled=kind(strange, others, config.seed + _UNLABELLED_SEED) if strange else None,
    )


def _unlabelled(config: TrainConfig, manifest: Manifest) -> list[Case]:
    """The unlabelled cases the strategy learns from; masks they may have are not even opened."""
    cases = manifest.select("train", "unlabelled") if config.takes_unlabelled else ()
    return [replace(case, mask=None, lesions=None) for case in cases]


def slice_cache(config: TrainConfig, options: RunOptions) -> SliceCache:
    """Where the run's volumes lie, resampled to the model's spacing."""
    return SliceCache(cache_folder(options), config.spacing_mm, config.network.classes)


def cache_folder(options: RunOptions) -> Path:
    """Where what is read again and again lies."""
    return options.cache or options.folder / "cache"


def _stop_if(cancelled: Callable[[], bool]) -> Callable[[], None]:
    def look() -> None:
        if cancelled():
            raise Cancelled("stopped as asked")

    return look


def check_device(device: str) -> None:
    """Raise ConfigError for what is neither cpu nor cuda, and for a GPU that torch does not see."""
    try:
        wanted = torch.device(device)
    except RuntimeError:
        wanted = None
    if wanted is None or wanted.type not in ("cpu", "cuda"):
        raise ConfigError(f"The device '{device}' is none to train on; choose cpu, cuda or cuda:N.")
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted.type == "cuda" and not seen:
        raise ConfigError("This torch sees no CUDA device; choose --device cpu.")
    if wanted.type == "cuda" and (wanted.index or 0) >= seen:
        raise ConfigError(f"This torch sees {seen} CUDA device(s), the first of which is cuda:0.")


class _Silence:
    """The log of every process but the first."""

    def __enter__(self) -> Callable[[Event], None]:
        return lambda event: None

    def __exit__(self, *_: object) -> None:
        return None
