"""The way between the input's grid and the axial working grid, for every orientation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from PESemiSegLib.volumes import from_array
from PESemiSegLib.volumes.grid import make_affine
from PESemiSegLib.volumes.resample import resample

SIGNED_PERMUTATIONS = [
    np.eye(3)[list(order)] * signs
    for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    for signs in np.stack(np.meshgrid([1, -1], [1, -1], [1, -1]), -1).reshape(-1, 3)
]
directions = st.sampled_from(SIGNED_PERMUTATIONS)
spacings = st.tuples(*[st.floats(0.3, 6.0)] * 3)
origins = st.tuples(*[st.floats(-400, 400)] * 3)
shapes = st.tuples(*[st.integers(1, 9)] * 3)
small_turns = st.tuples(*[st.floats(-2.5, 2.5)] * 3)
large_turns = st.tuples(st.floats(6, 39), *[st.floats(-10, 10)] * 2)


def turned(direction, degrees):
    return Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() @ direction


@given(directions, small_turns, spacings, origins, shapes, st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_nearly_aligned_volumes_are_only_reordered(direction, turn, spacing, origin, shape, seed):
    rng = np.random.default_rng(seed)
    affine = make_affine(spacing, origin, turned(direction, turn))
    native = rng.integers(-1000, 3000, shape).astype(np.int16)
    volume = from_array(native, affine)

    assert sorted(volume.hu.ravel()) == sorted(native.ravel())
    assert volume.hu.flags.c_contiguous
    assert (np.diag(volume.grid.direction) > 0.99).all()
    k, j, i = (int(rng.integers(n)) for n in shape)  # a voxel of the input, found in hu by its place in LPS
    place = affine @ [i, j, k, 1]
    x, y, z = np.rint(volume.grid.to_ijk(place[:3])).astype(int)
    np.testing.assert_allclose(volume.grid.to_lps([x, y, z]), place[:3], atol=1e-6)
    assert volume.hu[z, y, x] == native[k, j, i]

    np.testing.assert_array_equal(volume.to_output(volume.hu), native)
    np.testing.assert_array_equal(volume.to_source(volume.hu), native)
    np.testing.assert_allclose(volume.output_grid.affine, affine)
    mask = np.zeros(volume.shape, bool)
    mask[z, y, x] = True
    assert np.argwhere(volume.to_output(mask)).tolist() == [[k, j, i]]


@given(directions, large_turns, origins, st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_oblique_volumes_are_resampled_there_and_back(direction, turn, origin, seed):
    rng = np.random.default_rng(seed)
    shape, spacing = (21, 24, 27), (1.0, 1.2, 1.5)
    affine = make_affine(spacing, origin, turned(direction, turn))
    k, j, i = np.mgrid[: shape[0], : shape[1], : shape[2]]
    lps = np.stack([i, j, k], -1) @ affine[:3, :3].T + affine[:3, 3]
    slope = np.array([9.0, -7.0, 5.0])
    native = np.rint((lps - lps.mean((0, 1, 2))) @ slope).astype(np.int16)
    volume = from_array(native, affine)

    np.testing.assert_allclose(volume.grid.direction, np.eye(3), atol=1e-12)
    z, y, x = np.nonzero(volume.hu > -1024)
    wanted = (volume.grid.to_lps(np.stack([x, y, z], -1)) - lps.mean((0, 1, 2))) @ slope
    inside = volume.hu[z, y, x]
    voxel = (np.abs(slope) * 1.5).sum()  # values at the rim are held, by at most half a voxel
    assert np.abs(inside - wanted).max() <= voxel
    assert np.median(np.abs(inside - wanted)) <= 0.5

    # a ball painted on the working grid comes back to its place on the input's grid
    middle = lps[tuple(rng.integers(8, n - 8) for n in shape)]
    zz, yy, xx = np.mgrid[: volume.shape[0], : volume.shape[1], : volume.shape[2]]
    ball = np.linalg.norm(volume.grid.to_lps(np.stack([xx, yy, zz], -1)) - middle, axis=-1) < 5
    truth = np.linalg.norm(lps - middle, axis=-1) < 5
    back = volume.to_output(ball)
    assert back.dtype == bool
    assert back.shape == shape
    assert 2 * (back & truth).sum() / (back.sum() + truth.sum()) > 0.8
    np.testing.assert_allclose(lps[back].mean(0), lps[truth].mean(0), atol=0.8)  # half a voxel at most
    soft = volume.to_output(ball.astype(np.float32), linear=True)
    np.testing.assert_allclose(
        np.average(lps, axis=(0, 1, 2), weights=soft[..., None] + 0 * lps), middle, atol=0.3
    )


def test_five_degrees_decide():
    array = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    for degrees, exact in ((4.9, True), (5.1, False)):
        volume = from_array(array, make_affine((1, 1, 1), (0, 0, 0), turned(np.eye(3), (0, 0, degrees))))
        assert (volume.shape == array.shape and bool((volume.hu == array).all())) is exact


def test_probabilities_are_read_linearly_and_keep_their_type():
    affine = make_affine((1, 1, 1), (0, 0, 0), turned(np.eye(3), (0, 0, 30)))
    volume = from_array(np.zeros((9, 15, 15), np.int16), affine)
    ramp = np.broadcast_to(np.linspace(0, 1, volume.shape[2], dtype=np.float32), volume.shape)
    smooth, nearest = volume.to_output(ramp, linear=True), volume.to_output(ramp)
    assert smooth.dtype == np.float32
    assert len(np.unique(smooth)) > len(np.unique(nearest))
    np.testing.assert_allclose(smooth, nearest, atol=0.6 / (volume.shape[2] - 1))


def test_an_array_of_another_grid_is_refused():
    volume = from_array(np.zeros((3, 4, 5), np.int16), np.eye(4))
    for bring in (volume.to_output, volume.to_source):
        with pytest.raises(ValueError, match="working grid"):
            bring(np.zeros((5, 4, 3)))


def test_from_array_copies_and_clips():
    array = np.array([[[-3024.0, -2000.0, 12.4, np.nan, 50000.0]]])
    volume = from_array(array, np.eye(4), source_name="node", warnings=("one",))
    assert volume.hu.ravel().tolist() == [-1024, -1024, 12, -1024, 32767]
    assert volume.facts.warnings[0] == "one"
    assert "1 voxel" in volume.facts.warnings[1]
    given = np.zeros((2, 3, 4), np.int16)
    flipped = from_array(given, np.diag([-1.0, 1, 1, 1]))
    flipped.hu[...] = 7
    assert not given.any()


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32, bool])
def test_resample_agrees_with_scipy(linear, dtype):
    rng = np.random.default_rng(3)
    array = (rng.random((11, 12, 13)) * (1 if dtype is bool else 200)).round().astype(dtype)
    turn = Rotation.from_euler("xyz", (20, 10, 5), degrees=True).as_matrix()
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = (1.3, 0.4, -0.7)
    ours = resample(array, matrix, (9, 10, 14), linear=linear, fill=0)
    backwards = matrix[:3, :3][::-1, ::-1], matrix[:3, 3][::-1]
    theirs = ndimage.affine_transform(
        array.astype(np.float64), *backwards, (9, 10, 14), order=int(linear), mode="constant", cval=np.nan
    )
    k, j, i = np.mgrid[:9, :10, :14]
    at = np.stack([i, j, k], -1) @ turn.T + matrix[:3, 3]
    sure = ((at > 0) & (at < np.array(array.shape[::-1]) - 1)).all(-1) & np.isfinite(theirs)
    assert sure.sum() > 300
    if linear:
        np.testing.assert_allclose(
            ours[sure].astype(float), theirs[sure], atol=0.51 if dtype != np.float32 else 1e-3
        )
    else:
        assert (ours[sure] == theirs[sure].astype(dtype)).mean() > 0.99  # ties may fall either way
    assert ours.dtype == dtype


@given(directions, shapes, st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_source_slices_come_onto_the_working_grid_and_back(direction, shape, seed):
    native = np.random.default_rng(seed).integers(0, 9, shape).astype(np.int16)
    volume = from_array(native, make_affine((0.8, 0.9, 2.0), (5, -7, 9), direction))
    np.testing.assert_array_equal(volume.from_source(native), volume.hu)
    np.testing.assert_array_equal(volume.to_source(volume.from_source(native)), native)
    with pytest.raises(ValueError, match="source grid"):
        volume.from_source(np.zeros((shape[0] + 1, *shape[1:])))
