"""The placement test: right masks pass, turned ones are named, and nothing is made of too little."""

import numpy as np
import pytest

from PESemiSegLib.cohorts.placement import check_placement, fit


@pytest.mark.parametrize(
    ("turn", "word"),
    [
        (lambda m: m, ""),
        (lambda m: m[::-1], "upside down"),
        (lambda m: m[:, ::-1], "front to back"),
        (lambda m: m[:, :, ::-1], "left to right"),
        (lambda m: m[:, ::-1, ::-1], "half a turn"),
        (lambda m: m.transpose(0, 2, 1), "transposed"),
    ],
)
def test_each_turn_is_named(sets, turn, word):
    found = check_placement(sets.hu, turn(sets.mask))
    assert word in found.misplaced
    assert bool(found.misplaced) == bool(word)


def test_strict_and_generous_styles_pass(sets):
    from scipy import ndimage

    for style in (ndimage.binary_erosion, ndimage.binary_dilation):
        assert check_placement(sets.hu, style(sets.mask, np.ones((1, 3, 3)))).misplaced == ""


def test_a_mask_on_no_clot_is_doubted_not_refused(sets):
    bone = np.zeros_like(sets.mask)
    bone[:, 40:46, 44:54] = 1  # contrast, and in no other way any better
    found = check_placement(np.where(sets.hu == 0, 300, sets.hu), bone)
    assert "no clot" in found.doubt or "better" in found.misplaced


def test_a_few_voxels_and_none_say_nothing(sets):
    few = np.zeros_like(sets.mask)
    assert check_placement(sets.hu, few).misplaced == ""
    few[0, 0, :5] = 1
    assert check_placement(sets.hu, few) == check_placement(sets.hu, np.zeros_like(few))


def test_the_figures_of_a_fit_by_hand():
    hu = np.zeros((1, 5, 5), np.int16)
    hu[0, :, 3:] = 100  # a step between columns 2 and 3
    inside = np.array([[0, 2, 2], [0, 2, 3]])
    found = fit(hu, inside, np.array([[0, 2, 2]]))
    assert (found.median_hu, found.clot_share, found.edge_hu) == (50.0, 1.0, 50.0)


def test_made_up_patients_are_all_placed_right_and_their_mirror_images_are_not(tmp_path):
    """Independent of the chest above: whole anatomies, at the coarsest preset."""
    from PESemiSegLib.phantom.cohort import recipes
    from PESemiSegLib.phantom.patient import make_case

    case = make_case(next(r for r in recipes("B", 3, 5, "ci") if r.pe))
    assert check_placement(case.hu, case.clot).misplaced == ""
    assert check_placement(case.hu, case.clot[::-1]).misplaced
    assert check_placement(case.hu, case.clot[:, ::-1]).misplaced
