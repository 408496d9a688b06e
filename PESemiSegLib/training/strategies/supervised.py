"""Supervised training of the segmenter, with a discriminator trained beside it on detached features."""

from __future__ import annotations

import torch

from PESemiSegLib.training.config import TrainConfig
from PESemiSegLib.training.finish import teach
from PESemiSegLib.training.learner import Learner
from PESemiSegLib.training.losses import segmentation_loss
from PESemiSegLib.training.strategies.base import Clock, ImageTensors, LabelledTensors, Outcome


class Supervised:
    """L = L_seg(x_l); D learns L_D from (m, f) and (p, f), both without a way back into the segmenter."""

    def __init__(self, segmenter: Learner, discriminator: Learner, config: TrainConfig) -> None:
        self.learners = {"segmenter": segmenter, "discriminator": discriminator}
        self._config = config

    def timeline(self) -> list[str]:
        """See Strategy."""
        start, every = self._config.discriminator_start, self._config.discriminator_every
        return [
            "L_seg (0.5 BCE + Dice) on labelled crops from the first iteration",
            f"L_D (discriminator, detached features) after {start:.0%} of the run, every {every} iterations",
        ]

    def step(self, labelled: LabelledTensors, unlabelled: ImageTensors | None, clock: Clock) -> Outcome:
        """See Strategy; unlabelled crops are not used."""
        segmenter, losses = self.learners["segmenter"], self._config.losses
        with torch.autocast(
            labelled.image.device.type, torch.bfloat16, enabled=self._config.precision == "bf16"
        ):
            logits, features = segmenter.module.forward_features(labelled.image)  # type: ignore[operator]
        logits, features = logits.float(), features.float()
        loss = segmentation_loss(logits, labelled.mask, losses.bce, losses.dice, losses.dice_over)
        norm = segmenter.descend({"L_seg": loss})
        figures = {"L_seg": float(loss.detach()), "gradient_norm": norm}
        probability = logits.detach().sigmoid()
        due = clock.progress >= self._config.discriminator_start
        if due and clock.iteration % self._config.discriminator_every == 0:
            figures |= teach(
                self.learners["discriminator"],
                losses,
                labelled.mask,
                probability,
                features.detach(),
            )
        return Outcome(figures, probability)
