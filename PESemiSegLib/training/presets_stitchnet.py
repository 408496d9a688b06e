"""The presets of StitchNet (Zammit; methods 1C): the report's graph, and what its later code made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from PESemiSegLib.training.config import TrainConfig
from PESemiSegLib.training.presets_zammit import for_two_cores, zammit_row, zammit_sampling
from PESemiSegLib.training.settings import SemiConfig
from PESemiSegLib.training.settings_stitchnet import StitchNetConfig


def _seed() -> TrainConfig:
    """The report's graph: Bernoulli likelihood, the bound alone, no weights. Its negative result is meant.

    Images and length as those of its U-Net (`unet_pl`); gradients clipped at norm 1, as in the later code.
    """
    semi = SemiConfig(stitchnet=StitchNetConfig(likelihood="bernoulli", supervised_weight=0.0))
    row = zammit_row("stitchnet_seed", "stitchnet", "stitchnet", semi)
    adam = replace(row.segmenter_optimiser, warmup_iterations=0, poly_power=0.0, clip_norm=1.0)
    return replace(row, segmenter_optimiser=adam, ema_decay=0.999)


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
    small = for_two_cores(whole())
    return replace(
        small,
        network=replace(small.network, width=8, depth="small"),
        sampling=zammit_sampling(8),
        semi=replace(small.semi, batch=8),
    )


STITCHNET: dict[str, Callable[[], TrainConfig]] = {
    "stitchnet_seed": _seed,
    "stitchnet_beta": _beta,
    "stitchnet_seed_small": partial(_small, _seed),
    "stitchnet_beta_small": partial(_small, _beta),
}
"""By name; one stage each, since labelled and unlabelled crops raise one bound in one run."""
