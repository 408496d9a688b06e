"""Crops: ratios, alignment of image and mask, repeatability, and no mask for unlabelled sets."""

from dataclasses import fields, replace

import numpy as np
import pytest

from PESemiSegLib.cohorts.anchors import EMBOLUS, LOOKALIKE, LUNG, VESSEL, find_anchors
from PESemiSegLib.cohorts.augment import NO_AUGMENTATION, AugmentConfig, crop_transform, warp
from PESemiSegLib.cohorts.cache import CachedVolume
from PESemiSegLib.cohorts.prefetch import Prefetcher
from PESemiSegLib.cohorts.sampling import (
    ImageBatch,
    LabelledCrops,
    SamplingConfig,
    UnlabelledCrops,
)
from PESemiSegLib.errors import ConfigError, InputError

PLAIN = SamplingConfig(batch=4, crop=32, jitter=0.0, augment=NO_AUGMENTATION)


def _volume(emboli: bool = True, site: str = "A") -> CachedVolume:
    """A body with two lungs, vessels of 300 HU in them, and on some slices clots of 40 HU in the vessels."""
    hu = np.full((10, 96, 96), -1000, np.int16)
    hu[:, 10:86, 6:90] = 40
    hu[:, 20:76, 12:40] = -850
    hu[:, 20:76, 56:84] = -850
    hu[:, 30:34, 20:30] = 300
    hu[:, 50:60, 60:70] = 300
    mask = np.zeros(hu.shape, np.uint8)
    if emboli:
        hu[3:6, 52:58, 62:68] = 40
        mask[3:6, 52:58, 62:68] = 1
        hu[7, 31:33, 24:26] = 40
        mask[7, 31:33, 24:26] = 1
    anchors = find_anchors(hu, mask, (1.0, 2.0), np.random.default_rng(0))
    return CachedVolume(site, hu, mask, anchors, 1.0, 2.0)


def test_anchors_lie_on_what_they_are_named_after() -> None:
    volume = _volume()
    kind, where = volume.anchors[:, 0], tuple(volume.anchors[:, 1:].T)
    assert volume.mask is not None
    assert np.all(volume.mask[where][kind == EMBOLUS] == 1)
    assert np.all(volume.image[where][kind == VESSEL] >= 130)
    assert np.all(volume.image[where][kind == LUNG] < -400)
    on_small = np.sum((kind == EMBOLUS) & (volume.anchors[:, 1] == 7))
    assert on_small >= 4  # 4 of its 4 voxels, against 7 of the 108 of the large one


def test_lookalikes_are_small_soft_tissue_that_is_no_clot() -> None:
    volume = _volume()
    image = volume.image.copy()
    image[2:5, 20:26, 30:36] = 40  # a node
    image[2:5, 60:90, 20:50] = 40  # too wide: heart
    image[2:5, 40, 20:60] = 40  # too thin: a rim
    assert volume.mask is not None
    anchors = find_anchors(image, volume.mask, (1.0, 2.0), np.random.default_rng(0))
    z, y, x = anchors[anchors[:, 0] == LOOKALIKE, 1:].T
    assert len(z)
    assert np.all((y >= 20) & (y < 26) & (x >= 30) & (x < 36))
    assert not np.any(volume.mask[z, y, x])


def test_slices_are_counted_that_crops_are_drawn_from() -> None:
    """Clots are on slices 3 to 5 and 7 of 10; lung is on all of them."""
    others = {"vessels": 0.0, "lookalikes": 0.0}
    for emboli, slices in ((1.0, 4), (0.5, 20), (0.0, 20)):
        config = replace(PLAIN, emboli=emboli, **others)
        assert LabelledCrops([_volume(), _volume(False)], config).batch(0).slices == slices


def test_the_ratio_of_kinds_is_the_one_asked_for() -> None:
    crops = LabelledCrops(
        [_volume(), _volume(False)], replace(PLAIN, emboli=0.4, vessels=0.25, lookalikes=0.2), seed=3
    )
    rng = np.random.default_rng(0)
    kinds = np.array([crops._kind(rng) for _ in range(4000)])
    shares = [np.mean(kinds == kind) for kind in (EMBOLUS, VESSEL, LOOKALIKE, LUNG)]
    np.testing.assert_allclose(shares, [0.4, 0.25, 0.2, 0.15], atol=0.03)


def test_positive_crops_hold_emboli_and_negative_ones_may_not() -> None:
    everything = LabelledCrops([_volume()], replace(PLAIN, emboli=1.0, vessels=0.0, lookalikes=0.0))
    assert all(everything.batch(i).mask.max(axis=(1, 2, 3)).min() == 1 for i in range(10))
    clean = LabelledCrops([_volume(False)], replace(PLAIN, emboli=1.0, vessels=0.0, lookalikes=0.0))
    assert clean.batch(0).mask.sum() == 0  # no embolus anywhere: lung and vessels instead


def test_image_and_mask_stay_together_under_rotation_and_scale() -> None:
    augment = replace(NO_AUGMENTATION, rotation_deg=10.0, scale=0.1)
    crops = LabelledCrops(
        [_volume()], replace(PLAIN, emboli=1.0, vessels=0.0, lookalikes=0.0, augment=augment, jitter=0.2)
    )
    for iteration in range(20):
        batch = crops.batch(iteration)
        inside = batch.image[batch.mask > 0]
        assert np.mean(inside < 0.45) > 0.6  # 40 HU -> 0.0; the vessel around it saturates at 1


