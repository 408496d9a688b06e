"""A made-up patient with a saddle embolus through lungs, filter and input check."""

import numpy as np
import pytest
from scipy import ndimage

from PESemiSegLib.inference.check import check
from PESemiSegLib.inference.lung_filter import make_filter
from PESemiSegLib.inference.lungs import lung_mask
from PESemiSegLib.inference.result import Box
from PESemiSegLib.phantom.patient import PhantomCase, make_case
from PESemiSegLib.phantom.recipe import Recipe
from PESemiSegLib.volumes.volume import from_array


@pytest.fixture(scope="module")
def patient() -> PhantomCase:
    return make_case(Recipe("B", seed=11, patient=4, preset="ci", pe=True, kind="saddle"))


@pytest.fixture(scope="module")
def lungs(patient):
    return lung_mask(patient.hu, patient.grid.spacing_mm)


def kept(mode, patient, lungs, mask):
    marks = (mask > 0).astype(np.uint8)
    make_filter(mode, patient.hu, lungs).apply(marks, Box.whole(marks.shape))
    return marks.sum() / (mask > 0).sum()


def test_box_holds_every_artery_and_clot(patient, lungs):
    inside = lungs.box().slices
    for mask in (patient.clot_exact > 0, patient.artery > 0):
        assert mask[inside].sum() == mask.sum()


def test_hull_keeps_every_clot_and_the_paper_filter_loses_the_saddle(patient, lungs):
    assert kept("hull", patient, lungs, patient.clot_exact) == 1
    assert kept("hull", patient, lungs, patient.artery) > 0.995
    assert kept("paper", patient, lungs, patient.clot_exact) < 0.7


def test_trunk_is_measured_near_the_arteries_own_hu(patient):
    core = ndimage.binary_erosion(patient.artery > 0, np.ones((1, 3, 3)), iterations=3)
    truth = np.median(patient.hu[core & (patient.clot_exact == 0)])
    result = check(from_array(patient.hu, patient.affine))
    assert result.pa_hu == pytest.approx(truth, rel=0.1)
    assert result.has("enhanced")
    assert not any(s.level == "error" for s in result.sentences)
