"""Found and false by the stated rule, counted by hand."""

import numpy as np
import pytest

from PESemiSegLib.evaluation.lesions import match_lesions, size_bin


@pytest.fixture
def scene() -> tuple[np.ndarray, np.ndarray]:
    """Truth: blocks of 20 and 8 voxels, a lone voxel. Marks: 3 of the 20, the lone one, and two far off."""
    truth = np.zeros((8, 20, 20), np.uint8)
    truth[1:3, 2:7, 2:4] = 1
    truth[4:6, 10:12, 10:12] = 1
    truth[6, 18, 18] = 1
    prediction = np.zeros_like(truth)
    prediction[1, 2:5, 2] = 1
    prediction[6, 18, 18] = 1
    prediction[1, 15, 15] = 1
    prediction[7, 2, 17] = 1
    return prediction, truth


def test_found_emboli_and_false_marks(scene: tuple[np.ndarray, np.ndarray]) -> None:
    report = match_lesions(*scene, voxel_mm3=1.5)
    assert [(lesion.volume_mm3, lesion.found) for lesion in report.lesions] == [
        (30, True),
        (12, False),
        (1.5, True),
    ]
    assert report.lesions[0].covered == pytest.approx(0.15)
    assert (report.found, report.marks, report.false_marks) == (2, 4, 2)


def test_a_stricter_overlap_loses_the_grazed_one(scene: tuple[np.ndarray, np.ndarray]) -> None:
    assert match_lesions(*scene, voxel_mm3=1.0, min_overlap=0.15).found == 2
    assert match_lesions(*scene, voxel_mm3=1.0, min_overlap=0.2).found == 1


def test_one_mark_may_find_two_emboli_and_two_marks_one(scene: tuple[np.ndarray, np.ndarray]) -> None:
    _, truth = scene
    bridge = np.zeros_like(truth)
    bridge[2:5, 2:13, 2:13] = 1
    report = match_lesions(bridge, truth, 1.0)
    assert (report.found, report.marks, report.false_marks) == (2, 1, 0)
    split = np.zeros_like(truth)
    split[1, 2, 2], split[1, 6, 2] = 1, 1
    report = match_lesions(split, truth, 1.0)
    assert (report.found, report.marks, report.false_marks) == (1, 2, 0)


def test_marks_that_touch_by_a_corner_are_one() -> None:
    prediction = np.zeros((3, 3, 3))
    prediction[0, 0, 0] = prediction[1, 1, 1] = 1
    assert match_lesions(prediction, np.zeros((3, 3, 3)), 1.0).marks == 1


def test_exact_instances_count_what_the_annotator_missed_and_split_what_he_joined() -> None:
    truth, instances, prediction = (np.zeros((2, 6, 6), np.int16) for _ in range(3))
    truth[0, 1:5, 1] = 1
    instances[0, 1:3, 1], instances[0, 3:5, 1], instances[1, 5, 5] = 3, 5, 9
    prediction[0, 1, 1], prediction[1, 5, 5] = 1, 1
    report = match_lesions(
        prediction, truth, 1.0, instances=instances, locations={3: "central", 5: "segmental"}
    )
    assert [(lesion.id, lesion.location, lesion.found) for lesion in report.lesions] == [
        (3, "central", True),
        (5, "segmental", False),
        (9, "unknown", True),
    ]
    assert report.false_marks == 0


def test_an_empty_truth_makes_every_mark_false(scene: tuple[np.ndarray, np.ndarray]) -> None:
    prediction, truth = scene
    report = match_lesions(prediction, np.zeros_like(truth), 1.0)
    assert (report.lesions, report.marks, report.false_marks) == ((), 4, 4)


@pytest.mark.parametrize(
    ("volume", "name"),
    [(0.0, "0-50 mm3"), (50.0, "50-200 mm3"), (999.9, "200-1000 mm3"), (1e6, ">= 1000 mm3")],
)
def test_size_bins_are_half_open(volume: float, name: str) -> None:
    assert size_bin(volume) == name
