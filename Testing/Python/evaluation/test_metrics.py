"""Mask and surface metrics against MONAI, scikit-learn and counting by hand; empty masks as stated."""

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import compute_hausdorff_distance, compute_surface_dice
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score

from PESemiSegLib.evaluation.metrics import mask_metrics, surface_metrics
from PESemiSegLib.evaluation.page import render


def _masks(seed: int, shape: tuple[int, int, int] = (9, 14, 12)) -> tuple[np.ndarray, np.ndarray]:
    """Two overlapping blobs with ragged edges."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.mgrid[tuple(slice(n) for n in shape)], -1)
    blobs = []
    for _ in range(2):
        centre = np.array(shape) / 2 + rng.uniform(-2, 2, 3)
        blobs.append(
            np.linalg.norm(grid - centre, axis=-1) + rng.normal(0, 0.4, shape) < rng.uniform(2.5, 4.5)
        )
    return blobs[0], blobs[1]


@pytest.mark.parametrize("seed", range(4))
def test_overlap_is_scikit_learns(seed: int) -> None:
    prediction, truth = _masks(seed)
    metrics = mask_metrics(prediction, truth, 2.0)
    flat = truth.ravel(), prediction.ravel()
    assert metrics.dice == pytest.approx(f1_score(*flat))
    assert metrics.iou == pytest.approx(jaccard_score(*flat))
    assert metrics.sensitivity == pytest.approx(recall_score(*flat))
    assert metrics.precision == pytest.approx(precision_score(*flat))
    assert metrics.volume_error_ml == pytest.approx((prediction.sum() - truth.sum()) * 0.002)


def test_empty_masks_follow_the_stated_convention() -> None:
    none, some = np.zeros((3, 3, 3)), np.zeros((3, 3, 3))
    some[1, 1, 1] = 1
    both = mask_metrics(none, none, 1.0)
    assert both.both_empty
    assert all(math.isnan(v) for v in (both.dice, both.iou, both.sensitivity, both.precision))
    false = mask_metrics(some, none, 1.0)
    assert (false.dice, false.iou, false.precision) == (0, 0, 0)
    assert math.isnan(false.sensitivity)
    missed = mask_metrics(none, some, 1.0)
    assert (missed.dice, missed.iou, missed.sensitivity) == (0, 0, 0)
    assert math.isnan(missed.precision)
    assert math.isnan(surface_metrics(none, none, (1, 1, 1)).nsd_1mm)
    assert surface_metrics(some, none, (1, 1, 1)).nsd_1mm == 0
    assert surface_metrics(none, some, (1, 1, 1)).hd95_mm == math.inf


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 0.7, 0.7)])
def test_surfaces_are_monais(seed: int, spacing: tuple[float, float, float]) -> None:
    prediction, truth = _masks(seed)
    ours = surface_metrics(prediction, truth, spacing)
    p, t = (torch.from_numpy(m[None, None].astype(np.float32)) for m in (prediction, truth))
    for tolerance, value in ((1.0, ours.nsd_1mm), (2.0, ours.nsd_2mm)):
        reference = compute_surface_dice(p, t, [tolerance], include_background=True, spacing=spacing)
        assert value == pytest.approx(reference.item(), abs=1e-6)
    reference = compute_hausdorff_distance(p, t, include_background=True, percentile=95, spacing=spacing)
    assert ours.hd95_mm == pytest.approx(reference.item(), rel=1e-5)


def test_surfaces_by_hand() -> None:
    """Two plates 3 mm apart: every border voxel is 3 mm from the other plate."""
    prediction, truth = np.zeros((1, 20, 20), bool), np.zeros((1, 20, 20), bool)
    prediction[0, 5, 5:15], truth[0, 8, 5:15] = True, True
    near = surface_metrics(prediction, truth, (1.0, 1.0, 1.0))
    assert (near.nsd_1mm, near.nsd_2mm, near.hd95_mm) == (0.0, 0.0, 3.0)
    half = surface_metrics(prediction, truth, (1.0, 0.5, 1.0))
    assert (half.nsd_1mm, half.nsd_2mm, half.hd95_mm) == (0.0, 1.0, 1.5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.tuples(*[st.integers(-2, 2)] * 3))
def test_shifting_both_masks_changes_nothing(seed: int, shift: tuple[int, int, int]) -> None:
    padded = [np.pad(mask, 3) for mask in _masks(seed, (7, 8, 9))]
    moved = [np.roll(mask, shift, (0, 1, 2)) for mask in padded]
    assert mask_metrics(*padded, 1.0) == mask_metrics(*moved, 1.0)
    before, after = (surface_metrics(*pair, (2.0, 0.8, 0.8)) for pair in (padded, moved))
    for name in ("nsd_1mm", "nsd_2mm", "hd95_mm"):
        assert getattr(before, name) == pytest.approx(getattr(after, name), nan_ok=True)


def test_unequal_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        mask_metrics(np.zeros((2, 3)), np.zeros((3, 2)), 1.0)


def test_a_scan_without_pe_shows_its_false_marks_and_no_dice(make_result) -> None:  # type: ignore[no-untyped-def]
    results = [make_result("a", 2, 1), make_result("b", 0, 0, false_marks=2), make_result("c", 1, 0)]
    page = render({"m": results}, {"m": {}}, [], [])
    cells = {
        row[0]: row[3:]
        for row in (re.findall(r"<td[^>]*>(.*?)</td>", line) for line in page.split("<tr>"))
        if row
    }
    assert cells["P01"][:3] == ["0.67", "0.50", "1.00"]
    assert cells["P02"][:6] == ["–"] * 6
    assert cells["P02"][-2] == "2"
    assert cells["P03"][:2] == ["0.00", "0.00"]  # an embolus that is missed is no empty mask
    row = results[1].row()
    assert math.isnan(row["dice"])
    assert (row["marks"], row["false_marks"], row["true_ml"]) == (2, 2, 0.0)
    assert math.isnan(results[1].dice)
