"""Which settings a run never looks at: left out of its card, and told when somebody has set them."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from PESemiSegLib.models.kinds import kind_named
from PESemiSegLib.training.config import OptimiserConfig, TrainConfig
from PESemiSegLib.training.presets import PRESETS, STAGES, preset
from PESemiSegLib.training.settings import MIX, SemiConfig, split_strategy

_UNREAD = {
    "stitchnet": {f"losses.{name}" for name in ("bce", "dice", "dice_over", "focal_gamma", "centres")},
    "unet_pl": {"losses.centres"},
    "bcp": {"losses.centres"},
}
"""By strategy; its bound or its mixed crops have losses of their own."""
_OF_DISCRIMINATOR = {
    *("discriminator", "discriminator_optimiser", "discriminator_start", "discriminator_every"),
    *("head_start", "finish"),
    *(f"losses.{name}" for name in ("real_label", "soften_mask_pixels", "background_weight")),
}
_OF_SLICES = {
    f"sampling.{name}"
    for name in ("crop", "vessels", "lookalikes", "replay", "replay_capacity", "lung_box", "augment")
}
_TAUGHT = {f"semi.cpmn.{name}" for name in ("taught_by", "divergence", "alignment", "grid", "reach")}


def unread(config: TrainConfig) -> set[str]:
    """Names of settings, and of parts with all of theirs, such as `losses.centres` and `semi.bcp`."""
    own, _ = split_strategy(config.strategy)
    found = set(_UNREAD.get(own, ()))
    found |= {f"semi.{part.name}" for part in fields(SemiConfig) if part.name not in _semi(config)}
    found |= {"sampling.volume"} if config.network.volume is None else _OF_SLICES
    if not kind_named(config.kind).judged:
        found |= _OF_DISCRIMINATOR
    if own == "cpmn" and config.semi.cpmn.pathways == "one":
        found |= _TAUGHT
    adversarial = config.semi.adversarial
    if adversarial.balance == "trust" and not adversarial.threshold.quantile:
        found.add("semi.adversarial.balance")  # one T for all pixels has nothing to balance
    if not config.sampling.replay:
        found.add("sampling.replay_capacity")
    if not config.finish.iterations or config.keep == "best":  # D was kept with the segmenter it judged
        found.add("finish")
    if not config.head_start.iterations or not own.startswith("adversarial"):
        found.add("head_start")
    for name in ("segmenter_optimiser", "discriminator_optimiser"):
        found |= {f"{name}.{setting}" for setting in _of_others(getattr(config, name))}
    return found


def without_effect(config: TrainConfig) -> list[str]:
    """Names of those among them that ask for something which is neither the default nor their preset's."""
    of_preset = [preset(config.name, stage) for stage in STAGES] if config.name in PRESETS else []
    usual = [_settings(each) for each in (TrainConfig(), *of_preset)]
    asked = {
        name: value
        for name, value in _settings(config).items()
        if value and all(settings.get(name) != value for settings in usual)
    }
    idle = unread(config)
    return [name for name in asked if name in idle or any(name.startswith(f"{part}.") for part in idle)]


def _semi(config: TrainConfig) -> set[str]:
    """What of `semi` is read."""
    own, mixed = split_strategy(config.strategy)
    adversarial = own.startswith("adversarial")
    read = {"adversarial" if adversarial else own}
    if config.takes_unlabelled:
        read.add("batch")
    if own in ("fixmatch", "unimatch") or (adversarial and config.semi.adversarial.strong_view):
        read.add("strong")
    return read | {MIX} if mixed else read


def _of_others(config: OptimiserConfig) -> set[str]:
    """Settings of other optimisers and other decays of the rate."""
    found = {"betas"} if config.kind == "sgd" else {"momentum"}
    return found | ({"poly_power"} if config.decay != "poly" else set())


def _settings(config: Any) -> dict[str, Any]:
    """Every setting by its dotted name."""
    found: dict[str, Any] = {}
    for entry in fields(config):
        value = getattr(config, entry.name)
        parts = _settings(value) if is_dataclass(value) else {"": value}
        found |= {f"{entry.name}.{name}".rstrip("."): part for name, part in parts.items()}
    return found
