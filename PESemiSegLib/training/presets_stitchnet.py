"""The presets of StitchNet (Zammit; methods 1C): the report's graph, and what its later code made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig
from PESemiSegLib.training.config import OptimiserConfig, TrainConfig
from PESemiSegLib.training.presets_zammit import CLASSES, zammit_sampling
from PESemiSegLib.training.settings import SemiConfig
from PESemiSegLib.training.settings_stitchnet import StitchNetConfig


def _seed() -> TrainConfig:
    """The report's graph: Bernoulli likelihood, the bound alone, no weights. Its negative result is meant.

    Images as those of its U-Net (`unet_pl`). Rate, batch and length are not printed; rate and optimiser are
    those of the later code (Adam, gradients clipped at norm 1).
    """
    return TrainConfig(
        name="stitchnet_seed",
        kind="opacities",
        strategy="stitchnet",
        network=NetworkConfig(width=16, depth="full", architecture="stitchnet", classes=CLASSES),
        discriminator=DiscriminatorConfig(kind="mask_only", channels=(16, 32, 64, 64)),
        sampling=zammit_sampling(16),
        semi=SemiConfig(batch=16, stitchnet=StitchNetConfig(likelihood="bernoulli", supervised_weight=0.0)),
        segmenter_optimiser=OptimiserConfig(
            "adam",
            lr=3e-4,
            weight_decay=0.0,
            betas=(0.9, 0.999),
            warmup_iterations=0,
            poly_power=0.0,
            clip_norm=1.0,
        ),
        spacing_mm=4.0,
        iterations=20_000,
        discriminator_every=4,
        ema_decay=0.999,
        validate_every=500,
        checkpoint_every=500,
    )


def _beta() -> TrainConfig:
    """The later code's mends: a Beta likelihood and 100 times the focal loss of the labelled crops.

    Its third, healthy scans that are labelled by themselves, comes with the data: `pesemiseg cohort healthy`.
    """
    whole = _seed()
    return replace(
        whole, name="stitchnet_beta", semi=replace(whole.semi, stitchnet=StitchNetConfig(kl_warmup=0.1))
    )


def _small(whole: Callable[[], TrainConfig]) -> TrainConfig:
    """For two CPU cores in some minutes: 8 channels, one block per stage, a higher rate."""
    config = whole()
    return replace(
        config,
        name=f"{config.name}_small",
        network=replace(config.network, width=8, depth="small"),
        sampling=zammit_sampling(8),
        semi=replace(config.semi, batch=8),
        segmenter_optimiser=replace(config.segmenter_optimiser, lr=2e-3, warmup_iterations=50),
        iterations=1200,
        ema_decay=0.99,
        validate_every=200,
        checkpoint_every=200,
    )


STITCHNET: dict[str, Callable[[], TrainConfig]] = {
    "stitchnet_seed": _seed,
    "stitchnet_beta": _beta,
    "stitchnet_seed_small": partial(_small, _seed),
    "stitchnet_beta_small": partial(_small, _beta),
}
"""By name; one stage each, since labelled and unlabelled crops raise one bound in one run."""
