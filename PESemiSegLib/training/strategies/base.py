"""What the trainer knows of a strategy: its learners, and one step on a labelled and an unlabelled batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from PESemiSegLib.training.learner import Learner


@dataclass(frozen=True)
class LabelledTensors:
    """image (B, context, H, W) in [-1, 1]; mask (B, 1, H, W) of 0 and 1."""

    image: Tensor
    mask: Tensor


@dataclass(frozen=True)
class ImageTensors:
    """image (B, context, H, W) in [-1, 1]; no mask, on purpose."""

    image: Tensor


@dataclass(frozen=True)
class Clock:
    """Where the run is: the iteration and the share of the schedule, 0 to 1, that lies behind."""

    iteration: int
    progress: float


@dataclass(frozen=True)
class Outcome:
    """Of a step: its figures, and the segmenter's probabilities for the labelled crops, (B, 1, H, W)."""

    figures: dict[str, float]
    probability: Tensor


class Strategy(Protocol):
    """One way of learning. Figures whose names the health monitor knows are gathered by it."""

    learners: dict[str, Learner]

    def step(self, labelled: LabelledTensors, unlabelled: ImageTensors | None, clock: Clock) -> Outcome:
        """Update every learner that has its turn; return the outcome of the step.

        Raises NonFiniteLoss.
        """
        ...

    def timeline(self) -> list[str]:
        """One sentence per part of the schedule, for the start of the run."""
        ...
