"""The presets of Tan et al. 2022: U-Net and a DCGAN discriminator on aorta and pulmonary artery (1B)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from PESemiSegLib.cohorts.augment import NO_AUGMENTATION, AugmentConfig
from PESemiSegLib.cohorts.sampling import SamplingConfig
from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig
from PESemiSegLib.training.config import LossConfig, OptimiserConfig, TrainConfig
from PESemiSegLib.training.settings import AdversarialConfig, SemiConfig

_ARTERY_WINDOW_HU = (-200.0, 600.0)  # contrast in aorta and pulmonary artery differs; none of it is clipped


def _tan2022() -> TrainConfig:
    """512 px, Adam, the discriminator's six convolutions, cross-entropy alone.

    Without unlabelled scans it is "Adv U-Net" of the paper's Table 2, with the strategy supervised its
    "U-Net"; with unlabelled scans the rows of Table 3. 1,500 of its 5,000 epochs are supervised: the share is
    kept, not the number. lr, batch and weights are not printed: they are DCGAN's and AdvSemiSeg's.
    """
    adam = OptimiserConfig(
        "adam", lr=2e-4, weight_decay=1e-4, betas=(0.9, 0.999), warmup_iterations=0, clip_norm=5.0
    )
    return TrainConfig(
        name="tan2022",
        kind="arteries",
        strategy="adversarial_mask",
        network=NetworkConfig(width=64, architecture="unet2d", classes=3),
        discriminator=DiscriminatorConfig(kind="mask_only", channels=(64, 128, 256, 512, 512)),
        sampling=SamplingConfig(
            batch=4,
            crop=512,
            emboli=1.0,
            vessels=0.0,
            lookalikes=0.0,
            jitter=0.1,
            hu_window=_ARTERY_WINDOW_HU,
            classes=3,
            augment=NO_AUGMENTATION,
        ),
        losses=LossConfig(bce=1.0, dice=0.0),
        semi=SemiConfig(
            batch=4,
            adversarial=AdversarialConfig(adversarial_start=0.0, semi_start=0.3, labelled_first=True),
        ),
        segmenter_optimiser=adam,
        discriminator_optimiser=replace(adam, lr=1e-4),
        spacing_mm=0.7,
        iterations=50_000,
        validate_every=1000,
        checkpoint_every=1000,
        precision="bf16",
    )


def _tan2022_small() -> TrainConfig:
    """The same game for two CPU cores in some minutes: 12 channels, pixels of 1.4 mm, crops of 160 px.

    A Dice term beside the cross-entropy, which takes longer than that to leave the background.
    """
    whole = _tan2022()
    sampling = replace(whole.sampling, crop=160, emboli=0.7, vessels=0.2, jitter=0.3, augment=AugmentConfig())
    return replace(
        whole,
        name="tan2022_small",
        network=replace(whole.network, width=12),
        discriminator=replace(whole.discriminator, channels=(16, 32, 64, 64, 64)),
        sampling=sampling,
        losses=replace(whole.losses, dice=1.0),
        segmenter_optimiser=replace(whole.segmenter_optimiser, lr=2e-3, warmup_iterations=50),
        discriminator_optimiser=replace(whole.discriminator_optimiser, lr=5e-4),
        spacing_mm=1.4,
        iterations=1500,
        ema_decay=0.99,
        validate_every=250,
        checkpoint_every=250,
        precision="fp32",
    )


def _attention(of: Callable[[], TrainConfig], name: str) -> TrainConfig:
    """The row "Att U-Net" of Table 2: supervised."""
    config = of()
    network = replace(config.network, architecture="attention_unet")
    return replace(config, name=name, strategy="supervised", network=network)


TAN: dict[str, Callable[[], TrainConfig]] = {
    "tan2022": _tan2022,
    "tan2022_small": _tan2022_small,
    "tan2022_attention": partial(_attention, _tan2022, "tan2022_attention"),
    "tan2022_attention_small": partial(_attention, _tan2022_small, "tan2022_attention_small"),
}
"""By name; one stage each, since the supervised and the semi-supervised one are parts of one run."""
