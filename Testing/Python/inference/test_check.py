"""The input check: drawn chests with one fault each, and what it says of real scans."""

import dataclasses

import numpy as np
import pytest

from PESemiSegLib.errors import InputError
from PESemiSegLib.inference.check import check
from PESemiSegLib.inference.enhancement import estimate
from PESemiSegLib.inference.lungs import lung_mask
from PESemiSegLib.inference.result import CheckLine, InputCheck
from PESemiSegLib.volumes.volume import from_array


def checked(hu, spacing_mm=(2.0, 2.0, 3.0), **facts):
    return check(from_array(hu, np.diag([*spacing_mm, 1.0]), **facts))


def codes(result, level="warning"):
    return {s.code for s in result.sentences if s.level == level}


def test_a_good_scan_passes_strictly(chest):
    result = check(chest.volume)
    assert result.level == "ok", [s for s in result.sentences if s.level != "ok"]
    result.require()
    assert {"ct", "hu_range", "slice_spacing", "chest", "enhanced", "motion"} <= codes(result, "ok")


@pytest.mark.parametrize("blood_hu", [150, 250, 350, 600])
def test_trunk_is_measured(make_chest, blood_hu):
    assert check(make_chest(blood_hu=blood_hu).volume).pa_hu == pytest.approx(blood_hu, abs=12)


@pytest.mark.parametrize(
    ("blood_hu", "code"), [(40, "not_enhanced"), (90, "not_enhanced"), (150, "weakly_enhanced")]
)
def test_missing_contrast_is_said(make_chest, blood_hu, code):
    result = check(make_chest(blood_hu=blood_hu).volume)
    assert codes(result) == {code}
    assert f"{result.pa_hu:.0f} HU" in next(s.text for s in result.sentences if s.code == code)


@pytest.mark.parametrize("blood_hu", [40, 350])
def test_of_what_needs_no_contrast_none_is_asked(make_chest, blood_hu):
    result = check(make_chest(blood_hu=blood_hu).volume, phase=None)
    result.require(strict=True)
    assert not any("contrast" in s.text or "enhanced" in s.text for s in result.sentences)
    assert "noise" in codes(check(make_chest(blood_hu=blood_hu, noise_hu=130.0).volume, phase=None))


def test_noise_is_said_and_measured(make_chest):
    quiet, loud = (check(make_chest(noise_hu=n).volume) for n in (15.0, 90.0))
    assert quiet.noise_hu == pytest.approx(15, rel=0.3)
    assert "noise" in codes(loud)


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (lambda hu: hu + 1024, "intercept"),
        (lambda hu: np.clip((hu + 1024) / 12, 0, 255).astype(np.int16), "8-bit"),
        (lambda hu: np.full_like(hu, 7), "empty"),
    ],
    ids=["no intercept", "8 bit", "constant"],
)
def test_values_that_are_not_hu_are_an_error(chest, change, hint):
    result = checked(change(chest.hu))
    text = next(s.text for s in result.sentences if s.code == "hu_range")
    assert "hu_range" in codes(result, "error")
    assert hint in text


def test_another_modality_is_an_error(chest):
    assert "not_ct" in codes(checked(chest.hu, modality="MR"), "error")


def test_thick_slices_are_said(chest):
    assert "slice_spacing" in codes(checked(chest.hu[::2], (2.0, 2.0, 6.0)))
    assert "slice_spacing" not in codes(checked(chest.hu, (2.0, 2.0, 3.0)))


def test_the_gap_between_coronal_slices_is_said(chest):
    every_third = np.ascontiguousarray(chest.hu[:, ::3].transpose(1, 0, 2))  # slices of 6 mm, front to back
    affine = np.zeros((4, 4))
    affine[0, 0], affine[2, 1], affine[1, 2], affine[3, 3] = 2.0, 3.0, 6.0, 1.0
    result = check(from_array(every_third, affine))
    assert result.slice_spacing_mm == pytest.approx(6.0)
    assert "slice_spacing" in codes(result)


@pytest.mark.parametrize(
    ("part", "word"),
    [(slice(0, 50), "apices"), (slice(30, 80), "bases"), (slice(30, 50), "bases and apices")],
)
def test_a_cut_chest_is_said(chest, part, word):
    text = next(s.text for s in checked(chest.hu[part]).sentences if s.code == "chest_cut")
    assert word in text


def test_field_of_view_that_cuts_lung_is_said(chest):
    assert "fov_cut" in codes(checked(np.ascontiguousarray(chest.hu[:, :, 40:-40])))


def test_an_opaque_lung_is_said_on_the_right_side(make_chest):
    for side in ("left", "right"):
        result = check(make_chest(missing=side).volume)
        assert side in next(s.text for s in result.sentences if s.code == "one_lung")


def test_a_breath_between_two_slices_is_said(chest):
    hu = chest.hu.copy()
    hu[45:] = np.roll(hu[45:], 6, axis=1)  # 12 mm
    result = checked(hu)
    assert "slices 45 and 46:" in next(s.text for s in result.sentences if s.code == "motion")
    assert "motion" in codes(result)


def test_warnings_of_the_reader_are_passed_on(chest):
    result = checked(chest.hu, warnings=("Two slices are missing.",))
    assert CheckLine("warning", "reader", "Two slices are missing.") in result.sentences


def test_sentences_are_sentences(make_chest):
    for volume in (make_chest(blood_hu=40.0, missing="left").volume, make_chest().volume):
        for line in check(volume).sentences:
            assert line.text[0].isupper()
            assert line.text.endswith(".")
            assert "\n" not in line.text


def test_strict_names_the_worst_and_counts_the_rest():
    lines = [CheckLine("ok", "a", "A."), CheckLine("warning", "b", "B."), CheckLine("error", "c", "C.")]
    result = InputCheck(lines)
    result.require(strict=False)
    with pytest.raises(InputError, match=r"C\. \(and 1 more\)"):
        result.require()
    assert result.level == "error"


def test_checks_of_hopeless_volumes_do_not_break():
    rng = np.random.default_rng(0)
    for hu in (np.zeros((1, 1, 1)), np.full((3, 20, 20), -1000), rng.normal(0, 800, (12, 40, 40))):
        result = checked(hu.astype(np.int16))
        assert "no_lungs" in codes(result, "error")
        assert result.pa_hu is None


def test_no_estimate_without_lungs():
    hu = np.full((4, 30, 30), 40, np.int16)
    assert estimate(hu, lung_mask(hu, (2.0, 2.0, 3.0))) is None


@pytest.mark.parametrize(
    ("name", "warnings", "errors", "pa_hu"),
    [
        ("crop", {"chest_cut", "fov_cut"}, set(), (480, 560)),  # 537 by the artery's mask
        ("two", {"chest_cut", "trunk_unseen"}, set(), (400, 700)),
        ("lidc", {"chest_cut", "not_enhanced"}, set(), (25, 60)),
        ("tiny", {"slice_spacing", "not_enhanced"}, set(), (25, 60)),
        ("abdomen", set(), {"no_lungs"}, None),
    ],
)
def test_real_scans(read_real, name, warnings, errors, pa_hu):
    volume = read_real(name)
    facts = dataclasses.replace(volume.facts, warnings=())  # what the reader says is tested there
    result = check(dataclasses.replace(volume, facts=facts))
    assert codes(result) == warnings
    assert codes(result, "error") == errors
    if pa_hu:
        assert pa_hu[0] < result.pa_hu < pa_hu[1]
