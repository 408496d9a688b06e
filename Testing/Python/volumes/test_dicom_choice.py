"""Which series is read: mixed folders, splits inside a series, ties, missing identifiers."""

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from PESemiSegLib.errors import InputError
from PESemiSegLib.volumes import read
from PESemiSegLib.volumes.dicom_seg import write_dicom_seg

OTHERS = {  # kind: SOP class, modality
    "Secondary Capture": ("1.2.840.10008.5.1.4.1.1.7", "CT"),
    "X-Ray Radiation Dose SR": ("1.2.840.10008.5.1.4.1.1.88.67", "SR"),
    "Basic Text SR": ("1.2.840.10008.5.1.4.1.1.88.11", "SR"),
    "Segmentation": ("1.2.840.10008.5.1.4.1.1.66.4", "SEG"),
    "RT Structure Set": ("1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT"),
    "RT Dose": ("1.2.840.10008.5.1.4.1.1.481.2", "RTDOSE"),
    "Encapsulated PDF": ("1.2.840.10008.5.1.4.1.1.104.1", "DOC"),
    "MR Image": ("1.2.840.10008.5.1.4.1.1.4", "MR"),
}


def add_others(dicom, folder):
    for number, (sop_class, modality) in enumerate(OTHERS.values(), start=20):
        for k in range(10):  # more than the CT: the number of objects must not win
            ds = dicom.plane((0, 0, k), SOPClassUID=sop_class, Modality=modality, SeriesNumber=number)
            ds.SeriesInstanceUID = f"1.2.3.{number}"
            dicom.save(ds, folder / "others" / f"{number}-{k}")


def test_the_axial_ct_with_most_slices_is_taken_and_named(dicom, tmp_path):
    add_others(dicom, tmp_path)
    dicom.series(tmp_path / "ct", range(6))
    dicom.series(tmp_path / "few", range(4), SeriesInstanceUID="1.2.9", SeriesNumber=5)
    dicom.series(
        tmp_path / "cor",
        [(0, y, 0) for y in range(9)],
        orientation=(1.0, 0, 0, 0, 0, -1.0),
        SeriesInstanceUID="1.2.8",
        SeriesNumber=6,
    )
    dicom.series(
        tmp_path / "scout",
        [(0, y, 0) for y in range(9)],
        SeriesInstanceUID="1.2.7",
        SeriesNumber=1,
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
    )
    (tmp_path / "readme.txt").write_text("not an image")
    (tmp_path / "picture.dcm").write_bytes(b"\x89PNG" + bytes(500))
    volume = read(tmp_path)
    dicom.assert_field(volume, tolerance=0.51)
    assert volume.shape[0] == 6
    assert volume.facts.series == "series 4: CT, axial, 6 slices of 16x12"
    listed = "\n".join(volume.facts.other_series)
    assert all(kind in listed or kind.lower() in listed for kind in OTHERS)
    assert "localizer" in listed
    assert "coronal, 9 slices" in listed
    assert "SECRET" not in listed + repr(volume.facts)
    assert read(tmp_path, 5).shape[0] == read(tmp_path, "1.2.9").shape[0] == 4
    assert read(tmp_path, "6").shape[1] == 9
    with pytest.raises(InputError, match=r"no series '77'; there is \[index:1\]"):
        read(tmp_path, 77)
    with pytest.raises(InputError, match="series 1: CT, 9 objects, localizer cannot be segmented"):
        read(tmp_path, 1)


def test_only_a_sagittal_series_is_taken_as_it_is(dicom, tmp_path):
    dicom.series(tmp_path, [(x, 0, 0) for x in range(5)], orientation=(0.0, 1, 0, 0, 0, -1))
    assert "sagittal, 5 slices" in read(tmp_path).facts.series


def test_a_maximum_projection_does_not_win(dicom, tmp_path):
    dicom.series(tmp_path / "a", range(4))
    dicom.series(
        tmp_path / "b",
        range(6),
        SeriesInstanceUID="1.2.9",
        ImageType=["DERIVED", "SECONDARY", "AXIAL", "MIP"],
    )
    assert read(tmp_path).shape[0] == 4


def test_a_tie_is_an_error_that_lists(dicom, tmp_path):
    dicom.series(tmp_path / "a", range(4))
    dicom.series(tmp_path / "b", range(4), SeriesInstanceUID="1.2.9", SeriesNumber=9)
    with pytest.raises(InputError, match="2 CT series have 4 slices each; choose one with --series") as error:
        read(tmp_path)
    assert "[index:1] series 4: CT, axial, 4 slices of 16x12; [index:2] series 9" in str(error.value)
    assert "\n" not in str(error.value)
    assert "SECRET" not in str(error.value)
    assert read(tmp_path, "index:2").facts.series.startswith("series 9")
    assert read(tmp_path, "2").facts.series.startswith("series 9")  # no series has number 2


def test_no_ct_is_an_error_that_lists(dicom, tmp_path):
    add_others(dicom, tmp_path)
    with pytest.raises(InputError, match="no CT series that can be used") as error:
        read(tmp_path)
    assert "RT Dose" in str(error.value)


@pytest.mark.parametrize(
    "removed", [("SeriesInstanceUID",), ("SOPClassUID",), ("Modality",), ("InstanceNumber",)]
)
@pytest.mark.parametrize("empty", [False, True])
def test_missing_or_empty_identifiers_are_read_with_a_warning(dicom, tmp_path, removed, empty):
    values = dict.fromkeys(removed, "" if empty and removed[0] != "InstanceNumber" else None)
    for k in (3, 0, 2, 1):
        dicom.save(dicom.plane((0, 0, k), **values), tmp_path / f"CT.1.2.3.{k}")
    volume = read(tmp_path)
    dicom.assert_field(volume, tolerance=0.51)
    assert removed[0] in volume.facts.warnings[0]


