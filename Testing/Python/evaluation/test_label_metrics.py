"""Label maps of several classes: Tan et al.'s figures by hand and by scikit-learn; empty classes; tables."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score, precision_score

from PESemiSegLib.evaluation import label_report
from PESemiSegLib.evaluation.before_after import case_lines
from PESemiSegLib.evaluation.classes import (
    LabelResult,
    compare_labels,
    confusion,
    label_metrics,
    label_rows,
    summarise_labels,
)
from PESemiSegLib.evaluation.drawing import Picture
from PESemiSegLib.evaluation.verdict import judge_labels

NAMES = ("Aorta", "Pulmonary artery")


def test_eight_voxels_by_hand() -> None:
    """Aorta: TP 2, FP 1, FN 1, TN 4."""
    truth = np.array([1, 1, 1, 2, 2, 0, 0, 0]).reshape(2, 2, 2)
    guess = np.array([1, 1, 0, 2, 1, 0, 0, 2]).reshape(2, 2, 2)
    aorta = label_metrics(guess, truth, NAMES, 500.0)["Aorta"]
    assert aorta.iou == 2 / 4
    assert aorta.dice == 4 / 6  # Eq. 8 as printed, 2 TP / (2 TP + FP), would give 4 / 5
    assert aorta.specificity == 4 / 5
    assert aorta.precision == 2 / 3
    assert (aorta.true_ml, aorta.predicted_ml) == (1.5, 1.5)


def test_random_label_maps_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth, guess = rng.integers(0, 3, (2, 5, 7, 6)).astype(np.uint8)
    np.testing.assert_array_equal(confusion(guess, truth, 3), confusion_matrix(truth.ravel(), guess.ravel()))
    metrics = label_metrics(guess, truth, NAMES, 1.0)
    options = {"labels": [1, 2], "average": None}
    for figure, judge in (("iou", jaccard_score), ("dice", f1_score), ("precision", precision_score)):
        expected = judge(truth.ravel(), guess.ravel(), **options)
        assert [getattr(m, figure) for m in metrics.values()] == pytest.approx(list(expected))


def test_a_class_that_is_nowhere_has_no_figures_and_does_not_count() -> None:
    truth = np.array([[[0, 1], [1, 0]]])
    metrics = label_metrics(truth, truth, NAMES, 1.0)
    absent = metrics["Pulmonary artery"]
    assert all(math.isnan(value) for value in (absent.iou, absent.dice, absent.precision))
    assert absent.specificity == 1.0
    result = LabelResult("p", "A", metrics, 0.0)
    assert result.mean("iou") == 1.0


def test_what_is_marked_of_a_class_that_is_not_there_counts_as_false_alone() -> None:
    """Its Dice is neither 0 nor 1: else the mean would be over other scans for a model that marks nothing."""
    truth, guess = np.array([[[0, 1], [1, 0]]]), np.array([[[0, 1], [1, 2]]])
    absent = label_metrics(guess, truth, NAMES, 1.0)["Pulmonary artery"]
    assert math.isnan(absent.dice)
    assert math.isnan(absent.iou)
    assert (absent.precision, absent.specificity) == (0.0, 0.75)


def test_wrong_labels_and_shapes_are_refused() -> None:
    zeros = np.zeros((2, 2, 2), np.uint8)
    with pytest.raises(ValueError, match="0 to 2"):
        confusion(zeros + 3, zeros, 3)
    with pytest.raises(ValueError, match="shape"):
        confusion(zeros, zeros[:1], 3)


def test_the_table_has_a_row_per_class_and_means_over_patients() -> None:
    """Two scans of one patient weigh as one; nobody's name is written."""
    full, half = np.ones((1, 2, 2), int), np.array([[[1, 1], [0, 0]]])
    scans = [("p1", full, full), ("p1", half, full), ("p2", full, full)]
    results = [
        LabelResult(patient, "A", label_metrics(guess, truth, NAMES, 1.0), 1.0)
        for patient, guess, truth in scans
    ]
    rows = summarise_labels(results, resamples=50)
    assert [row["class"] for row in rows] == [*NAMES, "mean"]
    assert rows[0]["MIOU"].value == pytest.approx((0.75 + 1.0) / 2)
    assert rows[0]["MIOU"].patients == 2
    assert math.isnan(rows[1]["Dice"].value)
    called = {"A/p1": "P01", "A/p2": "P02"}
    assert [row["patient"] for row in label_rows(results, called)] == ["P01", "P01"] * 2 + ["P02"] * 2


