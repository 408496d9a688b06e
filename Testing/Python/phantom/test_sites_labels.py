"""How annotators of the sites draw: volumes relative to the exact clot, limits, misses, displacement."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from PESemiSegLib.errors import ConfigError
from PESemiSegLib.phantom.labels import DISPLACED, GENEROUS, STRICT, LabelStyle, annotate
from PESemiSegLib.phantom.sites import SITES, site

SPACING = (0.7, 0.7, 1.0)


def vessel(clots: int = 1, shape=(36, 46, 46)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A vessel of 7 mm radius along z, clots of 4 mm radius and 12 mm length in it: sdf, lesions, artery."""
    z, y, x = np.meshgrid(
        *(np.arange(n) * s for n, s in zip(shape, SPACING[::-1], strict=True)), indexing="ij"
    )
    radius = np.hypot(y - 15.75, x - 15.75)
    artery = (radius < 7.0).astype(np.uint8)
    sdf = np.full(shape, 50.0, np.float32)
    lesions = np.zeros(shape, np.int16)
    for n in range(clots):
        middle = (n + 0.5) * shape[0] / clots
        one = np.maximum(radius - 4.0, np.abs(z - middle) - 6.0).astype(np.float32)
        lesions[one < 0] = n + 1
        sdf = np.minimum(sdf, one)
    return sdf, lesions, artery


def drawn(
    style: LabelStyle, seed: int = 0, clots: int = 1, small: bool = False
) -> tuple[np.ndarray, list[int]]:
    sdf, lesions, artery = vessel(clots)
    flags = dict.fromkeys(range(1, clots + 1), small)
    return annotate(style, sdf, lesions, artery, SPACING, np.random.default_rng(seed), flags)


def ratio(style: LabelStyle, seed: int) -> float:
    label, _ = drawn(style, seed)
    return float(label.sum() / (vessel()[1] > 0).sum())


def test_strict_labels_are_smaller_than_the_clot_and_generous_ones_larger() -> None:
    strict = [ratio(STRICT, seed) for seed in range(6)]
    generous = [ratio(GENEROUS, seed) for seed in range(6)]
    assert all(0.65 < r < 1.0 for r in strict)
    assert np.mean(strict) < 0.95
    assert all(1.5 < r < 6.0 for r in generous)


def test_strict_erosion_is_a_third_to_half_a_voxel() -> None:
    sdf, lesions, _ = vessel()
    still = replace(STRICT, jitter_mm=0.0)
    label, _ = drawn(still, 3)
    depth = -sdf[(lesions > 0) & (label == 0)].min(), -sdf[label > 0].max()
    assert depth[0] <= 0.5 * 0.7 + 1e-6  # nothing deeper than the most an annotator shaves off is missing
    assert depth[1] >= 0.3 * 0.7 - 1e-6  # nothing shallower than the least is drawn


def test_generous_labels_stay_in_the_lumen_but_for_the_partial_volume_rim() -> None:
    sdf, _, artery = vessel()
    label, _ = drawn(replace(GENEROUS, jitter_mm=0.0, dilation_mm=(4.0, 4.0)), 1)
    outside = ndimage.distance_transform_edt(artery == 0, sampling=SPACING[::-1])
    assert 0 < outside[label > 0].max() <= 0.7 + 1e-6
    assert sdf[label > 0].max() <= 4.0 + 1.5  # at most 4 mm about the obstruction, and a voxel's rounding


def test_without_jitter_the_whole_exact_clot_is_in_a_generous_label() -> None:
    _, lesions, _ = vessel()
    label, _ = drawn(replace(GENEROUS, jitter_mm=0.0), 5)
    assert (label[lesions > 0] == 1).all()


