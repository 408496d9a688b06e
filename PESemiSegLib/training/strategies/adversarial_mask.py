"""The paper's ablation without feature maps: the discriminator sees the mask alone (Hung 2018)."""

from __future__ import annotations

from PESemiSegLib.training.strategies.adversarial import Adversarial


class AdversarialMask(Adversarial):
    """`Adversarial` with D(p), five convolutions; here unlabelled predictions may be fakes too (D_remain)."""