def test_all_identifiers_missing_at_once(dicom, tmp_path):
    gone = dict.fromkeys(("SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID", "Modality", "InstanceNumber"))
    for k in range(5):
        dicom.save(dicom.plane((0, 0, k), **gone), tmp_path / str(k))
    assert read(tmp_path).shape[0] == 5


def test_files_without_preamble_are_read(dicom, tmp_path):
    for k in range(4):
        path = dicom.save(dicom.plane((0, 0, k)), tmp_path / str(k))
        data = path.read_bytes()
        path.write_bytes(data[132:])
    dicom.assert_field(read(tmp_path), tolerance=0.51)


SECOND_STACK = {
    "orientation": {"orientation": (1.0, 0, 0, 0, 0, -1.0)},
    "spacing": {"pixel_mm": (1.6, 1.4)},
    "kernel": {"ConvolutionKernel": "B70f"},
    "phase": {"TemporalPositionIdentifier": 2},
    "acquisition": {"AcquisitionNumber": 2},
}


@pytest.mark.parametrize("difference", SECOND_STACK)
def test_two_stacks_in_one_series_are_split(dicom, tmp_path, difference):
    dicom.series(tmp_path, range(7), prefix="a")
    options = SECOND_STACK[difference]
    positions = [(0, y, 0) for y in range(4)] if difference == "orientation" else range(4)
    dicom.series(tmp_path, positions, prefix="b", **options)
    volume = read(tmp_path)
    assert volume.shape[0] == 7
    dicom.assert_field(volume, tolerance=0.51)
    assert len(volume.facts.other_series) == 1
    assert any("2 CT stacks to choose from" in w for w in volume.facts.warnings)
    dicom.assert_field(read(tmp_path, "index:2"), tolerance=0.51)


def test_two_matrices_in_one_series_are_split(dicom, tmp_path):
    dicom.series(tmp_path, range(7), prefix="a")
    dicom.series(tmp_path, range(4), prefix="b", hu=np.zeros((20, 30)))
    assert read(tmp_path).shape == (7, 12, 16)
    assert read(tmp_path, "index:2").shape == (4, 20, 30)


def test_slices_that_share_one_uid_are_no_copies(dicom, tmp_path):
    dicom.series(tmp_path, range(6), SOPInstanceUID="1.2.3.5", FrameOfReferenceUID="1.2.3.9")
    volume = read(tmp_path)
    assert volume.shape[0] == 6
    dicom.assert_field(volume, tolerance=0.51)
    outcome = write_dicom_seg(tmp_path / "seg.dcm", np.zeros(volume.shape, np.uint8), volume)
    assert not outcome.written
    assert "share one SOPInstanceUID" in outcome.note


def test_copies_of_files_are_left_out(dicom, tmp_path):
    dicom.series(tmp_path / "a", range(5))
    for path in list((tmp_path / "a").iterdir()):
        (tmp_path / f"copy of {path.name}").write_bytes(path.read_bytes())
    volume = read(tmp_path)
    dicom.assert_field(volume, tolerance=0.51)
    assert "5 files" in volume.facts.warnings[0]


def test_the_same_image_twice_under_new_identifiers_is_refused(dicom, tmp_path):
    dicom.series(tmp_path / "a", range(5))
    dicom.series(tmp_path / "b", range(5))
    with pytest.raises(InputError, match="5 positions hold several images"):
        read(tmp_path)


def test_a_dicomdir_leads_to_its_folder(dicom, tmp_path):
    from pydicom.fileset import FileSet

    dicom.series(tmp_path / "in", range(4), StudyTime="101010", AccessionNumber="", StudyID="1")
    files = FileSet()
    for path in (tmp_path / "in").iterdir():
        files.add(pydicom.dcmread(path))
    files.write(tmp_path / "out")
    for path in (tmp_path / "out", tmp_path / "out" / "DICOMDIR"):
        volume = read(path)
        dicom.assert_field(volume, tolerance=0.51)
        assert volume.facts.other_series == ()


def test_one_file_of_a_series_is_one_slice(dicom, tmp_path):
    dicom.series(tmp_path, range(5))
    assert read(next(tmp_path.iterdir())).shape[0] == 1


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"ImagePositionPatient": None}, "do not say where they lie"),
        ({"PixelSpacing": [0, 0]}, "say wrongly where they lie"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "say wrongly where they lie"),
        ({"RescaleType": "Z_EFF"}, "not Hounsfield units"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour"),
    ],
)
def test_ct_that_cannot_be_placed_or_is_no_hu_is_refused(dicom, tmp_path, tags, reason):
    with pytest.raises(InputError, match=reason):
        read(dicom.series(tmp_path, range(4), **tags))


@pytest.mark.parametrize(
    ("agent", "told"), [("APPLIED", True), ("OMNIPAQUE 350", True), ("NONE", False), ("", None)]
)
def test_contrast_agent_is_told(dicom, tmp_path, agent, told):
    volume = read(dicom.series(tmp_path, range(3), ContrastBolusAgent=agent, KVP=100))
    assert volume.facts.contrast_agent is told
    assert volume.facts.kvp == 100


def test_facts_show_no_patient_data(dicom, tmp_path):
    volume = read(dicom.series(tmp_path / "Secret_Name", range(3)))
    assert volume.facts.description == "SECRET words"  # there for who asks
    assert "SECRET" not in repr(volume.facts).upper().replace("SECRET_NAME", "")
    assert generate_uid() not in repr(volume.facts)
