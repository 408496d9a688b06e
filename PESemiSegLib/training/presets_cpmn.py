"""The presets of CPMN (MICCAI 2024): its method, the rows of its ablation and of its comparison (1D)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from PESemiSegLib.cohorts.augment import NO_AUGMENTATION
from PESemiSegLib.cohorts.sampling import SamplingConfig
from PESemiSegLib.networks.config import NetworkConfig, VolumeConfig
from PESemiSegLib.training.config import LossConfig, OptimiserConfig, TrainConfig

WINDOW_HU = (-100.0, 200.0)
"""The paper gives none: clot and blood without contrast medium differ by some 24 HU, a twelfth of this."""
_ADAM = OptimiserConfig(
    "adam",
    lr=1e-3,
    weight_decay=0.0,
    betas=(0.9, 0.999),
    warmup_iterations=0,
    decay="cosine",
    lr_end=1e-5,
    clip_norm=5.0,
)
_LOSSES = LossConfig(bce=1.0, focal_gamma=2.0, dice=0.0, centres=0.1)
"""Focal loss alone, gamma of its paper, and the dense centre loss of IFD."""

Change = Callable[[TrainConfig], TrainConfig]


def _cpmn() -> TrainConfig:
    """224 x 224 x 96 voxels, batch 6, Adam 1e-3 to 1e-5 by a cosine, random crops, flips and turns of 10 %.

    Spacing and epochs are not given: 1 mm, 20,000 iterations (104 epochs of the paper's 1,150 scans).
    """
    return TrainConfig(
        name="cpmn",
        kind="identification",
        strategy="cpmn",
        network=NetworkConfig(architecture="cpmn", volume=VolumeConfig()),
        sampling=SamplingConfig(
            batch=6,
            emboli=0.0,
            vessels=0.0,
            lookalikes=0.0,
            hu_window=WINDOW_HU,
            augment=NO_AUGMENTATION,
        ),
        losses=_LOSSES,
        segmenter_optimiser=_ADAM,
        spacing_mm=1.0,
        iterations=20_000,
        validate_every=500,
        checkpoint_every=500,
        precision="bf16",
    )


def _cpmn_small() -> TrainConfig:
    """For two CPU cores: 64 x 64 x 32 voxels of 2 mm, half of the crops about emboli.

    Voxels of no more, since the finest maps that the decoder is handed are of half the resolution. A Dice
    term beside the focal loss, which takes longer than so short a run to find one voxel in some thousands.
    The dense centres wait until the decoder tells clot from blood: from the start they draw all of its
    features together, and nothing is found. A narrower decoder would save no time on a CPU.
    """
    whole = _cpmn()
    return replace(
        whole,
        name="cpmn_small",
        network=replace(whole.network, volume=VolumeConfig((32, 64, 64), 2.0)),
        sampling=replace(whole.sampling, batch=4, emboli=0.5, jitter=0.25),
        losses=replace(whole.losses, dice=1.0, dice_over="batch", centres_start=0.5),
        spacing_mm=2.0,
        iterations=300,
        ema_decay=0.99,
        validate_every=100,
        validation_batches=8,
        checkpoint_every=100,
        precision="fp32",
    )


def _terms(config: TrainConfig, **changes: object) -> TrainConfig:
    cpmn = replace(config.semi.cpmn, **changes)  # type: ignore[arg-type]
    return replace(config, semi=replace(config.semi, cpmn=cpmn))


def _contrast(config: TrainConfig) -> TrainConfig:
    """Single-phase, of the contrast scans."""
    volume = replace(config.network.volume, phase="contrast")  # type: ignore[type-var]
    return replace(_alone(config), network=replace(config.network, volume=volume))


def _alone(config: TrainConfig) -> TrainConfig:
    """One pathway, of the scans of its phase."""
    return _terms(_without_ifd(config), pathways="one")


def _without_ifd(config: TrainConfig) -> TrainConfig:
    return replace(config, losses=replace(config.losses, centres=0.0, centres_start=0.0))


def _mls(config: TrainConfig) -> TrainConfig:
    """Taught by the contrast pathway's head alone."""
    return _terms(_without_ifd(config), alignment=0.0)


def _dml(config: TrainConfig) -> TrainConfig:
    """Deep mutual learning: both heads teach each other, with the weight 1 of Zhang 2018."""
    return _terms(_mls(config), taught_by="mutual", divergence=1.0)


ROWS: dict[str, Change] = {
    "ctpa": _contrast,
    "nct": _alone,
    "mls": _mls,
    "ifa": _without_ifd,
    "dml": _dml,
}
"""Rows of Tables 1 and 2, by what is changed in CPMN: single phases, + MLS, + MLS + IFA, mutual learning."""


def _cpmn2d() -> TrainConfig:
    """The contrast pathway on slices, without its head (Section 3.4, on FUMPE); its crops are its own."""
    return replace(
        _cpmn(),
        name="cpmn2d",
        kind="emboli",
        strategy="supervised",
        network=NetworkConfig(architecture="efficient_unet"),
        sampling=SamplingConfig(
            batch=6,
            crop=224,
            emboli=1.0,
            vessels=0.0,
            lookalikes=0.0,
            jitter=0.3,
            augment=NO_AUGMENTATION,
        ),
        spacing_mm=0.7,
    )


def _cpmn2d_small() -> TrainConfig:
    """The same for two CPU cores: pixels of 1.2 mm, 1,000 iterations, a Dice term beside."""
    whole = _cpmn2d()
    return replace(
        whole,
        name="cpmn2d_small",
        sampling=replace(whole.sampling, batch=4, crop=96),
        losses=replace(whole.losses, dice=1.0, dice_over="batch", centres_start=0.5),
        spacing_mm=1.2,
        iterations=1000,
        ema_decay=0.995,
        validate_every=250,
        checkpoint_every=250,
        precision="fp32",
    )


def _row(base: Callable[[], TrainConfig], name: str, change: Change) -> TrainConfig:
    return replace(change(base()), name=name)


CPMN: dict[str, Callable[[], TrainConfig]] = {
    "cpmn": _cpmn,
    "cpmn_small": _cpmn_small,
    **{f"cpmn_{row}": partial(_row, _cpmn, f"cpmn_{row}", change) for row, change in ROWS.items()},
    **{
        f"cpmn_{row}_small": partial(_row, _cpmn_small, f"cpmn_{row}_small", change)
        for row, change in ROWS.items()
    },
    "cpmn2d": _cpmn2d,
    "cpmn2d_small": _cpmn2d_small,
}
"""By name; one stage each."""
