"""Supervised training of the segmenter, with a discriminator trained beside it on detached features."""

from __future__ import annotations

import torch
from torch import Tensor

from PESemiSegLib.training.config import TrainConfig
from PESemiSegLib.training.learner import Learner
from PESemiSegLib.training.losses import discriminator_loss, near_marks, segmentation_loss, soften
from PESemiSegLib.training.strategies.base import Clock, ImageTensors, LabelledTensors


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

    def step(
        self, labelled: LabelledTensors, unlabelled: ImageTensors | None, clock: Clock
    ) -> dict[str, float]:
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
        due = clock.progress >= self._config.discriminator_start
        if due and clock.iteration % self._config.discriminator_every == 0:
            figures |= self.teach_discriminator(labelled.mask, logits.detach().sigmoid(), features.detach())
        return figures

    def teach_discriminator(self, mask: Tensor, probability: Tensor, features: Tensor) -> dict[str, float]:
        """One step of D on L_D, inputs detached. Returns L_D and D's mean confidences near marks."""
        learner, losses = self.learners["discriminator"], self._config.losses
        near = near_marks(mask, probability)
        weight = near + losses.background_weight * (1.0 - near)
        count = mask.shape[0]
        both = torch.cat([soften(mask, losses.soften_mask_pixels), probability])
        logits = learner.module(both, torch.cat([features, features]))
        real, fake = logits[:count], logits[count:]
        loss = discriminator_loss(real, fake, losses.real_label, weight)
        learner.descend({"L_D": loss})
        figures = {"L_D": float(loss.detach())}
        pixels = float(near.sum())
        if pixels:
            figures["D_on_masks"] = float((real.detach().sigmoid() * near).sum()) / pixels
            figures["D_on_predictions"] = float((fake.detach().sigmoid() * near).sum()) / pixels
        return figures
