"""The named settings that ship with the product (method 1A.5, 1F)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from PESemiSegLib.cohorts.augment import NO_AUGMENTATION
from PESemiSegLib.cohorts.sampling import SamplingConfig
from PESemiSegLib.errors import ConfigError
from PESemiSegLib.networks.config import DiscriminatorConfig, NetworkConfig
from PESemiSegLib.training.config import LessonsConfig, LossConfig, OptimiserConfig, TrainConfig
from PESemiSegLib.training.presets_cpmn import CPMN
from PESemiSegLib.training.presets_stitchnet import STITCHNET
from PESemiSegLib.training.presets_tan import TAN
from PESemiSegLib.training.presets_zammit import ZAMMIT
from PESemiSegLib.training.rows import SMALL_TABLE_1, TABLE_1
from PESemiSegLib.training.settings import (
    AdversarialConfig,
    CrossSiteMixConfig,
    SemiConfig,
    split_strategy,
)

_SECOND_STAGE = AdversarialConfig(adversarial_start=0.03, semi_start=0.25)
_BALANCED = replace(_SECOND_STAGE, trust="q0.5", balance="trust")
Make = Callable[[], TrainConfig]
_BALANCED_JUDGE = DiscriminatorConfig(mask_weight=20.0, feature_weight=0.1)  # sees the mask from the start
_SHORT = 0.5  # of the second stage's iterations, for a model that is adapted rather than made
_GENTLE = 0.25  # of the rate, where a preset has one stage: that of a network that has learnt nothing yet


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
        discriminator=_BALANCED_JUDGE,
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
        discriminator=_BALANCED_JUDGE,
        sampling=SamplingConfig(batch=4, crop=128, context=3, replay=0.25),
        losses=LossConfig(dice_over="batch", real_label=0.9, soften_mask_pixels=1.0, background_weight=0.1),
        semi=SemiConfig(adversarial=replace(_BALANCED, adversarial_start=0.5, semi_start=0.6)),
        segmenter_optimiser=OptimiserConfig("adamw", lr=2e-3, warmup_iterations=100),
        discriminator_optimiser=OptimiserConfig("adam", lr=5e-4, weight_decay=0.0, warmup_iterations=20),
        spacing_mm=0.9,
        iterations=4000,
        discriminator_start=0.4,
        discriminator_every=2,
        finish=LessonsConfig(iterations=500),
        ema_decay=0.995,
        precision="auto",  # bf16 takes a third off a step on a CPU that has it
        validate_every=250,
        checkpoint_every=250,
    )


def _paper_semi() -> TrainConfig:
    """Second stage of the paper (1A.5): SGD 2e-4 for S, Adam 1e-4 for D, 4 + 4 crops, T = 0.2."""
    return replace(
        _paper(),
        strategy="adversarial_feature",
        semi=SemiConfig(batch=4, adversarial=_SECOND_STAGE),
        segmenter_optimiser=OptimiserConfig(
            "sgd", lr=2e-4, weight_decay=5e-4, warmup_iterations=0, clip_norm=5.0
        ),
        iterations=20_000,
        validate_every=500,
        checkpoint_every=500,
    )


def _mask_only_semi() -> TrainConfig:
    """The same without features; unlabelled predictions may be fakes here, as in Hung 2018."""
    return replace(
        _paper_semi(),
        name="mask_only",
        strategy="adversarial_mask",
        discriminator=DiscriminatorConfig(kind="mask_only"),
        semi=SemiConfig(batch=4, adversarial=replace(_SECOND_STAGE, remain=True)),
    )


def _modern_semi() -> TrainConfig:
    """A third of the rate, T as a quantile for marked and unmarked pixels each, crops of both sites mixed."""
    first = _modern()
    return replace(
        first,
        strategy="adversarial_feature+cross_site_mix",
        sampling=replace(first.sampling, batch=12),  # three to one: fewer leave more false marks
        semi=SemiConfig(batch=4, adversarial=_BALANCED, cross_site_mix=CrossSiteMixConfig(start=0.05)),
        head_start=LessonsConfig(iterations=500, batch=8),
        segmenter_optimiser=OptimiserConfig("adamw", lr=1e-4, warmup_iterations=200),
        iterations=20_000,
        discriminator_start=0.0,
    )


def _cpu_demo_semi() -> TrainConfig:
    """The second stage on two CPU cores, in about a quarter of an hour; T as a quantile, balanced."""
    first = _cpu_demo()
    return replace(
        first,
        strategy="adversarial_feature",
        sampling=replace(first.sampling, batch=6),  # three to one, as in `modern`
        semi=SemiConfig(batch=2, adversarial=_BALANCED, cross_site_mix=CrossSiteMixConfig(start=0.05)),
        head_start=LessonsConfig(iterations=200, batch=4, crop=128),
        segmenter_optimiser=OptimiserConfig("adamw", lr=5e-4, warmup_iterations=50),
        iterations=1000,
        discriminator_start=0.0,
    )


def _cpu_mask_only_semi() -> TrainConfig:
    """The second stage on two CPU cores for the tables' rows, whose D sees the mask alone."""
    return with_strategy(_cpu_demo_semi(), "adversarial_mask")


