"""Intervals by resampling patients, because voxels and lesions of one patient are not independent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A figure with its percentile bootstrap interval (NaN for one patient), and how many are behind it."""

    value: float
    low: float
    high: float
    patients: int

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "n/a"
        if math.isnan(self.low):
            return f"{self.value:.3f}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap_mean(
    values: Sequence[float], *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Mean over patients of one value each; NaN values are left out."""
    known = [v for v in values if not math.isnan(v)]
    return bootstrap_ratio(known, [1.0] * len(known), level=level, resamples=resamples, seed=seed)


def bootstrap_ratio(
    parts: Sequence[float],
    wholes: Sequence[float],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """sum(parts) / sum(wholes) over patients, both resampled together: found lesions of all lesions, say."""
    part, whole = np.asarray(parts, float), np.asarray(wholes, float)
    if part.shape != whole.shape:
        raise ValueError("parts and wholes differ in length")
    if not whole.sum() > 0:
        return Interval(math.nan, math.nan, math.nan, len(part))
    value, patients = float(part.sum() / whole.sum()), int(np.count_nonzero(whole))
    if patients == 1:
        return Interval(value, math.nan, math.nan, 1)
    drawn = np.random.default_rng(seed).integers(0, len(part), (resamples, len(part)))
    totals = whole[drawn].sum(1)
    ratios = part[drawn].sum(1)[totals > 0] / totals[totals > 0]
    low, high = tails(ratios, level)
    return Interval(value, low, high, patients)


def bootstrap_share(found: Sequence[float], there: Sequence[float], *, resamples: int = 2000) -> Interval:
    """`bootstrap_ratio` of counts, where none or all of them need an interval too.

    Resampling cannot tell 2 of 2 from 200 of 200: there Wilson's interval is given, for as many trials as
    there are patients with something to be found, as if each counted once.
    """
    interval = bootstrap_ratio(found, there, resamples=resamples)
    if interval.value not in (0.0, 1.0):
        return interval
    from scipy.stats import binomtest

    trials = interval.patients
    wilson = binomtest(round(interval.value) * trials, trials).proportion_ci(method="wilson")
    return Interval(interval.value, float(wilson.low), float(wilson.high), trials)


def draw_counts(patients: int, resamples: int, seed: int = 0) -> np.ndarray:
    """How often each patient is drawn in each resample, float (resamples, patients)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(patients, np.full(patients, 1.0 / patients), resamples).astype(float)


def tails(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The percentiles that hold `level` of the values between them."""
    tail = 50.0 * (1.0 - level)
    low, high = np.percentile(values, [tail, 100.0 - tail])
    return float(low), float(high)
