"""The operating point: the fast sweep counts what the plain functions count, and the rule of choice holds."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from PESemiSegLib.evaluation.lesions import match_lesions
from PESemiSegLib.evaluation.marks import Emboli
from PESemiSegLib.evaluation.metrics import mask_metrics
from PESemiSegLib.evaluation.operating_point import CUTS, THRESHOLDS, Point, choose_point
from PESemiSegLib.evaluation.sweep import sweep_counts
from PESemiSegLib.inference.findings import CORE, EDGE, clean, levels


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("with_instances", [True, False])
def test_counting_by_marks_is_counting_by_voxels(seed: int, with_instances: bool) -> None:
    rng = np.random.default_rng(seed)
    shape = (8, 20, 20)
    truth = np.zeros(shape, bool)
    instances = np.zeros(shape, np.int16)
    prediction = np.zeros(shape, bool)
    for label in range(1, 6):
        z, y, x = (rng.integers(0, n - 4) for n in shape)
        truth[z : z + 3, y : y + 3, x : x + 3] = True
        instances[z : z + 3, y : y + 3, x : x + 2] = label
    for _ in range(12):
        z, y, x = (rng.integers(0, n) for n in shape)
        prediction[z : z + 2, y : y + rng.integers(1, 4), x : x + 3] = True
    box = (slice(1, 8), slice(2, 20), slice(0, 17))
    outside = np.ones(shape, bool)
    outside[box] = False
    prediction[outside] = False
    emboli = Emboli.of(truth, instances if with_instances else None, box)
    smallest = (0, 7, 20)
    for voxels, counts in zip(
        smallest,
        sweep_counts(prediction[box].astype(np.float16), emboli, ((0.5, 0.5),), smallest),
        strict=True,
    ):
        cleaned = _without_small(prediction, voxels)
        report = match_lesions(cleaned, truth, 1.0, instances=instances if with_instances else None)
        assert counts.dice(emboli.annotated) == pytest.approx(mask_metrics(cleaned, truth, 1.0).dice)
        assert (counts.found(emboli.size), emboli.count) == (report.found, len(report.lesions))
        assert (counts.marks, counts.false_marks) == (report.marks, report.false_marks)
        strict = match_lesions(
            cleaned, truth, 1.0, instances=instances if with_instances else None, min_overlap=0.4
        )
        assert counts.found(emboli.size, 0.4) == strict.found


def _without_small(mask: np.ndarray, voxels: int) -> np.ndarray:
    return clean(mask.astype(np.uint8).copy(), 1.0, min_mm3=float(voxels)) > 0


def test_few_false_marks_come_first_then_dice_and_sensitivity() -> None:
    eager = Point(0.1, 0.1, 0.0, 0.80, 0.95, 4.0)
    good = Point(0.5, 0.9, 10.0, 0.75, 0.90, 0.8)
    shy = Point(0.9, 0.9, 40.0, 0.70, 0.60, 0.1)
    assert choose_point([eager, good, shy]) == good
    assert choose_point([eager, good, shy], max_false_marks=5.0) == eager
    assert choose_point([eager, good], max_false_marks=0.0) == good
    plain = replace(good, core_threshold=0.5)
    assert choose_point([eager, plain, good]) == plain


def test_the_grid_is_small_and_begins_with_plain_thresholds() -> None:
    assert all(0 < edge <= core < 1 for edge, core in CUTS)
    assert [edge for edge, core in CUTS if edge == core] == list(THRESHOLDS)
    assert len(set(CUTS)) == len(CUTS) < 40
    assert CUTS[: len(THRESHOLDS)] == tuple((t, t) for t in THRESHOLDS)


@pytest.mark.parametrize("seed", range(3))
def test_the_sweep_counts_what_segmenting_with_a_core_would(seed: int) -> None:
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=(8, 24, 24)), 1.0)
    probability = np.clip(0.5 + 0.3 * noise / noise.std(), 0, 1).astype(np.float16)
    truth = ndimage.gaussian_filter(rng.normal(size=probability.shape), 1.3) > 0.15
    emboli = Emboli.of(truth, None, (slice(None),) * 3)
    cuts, smallest = ((0.6, 0.6), (0.6, 0.85), (0.75, 0.85), (0.75, 0.95)), (0, 4, 15)
    wanted = [(cut, voxels) for cut in cuts for voxels in smallest]
    marks = []
    for (cut, voxels), counts in zip(wanted, sweep_counts(probability, emboli, cuts, smallest), strict=True):
        marked = levels(probability, *cut)
        mask = clean(marked, 1.0, min_mm3=voxels, counted=CORE if cut[1] > cut[0] else EDGE) > 0
        report = match_lesions(mask, truth, 1.0)
        assert (counts.marks, counts.false_marks) == (report.marks, report.false_marks)
        assert counts.found(emboli.size) == report.found
        assert counts.dice(emboli.annotated) == pytest.approx(mask_metrics(mask, truth, 1.0).dice)
        marks.append(counts.marks)
    assert len(set(marks)) > 3