def test_a_batch_depends_on_seed_and_iteration_alone() -> None:
    volumes = [_volume(), _volume(False)]
    config = replace(PLAIN, augment=AugmentConfig(), jitter=0.3, context=3)
    one, two = LabelledCrops(volumes, config, seed=5), LabelledCrops(volumes, config, seed=5)
    two.batch(0)
    np.testing.assert_array_equal(one.batch(7).image, two.batch(7).image)
    assert not np.array_equal(one.batch(8).image, one.batch(7).image)
    assert not np.array_equal(LabelledCrops(volumes, config, seed=6).batch(7).image, one.batch(7).image)


def test_context_gives_the_neighbouring_slices_in_order() -> None:
    volume = _volume(False)
    ramp = np.broadcast_to(np.arange(10, dtype=np.int16)[:, None, None] * 10, volume.image.shape)
    crops = LabelledCrops(
        [replace(volume, image=np.ascontiguousarray(ramp))], replace(PLAIN, context=3, batch=8)
    )
    image = crops.batch(0).image * 200 + 40  # back to HU
    below, middle, above = (image[:, c, 16, 16] for c in range(3))
    assert np.all((above - below > 5) | (middle % 90 < 1))
    np.testing.assert_allclose(np.clip(middle + 10, 0, 90), above, atol=0.1)
    np.testing.assert_allclose(np.clip(middle - 10, 0, 90), below, atol=0.1)


def test_unlabelled_batches_have_no_mask_field_and_masks_are_dropped() -> None:
    assert [field.name for field in fields(ImageBatch)] == ["image"]
    crops = UnlabelledCrops([_volume()], PLAIN)
    assert all(volume.mask is None for volume in crops.volumes)
    assert all(not np.any(volume.anchors[:, 0] == EMBOLUS) for volume in crops.volumes)
    assert crops.batch(0).image.shape == (4, 1, 32, 32)


def test_unlabelled_crops_lie_where_labelled_ones_would(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = replace(PLAIN, batch=50, emboli=0.4, vessels=0.2, lookalikes=0.25)
    crops, drawn = UnlabelledCrops([_volume()], shares), []
    monkeypatch.setattr(crops, "_draw", lambda kind, rng: drawn.append(kind) or (0, np.array([4, 30, 30])))
    for iteration in range(20):
        crops.batch(iteration)
    found = [drawn.count(kind) / len(drawn) for kind in (LOOKALIKE, VESSEL, LUNG, EMBOLUS)]
    np.testing.assert_allclose(found, (0.65, 0.2, 0.15, 0.0), atol=0.05)


def test_labelled_sets_refuse_volumes_without_masks_and_empty_sets() -> None:
    with pytest.raises(InputError, match="without a mask"):
        LabelledCrops([replace(_volume(), mask=None)], PLAIN)
    with pytest.raises(InputError, match="no scan"):
        LabelledCrops([], PLAIN)


def test_a_field_without_lung_is_drawn_from_anywhere() -> None:
    hu, mask = np.full((4, 64, 64), 60, np.int16), np.zeros((4, 64, 64), np.uint8)
    mask[1, 20:24, 20:24] = 1
    volume = CachedVolume(
        "A", hu, mask, find_anchors(hu, mask, (1.0, 2.0), np.random.default_rng(0)), 1.0, 2.0
    )
    assert (
        LabelledCrops([volume], replace(PLAIN, emboli=0.0, vessels=1.0, lookalikes=0.0))
        .batch(0)
        .image.shape[0]
        == 4
    )
    assert UnlabelledCrops([volume], PLAIN).batch(0).image.shape[0] == 4


@pytest.mark.parametrize(
    "changes", [{"crop": 30}, {"context": 2}, {"emboli": 0.8, "vessels": 0.4}, {"hu_window": (240.0, -160.0)}]
)
def test_impossible_settings_are_refused(changes: dict) -> None:
    with pytest.raises(ConfigError):
        replace(PLAIN, **changes)


@pytest.mark.parametrize("hu_window", [(-160.0, 240.0), (-151.3, 247.9)])
def test_training_and_use_see_the_same_numbers_of_a_slice(hu_window: tuple[float, float]) -> None:
    from PESemiSegLib.inference.prepare import SlicePreparer
    from PESemiSegLib.inference.result import Box

    hu = np.random.default_rng(0).integers(-1024, 1500, (5, 64, 64)).astype(np.int16)
    volume = CachedVolume("A", hu, np.ones(hu.shape, np.uint8), np.array([[LUNG, 2, 9, 40]]), 0.9, 2.0)
    config = replace(PLAIN, batch=1, crop=64, context=3, hu_window=hu_window)
    prepared = SlicePreparer(
        hu, Box.whole(hu.shape), (0.92, 0.88, 2.0), hu_window=hu_window, wanted_mm=0.9, context=3
    )
    drawn = LabelledCrops([volume], config).batch(0)
    np.testing.assert_array_equal(drawn.image[0], prepared.input(2))


def test_without_augmentation_a_crop_is_the_slices_own_pixels() -> None:
    plane = np.arange(64 * 64, dtype=np.int16).reshape(64, 64)
    transform = crop_transform((31.5, 23.5), 16, NO_AUGMENTATION, np.random.default_rng(0))
    np.testing.assert_array_equal(warp(plane, transform, 16, -1024), plane[24:40, 16:32])


def test_prefetching_keeps_order_hands_errors_on_and_stops_early() -> None:
    with Prefetcher(lambda i: i * i, 2, 8) as numbers:
        assert list(numbers) == [4, 9, 16, 25, 36, 49]

    def fails(i: int) -> int:
        if i == 2:
            raise InputError("unreadable")
        return i

    with Prefetcher(fails, 0, 9) as numbers, pytest.raises(InputError, match="unreadable"):
        list(numbers)
    with Prefetcher(lambda i: i, 0, 10**9) as numbers:
        assert next(numbers) == 0
