"""Paired tests between two models on the same patients: effect, interval, Wilcoxon and permutation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from PESemiSegLib.evaluation.bootstrap import Interval, bootstrap_mean
from PESemiSegLib.evaluation.case import CaseResult
from PESemiSegLib.evaluation.figures import COMPARED, Figure, patient_means

ALPHA = 0.05
PERMUTATIONS = 9999  # all sign changes are tried where there are no more than these: up to 13 patients


@dataclass(frozen=True)
class Paired:
    """One figure of two models over the patients for whom both have it.

    difference: mean of second - first, with its interval. p values are two-sided. rank_biserial: (sum of
    ranks in favour of larger values in the second - against) / all, from -1 to 1. left_out: patients for whom
    only one model has the figure.
    """

    figure: str
    first: float
    second: float
    difference: Interval
    p_permutation: float
    p_wilcoxon: float
    rank_biserial: float
    better: int
    equal: int
    worse: int
    left_out: int

    @property
    def patients(self) -> int:
        """How many patients were compared."""
        return self.better + self.equal + self.worse

    def smallest_p(self) -> float:
        """The smallest p that so many patients can give: with five, 2 / 2**5."""
        return 2.0 / 2.0**self.patients if self.patients else 1.0


def compare_figures(
    first: Sequence[CaseResult], second: Sequence[CaseResult], figures: Sequence[Figure] = COMPARED
) -> dict[str, Paired]:
    """Every figure of two models' results on the same scans; ValueError where the patients differ."""
    return {
        figure.key: paired(
            figure.key,
            patient_means(first, figure),
            patient_means(second, figure),
            lower_is_better=figure.better == "lower",
        )
        for figure in figures
    }


def paired(
    figure: str, first: Mapping[str, float], second: Mapping[str, float], *, lower_is_better: bool = False
) -> Paired:
    """Compare one value per patient; NaN where a model has none. Raises ValueError for different patients."""
    if first.keys() != second.keys():
        raise ValueError("the two models were not measured on the same patients")
    both = [(first[key], second[key]) for key in first]
    known = [(a, b) for a, b in both if not (math.isnan(a) or math.isnan(b))]
    a, b = (np.array(values, float) for values in (zip(*known, strict=True) if known else ((), ())))
    difference = b - a
    gain = -difference if lower_is_better else difference
    return Paired(
        figure=figure,
        first=float(a.mean()) if len(a) else math.nan,
        second=float(b.mean()) if len(b) else math.nan,
        difference=bootstrap_mean(difference.tolist()),
        p_permutation=permutation_p(difference),
        p_wilcoxon=wilcoxon_p(difference),
        rank_biserial=rank_biserial(difference),
        better=int((gain > 0).sum()),
        equal=int((gain == 0).sum()),
        worse=int((gain < 0).sum()),
        left_out=sum(math.isnan(x) != math.isnan(y) for x, y in both),
    )


def permutation_p(difference: np.ndarray, seed: int = 0) -> float:
    """Two-sided p of the mean paired difference when signs are exchangeable; exact up to 13 patients."""
    if not len(difference):
        return math.nan
    if not np.any(difference) or len(difference) < 2:
        return 1.0
    from scipy.stats import permutation_test

    test = permutation_test(
        (difference,),
        lambda values, axis: np.mean(values, axis=axis),
        permutation_type="samples",
        n_resamples=PERMUTATIONS,
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    return min(1.0, float(test.pvalue))


def wilcoxon_p(difference: np.ndarray) -> float:
    """Two-sided Wilcoxon signed-rank p; differences of 0 are ranked, then dropped (Pratt)."""
    if not len(difference):
        return math.nan
    if not np.any(difference):
        return 1.0
    from scipy.stats import wilcoxon

    return float(wilcoxon(difference, zero_method="pratt").pvalue)


def rank_biserial(difference: np.ndarray) -> float:
    """Matched-pairs rank-biserial correlation, zeros left out; 0 where nothing differs, NaN for nobody."""
    if not len(difference):
        return math.nan
    from scipy.stats import rankdata

    moved = difference[difference != 0]
    if not len(moved):
        return 0.0
    ranks = rankdata(np.abs(moved))
    return float((ranks * np.sign(moved)).sum() / ranks.sum())
