"""Multi-frame CT: per-frame position and rescale, shuffled frames, phases, compressed frames."""

from types import SimpleNamespace

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedCTImageStorage, RLELossless

from PESemiSegLib.errors import InputError
from PESemiSegLib.volumes import read
from PESemiSegLib.volumes.dicom_seg import write_dicom_seg


def item(**values) -> Sequence:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return Sequence([ds])


def enhanced(dicom, positions, *, rescales=None, hu=None, times=None, orientation=None):
    """An Enhanced CT with frames at `positions`, each with its own rescale."""
    orientation = dicom.axial if orientation is None else orientation
    rescales = rescales or [(1.0, -1024.0)] * len(positions)
    frames, groups = [], []
    for n, (position, (slope, intercept)) in enumerate(zip(positions, rescales, strict=True)):
        values = dicom.field(dicom.places(position, orientation)) if hu is None else hu[n]
        frames.append(np.rint((values - intercept) / slope).astype(np.int16))
        group = Dataset()
        group.PlanePositionSequence = item(ImagePositionPatient=[float(p) for p in position])
        group.PixelValueTransformationSequence = item(
            RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="HU"
        )
        group.FrameContentSequence = item(InStackPositionNumber=n + 1, StackID="1")
        if times is not None:
            group.FrameContentSequence[0].TemporalPositionIndex = times[n]
        groups.append(group)
    ds = dicom.plane(stored=np.zeros((12, 16)))
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(ds, keyword)
    del ds.RescaleSlope, ds.RescaleIntercept
    ds.SOPClassUID, ds.NumberOfFrames = EnhancedCTImageStorage, len(frames)
    shared = Dataset()
    shared.PlaneOrientationSequence = item(ImageOrientationPatient=list(orientation))
    shared.PixelMeasuresSequence = item(PixelSpacing=[0.8, 0.7], SliceThickness=2.0)
    shared.CTReconstructionSequence = item(ConvolutionKernel="B30f")
    shared.CTImageFrameTypeSequence = item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])
    shared.CTXRayDetailsSequence = item(KVP=100.0)
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    ds.PerFrameFunctionalGroupsSequence = Sequence(groups)
    ds.PixelData = np.stack(frames).tobytes()
    return SimpleNamespace(ds=ds, frames=frames)


@pytest.mark.parametrize("compress", [False, True])
def test_shuffled_frames_with_their_own_rescale(dicom, tmp_path, compress):
    order = [3, 0, 5, 1, 4, 2]
    made = enhanced(
        dicom,
        [(1.0, 2.0, 1.5 * k) for k in order],
        rescales=[(1, -1024), (1, 0), (0.5, -200), (2, -1000), (1, -1000), (0.25, 0)],
    )
    if compress:
        made.ds.compress(RLELossless, generate_instance_uid=False)
    path = dicom.save(made.ds, tmp_path / "enhanced.dcm")
    volume = read(path)
    dicom.assert_field(volume, tolerance=1.01)
    assert volume.shape == (6, 12, 16)
    assert volume.facts.warnings == ()
    assert volume.facts.kvp == 100
    assert volume.facts.slice_thickness_mm == 2
    assert volume.facts.source_files == (path,)
    assert volume.facts.source_frames == (1, 2, 3, 4, 5, 6)
    np.testing.assert_array_equal(volume.to_source(volume.hu), volume.hu[order])  # in the file's own order


def test_a_missing_frame_is_a_gap(dicom, tmp_path):
    made = enhanced(dicom, [(0, 0, z) for z in (8, 6, 2, 0)])
    volume = read(dicom.save(made.ds, tmp_path / "e.dcm"))
    assert volume.shape[0] == 5
    dicom.assert_field(volume, tolerance=1.01)
    np.testing.assert_array_equal(volume.to_source(volume.hu), volume.hu[[4, 3, 1, 0]])


def test_coronal_frames(dicom, tmp_path):
    made = enhanced(dicom, [(0, y, 0) for y in range(5)], orientation=(1.0, 0, 0, 0, 0, -1.0))
    dicom.assert_field(read(dicom.save(made.ds, tmp_path / "e.dcm")), tolerance=0.51)


def test_two_phases_in_one_file(dicom, tmp_path):
    places = [(0, 0, k) for k in range(4) for _ in (0, 1)]
    hu = [np.full((12, 16), 10 * k + 100 * phase) for k in range(4) for phase in (0, 1)]
    made = enhanced(dicom, places, hu=hu, times=[1, 2] * 4)
    path = dicom.save(made.ds, tmp_path / "e.dcm")
    with pytest.raises(InputError, match="phase 2 of 2 by temporal position index"):
        read(path)
    volume = read(path, "index:2")
    assert volume.hu[:, 0, 0].tolist() == [100, 110, 120, 130]
    assert volume.facts.source_frames == (2, 4, 6, 8)


def test_a_stack_over_two_files(dicom, tmp_path):
    for n, z in enumerate((0, 4)):
        made = enhanced(dicom, [(0, 0, z + k) for k in range(4)])
        dicom.save(made.ds, tmp_path / f"{n}.dcm")
    volume = read(tmp_path)
    dicom.assert_field(volume, tolerance=0.51)
    assert volume.shape[0] == 8
    assert volume.facts.source_files == ()  # a DICOM SEG cannot refer to frames of two files
    outcome = write_dicom_seg(tmp_path / "seg.dcm", np.zeros(volume.shape, np.uint8), volume)
    assert not outcome.written
    assert "the frames lie in several files" in outcome.note


def test_fewer_descriptions_than_frames_are_refused(dicom, tmp_path):
    made = enhanced(dicom, [(0, 0, k) for k in range(4)])
    del made.ds.PerFrameFunctionalGroupsSequence[-1]
    with pytest.raises(InputError, match=r"e\.dcm: it describes 3 frames but holds 4"):
        read(dicom.save(made.ds, tmp_path / "e.dcm"))


def test_frames_without_places_are_refused(dicom, tmp_path):
    ds = dicom.plane(stored=np.zeros((4 * 12, 16)), Rows=12, NumberOfFrames=4)
    path = dicom.save(ds, tmp_path / "m.dcm")
    with pytest.raises(InputError, match=r"m\.dcm: it holds 4 frames but does not say where they lie"):
        read(path)


def test_a_truncated_file_is_refused(dicom, tmp_path):
    path = dicom.save(enhanced(dicom, [(0, 0, k) for k in range(4)]).ds, tmp_path / "e.dcm")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"e\.dcm: it is truncated"):
        read(path)
