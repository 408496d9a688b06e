"""Mean teacher (Tarvainen and Valpola 2017): agree with the average of one's own past."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from PESemiSegLib.networks.outputs import decided, foreground, probabilities
from PESemiSegLib.training.config import TrainConfig
from PESemiSegLib.training.ema import WeightAverage
from PESemiSegLib.training.learner import Learner
from PESemiSegLib.training.settings import MeanTeacherConfig
from PESemiSegLib.training.strategies.base import Clock, ImageTensors, LabelledTensors, Outcome
from PESemiSegLib.training.strategies.method import Method


class MeanTeacher(Method):
    """L = L_seg(x_l) + w(t) mean (p - p')^2, p' the teacher's probability of the crop with noise."""

    def __init__(self, segmenter: Learner, discriminator: Learner, config: TrainConfig) -> None:
        super().__init__(segmenter, discriminator, config)
        self.averages["teacher"] = WeightAverage(segmenter.module, self.schedule.decay)

    @property
    def schedule(self) -> MeanTeacherConfig:
        """See Method."""
        return self._config.semi.mean_teacher

    def timeline(self) -> list[str]:
        """See Strategy."""
        s = self.schedule
        rising = f", rising to weight {s.weight:g} over {s.ramp:.0%} of the run"
        return [*super().timeline(), f"agreement with the mean teacher {self.when(s.start)}{rising}"]

    def semi_step(
        self, labelled: LabelledTensors, unlabelled: ImageTensors, weight: float, clock: Clock
    ) -> Outcome:
        """See Method."""
        known, unknown = self.forward(labelled.image, unlabelled.image)
        noisy = self._noisy(unlabelled.image, self.draw(clock, unlabelled.image.device))
        taught = self.read(self.averages["teacher"], noisy)
        semi = F.mse_loss(probabilities(unknown.logits), taught)
        terms = {"L_seg": self.known_loss(known, labelled), "L_semi": weight * semi}
        figures = {
            "L_semi": float(semi.detach()),
            "positive_fraction_unlabelled": float(foreground(decided(unknown.logits)).mean()),
        }
        return self.conclude(labelled, known, terms, figures, clock)

    def _noisy(self, image: Tensor, generator: torch.Generator) -> Tensor:
        s = self.schedule
        noise = torch.randn(image.shape, generator=generator, device=image.device) * s.noise
        return image + noise.clamp(-s.noise_limit, s.noise_limit)
