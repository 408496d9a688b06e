"""Window, context, resampling and padding of slices, against independent references."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from PESemiSegLib.cohorts.cache import resample_slices
from PESemiSegLib.inference.prepare import MULTIPLE, SlicePreparer, grow_to_multiple
from PESemiSegLib.inference.result import Box
from PESemiSegLib.volumes.preprocess import resample_matrix, window

WINDOW = (-160.0, 240.0)


def preparer(hu, box=None, spacing_mm=(0.7, 0.7, 1.0), wanted_mm=0.7, context=1):
    box = box or Box.whole(hu.shape)
    return SlicePreparer(hu, box, spacing_mm, hu_window=WINDOW, wanted_mm=wanted_mm, context=context)


def volume(shape=(5, 48, 64), seed=0):
    return np.random.default_rng(seed).integers(-1024, 1500, shape).astype(np.int16)


def test_window_maps_its_ends_to_one_and_clips():
    hu = np.array([-1024, -160, 40, 240, 3071], np.int16)
    np.testing.assert_allclose(window(hu, WINDOW), [-1, -1, 0, 1, 1])
    assert window(hu, WINDOW).dtype == np.float32


def test_input_is_the_windowed_slice_of_the_box():
    hu = volume()
    box = Box((1, 0, 16), (4, 32, 64))
    made = preparer(hu, box).input(2)
    assert made.shape == (1, 32, 48)
    np.testing.assert_array_equal(made[0], window(hu[2, 0:32, 16:64], WINDOW))


def test_context_comes_from_beyond_the_box_and_repeats_at_the_ends():
    hu = volume()
    made = preparer(hu, Box((2, 0, 0), (3, 48, 64)), context=3)
    np.testing.assert_array_equal(made.input(2), window(hu[1:4], WINDOW))
    np.testing.assert_array_equal(made.input(0), window(hu[[0, 0, 1]], WINDOW))
    np.testing.assert_array_equal(made.input(4), window(hu[[3, 4, 4]], WINDOW))


def test_slices_come_out_the_same_in_any_order():
    hu = np.random.default_rng(4).integers(-200, 300, (6, 20, 20)).astype(np.int16)
    one = preparer(hu, Box.whole(hu.shape), (0.7, 0.7, 2.0), wanted_mm=0.9, context=3)
    for k in (0, 1, 2, 2, 5, 4, 0, 3):
        fresh = preparer(hu, Box.whole(hu.shape), (0.7, 0.7, 2.0), wanted_mm=0.9, context=3)
        assert np.array_equal(one.input(k), fresh.input(k))


def test_padding_repeats_the_edge_and_is_cut_off_again():
    hu = volume((1, 33, 50))
    made = preparer(hu)
    assert made.input_shape == (1, 48, 64)
    plane = made.input(0)[0]
    np.testing.assert_array_equal(plane[33:, :50], np.repeat(plane[32:33, :50], 15, axis=0))
    np.testing.assert_array_equal(made.back(plane), plane[:33, :50])


@pytest.mark.parametrize(
    ("mm", "resampled"), [(0.7, False), (0.73, False), (0.667, False), (0.74, True), (0.66, True)]
)
def test_five_per_cent_of_spacing_are_let_pass(mm, resampled):
    assert preparer(volume(), spacing_mm=(mm, mm, 1.0)).resampled is resampled
    assert preparer(volume(), spacing_mm=(0.7, mm, 1.0)).resampled is resampled


@pytest.mark.parametrize("sizes", [(50, 37), (37, 50), (64, 64), (100, 33), (33, 100), (1, 5), (5, 1)])
def test_resampling_equals_torch(sizes):
    torch = pytest.importorskip("torch")
    size_in, size_out = sizes
    plane = np.random.default_rng(0).normal(size=(1, 1, size_in, 7)).astype(np.float32)
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(plane).double(), (size_out, 7), mode="bilinear", align_corners=False, antialias=True
    )
    made = resample_matrix(size_in, size_out) @ plane[0, 0]
    np.testing.assert_allclose(made, wanted[0, 0].numpy(), atol=1e-6)


@given(st.integers(1, 90), st.integers(1, 90))
@settings(max_examples=80, deadline=None)
def test_resampling_keeps_constants_and_range(size_in, size_out):
    matrix = resample_matrix(size_in, size_out)
    assert matrix.shape == (size_out, size_in)
    assert (matrix >= 0).all()
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-6)


def test_shrinking_does_not_alias():
    stripes = np.tile([0.0, 1.0], 100)
    shrunk = resample_matrix(200, 70) @ stripes
    assert np.ptp(shrunk[2:-2]) < 0.25  # plain interpolation would keep the full swing


@pytest.mark.parametrize("mm", [(0.5, 0.5), (0.9, 0.9), (0.6, 1.2)])
def test_there_and_back_keeps_a_smooth_picture_in_place(mm):
    x_mm, y_mm = mm
    y, x = np.mgrid[0:96, 0:128].astype(float)
    smooth = 40 + 100 * np.sin(x / 12) * np.cos(y / 9)
    made = preparer(np.rint(smooth)[None].astype(np.int16), spacing_mm=(x_mm, y_mm, 1.0))
    assert made.resampled
    assert all(n % MULTIPLE == 0 for n in made.input_shape[1:])
    back = made.back(made.input(0)[0])
    assert back.shape == (96, 128)
    error = np.abs(back - window(smooth, WINDOW))[4:-4, 4:-4]
    assert error.max() < 0.09
    assert error.mean() < 0.02


def test_a_resampled_slice_is_the_one_that_training_saw():
    """HU first, then the window: at the edge of lung the other order differs by most of the window."""
    hu = volume((3, 70, 90))
    trained = window(resample_slices(hu, (0.7, 0.7), 0.9), WINDOW)
    used = preparer(hu, wanted_mm=0.9, context=3).input(1)
    np.testing.assert_allclose(used[:, : trained.shape[1], : trained.shape[2]], trained, atol=0.51 / 200)


def test_resampled_pixels_have_the_package_size():
    made = preparer(volume((1, 100, 200)), spacing_mm=(0.5, 1.0, 1.0), wanted_mm=0.75)
    assert made.input_shape == (1, 144, 144)  # 133.3 pixels of 0.75 mm each way, padded


sides = st.integers(1, 80)


@given(sides, sides, st.integers(0, 79), st.integers(0, 79), sides, sides)
@settings(max_examples=200)
def test_grown_box_holds_the_box_inside_the_image(ny, nx, j, i, dy, dx):
    j, i = j % ny, i % nx
    box = Box((0, j, i), (3, min(ny, j + dy), min(nx, i + dx)))
    grown = grow_to_multiple(box, (3, ny, nx))
    for axis, size in ((1, ny), (2, nx)):
        assert 0 <= grown.start[axis] <= box.start[axis]
        assert box.stop[axis] <= grown.stop[axis] <= size
        wide = grown.shape[axis]
        assert wide % MULTIPLE == 0 or wide == size
        assert wide - box.shape[axis] < MULTIPLE
    assert (grown.start[0], grown.stop[0]) == (0, 3)
