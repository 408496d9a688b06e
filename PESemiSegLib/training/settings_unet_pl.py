"""What the strategy of growing pseudo labels (U-Net+PL) can be told."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PESemiSegLib.training.scheduled import require


@dataclass(frozen=True)
class UNetPLConfig:
    """When the first pseudo labels are given, and how many in all; K, those of a round, is `semi.batch`.

    The rounds are spread over what is left of the iterations: which iteration has one follows from its number
    alone, so that a run that was stopped goes on alike. A limit of time may end the run before they come.
    """

    start: float = 0.5  # share of the iterations; before it, annotated crops alone
    max_pseudo: int = 1600

    def __post_init__(self) -> None:
        require(0 <= self.start <= 1, "unet_pl.start is a share of the run, 0 to 1")
        require(self.max_pseudo >= 1, "unet_pl.max_pseudo must be >= 1")

    def round_at(self, iteration: int, iterations: int, images: int) -> int | None:
        """The number of the round, from 0, that this iteration begins with; None for most.

        iterations: of the whole run; images: of each round.
        """
        after = iteration - self.first(iterations)
        every = self.every(iterations, images)
        if after < 0 or after % every or after // every >= self.rounds(images):
            return None
        return after // every

    def first(self, iterations: int) -> int:
        """The iteration of the first round."""
        return round(self.start * iterations)

    def rounds(self, images: int) -> int:
        """How many rounds of so many images there are at most."""
        return math.ceil(self.max_pseudo / images)

    def every(self, iterations: int, images: int) -> int:
        """Iterations from one round to the next: the fine-tuning."""
        return max(1, (iterations - self.first(iterations)) // self.rounds(images))
