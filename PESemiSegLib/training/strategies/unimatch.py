"""UniMatch (Yang 2023): two strong views with CutMix and one with dropped features follow the weak one."""

from __future__ import annotations

import torch
from torch import Tensor

from PESemiSegLib.networks.blocks import enlarge
from PESemiSegLib.networks.outputs import decided
from PESemiSegLib.training.losses import sure_pixels
from PESemiSegLib.training.settings import UniMatchConfig
from PESemiSegLib.training.strategies.base import Clock, ImageTensors, LabelledTensors, Outcome
from PESemiSegLib.training.strategies.method import Method, unlabelled_figures
from PESemiSegLib.training.views import cutmix_boxes, pasted, strong


class UniMatch(Method):
    """L = L_seg(x_l) + w (1/4 L_s1 + 1/4 L_s2 + 1/2 L_fp), each over the pixels the weak view is sure of.

    A strong view holds a box of the next crop of the batch, with that crop's label and sureness. L_fp drops
    half of the channels in front of the head.
    """

    @property
    def schedule(self) -> UniMatchConfig:
        """See Method."""
        return self._config.semi.unimatch

    def timeline(self) -> list[str]:
        """See Strategy."""
        s = self.schedule
        labels = f"labels surer than {s.threshold:g} for two strong views and one with dropped features"
        return [*super().timeline(), f"{labels} {self.when(s.start)}"]

    def semi_step(
        self, labelled: LabelledTensors, unlabelled: ImageTensors, weight: float, clock: Clock
    ) -> Outcome:
        """See Method."""
        s, image, config = self.schedule, unlabelled.image, self._config
        draw = self.draw(clock, image.device)
        boxes = [cutmix_boxes(image, s.cutmix_probability, draw) for _ in range(2)]
        views = [strong(image, config.semi.strong, config.sampling.hu_window, draw) for _ in range(2)]
        views = [pasted(view.roll(1, 0), view, box) for view, box in zip(views, boxes, strict=True)]
        known, weak, *after = self.forward(labelled.image, image, *views)
        probability = weak.probability
        label, sure = decided(probability, 0.5), sure_pixels(probability, s.threshold)
        semi = s.feature * self.loss(self._perturbed(weak.features, draw), label, valid=sure)
        for view, box in zip(after, boxes, strict=True):
            target, valid = (pasted(each.roll(1, 0), each, box) for each in (label, sure))
            semi = semi + s.strong * self.loss(view.logits, target, valid=valid)
        terms = {"L_seg": self.known_loss(known, labelled), "L_semi": weight * semi}
        figures = {"L_semi": float(semi.detach())} | unlabelled_figures(probability, sure, "sure")
        return self.conclude(labelled, known, terms, figures, clock)

    def _perturbed(self, features: Tensor, draw: torch.Generator) -> Tensor:
        """Logits of the features with whole channels dropped, and the rest scaled up."""
        s, module = self.schedule, self.learners["segmenter"].module
        shape = (*features.shape[:2], 1, 1)
        kept = torch.rand(shape, generator=draw, device=features.device) >= s.dropout
        with self.precision(features.device.type):
            logits: Tensor = module.head(features * kept / (1.0 - s.dropout))  # type: ignore[operator]
        return enlarge(logits.float(), self._config.network.feature_stride)
