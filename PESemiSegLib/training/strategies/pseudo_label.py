"""Pseudo labels (Lee 2013): the network's own sure marks are taken for truth, more and more."""

from __future__ import annotations

from PESemiSegLib.networks.outputs import decided
from PESemiSegLib.training.losses import sure_pixels
from PESemiSegLib.training.settings import PseudoLabelConfig
from PESemiSegLib.training.strategies.base import Clock, ImageTensors, LabelledTensors, Outcome
from PESemiSegLib.training.strategies.method import Method, unlabelled_figures


class PseudoLabel(Method):
    """L = L_seg(x_l) + w(t) L_seg(x_u; 1[p > 0.5]) over pixels with max(p, 1 - p) >= threshold."""

    @property
    def schedule(self) -> PseudoLabelConfig:
        """See Method."""
        return self._config.semi.pseudo_label

    def timeline(self) -> list[str]:
        """See Strategy."""
        s = self.schedule
        return [*super().timeline(), f"pseudo labels surer than {s.threshold:g} {self.when(s.start)}"]

    def semi_step(
        self, labelled: LabelledTensors, unlabelled: ImageTensors, weight: float, clock: Clock
    ) -> Outcome:
        """See Method."""
        known, unknown = self.forward(labelled.image, unlabelled.image)
        probability = unknown.probability
        sure = sure_pixels(probability, self.schedule.threshold)
        semi = self.loss(unknown.logits, decided(probability, 0.5), valid=sure)
        terms = {"L_seg": self.known_loss(known, labelled), "L_semi": weight * semi}
        figures = {"L_semi": float(semi.detach())} | unlabelled_figures(probability, sure, "sure")
        return self.conclude(labelled, known, terms, figures, clock)
