"""Hard spots: found where the reading was worst, kept once, dropped when learnt, drawn as often as asked."""

from dataclasses import replace

import numpy as np
import pytest

from PESemiSegLib.cohorts.augment import NO_AUGMENTATION
from PESemiSegLib.cohorts.cache import CachedVolume
from PESemiSegLib.cohorts.replay import COLUMNS, HardSpots, worst_spots
from PESemiSegLib.cohorts.sampling import LabelledCrops, SamplingConfig
from PESemiSegLib.errors import ConfigError, InputError


def _spots(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, COLUMNS)


def test_the_worst_spot_lies_on_the_mistake_in_the_volumes_own_voxels() -> None:
    mask = np.zeros((2, 1, 64, 64), np.float32)
    mask[:, 0, 10:20, 10:20] = 1
    probability = mask.copy()
    probability[0, 0, 40:46, 50:56] = 0.9  # a false mark
    probability[1] = 0.0  # a clot missed
    shift = np.array([[1.0, 0.0, 100.0], [0.0, 1.0, 200.0]])
    spots = worst_spots(probability, mask, np.array([3, 4]), np.array([7, 8]), np.stack([shift, shift]))
    np.testing.assert_array_equal(spots[:, :2], [[3, 7], [4, 8]])
    assert abs(spots[0, 2] - 242.5) <= 3
    assert abs(spots[0, 3] - 152.5) <= 3
    assert abs(spots[1, 2] - 214.5) <= 3
    assert abs(spots[1, 3] - 114.5) <= 3
    assert spots[0, 4] == pytest.approx(36 * 0.9 / 81, abs=1e-4)


def test_a_mask_read_one_pixel_too_wide_is_no_mistake() -> None:
    mask = np.zeros((1, 1, 64, 64), np.float32)
    mask[0, 0, 10:20, 10:20] = 1
    wide = np.zeros_like(mask)
    wide[0, 0, 9:21, 9:21] = 1
    identity = np.eye(3)[None, :2]
    assert worst_spots(wide, mask, np.array([0]), np.array([0]), identity)[0, 4] == 0


def test_the_list_keeps_the_worst_once_with_its_newest_score_and_drops_what_is_learnt() -> None:
    hard = HardSpots(2)
    hard.merge(_spots((0, 5, 50, 50, 0.9), (0, 5, 90, 90, 0.5), (1, 5, 50, 50, 0.7)))
    np.testing.assert_allclose(hard.state()[:, 4], [0.9, 0.7])  # capacity 2
    hard.merge(_spots((0, 6, 55, 48, 0.3)))  # the first one again, read better
    np.testing.assert_allclose(hard.state()[:, [0, 4]], [[1, 0.7], [0, 0.3]])
    hard.merge(_spots((1, 5, 50, 50, 0.05)))  # learnt
    np.testing.assert_allclose(hard.state()[:, [0, 4]], [[0, 0.3]])


def test_the_list_survives_a_checkpoint_and_refuses_another_array() -> None:
    hard, other = HardSpots(4), HardSpots(4)
    hard.merge(_spots((0, 5, 50, 50, 0.9), (1, 5, 50, 50, 0.7)))
    other.restore(hard.state())
    np.testing.assert_array_equal(hard.state(), other.state())
    with pytest.raises(InputError, match="damaged"):
        other.restore(np.zeros((3, 2)))


def test_batches_come_from_the_list_in_the_share_asked_for() -> None:
    hu = np.full((12, 64, 64), -800, np.int16)
    anchors = np.array([[0, 2, 32, 32]], np.int16)
    volume = CachedVolume("A", hu, np.zeros(hu.shape, np.uint8), anchors, 1.0, 2.0)
    config = SamplingConfig(batch=4, crop=32, jitter=0.0, augment=NO_AUGMENTATION, replay=0.25)
    crops = LabelledCrops([volume], config)
    assert all((crops.batch(i).z == 2).all() for i in range(20))  # nothing to replay yet
    crops.hard.merge(_spots((0, 9, 32, 32, 0.8)))
    drawn = np.concatenate([crops.batch(i).z for i in range(200)])
    assert np.mean(drawn == 9) == pytest.approx(0.25, abs=0.05)
    assert set(drawn) == {2, 9}


def test_impossible_shares_are_refused() -> None:
    with pytest.raises(ConfigError):
        replace(SamplingConfig(), replay=1.0)
    with pytest.raises(ConfigError):
        replace(SamplingConfig(), replay_capacity=0)
