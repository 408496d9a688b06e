"""Cross-site mixing around any strategy: labelled crops that look as if they came from the other site."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from PESemiSegLib.networks.outputs import decided
from PESemiSegLib.training.config import TrainConfig
from PESemiSegLib.training.ema import WeightAverage
from PESemiSegLib.training.losses import sure_pixels
from PESemiSegLib.training.strategies.base import Clock, ImageTensors, LabelledTensors, Outcome, Strategy
from PESemiSegLib.training.strategies.method import Method
from PESemiSegLib.training.views import amplitude_mixed, boxes, pasted


class CrossSiteMix:
    """The inner strategy's step on a changed labelled batch; the unlabelled crops stay as they are.

    Two changes (after Yang 2020, Tranheden 2021 and MiDSS, Ma 2024): some labelled crops take over a share of
    an unlabelled crop's low-frequency amplitudes; and crops are added that hold a labelled box within an
    unlabelled crop, where an averaged teacher's label counts around the box as far as it is sure.
    """

    def __init__(self, inner: Strategy, config: TrainConfig) -> None:
        self._inner, self._config, self._settings = inner, config, config.semi.cross_site_mix
        self._base = Method(inner.learners["segmenter"], inner.learners["discriminator"], config)
        self._teacher = WeightAverage(inner.learners["segmenter"].module, self._settings.decay)
        self.learners = inner.learners
        self.averages = inner.averages | {"mix_teacher": self._teacher}
        self.pools = inner.pools

    def timeline(self) -> list[str]:
        """See Strategy."""
        when = self._base.when(self._settings.start)
        return [*self._inner.timeline(), f"labelled crops mixed with those of the other site {when}"]

    def unlabelled_batch(self, iteration: int) -> int | None:
        """See Strategy: another one for every step."""
        return iteration

    def step(self, labelled: LabelledTensors, unlabelled: ImageTensors | None, clock: Clock) -> Outcome:
        """See Strategy."""
        if unlabelled is not None and clock.progress >= self._settings.start:
            labelled = self._mixed(labelled, unlabelled.image, clock)
        outcome = self._inner.step(labelled, unlabelled, clock)
        self._teacher.update(clock.iteration + 1)
        return outcome

    def _mixed(self, labelled: LabelledTensors, strange: Tensor, clock: Clock) -> LabelledTensors:
        """The labelled crops, some restyled, and behind them the crops of two sites."""
        s, count = self._settings, len(labelled.image)
        draw = self._base.draw(clock, strange.device, salt=1)
        others = strange[torch.randint(len(strange), (count,), generator=draw, device=strange.device)]
        shares = torch.rand(count, 1, 1, 1, generator=draw, device=strange.device)
        chosen = torch.rand(count, 1, 1, 1, generator=draw, device=strange.device) < s.style_probability
        image = amplitude_mixed(labelled.image, others, shares * chosen, s.band)
        image = torch.where(chosen, image, labelled.image)
        known = torch.ones_like(labelled.mask[:, :1]) if labelled.valid is None else labelled.valid
        added = round(s.pasted * count)
        if not added:
            return replace(labelled, image=image)
        strange = others[:added]
        probability = self._base.read(self._teacher, strange)
        box = boxes(labelled.mask[:added], s.box, draw)
        return LabelledTensors(
            torch.cat([image, pasted(image[:added], strange, box)]),
            torch.cat([labelled.mask, pasted(labelled.mask[:added], decided(probability, 0.5), box)]),
            torch.cat([known, pasted(known[:added], sure_pixels(probability, s.threshold), box)]),
            mixed=added,
        )
