"""The discriminator's lessons: one step of it, and lessons alone before and after the segmenter learns.

After: while both learn, the discriminator chases a segmenter that changes with every step, in training mode
and on small crops. What ships is the average, in evaluation mode, on whole lungs: the last lessons are about
that one. Before: an adversarial run listens to the discriminator from its first few steps on, so that one
that starts fresh, or has had few lessons, gets a head start on the segmenter that it is handed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from PESemiSegLib.cohorts.prefetch import Prefetcher
from PESemiSegLib.cohorts.sampling import LabelledBatch, LabelledCrops
from PESemiSegLib.networks.outputs import empty_mask, probabilities
from PESemiSegLib.training import parallel
from PESemiSegLib.training.config import LessonsConfig, LossConfig, TrainConfig
from PESemiSegLib.training.layout import tensor_on
from PESemiSegLib.training.learner import Learner
from PESemiSegLib.training.losses import discriminator_loss, near_marks, soften

When = Literal["head_start", "finish"]
_SEEDS: dict[When, int] = {"finish": 5471, "head_start": 9203}  # added to the run's: crops of their own


def settings_of(config: TrainConfig, when: When) -> LessonsConfig:
    """Of the lessons before or after; the head start is no longer than the run."""
    if when == "finish":
        return config.finish
    return replace(config.head_start, iterations=min(config.head_start.iterations, config.iterations))


def teach(
    learner: Learner,
    losses: LossConfig,
    mask: Tensor,
    probability: Tensor,
    features: Tensor,
    *,
    more_fakes: tuple[Tensor, Tensor] | None = None,
) -> dict[str, float]:
    """One step of D on L_D (1A.5); all inputs come detached.

    mask, probability: (B, 1, H, W), or one channel per class; features: those in front of S's head.
    more_fakes: probability and features of unlabelled crops (D_remain). Returns L_D, as it is optimised, and
    near marks, where there are any: L_D_near, of labelled crops, and D's mean confidences. Raises
    NonFiniteLoss.
    """
    near, weight = _weights(mask, probability, losses)
    count = mask.shape[0]
    seen, beside = [soften(mask, losses.soften_mask_pixels), probability], [features, features]
    fake_weight = weight
    if more_fakes is not None:
        seen.append(more_fakes[0])
        beside.append(more_fakes[1])
        more = _weights(empty_mask(more_fakes[0]), more_fakes[0], losses)[1]
        fake_weight = torch.cat([weight, more])
    logits = learner.module(torch.cat(seen), torch.cat(beside))
    real, fake = logits[:count], logits[count:]
    loss = discriminator_loss(real, fake, losses.real_label, weight, fake_weight)
    learner.descend({"L_D": loss})
    figures = {"L_D": float(loss.detach())}
    pixels = float(near.sum())
    if pixels:
        real, fake = real.detach(), fake[:count].detach()
        # Against 1, whatever D learns: against a label of 0.9 a perfect one would still come to 0.16.
        figures["L_D_near"] = float(discriminator_loss(real, fake, 1.0, near))
        figures["D_on_masks"] = float((real.sigmoid() * near).sum()) / pixels
        figures["D_on_predictions"] = float((fake.sigmoid() * near).sum()) / pixels
    return figures


def _weights(mask: Tensor, probability: Tensor, losses: LossConfig) -> tuple[Tensor, Tensor]:
    """Where marks are near (0/1), and the weights in L_D that follow from it."""
    near = near_marks(mask, probability)
    return near, near + losses.background_weight * (1.0 - near)


def lessons(
    config: TrainConfig,
    when: When,
    segmenter: nn.Module,
    discriminator: Learner,
    crops: LabelledCrops,
    first: int,
    spent_s: Callable[[], float],
) -> Iterator[dict[str, Any]]:
    """Steps of D from `first` on, as many as the settings say or time allows; yields each one's figures.

    spent_s: the seconds of all of them so far, those before a stop included; the same in every process.
    Raises NonFiniteLoss.
    """
    settings = settings_of(config, when)
    limit_s = 60.0 * config.max_minutes * settings.most_time if config.max_minutes > 0 else math.inf
    sampling = replace(config.sampling, batch=settings.batch, crop=settings.crop)
    larger = LabelledCrops(crops.volumes, sampling, config.seed + _SEEDS[when])
    device = next(segmenter.parameters()).device

    def draw(step: int) -> LabelledBatch:
        return larger.batch(step * parallel.size() + parallel.rank())

    placed = partial(tensor_on, device)
    with Prefetcher(draw, first, settings.iterations) as batches:
        for step, batch in enumerate(batches, start=first):
            discriminator.schedule(step, max(step / settings.iterations, spent_s() / max(limit_s, 1e-9)))
            with torch.no_grad():
                logits, features = segmenter.forward_features(placed(batch.image))  # type: ignore[operator]
            yield teach(discriminator, config.losses, placed(batch.mask), probabilities(logits), features)
            if spent_s() > limit_s:
                return
