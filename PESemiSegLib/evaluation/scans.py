"""Scans as a whole: is there PE or not. ROC and its area, from the score of each scan."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from PESemiSegLib.evaluation.bootstrap import Interval, bootstrap_patients
from PESemiSegLib.evaluation.case import CaseResult


def auc_interval(results: Sequence[CaseResult], resamples: int = 2000) -> Interval:
    """Area under the ROC curve of the scan score, ties counted half; NaN without both kinds of scans."""
    groups: dict[str, list[int]] = {}
    for index, result in enumerate(results):
        groups.setdefault(result.key, []).append(index)
    positive = np.array([not r.pe_free for r in results])
    score = np.array([r.score for r in results])

    def area(chosen: np.ndarray) -> float:
        return auc(positive[chosen], score[chosen])

    return bootstrap_patients([np.array(g) for g in groups.values()], area, resamples=resamples)


def auc(positive: np.ndarray, score: np.ndarray) -> float:
    """The share of pairs of a scan with and one without PE in which the former scores higher, ties half."""
    with_pe, without = score[positive], score[~positive]
    if not len(with_pe) or not len(without):
        return math.nan
    # scikit-learn's roc_auc_score without its checks: the bootstrap calls this thousands of times.
    from scipy.stats import rankdata

    ranks = rankdata(score)[positive].sum()
    count = len(with_pe)
    return float((ranks - count * (count + 1) / 2) / (count * len(without)))


def roc(results: Sequence[CaseResult]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """False-positive rate, sensitivity and threshold of each point; three empty arrays without both kinds."""
    positive = [not r.pe_free for r in results]
    if all(positive) or not any(positive):
        return np.empty(0), np.empty(0), np.empty(0)
    from sklearn.metrics import roc_curve

    return roc_curve(positive, [r.score for r in results], drop_intermediate=False)
