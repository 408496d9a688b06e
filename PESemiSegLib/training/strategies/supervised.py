"""Supervised training of the segmenter, with a discriminator trained beside it on detached features."""

from __future__ import annotations

from PESemiSegLib.training.strategies.base import Clock, ImageTensors, LabelledTensors, Outcome
from PESemiSegLib.training.strategies.method import Method


class Supervised(Method):
    """L = L_seg(x_l); D learns L_D from (m, f) and (p, f), both without a way back into the segmenter."""

    def step(self, labelled: LabelledTensors, unlabelled: ImageTensors | None, clock: Clock) -> Outcome:
        """See Strategy; unlabelled crops are not used."""
        return self.supervised_step(labelled, clock)
