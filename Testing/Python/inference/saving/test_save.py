"""The saved result: images on the input's grid, tables, JSON, and nobody's name in any of them."""

import csv
import json
import re
import resource
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from PESemiSegLib.errors import OutputError
from PESemiSegLib.inference.result import Result
from PESemiSegLib.inference.save import FILES, save_result
from PESemiSegLib.volumes.reader import read
from PESemiSegLib.volumes.volume import Volume, from_array

Maker = Callable[..., Result]
NAMES = {"PatientName": "Garbo^Greta", "PatientID": "MRN-4711", "PatientBirthDate": "19050918"}
DATES = {
    "StudyDate": "20240229",
    "SeriesDate": "20240229",
    "AcquisitionDate": "20240301",
    "StudyTime": "031415",
}
OTHERS = {"AccessionNumber": "ACC-0815", "InstitutionName": "Charite", "SeriesDescription": "Frau Garbo PE"}


def dicom_folder(folder: Path, volume: Volume) -> Path:
    """The volume as a DICOM series of a patient with a name, from top to bottom."""
    folder.mkdir(parents=True)
    study, series, reference = generate_uid(), generate_uid(), generate_uid()
    for k, plane in enumerate(volume.hu):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, reference
        ds.Modality, ds.InstanceNumber, ds.SeriesNumber = "CT", volume.shape[0] - k, 3
        for keyword, value in (NAMES | DATES | OTHERS).items():
            setattr(ds, keyword, value)
        ds.PatientSex = "F"
        ds.ImagePositionPatient = [f"{v:.4f}" for v in volume.grid.to_lps((0, 0, k))]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        x, y, z = volume.spacing_mm
        ds.PixelSpacing, ds.SliceThickness = [f"{y:.4f}", f"{x:.4f}"], f"{z:.4f}"
        ds.Rows, ds.Columns = plane.shape
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleSlope, ds.RescaleIntercept = 1, 0
        ds.PixelData = plane.tobytes()
        ds.save_as(folder / f"image{k:03d}.dcm", enforce_file_format=True)
    return folder


