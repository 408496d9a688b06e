"""Paired tests of two models' answers "PE or not" on the same scans: DeLong, and permutation for the rates.

One scan per patient is assumed: the scans are taken to be independent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from PESemiSegLib.evaluation.bootstrap import Interval, bootstrap_mean
from PESemiSegLib.evaluation.paired import permutation_p
from PESemiSegLib.evaluation.scans import pair_wins

_TWO_SIDED_95 = 1.959963984540054  # the standard normal's quantile at 0.975


@dataclass(frozen=True)
class Areas:
    """Two correlated areas under the ROC curve.

    difference: second - first with DeLong's 95 % interval. p: two-sided; NaN where it cannot be told.
    """

    first: float
    second: float
    difference: Interval
    p: float


@dataclass(frozen=True)
class Rates:
    """One rate of two models over the same scans.

    difference: second - first with its bootstrap interval. p: two-sided. gained, lost: scans that only the
    second, or only the first, answers rightly.
    """

    first: float
    second: float
    difference: Interval
    p: float
    gained: int
    lost: int


def delong(positive: np.ndarray, first: np.ndarray, second: np.ndarray) -> Areas:
    """Compare two scores' areas by DeLong, DeLong and Clarke-Pearson (1988).

    The share of scans of the other kind that a scan beats (ties half) is averaged to the area; its covariance
    between the scores, over scans with and without PE, gives the variance of the difference.

    Args:
        positive: bool (n), whether there is PE. first, second: scores (n) of the two models.

    Returns:
        NaN for p and interval with fewer than two scans of either kind, or where the difference has no
        variance to be measured by; p is 1 where nothing differs.

    Raises:
        ValueError: the lengths differ.
    """
    positive, first, second = np.asarray(positive, bool), np.asarray(first, float), np.asarray(second, float)
    if not positive.shape == first.shape == second.shape:
        raise ValueError("truth and both scores need one value per scan")
    before, after = pair_wins(positive, first), pair_wins(positive, second)
    with_pe, without = before.shape
    if not before.size:
        return Areas(math.nan, math.nan, Interval(math.nan, math.nan, math.nan, len(positive)), math.nan)
    gain = after - before
    difference = float(gain.mean())
    variance, p = math.nan, math.nan
    if min(with_pe, without) > 1:
        variance = gain.mean(1).var(ddof=1) / with_pe + gain.mean(0).var(ddof=1) / without
    if variance > 0:
        p = math.erfc(abs(difference) / math.sqrt(2.0 * variance))
    elif variance == 0 and difference == 0:
        p = 1.0
    half = _TWO_SIDED_95 * math.sqrt(variance) if variance > 0 else math.nan
    interval = Interval(difference, difference - half, difference + half, len(positive))
    return Areas(float(before.mean()), float(after.mean()), interval, p)


def compare_rates(positive: np.ndarray, first: np.ndarray, second: np.ndarray) -> dict[str, Rates]:
    """Compare sensitivity and specificity of two models' answers by permutation.

    Under the null hypothesis the two answers to a scan may be swapped. Scans with the same answer change
    nothing and are left out, so that the test is exact (McNemar's) up to 13 scans with different answers.

    Args:
        positive: bool (n), whether there is PE. first, second: bool (n), what the two models answer.

    Raises:
        ValueError: the lengths differ.
    """
    positive, first, second = (np.asarray(values, bool) for values in (positive, first, second))
    if not positive.shape == first.shape == second.shape:
        raise ValueError("truth and both answers need one value per scan")
    return {
        "sensitivity": _rates(first[positive], second[positive]),
        "specificity": _rates(~first[~positive], ~second[~positive]),
    }


def _rates(first: np.ndarray, second: np.ndarray) -> Rates:
    """first, second: bool, whether the answers of the two models are right."""
    difference = second.astype(float) - first
    changed = difference[difference != 0]
    return Rates(
        first=float(first.mean()) if len(first) else math.nan,
        second=float(second.mean()) if len(second) else math.nan,
        difference=bootstrap_mean(difference.tolist()),
        p=permutation_p(changed) if len(changed) else 1.0 if len(first) else math.nan,
        gained=int((difference > 0).sum()),
        lost=int((difference < 0).sum()),
    )