def _row(base: Make, name: str, network: NetworkConfig) -> TrainConfig:
    """A preset with the network of a table's row."""
    config = base()
    sampling = replace(config.sampling, context=network.context)
    return replace(config, name=name, network=network, sampling=sampling)


PRESETS: dict[str, Make] = {
    "paper": _paper,
    "modern": _modern,
    "cpu_demo": _cpu_demo,
    "mask_only": _mask_only,
    **TAN,
    **ZAMMIT,
    **STITCHNET,
    **CPMN,
    **{name: partial(_row, _paper, name, row) for name, row in TABLE_1.items()},
    **{name: partial(_row, _cpu_demo, name, row) for name, row in SMALL_TABLE_1.items()},
}
_SEMI: dict[str, Make] = {
    "paper": _paper_semi,
    "modern": _modern_semi,
    "cpu_demo": _cpu_demo_semi,
    "mask_only": _mask_only_semi,
    **TAN,
    **ZAMMIT,
    **STITCHNET,
    **CPMN,
    **{name: partial(_row, _mask_only_semi, name, row) for name, row in TABLE_1.items()},
    **{name: partial(_row, _cpu_mask_only_semi, name, row) for name, row in SMALL_TABLE_1.items()},
}
STAGES = ("supervised", "semi", "finetune")


def preset(name: str, stage: str = "supervised", strategy: str | None = None) -> TrainConfig:
    """The settings of this name for a stage; raises ConfigError that lists the known ones.

    stage: "supervised" starts from nothing (with another strategy, its unlabelled terms begin later in the
    same run); "semi" goes on from a supervised model; "finetune" adapts any model, in half the iterations,
    and at a quarter of the rate where the preset has no second stage of its own.
    strategy: another one than the stage's own.
    """
    if name not in PRESETS:
        raise ConfigError(f"The preset '{name}' is not one of {', '.join(PRESETS)}.")
    if stage not in STAGES:
        raise ConfigError(f"The stage '{stage}' is not one of {', '.join(STAGES)}.")
    if stage == "supervised":
        return with_strategy(PRESETS[name](), strategy)
    config = _SEMI[name]()
    # Beside a trained network a fresh one would teach nothing but its own start.
    config = replace(config, semi=replace(config.semi, cps=replace(config.semi.cps, second="copy")))
    if stage == "finetune":
        every, optimiser = max(1, round(config.validate_every * _SHORT)), config.segmenter_optimiser
        if _SEMI[name] is PRESETS[name]:
            optimiser = replace(optimiser, lr=_GENTLE * optimiser.lr)
        elif not config.head_start.iterations:  # D's own start stays as long in iterations
            judged = config.semi.adversarial
            judged = replace(judged, adversarial_start=judged.adversarial_start / _SHORT)
            config = replace(config, semi=replace(config.semi, adversarial=judged))
        config = replace(
            config,
            iterations=round(config.iterations * _SHORT),
            segmenter_optimiser=optimiser,
            validate_every=every,
            checkpoint_every=every,
        )
    return with_strategy(config, strategy)


def with_strategy(config: TrainConfig, strategy: str | None) -> TrainConfig:
    """The settings with another strategy and the discriminator that it needs; None changes nothing."""
    if strategy is None or strategy == config.strategy:
        return config
    own, _ = split_strategy(strategy)
    discriminator = config.discriminator
    if own == "adversarial_mask" and discriminator.kind != "mask_only":
        discriminator = replace(discriminator, kind="mask_only", channels=())
    elif own == "adversarial_feature" and discriminator.kind != "feature":
        discriminator = replace(discriminator, kind="feature", channels=())
    return replace(config, strategy=strategy, discriminator=discriminator)