def test_every_file_of_an_array(made_up_result: Maker, tmp_path: Path) -> None:
    result = made_up_result()
    saved = save_result(result, tmp_path / "out")
    assert set(saved.files) == set(FILES) - {"segmentation.dcm"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(saved.files)
    assert saved.notes == ()


@pytest.mark.parametrize(
    "turn",
    [
        np.eye(3),
        np.diag([-1.0, -1.0, 1.0]),
        np.diag([1.0, 1.0, -1.0]),
        np.array([[0, 0, 1.0], [1, 0, 0], [0, -1, 0]]),  # sagittal slices
    ],
)
def test_images_lie_on_the_grid_of_the_input(turn: np.ndarray, made_up_result: Maker, tmp_path: Path) -> None:
    """A bright voxel of the input carries the mark in every file, found by physical coordinates."""
    affine = np.eye(4)
    affine[:3, :3] = turn * [1.2, 1.3, 2.0]
    affine[:3, 3] = (-80, 40, 17.5)
    native = np.full((40, 44, 48), -900, np.int16)
    native[30:33, 9:13, 20:22] = 77
    volume = from_array(native, affine)
    result = made_up_result(volume, marks=0)
    result.mask[...] = volume.hu == 77
    result.confidence.values[...] = (volume.hu == 77)[result.confidence.box.slices]
    save_result(result, tmp_path / "out", report=False)

    for name in ("segmentation.seg.nrrd", "segmentation.nii.gz", "confidence.nrrd"):
        image = sitk.ReadImage(str(tmp_path / "out" / name))
        array = sitk.GetArrayFromImage(image)
        np.testing.assert_array_equal(array > 0, native == 77, err_msg=name)
        point = image.TransformIndexToPhysicalPoint((20, 9, 30))
        np.testing.assert_allclose(point, (affine @ [20, 9, 30, 1])[:3], atol=1e-3)
    assert (
        sitk.ReadImage(str(tmp_path / "out" / "confidence.nrrd")).GetPixelIDTypeAsString() == "32-bit float"
    )
    ras = nibabel.load(tmp_path / "out" / "segmentation.nii.gz").affine @ [20, 9, 30, 1]
    np.testing.assert_allclose(ras[:3], (affine @ [20, 9, 30, 1])[:3] * [-1, -1, 1], atol=1e-3)


def test_the_table_and_the_json_agree(made_up_result: Maker, tmp_path: Path) -> None:
    result = made_up_result(settings={"threshold": np.float32(0.5), "spacing": np.float64(np.nan)})
    save_result(result, tmp_path / "out", report=False)
    with (tmp_path / "out" / "findings.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    document = json.loads((tmp_path / "out" / "result.json").read_text())
    assert document["kind"] == "pesemiseg-result"
    assert document["notice"] == "Research use only - not a medical device"
    assert document["total_volume_mm3"] == pytest.approx(sum(f.volume_mm3 for f in result.findings))
    assert document["provenance"]["settings"] == {"threshold": 0.5, "spacing": None}
    assert document["check"]["level"] == "warning"
    assert set(document["files"]) == {path.name for path in (tmp_path / "out").iterdir()}
    assert [{k: str(v) for k, v in row.items()} for row in document["findings"]] == rows
    first, finding = document["findings"][0], result.findings[0]
    assert (first["slice_first"], first["slice_last"]) == tuple(k + 1 for k in finding.slice_range)
    assert first["z_first_mm"] == pytest.approx(-400.5 + 2.5 * finding.slice_range[0])
    assert [first[f"centroid_{axis}_mm"] for axis in "lps"] == pytest.approx(
        finding.centroid_lps_mm, abs=1e-3
    )


def test_nothing_found_is_a_whole_result(made_up_result: Maker, tmp_path: Path) -> None:
    saved = save_result(made_up_result(marks=0), tmp_path / "out")
    assert (tmp_path / "out" / "findings.csv").read_text().count("\n") == 1
    assert saved.summary["total_volume_mm3"] == 0
    assert "No emboli were found" in (tmp_path / "out" / "report.html").read_text()


def test_no_patient_in_any_file_but_the_dicom_seg(
    made_up_result: Maker, made_up_volume: Callable[..., Volume], tmp_path: Path
) -> None:
    folder = dicom_folder(tmp_path / "Garbo MRN-4711", made_up_volume())
    result = made_up_result(read(folder))
    saved = save_result(result, tmp_path / "out")
    assert "segmentation.dcm" in saved.files
    secrets = [*NAMES.values(), *DATES.values(), *OTHERS.values(), "Garbo", "Greta", "2024-02-29", "image0"]
    for path in (tmp_path / "out").iterdir():
        assert not any(secret in path.name for secret in secrets)
        if path.suffix == ".dcm":
            continue
        content = path.read_bytes()
        if path.suffix == ".html":  # pictures may spell anything by chance
            content = re.sub(rb"base64,[A-Za-z0-9+/=]+", b"", content)
        for secret in secrets:
            assert secret.lower().encode() not in content.lower(), f"{secret} in {path.name}"
    seg = pydicom.dcmread(tmp_path / "out" / "segmentation.dcm")
    assert seg.PatientID == "MRN-4711"
    assert int(seg.pixel_array.sum()) == int(result.mask.sum())


def test_the_patient_appears_when_asked_for(
    made_up_result: Maker, made_up_volume: Callable[..., Volume], tmp_path: Path
) -> None:
    folder = dicom_folder(tmp_path / "in", made_up_volume())
    saved = save_result(made_up_result(read(folder)), tmp_path / "out", identify=True, dicom_seg=False)
    assert saved.summary["identity"] == {"input": "in", "left_out": [], "patient_id": "MRN-4711"}
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Patient ID MRN-4711" in page
    assert "Garbo" not in page
    assert "segmentation.dcm" not in saved.files


def test_a_file_name_that_is_no_text_costs_no_result(
    made_up_result: Maker, made_up_volume: Callable[..., Volume], tmp_path: Path
) -> None:
    latin1 = made_up_volume(source_name="M\udcfcller")  # as Linux tells a byte that is no UTF-8
    save_result(made_up_result(latin1), tmp_path / "out", identify=True, dicom_seg=False)
    assert "M\\udcfcller" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_a_full_disk_is_one_line_and_leaves_nothing(made_up_result: Maker, tmp_path: Path) -> None:
    """The confidence map is the first file above the limit; those before it were written already."""
    result = made_up_result(marks=0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OutputError, match=r"cannot write confidence\.nrrd: "):
            save_result(result, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_a_refused_folder_is_left_alone(made_up_result: Maker, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds other files"):
        save_result(made_up_result(), tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_report_that_is_left_out_goes_with_the_older_result(made_up_result: Maker, tmp_path: Path) -> None:
    save_result(made_up_result(marks=0), tmp_path / "out")
    save_result(made_up_result(), tmp_path / "out", overwrite=True, report=False)
    assert not (tmp_path / "out" / "report.html").exists()


def test_two_runs_write_the_same_bytes(made_up_result: Maker, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_result(made_up_result(marks=1), tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name
