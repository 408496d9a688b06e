"""What the trainer knows of a strategy: its learners, and one step on a labelled and an unlabelled batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from PESemiSegLib.training.ema import WeightAverage
from PESemiSegLib.training.learner import Learner
from PESemiSegLib.training.pool import Pool


@dataclass(frozen=True)
class LabelledTensors:
    """image (B, context, H, W) in [-1, 1]; mask of 0 and 1, (B, 1, H, W), or one-hot (B, C, H, W).

    valid: (B, 1, H, W), 0 = mask not known.

    Of the last `mixed` crops a part is not the annotator's: S learns from them, D does not. slices: how many
    slices the annotated crops are drawn from.
    """

    image: Tensor
    mask: Tensor
    valid: Tensor | None = None
    mixed: int = 0
    slices: int = 0


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
    """Of a step: its figures, and the segmenter's probabilities for the annotated crops, as their masks.

    None where the step did not read those crops as they are.
    """

    figures: dict[str, float]
    probability: Tensor | None


class Strategy(Protocol):
    """One way of learning. Figures whose names the health monitor knows are gathered by it.

    `learners`, `averages` (teachers) and `pools` (crops that were labelled on the way) are the whole state:
    checkpoints hold all three, and everything drawn at random depends on the seed and the iteration alone.
    """

    learners: dict[str, Learner]
    averages: dict[str, WeightAverage]
    pools: dict[str, Pool]

    def step(self, labelled: LabelledTensors, unlabelled: ImageTensors | None, clock: Clock) -> Outcome:
        """Update every learner that has its turn; return the outcome of the step.

        Raises NonFiniteLoss.
        """
        ...

    def unlabelled_batch(self, iteration: int) -> int | None:
        """The number of the unlabelled batch that this iteration's step wants; None: it wants none.

        It is asked ahead of the step, and follows from the iteration alone.
        """
        ...

    def timeline(self) -> list[str]:
        """One sentence per part of the schedule, for the start of the run."""
        ...
