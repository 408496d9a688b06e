"""Curves over thresholds: against counting every threshold by itself, MONAI's FROC and scikit-learn's AUC."""

import math
import tracemalloc
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from monai.metrics import compute_fp_tp_probs, compute_froc_curve_data
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from PESemiSegLib.evaluation.bootstrap import draw_counts
from PESemiSegLib.evaluation.froc import FALSE_MARK_RATES, froc, sensitivity_at
from PESemiSegLib.evaluation.lesions import match_lesions
from PESemiSegLib.evaluation.marks import TOUCHING, Emboli
from PESemiSegLib.evaluation.plots import _roc
from PESemiSegLib.evaluation.scans import auc, auc_interval, roc
from PESemiSegLib.evaluation.sweep import FROC_THRESHOLDS, CurvePoint, cut_at, scan_score, sweep_counts

WHOLE = (slice(None),) * 3


def _scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(0, 1, (8, 24, 24)), 1.3)
    probability = np.clip(0.4 + 0.35 * smooth / smooth.std(), 0, 1).astype(np.float16)
    truth = ndimage.gaussian_filter(rng.normal(0, 1, (8, 24, 24)), 1.5)
    return probability, truth > 1.5 * truth.std()


@pytest.mark.parametrize("edge", [math.inf, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_islands_give_what_whole_scans_give(seed: int, edge: float) -> None:
    probability, truth = _scene(seed)
    emboli, _ = ndimage.label(truth, TOUCHING)
    thresholds, smallest = (0.1, 0.3, 0.5, 0.7, 0.9), 6
    cuts = [cut_at(threshold, edge) for threshold in thresholds]
    counts = sweep_counts(probability, Emboli.of(truth, None, WHOLE), cuts, (smallest,))
    kept = []
    for threshold, count in zip(thresholds, counts, strict=True):
        labels, n = ndimage.label(probability >= min(threshold, edge), TOUCHING)
        sizes = np.bincount(labels[probability >= threshold], minlength=n + 1)
        mask = (sizes[labels] >= smallest) & (labels > 0)
        report = match_lesions(mask, truth, 1.0, instances=emboli)
        assert (count.marks, count.false_marks) == (report.marks, report.false_marks)
        assert count.found(np.bincount(emboli.ravel())) == report.found
        kept.append(bool(mask.any()))
    score = scan_score(probability, smallest, 0.1, edge)
    for threshold, there in zip(thresholds, kept, strict=True):
        assert there == (score >= threshold)


def test_the_labels_of_one_threshold_alone_are_held() -> None:
    probability = np.zeros((32, 32, 32), np.float16)
    probability[4:28, 4:28, 4:28] = np.linspace(0.06, 1.0, 24)[:, None, None]
    emboli = Emboli.of(probability > 0.9, None, WHOLE)
    cuts = [cut_at(threshold) for threshold in FROC_THRESHOLDS]
    tracemalloc.start()
    sweep_counts(probability, emboli, cuts)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * probability.size  # not four bytes a voxel for each of 21 thresholds


def test_the_score_of_a_scan_needs_a_whole_mark() -> None:
    probability = np.zeros((3, 9, 9), np.float16)
    probability[1, 1, 1] = 0.9  # alone: too small
    probability[1, 4:6, 4:7] = [[0.8, 0.7, 0.6], [0.5, 0.4, 0.3]]
    assert scan_score(probability) == pytest.approx(0.9, abs=1e-3)
    assert scan_score(probability, 4) == pytest.approx(0.5, abs=1e-3)
    assert scan_score(probability, 7) == 0.0


def test_the_score_of_a_scan_takes_cores_that_hang_together_at_the_edge() -> None:
    probability = np.zeros((1, 3, 9), np.float16)
    probability[0, 1, 1:8] = [0.9, 0.8, 0.4, 0.4, 0.8, 0.7, 0.1]
    assert scan_score(probability, 3) == pytest.approx(0.4, abs=1e-3)
    assert scan_score(probability, 3, edge=0.35) == pytest.approx(0.8, abs=1e-3)
    assert scan_score(probability, 4, edge=0.35) == pytest.approx(0.7, abs=1e-3)
    assert scan_score(probability, 3, edge=0.5) == pytest.approx(0.4, abs=1e-3)
    assert scan_score(probability, 7, edge=0.35) == pytest.approx(0.1, abs=1e-3)


def test_froc_is_monais_for_marks_that_stand_apart(make_result) -> None:  # type: ignore[no-untyped-def]
    strengths = (0.62, 0.75, 0.93)
    results = [make_result(f"p{n}", 4, n + 1, 2, strength=s) for n, s in enumerate(strengths)]
    ours = froc(results, resamples=20)
    assert ours is not None
    false, true, emboli = [], [], 0
    for n, strength in enumerate(strengths):
        mask = np.zeros((24, 24), int)
        for k in range(4):
            mask[1:4, 1 + 6 * k : 4 + 6 * k] = k + 1
        y = [2] * (n + 1) + [20, 20]
        x = [2 + 6 * k for k in range(n + 1)] + [1, 4]
        scores = [strength] * (n + 1) + [strength / 2 + 0.15] * 2
        fp, tp, targets = compute_fp_tp_probs(np.array(scores), np.array(y), np.array(x), mask)
        false, true, emboli = [*false, *fp], [*true, *tp], emboli + targets
    rates, shares = compute_froc_curve_data(np.array(false), np.array(true), emboli, len(strengths))
    for rate, share in zip(ours.false_marks, ours.sensitivity, strict=True):
        assert any(
            np.isclose(rate, r) and np.isclose(share, s) for r, s in zip(rates, shares, strict=True)
        ) or (rate == 0 and share == 0)
    assert (ours.false_marks[-1], ours.sensitivity[-1]) == pytest.approx((2.0, 6 / 12))


@pytest.mark.parametrize(("others", "known"), [([], False), ([0], False), ([2], True)])
def test_emboli_of_one_patient_give_no_interval(make_result, others: list[int], known: bool) -> None:  # type: ignore[no-untyped-def]
    results = [make_result(f"p{n}", emboli, emboli // 2, 2) for n, emboli in enumerate([4, *others])]
    interval = sensitivity_at(results)["1 false marks per scan"]
    assert interval.value == pytest.approx(0.5)
    assert np.isfinite([interval.low, interval.high]).tolist() == [known, known]


def test_the_interval_of_a_long_curve_is_that_of_its_resamples(make_result) -> None:  # type: ignore[no-untyped-def]
    """Hundreds of false marks a scan at the lowest threshold, and nearly all that matters below ten."""
    rng = np.random.default_rng(0)
    found = np.sort(rng.integers(0, 5, (15, 3)), axis=1)
    false = np.cumsum(rng.integers([0, 1, 150], [2, 6, 400], (15, 3)), axis=1)
    results = []
    for n, counts in enumerate(zip(found, false, strict=True)):
        points = zip((0.9, 0.5, 0.05), *(each.tolist() for each in counts), strict=True)
        curve = tuple(CurvePoint(threshold, hits, marks, hits + marks) for threshold, hits, marks in points)
        results.append(replace(make_result(f"p{n}", 4, 2), curve=curve))
    told = list(sensitivity_at(results).values())
    assert len(told) == 5
    for rate, interval in zip(FALSE_MARK_RATES, told, strict=True):
        shares = [
            np.interp(rate, [0.0, *(drawn @ false / 15)], [0.0, *(drawn @ found / 60)])
            for drawn in draw_counts(15, 500)
        ]
        assert [interval.low, interval.high] == pytest.approx(np.percentile(shares, [2.5, 97.5]).tolist())
        assert interval.low < interval.value < interval.high


def _scored(key: str, pe_free: bool, score: float) -> SimpleNamespace:
    return SimpleNamespace(key=key, pe_free=pe_free, score=score)


def test_an_area_that_every_resample_repeats_has_no_interval() -> None:
    apart = [_scored(f"p{n}", n > 2, 0.9 - n / 10) for n in range(6)]
    assert str(auc_interval(apart)) == "1.000"  # 3 of 3 on either side tell little
    assert np.isnan(auc_interval([_with_score(scan, 1 - scan.score) for scan in apart]).low)
    assert np.isnan(auc_interval([_with_score(scan, 0.0) for scan in apart]).high)
    mixed = auc_interval([*apart, _scored("p6", True, 0.95)])
    assert mixed.low < mixed.value < mixed.high == 1.0


def _with_score(scan: SimpleNamespace, score: float) -> SimpleNamespace:
    return _scored(scan.key, scan.pe_free, score)


def test_the_legend_of_one_patient_tells_no_interval(make_result) -> None:  # type: ignore[no-untyped-def]
    picture = _roc({"one": [make_result("a", 1, 1), make_result("a", 0, 0)]})
    assert picture is not None
    assert b"AUC 1.00 -->" in picture.svg
    assert b"nan" not in picture.svg


def test_areas_are_scikit_learns() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        positive = np.array([True, False, *(rng.random(15) < 0.5)])
        score = np.round(rng.random(17), 1)  # with ties
        assert auc(positive, score) == pytest.approx(roc_auc_score(positive, score))
    assert np.isnan(auc(np.array([True, True]), np.array([0.1, 0.2])))


def test_one_kind_of_scan_has_no_roc(make_result) -> None:  # type: ignore[no-untyped-def]
    assert len(roc([make_result("a", 1, 1), make_result("b", 2, 1)])[0]) == 0
    assert len(roc([make_result("a", 1, 1), make_result("b", 0, 0, 1)])[0]) > 1
