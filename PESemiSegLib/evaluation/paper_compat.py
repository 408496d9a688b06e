"""PaperCompatMetrics: the reference evaluation's own figures (1A.8), to compare with the paper's tables only.

They mix three operating points and look at positive slices alone, so that they say nothing about false marks
elsewhere; see Docs/evaluation.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

_SMOOTH = 1e-5


@dataclass(frozen=True)
class PaperCompatMetrics:
    """Sums over the positive slices of a scan; divided by `slices` they are the reference's means.

    iou: foreground, probability above `iou_t`. dice: soft, of the probability itself. sensitivity: above
    `sens_t`.
    """

    slices: int = 0
    iou_sum: float = 0.0
    dice_sum: float = 0.0
    sensitivity_sum: float = 0.0

    def __add__(self, other: PaperCompatMetrics) -> PaperCompatMetrics:
        return PaperCompatMetrics(
            self.slices + other.slices,
            self.iou_sum + other.iou_sum,
            self.dice_sum + other.dice_sum,
            self.sensitivity_sum + other.sensitivity_sum,
        )

    @property
    def iou(self) -> float:
        """Mean over slices; NaN without a positive one."""
        return self._mean(self.iou_sum)

    @property
    def dice(self) -> float:
        """Mean soft Dice over slices; NaN without a positive one."""
        return self._mean(self.dice_sum)

    @property
    def sensitivity(self) -> float:
        """Mean over slices; NaN without a positive one."""
        return self._mean(self.sensitivity_sum)

    def _mean(self, total: float) -> float:
        return total / self.slices if self.slices else math.nan


def paper_compat(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]], *, iou_t: float = 0.8, sens_t: float = 0.1
) -> PaperCompatMetrics:
    """Figures of slices (probability, mask), each (y, x); slices with an empty mask do not count (1A.8)."""
    total = PaperCompatMetrics()
    for probability, mask in pairs:
        true = mask != 0
        positives = int(np.count_nonzero(true))
        if not positives:
            continue
        p = probability.astype(np.float64)
        strict, eager = p > iou_t, p > sens_t
        hits = int(np.count_nonzero(strict & true))
        union = int(np.count_nonzero(strict)) + positives - hits
        total += PaperCompatMetrics(
            slices=1,
            iou_sum=(hits + _SMOOTH) / (union + _SMOOTH),
            dice_sum=float((2.0 * p[true].sum() + _SMOOTH) / (p.sum() + positives + _SMOOTH)),
            sensitivity_sum=(int(np.count_nonzero(eager & true)) + _SMOOTH) / (positives + _SMOOTH),
        )
    return total
