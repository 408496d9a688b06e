"""Where a run starts from: fresh networks, or those of a base package, which is read and never changed."""

from __future__ import annotations

import logging
from pathlib import Path

from PESemiSegLib.errors import ConfigError
from PESemiSegLib.models.kinds import kind_named
from PESemiSegLib.models.load import load_discriminator, load_segmenter
from PESemiSegLib.models.package import read_package
from PESemiSegLib.networks.build import build_judge, build_segmenter
from PESemiSegLib.networks.config import DiscriminatorConfig
from PESemiSegLib.networks.discriminator import Discriminator
from PESemiSegLib.networks.segmenter import Segmenter
from PESemiSegLib.training.config import TrainConfig

_LOG = logging.getLogger(__name__)


Networks = tuple[Segmenter, Discriminator | None]
"""The network to be trained, and the discriminator where the kind has one."""


def fresh_networks(config: TrainConfig) -> Networks:
    """Segmenter and discriminator of the settings, with weights drawn from their seed."""
    discriminator = None
    if kind_named(config.kind).judged:
        discriminator = build_judge(config.discriminator, config.network, seed=config.seed + 1)
    return build_segmenter(config.network, seed=config.seed), discriminator


def starting_networks(config: TrainConfig, base: Path | None) -> Networks:
    """The base package's networks, ready to learn; fresh ones without a base.

    A discriminator of another kind or width than the base's starts fresh; one that is to weigh mask and
    features otherwise says the same at first. Raises PackageError.
    """
    segmenter, discriminator = fresh_networks(config)
    if base is None:
        return segmenter, discriminator
    package = read_package(base)
    if discriminator is None:
        return load_segmenter(package).train(), None
    if same_weights(package.info.discriminator_config, config.discriminator):
        discriminator.load_state_dict(load_discriminator(package).weights_for(config.discriminator))
    else:
        _LOG.info("the base model's discriminator is of another kind; a fresh one is trained")
    return load_segmenter(package).train(), discriminator.train()


def same_weights(first: DiscriminatorConfig, second: DiscriminatorConfig) -> bool:
    """Whether one's weights suit the other; what D does with features and resolution changes none."""
    return (first.kind, first.channels) == (second.kind, second.channels)


def check_base(config: TrainConfig, base: Path) -> None:
    """Raise ConfigError where the settings are not those of the package's network and images."""
    info = read_package(base).info
    pairs = {
        "network": (config.network, info.network_config),
        "in-plane spacing": (config.spacing_mm, info.spacing_mm),
        "HU window": (config.sampling.hu_window, info.hu_window),
    }
    for what, (wanted, given) in pairs.items():
        if wanted != given:
            text = f"The model {base.name} has another {what} than the settings; take the model's."
            raise ConfigError(text)
