"""DICOM SEG: where its pixels lie, what it refers to, and what happens when nothing can be referred to."""

import zipfile
from pathlib import Path
from types import SimpleNamespace

import highdicom as hd
import numpy as np
import pydicom
import pytest

from PESemiSegLib.volumes.dicom_seg import write_dicom_seg
from PESemiSegLib.volumes.reader import read
from PESemiSegLib.volumes.segments import AORTA, PULMONARY_ARTERY
from PESemiSegLib.volumes.volume import Volume, from_array

REFERENCE = {"FrameOfReferenceUID": "1.2.3.9"}


def marked(volume: Volume) -> np.ndarray:
    """A mask without symmetry: two voxels wide, one high, in two slices."""
    mask = np.zeros(volume.shape, np.uint8)
    mask[1:3, 2, 3:5] = 1
    return mask


def places_in_seg(path: Path) -> np.ndarray:
    """LPS mm of every marked pixel, from the file's own functional groups and nothing else; sorted."""
    seg = pydicom.dcmread(path)
    pixels = np.atleast_3d(seg.pixel_array).reshape(-1, seg.Rows, seg.Columns)
    shared = seg.SharedFunctionalGroupsSequence[0]
    spacing = [float(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing]
    points = []
    for frame, groups in zip(pixels, seg.PerFrameFunctionalGroupsSequence, strict=True):
        origin = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        where = groups if "PlaneOrientationSequence" in groups else shared
        cosines = np.array(where.PlaneOrientationSequence[0].ImageOrientationPatient, float)
        for j, i in np.argwhere(frame):
            points.append(origin + i * spacing[1] * cosines[:3] + j * spacing[0] * cosines[3:])
    return np.array(sorted(np.round(points, 3).tolist()))


def places_in_mask(mask: np.ndarray, volume: Volume) -> np.ndarray:
    points = volume.grid.to_lps(np.argwhere(mask)[:, ::-1])
    return np.array(sorted(np.round(points, 3).tolist()))


@pytest.mark.parametrize(
    ("orientation", "positions"),
    [
        ((1, 0, 0, 0, 1, 0), [0, 1, 2, 3, 4]),
        ((1, 0, 0, 0, 1, 0), [8, 6, 4, 2, 0]),
        ((-1, 0, 0, 0, -1, 0), [3, 0, 1, 4, 2]),
        ((0, 1, 0, 0, 0, -1), [(x, 0, 0) for x in range(12)]),  # sagittal
        ((1, 0, 0, 0, 0, -1), [(0, y, 0) for y in range(9, 0, -1)]),  # coronal
    ],
)
def test_marks_lie_where_the_mask_has_them(
    orientation: tuple[float, ...], positions: list, tmp_path: Path, dicom: SimpleNamespace
) -> None:
    volume = read(dicom.series(tmp_path / "in", positions, orientation=orientation, **REFERENCE))
    mask = marked(volume)
    outcome = write_dicom_seg(tmp_path / "seg.dcm", mask, volume)
    assert outcome == (True, "")
    np.testing.assert_allclose(places_in_seg(tmp_path / "seg.dcm"), places_in_mask(mask, volume), atol=2e-3)


def test_several_classes_become_several_segments(tmp_path: Path, dicom: SimpleNamespace) -> None:
    volume = read(dicom.series(tmp_path / "in", range(5), **REFERENCE))
    labels = np.zeros(volume.shape, np.uint8)
    labels[1:3, 2:5, 2:6], labels[2:4, 6:8, 3:9] = 1, 2
    assert write_dicom_seg(tmp_path / "seg.dcm", labels, volume, (AORTA, PULMONARY_ARTERY)).written
    seg = hd.seg.segread(tmp_path / "seg.dcm")
    numbers = {seg.get_segment_description(n).segment_label: n for n in (1, 2)}
    assert numbers == {"Aorta": 1, "Pulmonary artery": 2}
    for value in (1, 2):
        assert seg.get_segment_description(value).segmented_property_category.value == "123037004"
        frames = seg.get_pixels_by_source_instance(
            [pydicom.dcmread(path).SOPInstanceUID for path in volume.facts.source_files],
            segment_numbers=[value],
            combine_segments=False,
            assert_missing_frames_are_empty=True,
        )[..., 0]
        np.testing.assert_array_equal(frames, volume.to_source(labels) == value)


def test_codes_references_and_patient(tmp_path: Path, dicom: SimpleNamespace) -> None:
    volume = read(dicom.series(tmp_path / "in", range(5), **REFERENCE))
    write_dicom_seg(tmp_path / "seg.dcm", marked(volume), volume)
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    sources = [pydicom.dcmread(path) for path in (tmp_path / "in").iterdir()]

    assert (seg.Modality, seg.SegmentationType) == ("SEG", "BINARY")
    assert seg.SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.4"
    segment = seg.SegmentSequence[0]
    code = segment.SegmentedPropertyTypeCodeSequence[0]
    category = segment.SegmentedPropertyCategoryCodeSequence[0]
    region = segment.AnatomicRegionSequence[0]
    assert (code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning) == ("55584005", "SCT", "Embolus")
    assert (category.CodeValue, region.CodeValue) == ("49755003", "81040000")
    assert segment.SegmentAlgorithmType == "AUTOMATIC"
    assert "research use only" in seg.SeriesDescription.lower()

    referenced = seg.ReferencedSeriesSequence[0]
    assert referenced.SeriesInstanceUID == sources[0].SeriesInstanceUID != seg.SeriesInstanceUID
    uids = {item.ReferencedSOPInstanceUID for item in referenced.ReferencedInstanceSequence}
    assert uids == {source.SOPInstanceUID for source in sources}
    assert seg.StudyInstanceUID == sources[0].StudyInstanceUID
    assert seg.FrameOfReferenceUID == sources[0].FrameOfReferenceUID
    # DICOM wants it to belong to the patient's study.
    assert (str(seg.PatientName), seg.PatientID) == ("Secret^Name", "SECRET-7")
    heights = {source.SOPInstanceUID: float(source.ImagePositionPatient[2]) for source in sources}
    frames = seg.PerFrameFunctionalGroupsSequence
    for frame in frames:
        origin = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert float(frame.PlanePositionSequence[0].ImagePositionPatient[2]) == heights[origin]
    assert len(frames) == 2  # only the two slices that hold a mark


def test_nothing_found_is_a_seg_of_empty_frames(tmp_path: Path, dicom: SimpleNamespace) -> None:
    volume = read(dicom.series(tmp_path / "in", range(5), **REFERENCE))
    assert write_dicom_seg(tmp_path / "seg.dcm", np.zeros(volume.shape, np.uint8), volume).written
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert (int(seg.NumberOfFrames), int(seg.pixel_array.sum())) == (5, 0)
    assert seg.SegmentSequence[0].SegmentLabel == "Pulmonary embolus"


@pytest.mark.parametrize(
    "missing", ["SOPInstanceUID", "SOPClassUID", "SeriesInstanceUID", "StudyInstanceUID"]
)
def test_a_source_without_uids_is_skipped_with_a_sentence(
    missing: str, tmp_path: Path, dicom: SimpleNamespace
) -> None:
    volume = read(dicom.series(tmp_path / "in", range(3), **(REFERENCE | {missing: ""})))
    outcome = write_dicom_seg(tmp_path / "seg.dcm", np.zeros(volume.shape, np.uint8), volume)
    assert not outcome.written
    assert missing in outcome.note
    assert not (tmp_path / "seg.dcm").exists()


def test_missing_patient_attributes_become_empty(tmp_path: Path, dicom: SimpleNamespace) -> None:
    removed = {"PatientName": None, "PatientID": None, "StudyDate": None}
    volume = read(dicom.series(tmp_path / "in", range(3), PatientSex="X", **REFERENCE, **removed))
    outcome = write_dicom_seg(tmp_path / "seg.dcm", marked(volume), volume)
    assert outcome.written
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert not seg.PatientName
    assert not seg.PatientSex


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        ("ISO 2022 IR 6", "Doe^Jane"),
    ],
)
def test_the_name_survives_every_character_set(
    character_set: str | list[str], name: str, tmp_path: Path, dicom: SimpleNamespace
) -> None:
    tags = {"SpecificCharacterSet": character_set, "PatientName": name}
    volume = read(dicom.series(tmp_path / "in", range(3), **REFERENCE, **tags))
    outcome = write_dicom_seg(tmp_path / "seg.dcm", marked(volume), volume)
    assert outcome == (True, "")
    assert pydicom.dcmread(tmp_path / "seg.dcm").PatientName == name


