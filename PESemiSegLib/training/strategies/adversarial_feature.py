"""The paper's main method: the discriminator sees the mask beside the segmenter's features."""

from __future__ import annotations

from PESemiSegLib.training.strategies.adversarial import Adversarial


class AdversarialFeature(Adversarial):
    """`Adversarial` with D([w p, f]), three convolutions (ambiguities 1 to 3); the settings demand that D."""
