"""StitchNet's tables: figures of images by hand and by scikit-learn, means and errors, the report's files."""

import math
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from PESemiSegLib.cohorts.manifest import Case
from PESemiSegLib.evaluation.by_image import BACKGROUND, TITLES, ImageMean, image_figures, summarise_images
from PESemiSegLib.evaluation.classes import LabelResult
from PESemiSegLib.evaluation.label_cases import _read
from PESemiSegLib.evaluation.store import ResultStore
from PESemiSegLib.models.kinds import KINDS
from PESemiSegLib.phantom.opacities import CONSOLIDATION, GROUND_GLASS, HEALTHY_LUNG

NAMES = ("Ground-glass opacity", "Consolidation", "Healthy lung")
HEALTHY = ("Healthy lung",)


def _result(figures: dict[str, np.ndarray]) -> LabelResult:
    return LabelResult("p", "A", {}, 0.0, figures)


def test_one_image_by_hand() -> None:
    """Ground glass: 3 labelled, 2 predicted, 1 both. Consolidation is in neither; the rest is background."""
    truth = np.array([[[0, 1, 1, 1, 3, 3, 0, 0, 3, 0]]], np.uint8)
    guess = np.array(
        [[[1, 1, 3, 0, 1, 3, 3, 0, 0, 2]]], np.uint8
    )  # the lungs' box has no first and last pixel
    found = image_figures(guess, truth, NAMES, HEALTHY)
    assert list(found) == [*NAMES[:2], BACKGROUND]
    assert found["Ground-glass opacity"][0] == pytest.approx([1 / 4, 2 / 5, 1 / 2, 1 / 3])
    assert found[BACKGROUND][0] == pytest.approx([4 / 7, 8 / 11, 4 / 6, 4 / 5])
    assert np.isnan(found["Consolidation"]).all()


def test_random_images_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    truth, guess = rng.integers(0, 4, (2, 6, 5, 4)).astype(np.uint8)
    truth[0, truth[0] == 2] = 3
    guess[1, guess[1] == 1] = 0
    truth[4] = 0  # beyond the lungs: no image
    found = image_figures(guess, truth, NAMES, HEALTHY)
    for image, z in enumerate((0, 1, 2, 3, 5)):
        true, predicted = (np.where(part[z] == 3, 0, part[z]).ravel() for part in (truth, guess))
        precision, recall, f1, _ = precision_recall_fscore_support(
            true, predicted, labels=[1, 2, 0], zero_division=0
        )
        rows = np.array([found[name][image] for name in (*NAMES[:2], BACKGROUND)])
        np.testing.assert_allclose(rows[:, 1:].T, [f1, precision, recall])
        np.testing.assert_allclose(rows[:, 0], f1 / (2 - f1))
    assert all(len(rows) == 5 for rows in found.values())


def test_means_and_errors_over_images_and_classes() -> None:
    one = {name: np.full((2, 4), value) for name, value in ((NAMES[0], 0.2), (BACKGROUND, 0.8))}
    two = {name: rows.copy() for name, rows in one.items()}
    two[NAMES[0]][:] = [[0.6] * 4, [np.nan] * 4]
    rows = summarise_images([_result(one), _result(two)])
    assert [row["class"] for row in rows] == [NAMES[0], BACKGROUND, "overall"]
    values = [0.2, 0.2, 0.6]
    first = rows[0]["IoU"]
    assert first.mean == pytest.approx(np.mean(values))
    assert first.error == pytest.approx(1.96 * np.std(values, ddof=1) / math.sqrt(3))
    assert (first.images, rows[1]["Recall"].images) == (3, 4)
    assert rows[2]["Precision"].mean == pytest.approx((first.mean + 0.8) / 2)
    assert rows[2]["Precision"].error == pytest.approx(first.error / 2)
    assert str(ImageMean(0.25, 0.04, 9)) == "0.250 ± 0.040"
    assert str(ImageMean(0.25, math.nan, 1)) == "0.250"
    assert str(ImageMean(math.nan, math.nan, 0)) == "n/a"


def test_a_stored_scan_without_any_label_joins_the_others(tmp_path: Path) -> None:
    empty, full = np.zeros((2, 3, 4, 4), np.uint8)
    full[1, 1:3, 1:3] = 1
    store = ResultStore(tmp_path, _read)
    for name, truth in (("empty", empty), ("full", full)):
        store._save(name, _result(image_figures(truth, truth, NAMES, HEALTHY)))
    read = [store._load(name, Case("p", "A", Path("p.nii.gz"))) for name in ("empty", "full")]
    assert [result.images[BACKGROUND].shape for result in read if result] == [(0, 4), (1, 4)]
    row = summarise_images([result for result in read if result])[0]
    assert (row["class"], row["IoU"].mean, row["IoU"].images) == (NAMES[0], 1.0, 1)


def test_the_reports_overall_rows_are_the_means_of_its_classes() -> None:
    """Tables 2 and 3 (method notes 1C): as printed, to two digits."""
    printed = {"U-Net": ((0.18, 0.26, 0.75), 0.40), "U-Net+PL": ((0.12, 0.26, 0.75), 0.38)}
    for classes, overall in printed.values():
        names = (*NAMES[:2], BACKGROUND)
        figures = {name: np.full((1, 4), value) for name, value in zip(names, classes, strict=True)}
        row = summarise_images([_result(figures)])[-1]
        assert round(row["IoU"].mean, 2) == overall


def test_kinds_without_healthy_tissue_have_no_such_table() -> None:
    assert summarise_images([_result({})]) == []
    assert summarise_images([]) == []
    assert len(TITLES) == 4


def test_the_kind_has_the_labels_of_the_map_and_codes_that_slicer_knows() -> None:
    kind = KINDS["opacities"]
    assert [part.name for part in kind.segments] == list(NAMES)
    assert [kind.segments.index(part) + 1 for part in kind.healthy] == [HEALTHY_LUNG]
    assert (GROUND_GLASS, CONSOLIDATION) == (1, 2)
    entries = [part.terminology_entry for part in kind.segments]
    for code, entry in zip(("1217294009", "95436008", "39607008"), entries, strict=True):
        assert f"~SCT^{code}^" in entry
    assert not kind.contrast
    assert kind.judged