def test_displaced_labels_move_in_plane_and_differently_for_each_patient() -> None:
    centres = np.array([ndimage.center_of_mass(drawn(DISPLACED, seed)[0]) for seed in range(12)])
    offset = (centres - ndimage.center_of_mass(vessel()[1])) * SPACING[::-1]
    assert 0.4 < offset[:, 1:].std() < 1.7  # mm
    assert np.abs(offset[:, 0]).max() < 1.0
    still = np.array([ndimage.center_of_mass(drawn(GENEROUS, seed)[0]) for seed in range(12)])
    assert ((still - ndimage.center_of_mass(vessel()[1])) * SPACING[::-1])[:, 1:].std() < 0.35


@pytest.mark.parametrize("style", [STRICT, GENEROUS, DISPLACED], ids=lambda s: s.name)
def test_subsegmental_lesions_are_missed_as_often_as_the_style_says(style: LabelStyle) -> None:
    lesions = np.zeros((5, 5, 150), np.int16)
    lesions[2, 2, ::3] = np.arange(50) + 1
    sdf = np.where(lesions > 0, -0.5, 1.0).astype(np.float32)
    calm = replace(style, dilation_mm=(0.0, 0.0), displacement_mm=0.0, jitter_mm=0.0)
    shares = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        label, missed = annotate(
            calm,
            sdf,
            lesions,
            (lesions > 0).astype(np.uint8),
            SPACING,
            rng,
            dict.fromkeys(range(1, 51), True),
        )
        assert sorted(missed) == sorted(set(lesions[label == 0].tolist()) - {0})
        shares.append(len(missed) / 50)
    assert np.mean(shares) == pytest.approx(style.miss_subsegmental, abs=0.05)
    assert 0.1 <= style.miss_subsegmental <= 0.2


def test_large_lesions_are_never_missed() -> None:
    assert all(not drawn(STRICT, seed, clots=3, small=False)[1] for seed in range(20))


def test_boundary_jitter_moves_the_edge_by_a_fraction_of_a_millimetre() -> None:
    sdf, _, _ = vessel()
    calm, _ = drawn(replace(STRICT, jitter_mm=0.0), 2)
    jittered, _ = drawn(STRICT, 2)
    changed = np.abs(sdf[calm != jittered])
    assert changed.size > 20
    assert np.median(changed) < 0.8


def test_a_tiny_clot_is_still_drawn_strictly() -> None:
    sdf = np.full((9, 9, 9), 5.0, np.float32)
    sdf[4, 4, 4] = -0.05
    lesions = (sdf < 0).astype(np.int16)
    label, missed = annotate(
        STRICT, sdf, lesions, lesions.astype(np.uint8), SPACING, np.random.default_rng(0)
    )
    assert label.sum() == 1
    assert missed == []


def test_no_lesions_no_label_and_the_same_seed_the_same_hand() -> None:
    empty = np.zeros((4, 8, 8), np.int16)
    label, missed = annotate(
        GENEROUS,
        np.full(empty.shape, 9.0, np.float32),
        empty,
        empty.astype(np.uint8),
        SPACING,
        np.random.default_rng(0),
    )
    assert label.dtype == np.uint8
    assert not label.any()
    assert missed == []
    np.testing.assert_array_equal(drawn(DISPLACED, 4)[0], drawn(DISPLACED, 4)[0])


def test_the_sites_differ_as_the_study_says() -> None:
    a, b, c = (SITES[name] for name in "ABC")
    assert a.labels.erosion_voxels == (0.3, 0.5)
    assert a.scanner.kvp == (120,)
    assert b.labels.dilation_mm == c.labels.dilation_mm == (2.0, 4.0)
    assert c.labels.displacement_mm > 0
    assert b.scanner.kernel.overshoot > a.scanner.kernel.overshoot
    assert c.scanner.fov_mm[0] >= b.scanner.fov_mm[1]
    for one in SITES.values():
        assert 320 <= one.scanner.fov_mm[0] <= one.scanner.fov_mm[1] <= 400
        assert all(80 <= kvp <= 120 for kvp in one.scanner.kvp)
    with pytest.raises(ConfigError, match="site"):
        site("D")
