"""FixMatch (Sohn 2020): what is sure of the weak view must hold for the strong one."""

from __future__ import annotations

from PESemiSegLib.networks.outputs import decided
from PESemiSegLib.training.config import TrainConfig
from PESemiSegLib.training.ema import WeightAverage
from PESemiSegLib.training.learner import Learner
from PESemiSegLib.training.losses import sure_pixels
from PESemiSegLib.training.settings import FixMatchConfig
from PESemiSegLib.training.strategies.base import Clock, ImageTensors, LabelledTensors, Outcome
from PESemiSegLib.training.strategies.method import Method, unlabelled_figures
from PESemiSegLib.training.views import strong


class FixMatch(Method):
    """L = L_seg(x_l) + w L_seg(strong(x_u); 1[p_weak > 0.5]) over pixels with max(p, 1 - p) >= threshold."""

    def __init__(self, segmenter: Learner, discriminator: Learner, config: TrainConfig) -> None:
        super().__init__(segmenter, discriminator, config)
        if self.schedule.teacher_decay > 0:
            self.averages["teacher"] = WeightAverage(segmenter.module, self.schedule.teacher_decay)

    @property
    def schedule(self) -> FixMatchConfig:
        """See Method."""
        return self._config.semi.fixmatch

    def timeline(self) -> list[str]:
        """See Strategy."""
        s = self.schedule
        labels = f"labels of the weak view surer than {s.threshold:g} for the strong view"
        return [*super().timeline(), f"{labels} {self.when(s.start)}"]

    def semi_step(
        self, labelled: LabelledTensors, unlabelled: ImageTensors, weight: float, clock: Clock
    ) -> Outcome:
        """See Method."""
        image, config = unlabelled.image, self._config
        draw = self.draw(clock, image.device)
        changed = strong(image, config.semi.strong, config.sampling.hu_window, draw)
        if "teacher" in self.averages:
            known, after = self.forward(labelled.image, changed)
            probability = self.read(self.averages["teacher"], image)
        else:
            known, before, after = self.forward(labelled.image, image, changed)
            probability = before.probability
        sure = sure_pixels(probability, self.schedule.threshold)
        semi = self.loss(after.logits, decided(probability, 0.5), valid=sure)
        terms = {"L_seg": self.known_loss(known, labelled), "L_semi": weight * semi}
        figures = {"L_semi": float(semi.detach())} | unlabelled_figures(probability, sure, "sure")
        return self.conclude(labelled, known, terms, figures, clock)
