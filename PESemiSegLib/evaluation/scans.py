"""Scans as a whole: is there PE or not. ROC and its area, from the score of each scan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from PESemiSegLib.evaluation.bootstrap import Interval, draw_counts, tails


class Scored(Protocol):
    """A scan that was told to have PE or not."""

    @property
    def key(self) -> str:
        """Site and patient."""

    @property
    def pe_free(self) -> bool:
        """The truth."""

    @property
    def score(self) -> float:
        """The higher, the likelier is PE."""


def auc_interval(results: Sequence[Scored], resamples: int = 2000) -> Interval:
    """Area under the ROC curve of the scan score, ties counted half; NaN without both kinds of scans.

    Where resampling gives one area alone, as for perfectly separated scans, it tells no interval: NaN.
    """
    positive = np.array([not r.pe_free for r in results], bool)
    score = np.array([r.score for r in results], float)
    value = auc(positive, score)
    patients = list(dict.fromkeys(r.key for r in results))
    if math.isnan(value) or len(patients) == 1:
        return Interval(value, math.nan, math.nan, len(patients))
    owner = np.array([patients.index(r.key) for r in results])
    drawn = draw_counts(len(patients), resamples)[:, owner]  # how often each scan is drawn
    with_pe, without = drawn[:, positive], drawn[:, ~positive]
    pairs = with_pe.sum(1) * without.sum(1)
    wins = ((with_pe @ pair_wins(positive, score)) * without).sum(1)
    low, high = tails(wins[pairs > 0] / pairs[pairs > 0])
    if low == high:
        low = high = math.nan
    return Interval(value, low, high, len(patients))


def auc(positive: np.ndarray, score: np.ndarray) -> float:
    """The share of pairs of a scan with and one without PE in which the former scores higher, ties half.

    scikit-learn's `roc_auc_score`, which has no form for thousands of resamples at once.
    """
    wins = pair_wins(positive, score)
    return float(wins.mean()) if wins.size else math.nan


def pair_wins(positive: np.ndarray, score: np.ndarray) -> np.ndarray:
    """1, 0.5 or 0 for every pair of a scan with PE (rows) and one without (columns)."""
    with_pe, without = score[positive][:, None], score[~positive][None]
    return (with_pe > without) + 0.5 * (with_pe == without)


def roc(results: Sequence[Scored]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """False-positive rate, sensitivity and threshold of each point; three empty arrays without both kinds."""
    positive = [not r.pe_free for r in results]
    if all(positive) or not any(positive):
        return np.empty(0), np.empty(0), np.empty(0)
    from sklearn.metrics import roc_curve

    return roc_curve(positive, [r.score for r in results], drop_intermediate=False)
