"""Lung opacities: which scan of a patient is taken; lung-box crops, flips, cutout, decks of slices."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from PESemiSegLib.cohorts.anchors import find_anchors
from PESemiSegLib.cohorts.augment import NO_AUGMENTATION, AugmentConfig, crop_transform, cut_out
from PESemiSegLib.cohorts.cache import CachedVolume
from PESemiSegLib.cohorts.folders import from_phantom
from PESemiSegLib.cohorts.sampling import LabelledCrops, SamplingConfig, UnlabelledSlices, to_hu, to_input
from PESemiSegLib.errors import ConfigError, InputError

CONFIG = SamplingConfig(batch=4, crop=32, emboli=1.0, vessels=0.0, lookalikes=0.0, augment=NO_AUGMENTATION)
BOX = (slice(14, 30), slice(20, 50))  # rows and columns of the lungs


def _volume(seed: int, slices: int = 6) -> CachedVolume:
    """Lungs in all slices but the first and last; each pixel of the image tells where it is."""
    rng = np.random.default_rng(seed)
    hu = np.full((slices, 64, 72), 40, np.int16)
    hu[1:-1, BOX[0], BOX[1]] = -800
    mask = np.zeros(hu.shape, np.uint8)
    mask[2, 16:20, 30:34] = 1
    anchors = find_anchors(hu, mask, (4.0, 5.0), rng)
    return CachedVolume("A", hu, mask, anchors, 4.0, 5.0)


def _patient(folder: Path, number: int, contrast: bool, mapped: bool = True) -> None:
    folder = folder / (f"A-s1-p{number:04d}" + ("" if contrast else "-noncontrast"))
    folder.mkdir(parents=True)
    for name in ("ct", "clot", "lesions", *(["opacities"] if mapped else [])):
        (folder / f"{name}.nii.gz").write_bytes(f"{number}{name}{contrast}".encode())
    recipe = {"site": "A", "seed": 1, "patient": number, "contrast": contrast}
    (folder / "recipe.json").write_text(json.dumps(recipe))
    (folder / "facts.json").write_text(json.dumps({"lesions": [], "label_style": "strict"}))


def test_of_opacities_the_scan_without_contrast_is_taken_where_there_is_one(tmp_path: Path) -> None:
    for number, phases in enumerate(((True, False), (True,), (False,))):
        for contrast in phases:
            _patient(tmp_path, number, contrast)
    cases = from_phantom(tmp_path, marks="opacities", validation=0.0)
    taken = [case.image.parent.name for case in cases.select()]
    assert taken == ["A-s1-p0000-noncontrast", "A-s1-p0001", "A-s1-p0002-noncontrast"]
    assert all(case.mask and case.mask.name == "opacities.nii.gz" for case in cases.select())
    assert all((case.lesions, case.marks) == (None, "opacities") for case in cases.select())
    (left,) = cases.select(role="excluded")
    assert "without contrast is taken" in left.problems[0]
    emboli = [case.image.parent.name for case in from_phantom(tmp_path, validation=0.0).select()]
    assert emboli == ["A-s1-p0000", "A-s1-p0001"]
    bare = from_phantom(tmp_path, marks="opacities", validation=0.0, role="unlabelled")
    assert [case.mask for case in bare.select()] == [None] * 3


def test_a_patient_without_a_map_is_told_how_to_get_one(tmp_path: Path) -> None:
    _patient(tmp_path, 0, True, mapped=False)
    with pytest.raises(InputError, match="made without --opacities"):
        from_phantom(tmp_path, marks="opacities")
    with pytest.raises(InputError, match="older version"):
        from_phantom(tmp_path, marks="arteries")


def test_crops_keep_to_the_box_of_the_lungs() -> None:
    """Rows: the box is smaller than the crop, which is centred on it. Columns: likewise."""
    volume = _volume(1)
    crops = LabelledCrops([volume], replace(CONFIG, lung_box=True, jitter=0.5))
    batch = crops.batch(3)
    middle = (CONFIG.crop - 1) / 2
    centres = [transform @ np.array([middle, middle, 1.0]) for transform in batch.transform]
    lung = volume.anchors[volume.anchors[:, 0] == 0][:, 2:]
    expected = (lung.min(0) + lung.max(0)) / 2
    np.testing.assert_allclose(np.array(centres)[:, ::-1], np.tile(expected, (4, 1)))
    assert batch.slices == 1
    free = LabelledCrops([volume], replace(CONFIG, jitter=0.5)).batch(3)
    assert np.ptp(free.transform[:, :, 2], axis=0).min() > 0


def test_a_deck_holds_every_slice_of_lung_once_and_no_mask() -> None:
    volumes = [_volume(1), _volume(2, slices=9)]
    deck = UnlabelledSlices(volumes, replace(CONFIG, batch=4), seed=5)
    assert len(deck) == 4 + 7
    assert [len(deck.batch(number).image) for number in range(5)] == [4, 4, 3, 0, 0]
    assert deck.batch(9).image.shape == (0, 1, 32, 32)
    assert all(volume.mask is None for volume in deck.volumes)
    assert len(np.unique(deck._deck, axis=0)) == 11
    again = UnlabelledSlices(volumes, replace(CONFIG, batch=4), seed=5)
    np.testing.assert_array_equal(deck.batch(1).image, again.batch(1).image)
    other = UnlabelledSlices(volumes, replace(CONFIG, batch=4), seed=6)
    assert not np.array_equal(other._deck, deck._deck)


def test_flips_turn_both_axes_and_draw_nothing_where_they_are_off() -> None:
    found = set()
    flips = replace(NO_AUGMENTATION, flip_lr=True, flip_ud=True)
    for seed in range(20):
        turn = crop_transform((15.5, 15.5), 32, flips, np.random.default_rng(seed))
        corner = turn @ np.array([0.0, 0.0, 1.0])
        found.add(tuple(np.round(corner).astype(int).tolist()))
    assert found == {(0, 0), (31, 0), (0, 31), (31, 31)}
    one, two = np.random.default_rng(3), np.random.default_rng(3)
    crop_transform((15.5, 15.5), 32, NO_AUGMENTATION, one)
    two.uniform(), two.uniform()
    assert one.random() == two.random()


def test_cutout_blackens_one_square_of_a_given_side_as_often_as_asked() -> None:
    config = replace(NO_AUGMENTATION, cutout_probability=0.25, cutout_pixels=(5, 9, 40))
    rng, sides = np.random.default_rng(0), []
    for _ in range(400):
        cut = np.argwhere(cut_out(np.ones((2, 20, 24), np.float32), config, rng)[1] == -1)
        if len(cut):
            height, width = np.ptp(cut, axis=0) + 1
            assert len(cut) == height * width
            sides.append((int(height), int(width)))
    assert set(sides) == {(5, 5), (9, 9), (20, 24)}
    assert 70 < len(sides) < 130
    for wrong in ({"cutout_probability": 0.5}, {"cutout_pixels": (0,)}, {"cutout_probability": 2.0}):
        with pytest.raises(ConfigError, match="Cutout"):
            AugmentConfig(**wrong)  # type: ignore[arg-type]


def test_hu_come_back_out_of_the_window() -> None:
    rng = np.random.default_rng(0)
    hu = rng.uniform(-150, 230, (1, 6, 6)).astype(np.float32)
    np.testing.assert_allclose(to_hu(to_input(hu.copy(), CONFIG, rng), CONFIG), hu, atol=1e-3)
