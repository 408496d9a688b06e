"""Findings: connected marks and their measures, against independent counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.distance import pdist, squareform
from skimage import measure

from PESemiSegLib.inference import findings
from PESemiSegLib.inference.lungs import lung_mask
from PESemiSegLib.inference.result import Box, BoxArray
from PESemiSegLib.volumes.grid import Grid, make_affine

SPACING = (0.5, 0.8, 2.0)


def grid(shape, origin=(10.0, -20.0, 30.0), direction=None):
    return Grid(shape, make_affine(SPACING, origin, direction))


def find(mask, g=None, probability=None, confidence=None, lungs=None):
    flat = np.full(mask.shape, 0.5, np.float32)
    box = Box.whole(mask.shape)
    maps = [
        BoxArray(flat if a is None else a.astype(np.float32), box, mask.shape)
        for a in (probability, confidence)
    ]
    return findings.find(mask.astype(np.uint8), g or grid(mask.shape), *maps, lungs)


def test_two_marks_are_measured_and_sorted_by_volume():
    mask = np.zeros((6, 10, 12), np.uint8)
    mask[1, 2, 3] = 1
    mask[3:5, 5:8, 6:10] = 1
    probability = np.random.default_rng(0).random(mask.shape)
    large, small = find(mask, probability=probability, confidence=probability / 2)
    assert (large.id, small.id) == (1, 2)
    assert large.volume_mm3 == pytest.approx(24 * 0.8)
    assert large.slice_range == (3, 4)
    assert large.box == Box((3, 5, 6), (5, 8, 10))
    assert large.mean_probability == pytest.approx(probability[3:5, 5:8, 6:10].mean(), rel=1e-5)
    assert large.mean_confidence == pytest.approx(probability[3:5, 5:8, 6:10].mean() / 2, rel=1e-5)
    assert large.centroid_lps_mm == pytest.approx((10 + 7.5 * 0.5, -20 + 6 * 0.8, 30 + 3.5 * 2))
    assert small.centroid_lps_mm == pytest.approx((10 + 1.5, -20 + 1.6, 32.0))
    assert small.longest_axis_mm == pytest.approx(2.0)
    assert mask[large.seed] == 1


def test_marks_that_touch_at_a_corner_are_one():
    mask = np.zeros((3, 4, 4), np.uint8)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[2, 2, 2] = 1
    assert len(find(mask)) == 1


def test_centroid_follows_an_oblique_grid():
    angle = np.deg2rad(3)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    g = grid((4, 9, 9), direction=turn)
    mask = np.zeros(g.shape, np.uint8)
    mask[1:3, 2:7, 3:6] = 1
    expected = np.mean([g.to_lps((i, j, k)) for k, j, i in np.argwhere(mask)], axis=0)
    assert find(mask, g)[0].centroid_lps_mm == pytest.approx(tuple(expected))


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_components_equal_those_of_simpleitk(seed):
    import SimpleITK as sitk

    rng = np.random.default_rng(seed)
    mask = (rng.random((5, 9, 11)) < rng.uniform(0.02, 0.3)).astype(np.uint8)
    labels = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask), True))
    wanted = sorted(np.bincount(labels.ravel())[1:] * 0.8, reverse=True)
    assert [f.volume_mm3 for f in find(mask)] == pytest.approx(wanted)


@pytest.mark.parametrize("kind", ["blob", "plane", "line", "point"])
def test_longest_axis_equals_brute_force(kind):
    shape = {"blob": (9, 14, 17), "plane": (1, 20, 22), "line": (1, 1, 90), "point": (1, 1, 1)}[kind]
    rng = np.random.default_rng(3)
    kept = np.argwhere(rng.random(shape) < 0.7) if kind != "point" else np.zeros((1, 3))
    spacing_mm = np.array([0.5, 0.8, 2.0])
    points = kept[:, ::-1] * spacing_mm
    between = squareform(pdist(points))
    first, second = np.unravel_index(between.argmax(), between.shape)
    apart = np.abs(points[first] - points[second])
    ends = apart / between.max() @ spacing_mm if len(points) > 1 else spacing_mm.max()
    found = findings.longest_axis(kept[:, ::-1], tuple(spacing_mm))
    assert found == pytest.approx(between.max() + ends, rel=5e-3)


@pytest.mark.parametrize(
    ("count", "axis", "wanted"), [(1, 2, 5.0), (3, 0, 2.1), (3, 2, 15.0), (200, 0, 140.0)]
)
def test_a_row_of_voxels_is_as_long_as_its_voxels_together(count, axis, wanted):
    ijk = np.zeros((count, 3), int)
    ijk[:, axis] = np.arange(count)
    assert findings.longest_axis(ijk, (0.7, 0.7, 5.0)) == pytest.approx(wanted)


def test_small_marks_go_and_holes_are_filled():
    mask = np.zeros((5, 12, 12), np.uint8)
    mask[1:4, 2:8, 2:8] = 1
    mask[2, 4:6, 4:6] = 0
    mask[4, 11, 11] = 1
    before = mask.copy()
    findings.clean(mask, 0.8, min_mm3=1.0)
    assert mask.sum() == before.sum() - 1
    findings.clean(mask, 0.8, fill_holes=True)
    assert mask[2, 4:6, 4:6].all()
    assert findings.clean(np.zeros_like(mask), 0.8, min_mm3=5).sum() == 0


def test_a_mark_of_exactly_the_least_volume_stays():
    mask = np.zeros((1, 4, 4), np.uint8)
    mask[0, 0, :2] = 1
    assert findings.clean(mask, 0.5, min_mm3=1.0).sum() == 2


def blobs(seed, shape=(5, 14, 14)):
    """A smooth probability, float32, with a handful of marks at 0.5."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.2)
    return np.clip(0.5 + 0.3 * noise / noise.std(), 0, 1).astype(np.float32)


