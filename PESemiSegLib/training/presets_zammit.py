"""The presets of StitchNet's report (Zammit; methods 1C): its U-Net, with and without pseudo labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from PESemiSegLib.cohorts.augment import NO_AUGMENTATION
from PESemiSegLib.cohorts.sampling import SamplingConfig
from PESemiSegLib.networks.config import Architecture, DiscriminatorConfig, NetworkConfig
from PESemiSegLib.training.config import LossConfig, OptimiserConfig, TrainConfig
from PESemiSegLib.training.settings import SemiConfig
from PESemiSegLib.training.settings_unet_pl import UNetPLConfig

CLASSES = 4  # background, ground glass, consolidation, healthy lung
_LUNG_WINDOW_HU = (-1150.0, 250.0)
_CHANGES = replace(
    NO_AUGMENTATION,
    flip_lr=True,
    flip_ud=True,
    cutout_probability=0.25,
    # 64, 128 and 256 px of a slice of 512 px and 350 mm, in pixels of 4 mm
    cutout_pixels=(11, 22, 44),
)


def zammit_sampling(batch: int, *, context: int = 1) -> SamplingConfig:
    """The images of the report: the box of the lungs at 64 x 64 pixels, flipped and cut out at random.

    64 pixels of 4 mm hold both lungs of most adults; of larger ones the crop moves within the box.
    """
    return SamplingConfig(
        batch=batch,
        crop=64,
        context=context,
        emboli=1.0,  # slices with any of the three tissues, each of those as often
        vessels=0.0,
        lookalikes=0.0,
        lung_box=True,
        hu_window=_LUNG_WINDOW_HU,
        classes=CLASSES,
        augment=_CHANGES,
    )


def zammit_row(name: str, strategy: str, architecture: Architecture, semi: SemiConfig) -> TrainConfig:
    """What the rows of the report have in common, so that they compare: images, length, Adam, D beside.

    Rate, batch and length are not printed; its later code has Adam and 500 epochs.
    """
    return TrainConfig(
        name=name,
        kind="opacities",
        strategy=strategy,
        network=NetworkConfig(width=16, depth="full", architecture=architecture, classes=CLASSES),
        discriminator=DiscriminatorConfig(kind="mask_only", channels=(16, 32, 64, 64)),
        sampling=zammit_sampling(16),
        # of D alone, which would else tell 0 and 1 from soft values, and no mark from another
        losses=LossConfig(real_label=0.9, soften_mask_pixels=1.0),
        semi=replace(semi, batch=16),
        segmenter_optimiser=OptimiserConfig(
            "adam", lr=3e-4, weight_decay=0.0, betas=(0.9, 0.999), warmup_iterations=100
        ),
        spacing_mm=4.0,
        iterations=20_000,
        discriminator_every=4,
        validate_every=500,
        checkpoint_every=500,
    )


def for_two_cores(config: TrainConfig) -> TrainConfig:
    """The row's short schedule, in some minutes on two CPU cores, called "..._small"."""
    return replace(
        config,
        name=f"{config.name}_small",
        segmenter_optimiser=replace(config.segmenter_optimiser, lr=2e-3, warmup_iterations=50),
        iterations=1200,
        ema_decay=0.99,
        validate_every=200,
        checkpoint_every=200,
    )


def _unet_pl() -> TrainConfig:
    """U-Net on ResNeXt-50, 16 pseudo-labelled crops a round up to 1,600; the focal loss of its code.

    With the strategy supervised it is the report's "U-Net".
    """
    semi = SemiConfig(unet_pl=UNetPLConfig(start=0.5, max_pseudo=1600))
    row = zammit_row("unet_pl", "unet_pl", "resnext_unet", semi)
    return replace(row, losses=replace(row.losses, bce=1.0, dice=0.0, focal_gamma=2.0))


def _unet_pl_small() -> TrainConfig:
    """The same for two CPU cores: a U-Net of 16 channels, and at most 320 pseudo labels."""
    small = for_two_cores(_unet_pl())
    return replace(
        small,
        network=NetworkConfig(width=16, architecture="unet2d", classes=CLASSES),
        semi=replace(small.semi, unet_pl=UNetPLConfig(start=0.5, max_pseudo=320)),
    )


ZAMMIT: dict[str, Callable[[], TrainConfig]] = {
    "unet_pl": _unet_pl,
    "unet_pl_small": _unet_pl_small,
}
"""By name; one stage each, since the rounds of pseudo labels are part of the one run."""