def test_dates_that_are_none_become_empty(tmp_path: Path, dicom: SimpleNamespace) -> None:
    folder = dicom.series(tmp_path / "in", range(3), **REFERENCE)
    with pydicom.config.disable_value_validation():
        for path in folder.iterdir():
            ds = pydicom.dcmread(path)
            ds.StudyDate, ds.StudyTime, ds.PatientBirthDate = "2020-01-01", "12:30:00", "anonymous"
            ds.save_as(path)
    volume = read(folder)
    assert write_dicom_seg(tmp_path / "seg.dcm", marked(volume), volume) == (True, "")
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert [seg.StudyDate, seg.StudyTime, seg.PatientBirthDate] == [""] * 3


def test_an_array_cannot_carry_a_seg(tmp_path: Path) -> None:
    volume = from_array(np.zeros((4, 5, 6), np.int16), np.eye(4))
    outcome = write_dicom_seg(tmp_path / "seg.dcm", np.zeros(volume.shape, np.uint8), volume)
    assert not outcome.written
    assert "not a DICOM series" in outcome.note


def test_a_gap_keeps_every_slice_in_its_place(tmp_path: Path, dicom: SimpleNamespace) -> None:
    """Slice 3 is missing: the working grid has it, the source does not, and the others do not move."""
    volume = read(dicom.series(tmp_path / "in", [0, 1, 2, 4, 5], **REFERENCE))
    mask = np.zeros(volume.shape, np.uint8)
    mask[:, 4, 5] = 1
    write_dicom_seg(tmp_path / "seg.dcm", mask, volume)
    heights = places_in_seg(tmp_path / "seg.dcm")[:, 2]
    np.testing.assert_allclose(heights, [0, 1, 2, 4, 5], atol=1e-3)


