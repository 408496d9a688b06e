"""Real scans of ../shared/data, each with the trap it is there for. Skipped where that folder is absent."""

import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from PESemiSegLib.errors import InputError
from PESemiSegLib.volumes import read


@pytest.fixture(scope="module")
def unzipped(shared_data, tmp_path_factory):
    root = tmp_path_factory.mktemp("unzipped")

    def unzip(folder: str) -> Path:
        target = root / folder
        if not target.exists():
            for archive in (shared_data / folder).glob("*.zip"):
                with zipfile.ZipFile(archive) as file:
                    file.extractall(target)
        return target

    return unzip


def syntax_of(path):
    return pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID


def test_lossless_transfer_syntaxes_equal_the_raw_one(shared_data):
    folder = shared_data / "cornerstone_transfer_syntaxes"
    raw = read(folder / "CTImage.dcm")
    ds = pydicom.dcmread(folder / "CTImage.dcm")
    np.testing.assert_array_equal(raw.hu[0], np.maximum(ds.pixel_array.astype(int) - 1024, -1024))
    lossless, lossy = 0, {}
    for path in sorted(folder.glob("*.dcm")):
        volume = read(path)
        if any("compressed with loss" in warning for warning in volume.facts.warnings):
            lossy[str(syntax_of(path).name)] = int(np.abs(volume.hu.astype(int) - raw.hu).max())
        else:
            np.testing.assert_array_equal(volume.hu, raw.hu)
            lossless += 1
    assert lossless == 10
    assert len(lossy) == 6
    assert max(lossy.values()) <= 65  # JPEG baseline has 8 bits for all of it


def test_enhanced_ct(shared_data):
    volume = read(shared_data / "enhanced_ct")
    assert volume.shape == (2, 512, 512)
    assert volume.spacing_mm == pytest.approx((0.388672, 0.388672, 10))
    ds = pydicom.dcmread(shared_data / "enhanced_ct" / "eCT_Supplemental.dcm")
    np.testing.assert_array_equal(
        volume.to_source(volume.hu), np.maximum(ds.pixel_array.astype(int) - 1024, -1024)
    )
    # rows run to the right: column 0 of the file is the patient's left, the last column of hu
    positions = [g.PlanePositionSequence[0].ImagePositionPatient for g in ds.PerFrameFunctionalGroupsSequence]
    np.testing.assert_allclose(volume.grid.to_lps([511, 0, 0]), positions[0])
    np.testing.assert_allclose(volume.grid.to_lps([511, 0, 1]), positions[1])
    assert volume.facts.contrast_agent is True
    assert any("derived images (perfusion rcbf)" in w for w in volume.facts.warnings)


def test_missing_slice(unzipped):
    volume = read(unzipped("d2n_gap_and_4d") / "missing_slice")
    assert volume.shape[0] == 5
    assert "1 of 5 slices are missing" in volume.facts.warnings[0]
    files = [pydicom.dcmread(path) for path in volume.facts.source_files]
    heights = [float(ds.ImagePositionPatient[2]) for ds in files]
    assert heights == sorted(heights)
    stored = np.stack([ds.pixel_array.astype(int) - 1024 for ds in files])
    np.testing.assert_array_equal(volume.to_source(volume.hu), np.maximum(stored, -1024))
    np.testing.assert_allclose(volume.hu[3], (volume.hu[2].astype(float) + volume.hu[4]) / 2, atol=0.5)


def test_four_images_at_one_position_are_refused(unzipped):
    with pytest.raises(InputError, match="4 CT series have 1 slice each"):
        read(unzipped("d2n_gap_and_4d") / "same_position_x4")


def test_a_mixed_study(unzipped):
    volume = read(unzipped("philips_mixed_folder"))
    assert volume.facts.series == "series 201: CT, axial, 9 slices of 512x512"
    assert volume.spacing_mm[2] == pytest.approx(5)
    others = " ".join(volume.facts.other_series)
    assert "localizer" in others
    assert "secondary capture" in others
    for number in (100, 401):
        with pytest.raises(InputError, match="cannot be segmented"):
            read(unzipped("philips_mixed_folder"), number)


