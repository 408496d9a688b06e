"""A made-up patient on the disk: read back by others, identifiers, overwriting, no half results."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from PESemiSegLib.errors import ConfigError, OutputError
from PESemiSegLib.phantom import write
from PESemiSegLib.phantom.dicom import series_uids
from PESemiSegLib.phantom.patient import PhantomCase
from PESemiSegLib.phantom.recipe import Recipe
from PESemiSegLib.phantom.write import MASKS, write_case
from PESemiSegLib.volumes import read

SHAPE = (5, 24, 20)


@pytest.fixture
def case() -> PhantomCase:
    rng = np.random.default_rng(3)
    affine = np.diag([0.703125, 0.703125, 1.25, 1.0])
    affine[:3, 3] = (-171.3, -150.25, -180.5)
    lesions = rng.integers(0, 4, SHAPE).astype(np.int16)
    return PhantomCase(
        hu=rng.integers(-1024, 3072, SHAPE).astype(np.int16),
        affine=affine,
        clot=(lesions > 1).astype(np.uint8),
        clot_exact=(lesions > 0).astype(np.uint8),
        artery=np.ones(SHAPE, np.uint8),
        lesions=lesions,
        recipe=Recipe("B", 7, 12, "ci"),
        facts={
            "scanner": {
                "scanner": "B",
                "thickness_mm": 1.5,
                "increment_mm": 1.25,
                "kvp": 100,
                "fov_mm": 360,
                "kernel": {"name": "PHANTOM-SHARP"},
            },
            "numbers": np.float32(1.5),
        },
    )


def test_dicom_comes_back_through_simpleitk(case: PhantomCase, tmp_path: Path) -> None:
    folder = write_case(case, tmp_path / "one", "dicom")
    reader = sitk.ImageSeriesReader()
    ids = reader.GetGDCMSeriesIDs(str(folder / "ct"))
    assert len(ids) == 1
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder / "ct"), ids[0]))
    image = reader.Execute()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), case.hu)
    np.testing.assert_allclose(image.GetSpacing(), (0.703125, 0.703125, 1.25), atol=1e-5)
    np.testing.assert_allclose(image.GetOrigin(), (-171.3, -150.25, -180.5), atol=1e-5)
    np.testing.assert_allclose(image.GetDirection(), np.eye(3).ravel())


def test_dicom_and_nifti_come_back_through_the_house_and_masks_fit(case: PhantomCase, tmp_path: Path) -> None:
    dicom = write_case(case, tmp_path / "one", "dicom")
    nifti = write_case(case, tmp_path / "two", "nifti")
    for source in (dicom / "ct", nifti / "ct.nii.gz"):
        volume = read(source)
        np.testing.assert_array_equal(volume.hu, case.hu)
        np.testing.assert_allclose(volume.affine, case.affine, atol=1e-4)
    for name in MASKS:
        image = sitk.ReadImage(str(dicom / f"{name}.nii.gz"))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), getattr(case, name))
        np.testing.assert_allclose(image.GetOrigin(), case.affine[:3, 3], atol=1e-4)


def test_dicom_is_a_valid_anonymous_ct_series(case: PhantomCase, tmp_path: Path) -> None:
    folder = write_case(case, tmp_path / "one", "dicom")
    slices = [pydicom.dcmread(path) for path in sorted((folder / "ct").iterdir())]
    first = slices[0]
    assert first.SOPClassUID == pydicom.uid.CTImageStorage
    assert first.file_meta.MediaStorageSOPInstanceUID == first.SOPInstanceUID
    assert (first.RescaleIntercept, first.RescaleSlope, first.KVP) == (-1024, 1, 100)
    assert first.ConvolutionKernel == "PHANTOM-SHARP"
    assert first.ContrastBolusAgent
    assert first.PatientIdentityRemoved == "YES"
    assert "PHANTOM" in str(first.PatientName)
    assert first.SliceThickness == 1.5
    assert len({s.SOPInstanceUID for s in slices}) == len(slices) == 5
    assert len({s.SeriesInstanceUID for s in slices}) == 1
    assert all(pydicom.uid.UID(u).is_valid for s in slices for u in (s.SOPInstanceUID, s.StudyInstanceUID))
    assert np.diff([float(s.ImagePositionPatient[2]) for s in slices]) == pytest.approx(1.25)
    assert [int(s.InstanceNumber) for s in slices] == [1, 2, 3, 4, 5]
    needed = ("PatientID", "FrameOfReferenceUID", "StudyDate", "ImageType", "PixelSpacing", "PatientPosition")
    assert all(keyword in first for keyword in needed)


def test_the_twin_shares_study_and_frame_but_not_the_series(case: PhantomCase, tmp_path: Path) -> None:
    first = write_case(case, tmp_path / "one", "dicom")
    case.recipe = Recipe("B", 7, 12, "ci", contrast=False)
    second = write_case(case, tmp_path / "two", "dicom")
    one, two = (pydicom.dcmread(folder / "ct" / "ct0001.dcm") for folder in (first, second))
    assert one.StudyInstanceUID == two.StudyInstanceUID
    assert one.FrameOfReferenceUID == two.FrameOfReferenceUID
    assert one.SeriesInstanceUID != two.SeriesInstanceUID
    assert one.SOPInstanceUID != two.SOPInstanceUID
    assert "ContrastBolusAgent" not in two


def test_another_image_has_other_identifiers(case: PhantomCase) -> None:
    """Cohorts of 5 and 12 hold one patient without and with emboli: under one folder both are read."""
    recipe = case.recipe
    found = []
    for change in (
        {"pe": False},
        {"pe": True},
        {"pe": True, "kind": "occlusive"},
        {"opacities": "mixed"},
        {"scanner_site": "A"},
        {"preset": "medium"},
    ):
        case.recipe = replace(recipe, **change)
        found.append(series_uids(case))
    for name in ("study", "frame", "series"):
        assert len({uids[name] for uids in found}) == len(found), name
    case.recipe = recipe
    own = series_uids(case)
    case.recipe = replace(recipe, label_site="C", scanner_site=recipe.site)
    assert series_uids(case) == own  # the same image


def test_the_same_recipe_gives_the_same_bytes(case: PhantomCase, tmp_path: Path) -> None:
    folders = [write_case(case, tmp_path / name, "dicom") for name in ("one", "two")]
    names = sorted(p.relative_to(folders[0]) for p in folders[0].rglob("*") if p.is_file())
    assert len(names) == 5 + len(MASKS) + 2
    for name in names:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name


def test_recipe_and_facts_are_beside_the_scan(case: PhantomCase, tmp_path: Path) -> None:
    folder = write_case(case, tmp_path / "one", "nifti")
    assert Recipe.from_json((folder / "recipe.json").read_text()) == case.recipe
    assert json.loads((folder / "facts.json").read_text())["numbers"] == 1.5


def test_an_existing_patient_is_kept_unless_asked(case: PhantomCase, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "mine.txt").write_text("keep")
    with pytest.raises(OutputError, match="exists"):
        write_case(case, folder, "nifti")
    assert (folder / "mine.txt").read_text() == "keep"
    write_case(case, folder, "nifti", overwrite=True)
    assert not (folder / "mine.txt").exists()
    assert (folder / "ct.nii.gz").exists()


def test_an_interrupted_write_leaves_nothing(
    case: PhantomCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write, "write_nifti", full)
    with pytest.raises(OutputError, match="space"):
        write_case(case, tmp_path / "one", "dicom")
    assert list(tmp_path.iterdir()) == []


def test_another_format_is_refused(case: PhantomCase, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="format"):
        write_case(case, tmp_path / "one", "mha")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
