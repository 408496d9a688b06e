"""The lung filter, with its ablation: what becomes of central and peripheral emboli in each mode."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.morphology import convex_hull_image

from PESemiSegLib.errors import ConfigError
from PESemiSegLib.inference.lung_filter import convex_fill, make_filter
from PESemiSegLib.inference.lungs import lung_mask
from PESemiSegLib.inference.result import Box


def kept(mode, mask, hu, spacing_mm, box=None):
    """Share of `mask` that the filter lets stand."""
    marks = mask.astype(np.uint8)
    lungs = lung_mask(hu, spacing_mm)
    make_filter(mode, hu, lungs).apply(marks, box or Box.whole(hu.shape))
    return marks.sum() / mask.sum()


def emboli(chest):
    """A saddle across the trunk's fork, and clots in the arteries within the lungs."""
    x = np.arange(chest.hu.shape[2])
    saddle = chest.trunk & (np.abs(x - chest.hu.shape[2] / 2) < 15)
    return {"saddle": saddle, "central": chest.trunk, "peripheral": chest.vessels}


@pytest.mark.parametrize(
    ("mode", "place", "least", "most"),
    [
        ("hull", "saddle", 1.0, 1.0),
        ("hull", "central", 1.0, 1.0),
        ("hull", "peripheral", 1.0, 1.0),
        ("paper", "saddle", 0.0, 0.05),
        ("paper", "central", 0.0, 0.4),
        ("paper", "peripheral", 0.4, 1.0),
        ("none", "saddle", 1.0, 1.0),
        ("none", "peripheral", 1.0, 1.0),
    ],
)
def test_ablation(chest, mode, place, least, most):
    assert least <= kept(mode, emboli(chest)[place], chest.hu, chest.spacing_mm) <= most


@pytest.mark.parametrize("mode", ["hull", "paper"])
def test_marks_outside_the_chest_go(chest, mode):
    outside = np.zeros_like(chest.lungs)
    outside[:, -8:, 40:-40] = True  # the couch
    outside[:3] = True  # below the lungs
    assert kept(mode, outside, chest.hu, chest.spacing_mm) == 0


def test_hull_keeps_the_mediastinum_beside_an_opaque_lung(make_chest):
    chest = make_chest(missing="left")
    both = make_chest()
    assert kept("hull", both.vessels | both.trunk, chest.hu, chest.spacing_mm) > 0.99


def test_filtering_a_box_equals_filtering_the_whole(chest):
    nz, ny, nx = chest.hu.shape
    box = Box((11, 7, 5), (nz - 6, ny - 3, nx - 9))
    lungs = lung_mask(chest.hu, chest.spacing_mm)
    everywhere, part = np.ones(chest.hu.shape, np.uint8), np.ones(box.shape, np.uint8)
    hull = make_filter("hull", chest.hu, lungs)
    np.testing.assert_array_equal(
        hull.apply(part, box), hull.apply(everywhere, Box.whole(chest.hu.shape))[box.slices]
    )


def test_without_lungs_everything_stands():
    hu = np.full((4, 32, 32), 40, np.int16)
    assert kept("hull", np.ones(hu.shape, bool), hu, (1.0, 1.0, 1.0)) == 1


def test_an_unknown_mode_is_named(chest):
    with pytest.raises(ConfigError, match=r"hul.*hull, paper, none"):
        make_filter("hul", chest.hu, lung_mask(chest.hu, chest.spacing_mm))


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 14)), min_size=1, max_size=25))
@settings(max_examples=60, deadline=None)
def test_convex_fill_is_the_smallest_convex_set(points):
    plane = np.zeros((20, 15), bool)
    plane[tuple(np.array(points).T)] = True
    filled = convex_fill(plane)
    assert filled[plane].all()
    rows, columns = np.nonzero(plane)
    if np.linalg.matrix_rank(np.stack([rows - rows[0], columns - columns[0]])) == 2:
        np.testing.assert_array_equal(filled, convex_hull_image(plane, offset_coordinates=False))
    again = convex_fill(filled)
    np.testing.assert_array_equal(again, filled)


def test_convex_fill_of_nothing_is_nothing():
    assert not convex_fill(np.zeros((5, 5), bool)).any()


def test_real_arteries_survive_the_hull_but_not_the_paper_filter(read_real, shared_data):
    import SimpleITK as sitk

    volume = read_real("crop")
    path = shared_data / "ts_pulmonary_crop/pulmonary_artery.nii.gz"
    artery = sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS")) > 0
    assert kept("hull", artery, volume.hu, volume.spacing_mm) == 1
    assert kept("paper", artery, volume.hu, volume.spacing_mm) < 0.2