def test_lidc_slices_with_a_frame_of_reference_each(tmp_path: Path, shared_data: Path) -> None:
    archive = shared_data / "lidc0314_chest_noncontrast" / "series.zip"
    with zipfile.ZipFile(archive) as files:
        files.extractall(tmp_path / "in")
    volume = read(tmp_path / "in")
    mask = np.zeros(volume.shape, np.uint8)
    mask[3, 100:104, 200:209] = 1
    outcome = write_dicom_seg(tmp_path / "seg.dcm", mask, volume)
    assert outcome.written
    assert "frames of reference" in outcome.note
    np.testing.assert_allclose(places_in_seg(tmp_path / "seg.dcm"), places_in_mask(mask, volume), atol=0.01)


def test_enhanced_ct_refers_to_its_frames(tmp_path: Path, shared_data: Path) -> None:
    volume = read(shared_data / "enhanced_ct" / "eCT_Supplemental.dcm")
    mask = np.zeros(volume.shape, np.uint8)
    mask[-1, 10:13, 20:25] = 1
    outcome = write_dicom_seg(tmp_path / "seg.dcm", mask, volume)
    assert outcome.written, outcome.note
    np.testing.assert_allclose(places_in_seg(tmp_path / "seg.dcm"), places_in_mask(mask, volume), atol=0.01)


def test_minimal_tags_of_a_real_series_are_enough_or_explained(tmp_path: Path, shared_data: Path) -> None:
    for name in ("lungmask_cta_2slices", "ts_dicom_j2k_nouid"):
        volume = read(shared_data / name / "series")
        outcome = write_dicom_seg(tmp_path / f"{name}.dcm", marked(volume), volume)
        assert outcome.written == (tmp_path / f"{name}.dcm").exists()
        assert outcome.written or outcome.note.startswith("No DICOM SEG was written: ")
