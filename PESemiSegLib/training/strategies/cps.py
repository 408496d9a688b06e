"""Cross pseudo supervision (Chen 2021): two networks, each learning from the other's marks."""

from __future__ import annotations

import copy

from torch import nn

from PESemiSegLib.networks.build import build_segmenter
from PESemiSegLib.networks.outputs import decided, foreground
from PESemiSegLib.training.config import TrainConfig
from PESemiSegLib.training.layout import module_on
from PESemiSegLib.training.learner import Learner
from PESemiSegLib.training.settings import CpsConfig
from PESemiSegLib.training.strategies.base import Clock, ImageTensors, LabelledTensors, Outcome
from PESemiSegLib.training.strategies.method import Method

_SEED = 2  # the segmenter has seed + 0, the discriminator + 1


class CrossPseudoSupervision(Method):
    """L_i = L_seg(x_l) + w(t) L_seg(x_u; 1[p_j > 0.5]) for i != j. The first network is the one exported."""

    def __init__(self, segmenter: Learner, discriminator: Learner, config: TrainConfig) -> None:
        super().__init__(segmenter, discriminator, config)
        module = self._another(segmenter.module)
        self.learners["second"] = Learner("second", module, config.segmenter_optimiser)

    @property
    def schedule(self) -> CpsConfig:
        """See Method."""
        return self._config.semi.cps

    def timeline(self) -> list[str]:
        """See Strategy."""
        s = self.schedule
        rising = f", rising to weight {s.weight:g} over {s.ramp:.0%} of the run"
        return [*super().timeline(), f"two networks label for each other {self.when(s.start)}{rising}"]

    def semi_step(
        self, labelled: LabelledTensors, unlabelled: ImageTensors, weight: float, clock: Clock
    ) -> Outcome:
        """See Method."""
        second = self.learners["second"]
        known, unknown = self.forward(labelled.image, unlabelled.image)
        known_2, unknown_2 = self.forward(labelled.image, unlabelled.image, module=second.module)
        semi = self.loss(unknown.logits, decided(unknown_2.logits.detach()))
        semi_2 = self.loss(unknown_2.logits, decided(unknown.logits.detach()))
        known_loss_2 = self.known_loss(known_2, labelled)
        second.descend({"L_seg_second": known_loss_2, "L_semi_second": weight * semi_2})
        terms = {"L_seg": self.known_loss(known, labelled), "L_semi": weight * semi}
        figures = {
            "L_semi": float(semi.detach()),
            "L_seg_second": float(known_loss_2.detach()),
            "positive_fraction_unlabelled": float(foreground(decided(unknown.logits)).mean()),
        }
        return self.conclude(labelled, known, terms, figures, clock)

    def supervised_step(self, labelled: LabelledTensors, clock: Clock) -> Outcome:
        """Both networks learn L_seg."""
        second = self.learners["second"]
        (view,) = self.forward(labelled.image, module=second.module)
        second.descend({"L_seg_second": self.known_loss(view, labelled)})
        return super().supervised_step(labelled, clock)

    def _another(self, first: nn.Module) -> nn.Module:
        """A network that starts elsewhere: fresh, or (from trained weights) a copy with a fresh head."""
        fresh = build_segmenter(self._config.network, seed=self._config.seed + _SEED)
        module = fresh
        if self.schedule.second == "copy":
            module = copy.deepcopy(first)  # type: ignore[assignment]
            module.head.load_state_dict(fresh.head.state_dict())
        return module_on(next(first.parameters()).device, module)
