"""The reference's own figures: by hand, by scikit-learn, and only over slices with an embolus."""

import math

import numpy as np
import pytest
from sklearn.metrics import jaccard_score, recall_score

from PESemiSegLib.evaluation.paper_compat import PaperCompatMetrics, paper_compat


def test_three_operating_points_by_hand() -> None:
    mask = np.array([[1, 1, 1, 0, 0]])
    probability = np.array([[0.9, 0.5, 0.05, 0.85, 0.2]])
    metrics = paper_compat([(probability, mask)])
    assert metrics.iou == pytest.approx(1 / 4, abs=1e-4)  # 0.9 of three, and 0.85 beside
    assert metrics.dice == pytest.approx(2 * 1.45 / (2.5 + 3), abs=1e-4)
    assert metrics.sensitivity == pytest.approx(2 / 3, abs=1e-4)


def test_the_mean_is_over_positive_slices() -> None:
    rng = np.random.default_rng(0)
    slices = [(rng.random((6, 7)), rng.random((6, 7)) < share) for share in (0.3, 0.0, 0.5)]
    metrics = paper_compat(slices)
    assert metrics.slices == 2
    known = [(p.ravel(), m.ravel()) for p, m in slices if m.any()]
    assert metrics.iou == pytest.approx(np.mean([jaccard_score(m, p > 0.8) for p, m in known]), abs=1e-4)
    assert metrics.sensitivity == pytest.approx(
        np.mean([recall_score(m, p > 0.1) for p, m in known]), abs=1e-4
    )
    assert metrics == paper_compat(slices[:1]) + paper_compat(slices[1:])


def test_nothing_positive_is_not_a_number() -> None:
    nothing = paper_compat([(np.ones((2, 2)), np.zeros((2, 2)))])
    assert nothing == PaperCompatMetrics()
    assert all(math.isnan(value) for value in (nothing.iou, nothing.dice, nothing.sensitivity))
