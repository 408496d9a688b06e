"""Bidirectional copy-paste (Bai 2023): labelled boxes in unlabelled crops and the reverse."""

from __future__ import annotations

import torch
from torch import Tensor

from PESemiSegLib.networks.outputs import decided, foreground
from PESemiSegLib.training.config import TrainConfig
from PESemiSegLib.training.ema import WeightAverage
from PESemiSegLib.training.learner import Learner
from PESemiSegLib.training.settings import BcpConfig
from PESemiSegLib.training.strategies.base import Clock, ImageTensors, LabelledTensors, Outcome
from PESemiSegLib.training.strategies.method import Method
from PESemiSegLib.training.views import boxes, pasted


class BidirectionalCopyPaste(Method):
    """L = mean over both mixed crops of L_seg(labelled part) + w L_seg(the rest; the teacher's 1[p' > 0.5]).

    Before the schedule begins, copy-paste among the labelled crops. All parts of a pseudo label are kept, not
    the largest alone: emboli are many.
    """

    def __init__(self, segmenter: Learner, discriminator: Learner, config: TrainConfig) -> None:
        super().__init__(segmenter, discriminator, config)
        self.averages["teacher"] = WeightAverage(segmenter.module, self.schedule.decay)

    @property
    def schedule(self) -> BcpConfig:
        """See Method."""
        return self._config.semi.bcp

    def timeline(self) -> list[str]:
        """See Strategy."""
        return [
            *super().timeline(),
            "boxes pasted among labelled crops from the first iteration",
            f"boxes pasted between labelled and unlabelled crops {self.when(self.schedule.start)}",
        ]

    def supervised_step(self, labelled: LabelledTensors, clock: Clock) -> Outcome:
        """L_seg of labelled crops that hold a box of the next one."""
        box = boxes(labelled.mask, self.schedule.box, self.draw(clock, labelled.mask.device))

        def joined(part: Tensor) -> Tensor:
            return pasted(part.roll(1, 0), part, box)

        valid = None if labelled.valid is None else joined(labelled.valid)
        (view,) = self.forward(joined(labelled.image))
        loss = self.loss(view.logits, joined(labelled.mask), valid=valid)
        return self.conclude(labelled, None, {"L_seg": loss}, {}, clock)

    def semi_step(
        self, labelled: LabelledTensors, unlabelled: ImageTensors, weight: float, clock: Clock
    ) -> Outcome:
        """See Method."""
        first, other = _pairs(len(labelled.image), len(unlabelled.image), unlabelled.image.device)
        image, mask = labelled.image[first], labelled.mask[first]
        known = torch.ones_like(mask[:, :1]) if labelled.valid is None else labelled.valid[first]
        strange = unlabelled.image[other]
        probability = self.read(self.averages["teacher"], unlabelled.image)
        guess = decided(probability, 0.5)[other]
        box = boxes(mask, self.schedule.box, self.draw(clock, mask.device))
        inward, outward = self.forward(pasted(image, strange, box), pasted(strange, image, box))
        own = self.loss(inward.logits, mask, valid=box * known)
        own = 0.5 * (own + self.loss(outward.logits, mask, valid=(1.0 - box) * known))
        semi = self.loss(inward.logits, guess, valid=1.0 - box)
        semi = 0.5 * (semi + self.loss(outward.logits, guess, valid=box))
        figures = {
            "L_semi": float(semi.detach()),
            "positive_fraction_unlabelled": float(foreground(guess).mean()),
        }
        return self.conclude(labelled, None, {"L_seg": own, "L_semi": weight * semi}, figures, clock)


def _pairs(known: int, unknown: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Indices that pair two batches, the shorter one repeated."""
    order = torch.arange(max(known, unknown), device=device)
    return order % known, order % unknown