def test_empty_identifiers_and_jpeg_2000(shared_data):
    folder = shared_data / "ts_dicom_j2k_nouid"
    volume = read(folder)
    reference = sitk.ReadImage(str(folder / "example_seg_dicom.nii.gz"))
    assert volume.shape == (20, 512, 512)
    assert volume.output_grid.shape == tuple(reference.GetSize())[::-1]
    assert "SeriesInstanceUID" in volume.facts.warnings[0]
    assert "SOPClassUID" in volume.facts.warnings[0]
    path = volume.facts.source_files[11]
    wanted = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))[0]
    np.testing.assert_array_equal(volume.hu[11], np.maximum(wanted, -1024))


def test_the_same_chest_as_dicom_and_nrrd(shared_data):
    folder = shared_data / "cip_ct64"
    nrrd, dicom = read(folder / "ct-64.nrrd"), read(folder / "ct-64Dicom")
    np.testing.assert_array_equal(nrrd.hu, dicom.hu)
    assert dicom.shape == (79, 64, 64)
    np.testing.assert_allclose(nrrd.spacing_mm, dicom.spacing_mm, atol=1e-4)


def test_the_rotated_chest_lies_where_the_straight_one_lies(shared_data):
    """The copy was rotated by 20 degrees in its header: same voxels, other places."""
    folder = shared_data / "cip_ct64"
    turned = read(folder / "ct-64-transformed.nrrd")
    image = sitk.ReadImage(str(folder / "ct-64-transformed.nrrd"))
    np.testing.assert_allclose(turned.grid.direction, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(turned.output_grid.direction.ravel(), image.GetDirection(), atol=1e-6)
    reference = sitk.Resample(
        sitk.Cast(image, sitk.sitkFloat32),
        tuple(turned.shape[::-1]),
        sitk.Transform(),
        sitk.sitkLinear,
        turned.grid.origin,
        turned.spacing_mm,
        np.eye(3).ravel(),
        -1024.0,
    )
    np.testing.assert_allclose(turned.hu, sitk.GetArrayFromImage(reference), atol=0.51)
    back = turned.to_output(turned.hu > -400)
    source = sitk.GetArrayFromImage(image) > -400
    assert 2 * (back & source).sum() / (back.sum() + source.sum()) > 0.95


def test_feet_first_with_an_intercept_of_minus_1000(unzipped):
    volume = read(unzipped("lidc0314_chest_noncontrast"))
    assert volume.shape == (30, 512, 512)
    assert volume.spacing_mm == pytest.approx((0.78125, 0.78125, 1.0))
    files = [pydicom.dcmread(path) for path in volume.facts.source_files]
    np.testing.assert_array_equal(
        volume.to_source(volume.hu),
        np.stack([np.maximum(ds.pixel_array.astype(int) - 1000, -1024) for ds in files]),
    )
    for k in (0, 13, 29):
        np.testing.assert_allclose(volume.grid.to_lps([0, 0, k]), files[k].ImagePositionPatient, atol=1e-3)


def test_two_slices_with_few_tags(shared_data):
    volume = read(shared_data / "lungmask_cta_2slices" / "series")
    assert volume.shape == (2, 512, 512)
    assert "Modality" in volume.facts.warnings[0]


def test_ct_with_segmentations_beside_it(shared_data):
    folder = shared_data / "dcmqi_seg"
    with pytest.raises(InputError, match="5 CT series have 3 slices each"):
        read(folder)
    volume = read(folder, 2)
    assert volume.shape == (3, 512, 512)
    assert volume.spacing_mm[2] == pytest.approx(1.0)
    with pytest.raises(InputError, match=r"liver\.dcm: no CT series"):
        read(folder / "liver.dcm")


def test_legacy_converted_ct_equals_its_single_slices(shared_data):
    for name in ("23x38x3", "24x38x3"):
        single = read(shared_data / "dcmqi_seg" / name / "image")
        frames = read(shared_data / "dcmqi_seg" / name / "multiframe")
        np.testing.assert_array_equal(single.hu, frames.hu)
        assert single.grid.same_as(frames.grid)


def test_nifti_of_a_contrast_chest_agrees_with_its_mask(shared_data):
    folder = shared_data / "ts_pulmonary_crop"
    volume, artery = read(folder / "ct_cropped.nii.gz"), read(folder / "pulmonary_artery.nii.gz")
    assert volume.grid.same_as(artery.grid)
    assert not volume.grid.same_as(read(folder / "heart.nii.gz").grid)
    assert np.median(volume.hu[artery.hu > 0]) == pytest.approx(537, abs=15)
