"""The strategies, by name; one file each."""

from __future__ import annotations

from PESemiSegLib.errors import ConfigError
from PESemiSegLib.training.config import TrainConfig
from PESemiSegLib.training.learner import Learner
from PESemiSegLib.training.strategies.base import Strategy
from PESemiSegLib.training.strategies.supervised import Supervised

STRATEGIES = {"supervised": Supervised}


def build_strategy(segmenter: Learner, discriminator: Learner, config: TrainConfig) -> Strategy:
    """The strategy that the settings name; raises ConfigError for an unknown one."""
    if config.strategy not in STRATEGIES:
        raise ConfigError(f"strategy '{config.strategy}' is not one of {', '.join(STRATEGIES)}")
    return STRATEGIES[config.strategy](segmenter, discriminator, config)