def cleaned(probability, threshold, core, **settings):
    marked = findings.levels(probability, threshold, core)
    counted = findings.CORE if core > threshold else findings.EDGE
    return findings.clean(marked, 0.8, counted=counted, **settings)


def test_a_mark_is_drawn_at_the_edge_and_kept_for_its_core():
    row = [0.6, 0.99, 0.99, 0.6, 0.0, 0.9, 0.9, 0.9, 0.0, 0.6, 0.99, 0.6, 0.6]
    probability = np.zeros((3, 3, len(row)), np.float32)
    probability[1, 1] = row
    kept = np.zeros_like(probability, np.uint8)
    kept[1, 1, :4] = 1  # two voxels of core: 1.6 mm3
    np.testing.assert_array_equal(cleaned(probability, 0.5, 0.98, min_mm3=1.0), kept)
    kept[1, 1, 9:] = 1  # one voxel of core: 0.8 mm3
    np.testing.assert_array_equal(cleaned(probability, 0.5, 0.98, min_mm3=0.8), kept)
    np.testing.assert_array_equal(cleaned(probability, 0.5, 0.98), kept)  # without a core none stays
    kept[1, 1, 5:8] = 1
    np.testing.assert_array_equal(cleaned(probability, 0.5, 0.5, min_mm3=2.0), kept)


def test_holes_of_the_core_are_filled_as_core():
    probability = np.zeros((1, 7, 12), np.float32)
    probability[0, 1:6, 1:6], probability[0, 1:6, 6:11] = 0.99, 0.6
    probability[0, 3, 3] = probability[0, 3, 8] = 0.1
    assert cleaned(probability, 0.5, 0.9, min_mm3=25 * 0.8, fill_holes=True).sum() == 50
    assert cleaned(probability, 0.5, 0.9, min_mm3=25 * 0.8).sum() == 0
    assert cleaned(probability, 0.5, 0.9, min_mm3=26 * 0.8, fill_holes=True).sum() == 0


def plain(probability, threshold, least_mm3):
    """What one threshold has always given, by scikit-image."""
    mask = probability >= threshold
    labels = measure.label(mask, connectivity=3)
    volume = np.bincount(labels.ravel()) * 0.8
    return (mask & (volume[labels] >= least_mm3)).astype(np.uint8)


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 1.0), st.floats(0.0, 30.0))
def test_a_core_at_the_threshold_is_one_threshold(seed, threshold, least_mm3):
    probability = blobs(seed)
    mask = cleaned(probability, threshold, threshold, min_mm3=least_mm3)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, plain(probability, threshold, least_mm3))


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.floats(0.3, 1.0), min_size=3, max_size=3),
    st.floats(0.0, 20.0),
    st.booleans(),
)
def test_a_higher_core_keeps_fewer_marks_and_keeps_them_whole(seed, cuts, least_mm3, fill_holes):
    probability, (threshold, low, high) = blobs(seed), sorted(cuts)
    wide, less = (
        cleaned(probability, threshold, core, min_mm3=least_mm3, fill_holes=fill_holes)
        for core in (low, high)
    )
    assert set(np.unique(wide)) <= {0, 1}
    assert (less <= wide).all()
    labels = measure.label(wide, connectivity=3)
    assert all(len(set(less[labels == n])) == 1 for n in range(1, labels.max() + 1))
    if not fill_holes:
        cores = np.bincount(labels[(probability >= low) & (wide > 0)], minlength=labels.max() + 1)[1:]
        assert (cores >= 1).all()
        assert (cores * 0.8 >= least_mm3).all()


def test_more_components_than_two_bytes_can_number():
    mask = np.zeros((2, 600, 600), np.uint8)
    mask[0, ::2, ::2] = 1
    labels, count = findings.components(mask)
    assert count == 90_000
    assert labels.max() == 90_000


def test_an_empty_mask_has_no_findings():
    assert find(np.zeros((3, 4, 5), np.uint8)) == []


def test_sides_are_the_patients(chest):
    """+x is the patient's left; the trunk is central, the rest has a side."""
    lungs = lung_mask(chest.hu, chest.spacing_mm)
    shape = chest.hu.shape
    nz, ny, nx = shape

    def side(k, j, i):
        mask = np.zeros(shape, np.uint8)
        mask[k - 1 : k + 2, j - 1 : j + 2, i - 1 : i + 2] = 1
        return find(mask, Grid(shape, make_affine(chest.spacing_mm)), lungs=lungs)[0].side

    k = nz // 2
    assert side(k, ny // 2, nx // 2 + 40) == "left"
    assert side(k, ny // 2, nx // 2 - 40) == "right"
    trunk = np.argwhere(chest.trunk).mean(0).astype(int)
    assert side(*trunk) == "central"


def test_the_whole_trunk_is_one_central_finding(chest):
    lungs = lung_mask(chest.hu, chest.spacing_mm)
    found = find(chest.trunk, Grid(chest.hu.shape, make_affine(chest.spacing_mm)), lungs=lungs)
    assert [f.side for f in found] == ["central"]
