"""The operating point: the fast sweep counts what the plain functions count, and the rule of choice holds."""

import numpy as np
import pytest

from PESemiSegLib.evaluation.lesions import match_lesions
from PESemiSegLib.evaluation.marks import Emboli
from PESemiSegLib.evaluation.metrics import mask_metrics
from PESemiSegLib.evaluation.operating_point import Point, choose_point
from PESemiSegLib.evaluation.sweep import sweep_counts


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
        smallest, sweep_counts(prediction[box].astype(np.float16), emboli, (0.5,), smallest), strict=True
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
    from PESemiSegLib.inference.findings import clean

    return clean(mask.astype(np.uint8).copy(), 1.0, min_mm3=float(voxels)) > 0


def test_few_false_marks_come_first_then_dice_and_sensitivity() -> None:
    eager = Point(0.1, 0.0, 0.80, 0.95, 4.0)
    good = Point(0.5, 10.0, 0.75, 0.90, 0.8)
    shy = Point(0.9, 40.0, 0.70, 0.60, 0.1)
    assert choose_point([eager, good, shy]) == good
    assert choose_point([eager, good, shy], max_false_marks=5.0) == eager
    assert choose_point([eager, good], max_false_marks=0.0) == good
