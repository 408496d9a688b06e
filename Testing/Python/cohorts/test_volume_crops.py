"""Blocks of both phases: the same voxels of each, mask beside them, air beyond, emboli as often as asked."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from PESemiSegLib.cohorts.anchors import EMBOLUS, LUNG
from PESemiSegLib.cohorts.augment import NO_VOLUME_AUGMENTATION, VolumeAugmentConfig
from PESemiSegLib.cohorts.cache import CachedVolume, resample_blocks, resample_stack
from PESemiSegLib.cohorts.sampling import SamplingConfig
from PESemiSegLib.cohorts.volume_crops import PhaseStack, VolumeCrops
from PESemiSegLib.errors import ConfigError, InputError

STILL = SamplingConfig(
    batch=3, emboli=0.0, vessels=0.0, lookalikes=0.0, hu_window=(-100.0, 200.0), volume=NO_VOLUME_AUGMENTATION
)


def stack(shape, embolus=None, phases=2):
    """Each voxel tells its place; the second phase is the first with 40 HU more."""
    place = np.arange(np.prod(shape), dtype=np.int64).reshape(shape) % 100
    mask = np.zeros(shape, np.uint8)
    anchors = [[LUNG, *point] for point in itertools.product(*[range(0, length, 4) for length in shape])]
    if embolus is not None:
        mask[embolus] = 1
        anchors.append([EMBOLUS, *embolus])
    images = [(place + 40 * n).astype(np.int16) for n in range(phases)]
    return PhaseStack(
        tuple(CachedVolume("A", image, mask, np.array(anchors, np.int16), 3.0, 3.0) for image in images)
    )


def hu(image):
    return np.rint(image * 150 + 50)


@settings(max_examples=20, deadline=None)
@given(
    shape=st.tuples(*[st.integers(5, 40)] * 3),
    size=st.tuples(*[st.integers(8, 32)] * 3),
    seed=st.integers(0, 99),
)
def test_a_block_is_a_piece_of_both_scans_with_air_around(shape, size, seed):
    whole = stack(shape)
    batch = VolumeCrops([whole], size, STILL, seed).batch(0)
    assert batch.image.shape == (3, 2, *size)
    assert batch.mask.shape == (3, 1, *size)
    inside = [min(a, b) for a, b in zip(shape, size, strict=True)]
    for image in batch.image:
        first, second = hu(image)
        air = first == -100  # the window's lower end
        assert air.sum() == np.prod(size) - np.prod(inside)
        np.testing.assert_array_equal(second[~air], first[~air] + 40)
        if inside == list(size):
            flat = (np.arange(np.prod(shape)) % 100).reshape(shape)
            windows = np.lib.stride_tricks.sliding_window_view(flat, size)
            assert (windows == first).all(axis=(3, 4, 5)).any()


def test_padding_is_even_on_both_sides():
    batch = VolumeCrops([stack((4, 8, 8))], (8, 8, 8), replace(STILL, batch=1)).batch(0)
    air = hu(batch.image)[0, 0, :, 0, 0] == -100
    assert air.tolist() == [True, True, False, False, False, False, True, True]


def test_emboli_are_drawn_as_often_as_asked_and_lie_inside():
    patients = [stack((40, 40, 40), (35, 3, 20)), stack((40, 40, 40))]
    config = replace(STILL, emboli=1.0, jitter=0.4, batch=8)
    batch = VolumeCrops(patients, (16, 16, 16), config, 5).batch(0)
    assert (batch.mask.sum((1, 2, 3, 4)) == 1).all()
    assert set(batch.volume.tolist()) == {0}
    none = VolumeCrops(patients[1:], (16, 16, 16), config, 5).batch(0)  # nobody has one
    assert not none.mask.any()


def test_other_crops_lie_about_the_lungs():
    """A crop without an embolus is drawn about the same places as one with: place alone tells nothing."""
    whole = stack((60, 60, 60), (50, 50, 50))
    lungs = np.array([[LUNG, 20, 25, 30], [EMBOLUS, 50, 50, 50]], np.int16)
    phases = tuple(replace(phase, anchors=lungs) for phase in whole.phases)
    crops = VolumeCrops([PhaseStack(phases)], (16, 16, 16), replace(STILL, jitter=0.25, batch=1), 4)
    corners = np.array([crops._place(np.random.default_rng(n))[1] for n in range(200)])
    middles = corners + 8
    assert (abs(middles - [20, 25, 30]) <= 4.5).all()
    assert (np.ptp(middles, axis=0) >= 7).all()  # a quarter of 16 to either side
    without = tuple(replace(phase, anchors=lungs[1:]) for phase in whole.phases)  # no lung was found
    crops = VolumeCrops([PhaseStack(without)], (16, 16, 16), STILL, 4)
    assert crops.batch(0).mask.any((1, 2, 3, 4)).all()


def test_changes_are_the_same_for_phases_and_mask():
    """Where the mask is, both phases are dark, however the block was flipped and turned."""
    mask = np.zeros((32, 32, 32), np.uint8)
    mask[10:20, 8:14, 16:26] = 1
    anchors = np.array([[LUNG, 0, 0, 0]], np.int16)
    images = [np.where(mask, -60, high).astype(np.int16) for high in (150, 190)]
    whole = PhaseStack(tuple(CachedVolume("A", i, mask, anchors, 3.0, 3.0) for i in images))
    strong = VolumeAugmentConfig(0.5, 1.0, 180.0)
    crops = VolumeCrops([whole], (32, 32, 32), replace(STILL, volume=strong, batch=12), 3)
    batch = crops.batch(0)
    np.testing.assert_array_equal(batch.image, crops.batch(0).image)
    assert not np.array_equal(batch.image, crops.batch(1).image)
    marked = batch.mask[:, 0] > 0
    assert len({tuple(np.argwhere(m).mean(0).round(2)) for m in marked}) > 6
    for phase, high in enumerate((150, 190)):
        dark = hu(batch.image[:, phase])
        assert (dark[marked] < (high - 60) / 2 + 1).all()
    for turned in marked:
        assert turned.sum() == pytest.approx(mask.sum(), rel=0.12)


def test_stacks_without_mask_or_on_two_grids_are_refused():
    one, other = stack((8, 8, 8)).phases[0], stack((8, 8, 9)).phases[0]
    with pytest.raises(InputError, match="without a mask"):
        PhaseStack((replace(one, mask=None),))
    with pytest.raises(InputError, match="different grids"):
        PhaseStack((one, other))
    with pytest.raises(InputError, match="no pair of scans"):
        VolumeCrops([], (8, 8, 8), STILL)
    with pytest.raises(ConfigError, match="Probabilities"):
        VolumeAugmentConfig(flip_probability=1.5)


def test_slices_are_resampled_as_pixels_are():
    ramp = np.repeat(np.arange(24, dtype=np.int16)[:, None, None] * 10, 3, 1).repeat(2, 2)
    coarse = resample_stack(ramp, 1.0, 3.0)
    assert coarse.shape == (8, 3, 2)
    np.testing.assert_allclose(coarse[1:-1, 0, 0], np.arange(8)[1:-1] * 30 + 10, atol=1)
    mask = np.zeros((24, 3, 2), np.uint8)
    mask[6:15] = 1
    found = resample_blocks(mask, (1.0, 1.0, 1.0), 1.0, 3.0)
    np.testing.assert_array_equal(found[:, 0, 0], [0, 0, 1, 1, 1, 0, 0, 0])


@pytest.mark.parametrize("side", [2, 3, 9])
def test_no_embolus_vanishes_in_coarse_blocks_wherever_it_lies(side):
    """2 mm at 1 -> 3 mm: cut at a half axis by axis, it was gone in 25 of 27 places."""
    for corner in itertools.product(range(20, 23), repeat=3):
        mask = np.zeros((60, 60, 60), np.uint8)
        mask[tuple(slice(at, at + side) for at in corner)] = 1
        found = np.argwhere(resample_blocks(mask, (1.0, 1.0, 1.0), 3.0, 3.0))
        assert 1 <= len(found) <= max(8, (side / 3 + 1) ** 3)
        np.testing.assert_allclose(found.mean(0) * 3 + 1, np.array(corner) + (side - 1) / 2, atol=1.5)
