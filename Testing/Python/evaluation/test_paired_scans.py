"""DeLong against its definition, a hand case and the bootstrap; rates against McNemar's exact test."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from PESemiSegLib.evaluation.paired_scans import compare_rates, delong
from PESemiSegLib.evaluation.scans import auc


def _by_definition(positive: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """z and p from the matrices of the 1988 paper, with loops and its own symbols."""

    def psi(x: float, y: float) -> float:
        return 1.0 if y < x else 0.5 if y == x else 0.0

    theta, v10, v01 = [], [], []
    for score in (first, second):
        xs, ys = score[positive], score[~positive]
        v10.append([np.mean([psi(x, y) for y in ys]) for x in xs])
        v01.append([np.mean([psi(x, y) for x in xs]) for y in ys])
        theta.append(np.mean(v10[-1]))
    s = np.cov(v10) / positive.sum() + np.cov(v01) / (~positive).sum()
    contrast = np.array([1.0, -1.0])
    z = contrast @ theta / np.sqrt(contrast @ s @ contrast)
    return float(z), float(2 * norm.sf(abs(z)))


def _scores(seed: int, n: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.4
    shared = rng.normal(size=n) + positive
    return positive, shared + rng.normal(size=n), np.round(shared + 0.4 * rng.normal(size=n), 1)  # with ties


@pytest.mark.parametrize("seed", range(4))
def test_delong_is_its_definition(seed: int) -> None:
    positive, first, second = _scores(seed)
    test = delong(positive, first, second)
    z, p = _by_definition(positive, first, second)
    assert test.first == pytest.approx(auc(positive, first))
    assert test.second == pytest.approx(auc(positive, second))
    assert test.p == pytest.approx(p)
    assert (test.difference.low < 0 < test.difference.high) == (abs(z) < norm.ppf(0.975))


def test_a_case_worked_by_hand() -> None:
    # Two scans with PE, two without. First: 0.9, 0.4 to 0.5, 0.1, so V10 = 1, 0.5, V01 = 0.5, 1: area 0.75.
    # Second: 0.2, 0.9 to 0.5, 0.1, so V10 = 0.5, 1 and V01 = 0.5, 1: area 0.75 again. Differences V10 are
    # -0.5, 0.5 with variance 0.5, V01 are 0, 0: variance 0.5 / 2 = 0.25, half width 1.96 * 0.5.
    positive = np.array([1, 1, 0, 0], bool)
    test = delong(positive, np.array([0.9, 0.4, 0.5, 0.1]), np.array([0.2, 0.9, 0.5, 0.1]))
    assert (test.first, test.second, test.p) == (0.75, 0.75, 1.0)
    assert test.difference.high == pytest.approx(0.98, abs=1e-3)


def test_its_spread_is_the_bootstraps() -> None:
    positive, first, second = _scores(7, 300)
    rng = np.random.default_rng(1)
    drawn = []
    for _ in range(400):
        take = rng.integers(0, len(positive), len(positive))
        drawn.append(auc(positive[take], second[take]) - auc(positive[take], first[take]))
    interval = delong(positive, first, second).difference
    assert (interval.high - interval.low) / (2 * 1.96) == pytest.approx(np.std(drawn), rel=0.12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_only_the_order_counts_and_the_models_may_be_swapped(seed: int) -> None:
    positive, first, second = _scores(seed, 24)
    one, other = delong(positive, first, second), delong(positive, second**3, np.exp(first))
    np.testing.assert_allclose([one.first, one.p], [other.second, other.p])
    assert one.difference.value == pytest.approx(-other.difference.value)


def test_delong_where_it_cannot_tell() -> None:
    positive = np.array([1, 1, 0, 0], bool)
    same = delong(positive, np.arange(4), np.arange(4))
    assert same.p == 1.0
    assert np.isnan(same.difference.low)
    perfect = delong(positive, np.zeros(4), positive.astype(float))  # no variance at all
    assert perfect.difference.value == 0.5
    assert np.isnan(perfect.p)
    assert np.isnan(delong(np.ones(4, bool), np.arange(4), np.arange(4)).p)
    with pytest.raises(ValueError, match="one value per scan"):
        delong(positive, np.zeros(3), np.zeros(4))


@pytest.mark.parametrize(("gained", "lost"), [(5, 0), (6, 2), (1, 1), (9, 4)])
def test_rates_are_tested_as_by_mcnemar(gained: int, lost: int) -> None:
    answers = np.array([[0, 1]] * gained + [[1, 0]] * lost + [[1, 1]] * 7 + [[0, 0]] * 3, bool)
    n = len(answers)
    positive = np.repeat([True, False], n)
    both = np.concatenate([answers, ~answers])  # without PE the right answer is no
    rates = compare_rates(positive, both[:, 0], both[:, 1])
    for rate in rates.values():
        assert (rate.gained, rate.lost) == (gained, lost)
        assert rate.p == pytest.approx(binomtest(gained, gained + lost).pvalue)
        assert rate.second - rate.first == pytest.approx((gained - lost) / n)
        assert rate.difference.value == pytest.approx((gained - lost) / n)


def test_rates_without_scans_of_a_kind() -> None:
    rates = compare_rates(np.ones(3, bool), np.array([1, 1, 0], bool), np.array([1, 1, 0], bool))
    assert rates["sensitivity"].p == 1.0
    assert np.isnan(rates["specificity"].p)