def test_models_are_compared_patient_by_patient() -> None:
    """Two patients; of one the second model finds half, and the class that is nowhere is not compared."""
    full, half = np.ones((1, 2, 2), int), np.array([[[1, 1], [0, 0]]])
    models = [
        [LabelResult(name, "A", label_metrics(guess, full, NAMES, 1.0), 1.0) for name, guess in scans]
        for scans in ([("p1", full), ("p2", full)], [("p1", half), ("p2", full)])
    ]
    tests = compare_labels(*models)
    first = tests[NAMES[0]]
    assert first.difference.value == pytest.approx((2 / 3 - 1.0) / 2)
    assert (first.patients, first.better, first.worse) == (2, 0, 1)
    assert first.p_permutation == 1.0  # of one difference nothing can be told
    assert tests[NAMES[1]].patients == 0
    with pytest.raises(ValueError, match="same patients"):
        compare_labels(models[0], models[1][:1])
    verdict = judge_labels(*models)
    assert verdict.word == "no difference shown"
    assert verdict.sentences[1].startswith("Dice, mean of the classes: 1.00 before, 0.83 after,")
    assert "no difference could have been shown" in verdict.sentences[2]
    assert case_lines(verdict)[0] == "P01, site A: mean Dice 1.00 before, 0.67 after"


def test_the_verdict_follows_the_mean_of_the_classes() -> None:
    truth = np.array([[[0, 1, 1, 2, 2, 2]]])
    wrong = np.array([[[1, 1, 0, 2, 0, 2]]])
    weak, strong = (
        [LabelResult(f"p{n}", "A", label_metrics(guess, truth, NAMES, 1.0), 1.0) for n in range(8)]
        for guess in (wrong, truth)
    )
    assert judge_labels(weak, strong).word == "better"
    assert judge_labels(strong, weak).word == "worse"


def _package(name: str) -> SimpleNamespace:
    what = SimpleNamespace(name="arteries", marks="arteries")
    return SimpleNamespace(sha256=name * 8, info=SimpleNamespace(name=name, what=what, data_origin="phantom"))


@pytest.fixture
def no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture is not drawn."""
    monkeypatch.setattr(label_report, "_classes", lambda *_: Picture("classes", "", "", b"<svg/>", b"png"))


def test_a_folder_holds_the_files_of_its_last_evaluation(tmp_path: Path, no_picture: None) -> None:
    truth = np.array([[[0, 1, 1, 2]]])
    scans = [LabelResult("p", "A", label_metrics(truth, truth, NAMES, 1.0), 1.0)]
    for name in ("roc.svg", "roc.png", "patients.csv", "agreement.json", "mine.csv"):
        (tmp_path / name).write_text("of before")
    label_report.write_label_report(tmp_path, [_package("one"), _package("two")], [scans, scans])
    assert (tmp_path / "comparisons.csv").exists()
    label_report.write_label_report(tmp_path, [_package("one")], [scans])
    assert {path.name for path in tmp_path.iterdir()} == {
        "mine.csv",
        "classes.csv",
        "summary.csv",
        "summary.md",
        "evaluation.json",
        "evaluation.html",
        "classes.svg",
        "classes.png",
    }


def test_patients_of_two_sites_under_one_name_are_two(tmp_path: Path, no_picture: None) -> None:
    truth = np.array([[[0, 1, 1, 2]]])
    metrics = label_metrics(truth, truth, NAMES, 1.0)
    scans = [LabelResult("001", site, metrics, 1.0) for site in "AB"]
    label_report.write_label_report(tmp_path, [_package("one")], [scans], identify=True)
    assert json.loads((tmp_path / "evaluation.json").read_text())["patients"] == 2
