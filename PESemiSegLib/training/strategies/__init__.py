"""The strategies, by name; one file each."""

from __future__ import annotations

from PESemiSegLib.training.config import TrainConfig
from PESemiSegLib.training.learner import Learner
from PESemiSegLib.training.settings import split_strategy
from PESemiSegLib.training.strategies.adversarial_feature import AdversarialFeature
from PESemiSegLib.training.strategies.adversarial_mask import AdversarialMask
from PESemiSegLib.training.strategies.base import Strategy
from PESemiSegLib.training.strategies.bcp import BidirectionalCopyPaste
from PESemiSegLib.training.strategies.cpmn import CrossPhaseMutualLearning
from PESemiSegLib.training.strategies.cps import CrossPseudoSupervision
from PESemiSegLib.training.strategies.cross_site_mix import CrossSiteMix
from PESemiSegLib.training.strategies.fixmatch import FixMatch
from PESemiSegLib.training.strategies.mean_teacher import MeanTeacher
from PESemiSegLib.training.strategies.method import Method
from PESemiSegLib.training.strategies.pseudo_label import PseudoLabel
from PESemiSegLib.training.strategies.stitchnet import StitchNet
from PESemiSegLib.training.strategies.supervised import Supervised
from PESemiSegLib.training.strategies.unet_pl import UNetPL
from PESemiSegLib.training.strategies.unimatch import UniMatch

STRATEGIES: dict[str, type[Method]] = {
    "supervised": Supervised,
    "adversarial_feature": AdversarialFeature,
    "adversarial_mask": AdversarialMask,
    "pseudo_label": PseudoLabel,
    "mean_teacher": MeanTeacher,
    "cps": CrossPseudoSupervision,
    "fixmatch": FixMatch,
    "unimatch": UniMatch,
    "bcp": BidirectionalCopyPaste,
    "stitchnet": StitchNet,
    "cpmn": CrossPhaseMutualLearning,
    "unet_pl": UNetPL,
}


def build_strategy(segmenter: Learner, discriminator: Learner | None, config: TrainConfig) -> Strategy:
    """The strategy that the settings name, with cross-site mixing around it where they say so.

    Raises ConfigError for an unknown one.
    """
    name, mixed = split_strategy(config.strategy)
    strategy: Strategy = STRATEGIES[name](segmenter, discriminator, config)
    return CrossSiteMix(strategy, config) if mixed else strategy
