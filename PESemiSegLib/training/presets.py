"""The named settings that ship with the product (method 1A.5, 1F)."""

from __future__ import annotations

from PESemiSegLib.cohorts.augment import NO_AUGMENTATION
from PESemiSegLib.cohorts.sampling import SamplingConfig
from PESemiSegLib.errors import ConfigError
from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig
from PESemiSegLib.training.config import FinishConfig, LossConfig, OptimiserConfig, TrainConfig


def _paper() -> TrainConfig:
    """Supervised stage of the paper: W48, 400 px, SGD 0.9, rate 1e-4, positive slices, no augmentation."""
    return TrainConfig(
        name="paper",
        network=NetworkConfig(width=48, depth="full"),
        sampling=SamplingConfig(
            batch=4, crop=400, emboli=1.0, vessels=0.0, lookalikes=0.0, jitter=0.1, augment=NO_AUGMENTATION
        ),
        segmenter_optimiser=OptimiserConfig(
            "sgd", lr=1e-4, weight_decay=5e-4, warmup_iterations=0, clip_norm=0.0
        ),
        spacing_mm=0.7,
        iterations=70_000,
        validate_every=700,
        checkpoint_every=700,
        precision="bf16",
    )


def _modern() -> TrainConfig:
    """Width 32, AdamW 3e-4, light augmentation, balanced sampling, three slices of context: for a GPU."""
    return TrainConfig(
        name="modern",
        network=NetworkConfig(width=32, depth="full", context=3),
        sampling=SamplingConfig(batch=8, crop=320, context=3, replay=0.25),
        losses=LossConfig(dice_over="batch", real_label=0.9, soften_mask_pixels=1.0, background_weight=0.1),
        segmenter_optimiser=OptimiserConfig("adamw", lr=3e-4, warmup_iterations=500),
        spacing_mm=0.7,
        iterations=30_000,
        discriminator_start=0.1,
        ema_decay=0.999,
        validate_every=1000,
        checkpoint_every=1000,
        precision="bf16",
    )


def _mask_only() -> TrainConfig:
    """The ablation row without features: five convolutions that see the mask alone."""
    return _paper().with_overrides(name="mask_only", discriminator=DiscriminatorConfig(kind="mask_only"))


def _cpu_demo() -> TrainConfig:
    """Width 16, small depth, 128 px crops: the demo model in about an hour on two CPU cores."""
    return TrainConfig(
        name="cpu_demo",
        network=NetworkConfig(width=16, depth="small", context=3),
        sampling=SamplingConfig(batch=4, crop=128, context=3, replay=0.25),
        losses=LossConfig(dice_over="batch", real_label=0.9, soften_mask_pixels=1.0, background_weight=0.1),
        segmenter_optimiser=OptimiserConfig("adamw", lr=2e-3, warmup_iterations=100),
        discriminator_optimiser=OptimiserConfig("adam", lr=5e-4, weight_decay=0.0),
        spacing_mm=0.9,
        iterations=4000,
        discriminator_start=0.4,
        discriminator_every=2,
        finish=FinishConfig(iterations=250),
        ema_decay=0.995,
        validate_every=250,
        checkpoint_every=250,
    )


PRESETS = {"paper": _paper, "modern": _modern, "cpu_demo": _cpu_demo, "mask_only": _mask_only}


def preset(name: str) -> TrainConfig:
    """The settings of this name; raises ConfigError that lists the known ones."""
    if name not in PRESETS:
        raise ConfigError(f"The preset '{name}' is not one of {', '.join(PRESETS)}.")
    return PRESETS[name]()
