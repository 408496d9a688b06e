"""Where slices lie: order, orientation, gaps, uneven spacing, tilt, several images at one position."""

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from PESemiSegLib.errors import InputError
from PESemiSegLib.volumes import read
from PESemiSegLib.volumes.dicom_geometry import MOST_PLANES_PER_SLICE, is_regular

SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
FEET_FIRST_PRONE = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)


def mark_in_source(volume, files_hu):
    """Paint the working grid's voxels above a value, and compare with the same paint on the source slices."""
    level = np.median(files_hu)
    mask = volume.hu > level
    assert 0 < mask.sum() < mask.size
    np.testing.assert_array_equal(volume.to_source(mask), files_hu > level)


def source_hu(volume):
    images = [pydicom.dcmread(path) for path in volume.facts.source_files]
    return np.stack([ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept) for ds in images])


@pytest.mark.parametrize("orientation", [(1.0, 0, 0, 0, 1.0, 0), FEET_FIRST_PRONE, SAGITTAL, CORONAL])
@pytest.mark.parametrize("descending", [False, True])
def test_any_order_and_axis_aligned_orientation(dicom, tmp_path, orientation, descending):
    normal = np.cross(orientation[:3], orientation[3:])
    steps = np.arange(7) * 1.5
    positions = [np.array([-40.0, -60.0, 25.0]) + t * normal for t in (steps[::-1] if descending else steps)]
    volume = read(dicom.series(tmp_path, positions, orientation=orientation))
    dicom.assert_field(volume, tolerance=0.51)
    assert volume.facts.warnings == ()
    assert len(volume.facts.source_files) == 7
    source = source_hu(volume)
    mark_in_source(volume, source)
    np.testing.assert_array_equal(
        volume.to_output(volume.hu), source
    )  # the input's own grid, voxel for voxel
    assert volume.output_grid.shape == source.shape
    first = pydicom.dcmread(volume.facts.source_files[0], stop_before_pixels=True)
    np.testing.assert_allclose(volume.output_grid.origin, first.ImagePositionPatient)


@given(st.permutations(range(6)), st.booleans())
@settings(max_examples=10, deadline=None)
def test_instance_numbers_and_file_names_do_not_matter(tmp_path_factory, dicom, order, numbered):
    folder = tmp_path_factory.mktemp("shuffled")
    for n, k in enumerate(order):
        ds = dicom.plane((0, 0, 2.0 * k), number=n if numbered else None)
        dicom.save(ds, folder / f"{n}.dcm")
    dicom.assert_field(read(folder), tolerance=0.51)


def test_oblique_acquisition_is_worked_on_axially_and_goes_back(dicom, tmp_path):
    turn = Rotation.from_euler("xyz", (18, -12, 5), degrees=True).as_matrix()
    orientation = tuple(np.concatenate([turn[:, 0], turn[:, 1]]))
    positions = [np.array([5.0, -3, 8]) + 1.1 * k * turn[:, 2] for k in range(9)]
    volume = read(dicom.series(tmp_path, positions, orientation=orientation))
    np.testing.assert_allclose(volume.grid.direction, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(volume.output_grid.direction, turn, atol=1e-6)
    assert volume.output_grid.shape == (9, 12, 16)
    back = volume.to_output(volume.hu, linear=True, fill=-1024)
    inner = np.s_[2:-2, 3:-3, 3:-3]
    np.testing.assert_allclose(back[inner], source_hu(volume)[inner], atol=1.6)


def test_missing_slices_are_filled_with_a_warning_and_left_out_on_the_way_back(dicom, tmp_path):
    volume = read(dicom.series(tmp_path, [0, 2, 4, 10, 12, 16]))
    assert volume.shape == (9, 12, 16)
    dicom.assert_field(volume, tolerance=0.51)
    assert volume.spacing_mm[2] == pytest.approx(2.0)
    (warning,) = volume.facts.warnings
    assert "3 of 9 slices are missing" in warning
    assert "6.0 mm" in warning
    mask = volume.hu > 60
    source = volume.to_source(mask)
    np.testing.assert_array_equal(source, mask[[0, 1, 2, 5, 6, 8]])
    kept = volume.from_source(source)
    np.testing.assert_array_equal(kept[[0, 1, 2, 5, 6, 8]], source)
    np.testing.assert_array_equal(kept[[3, 4, 7]], source[[2, 3, 4]])  # filled in from the nearest
    assert volume.to_source(volume.hu, linear=True).shape == (6, 12, 16)
    assert volume.output_grid.same_as(volume.grid)
    assert volume.to_output(mask) is mask


def test_missing_slices_of_a_descending_feet_first_scan(dicom, tmp_path):
    positions = [(0, 0, z) for z in (12, 10, 4, 2, 0)]
    volume = read(dicom.series(tmp_path, positions, orientation=FEET_FIRST_PRONE))
    dicom.assert_field(volume, tolerance=0.51)
    np.testing.assert_array_equal(volume.to_source(volume.hu), source_hu(volume))


def test_interpolated_values_are_rounded_not_cut(dicom, tmp_path):
    for k, value in ((0, 10), (3, 13), (4, -10), (6, -13), (7, 0)):
        dicom.save(dicom.plane((0, 0, k), hu=np.full((8, 9), value)), tmp_path / str(k))
    assert read(tmp_path).hu[:, 0, 0].tolist() == [10, 11, 12, 13, -10, -12, -13, 0]
    labels = read(tmp_path, labels=True).hu[:, 0, 0]
    assert labels[[0, 3, 4, 6, 7]].tolist() == [10, 13, -10, -13, 0]
    assert set(labels.tolist()) == {10, 13, -10, -13, 0}  # of a mask none is mixed


def test_uneven_spacing_is_resampled_with_a_warning(dicom, tmp_path):
    volume = read(dicom.series(tmp_path, [0, 1, 2.1, 3.4, 5.2, 6.0, 8.9, 10]))
    dicom.assert_field(volume, tolerance=1.01)  # slices are rounded to whole HU before they are mixed
    assert any("unevenly spaced (0.80 to 2.90 mm)" in w for w in volume.facts.warnings)
    back = volume.to_source(volume.hu, linear=True)
    np.testing.assert_allclose(back, source_hu(volume), atol=1.6)


def test_two_slices_nearly_at_one_place_are_uneven_and_neither_is_lost(dicom, tmp_path):
    volume = read(dicom.series(tmp_path, [0, 1, 2, 3, 3.05, 4, 5, 7, 8, 9]))
    assert any("unevenly spaced (0.05 to 2.00 mm)" in w for w in volume.facts.warnings)
    dicom.assert_field(volume, tolerance=1.01)
    assert len(np.unique(volume.native.slice_positions)) == 10
    every_second = [k + shift for k in range(20) for shift in (0, 0.05)]  # two acquisitions side by side
    volume = read(dicom.series(tmp_path / "two", every_second, SeriesInstanceUID="1.2.3.5"))
    assert any("unevenly spaced (0.05 to 0.95 mm)" in w for w in volume.facts.warnings)
    assert volume.shape[0] <= MOST_PLANES_PER_SLICE * 40 + 1


@pytest.mark.parametrize(
    ("places", "gap_mm"),
    [(range(0, 12, 2), 2.0), ([0, 2, 4, 10, 12, 16], 6.0), ([0, 1, 2.1, 3.4, 5.2, 6, 8.9], 2.9)],
)
def test_the_slice_gap_is_that_of_the_source(dicom, tmp_path, places, gap_mm):
    assert read(dicom.series(tmp_path, places)).slice_gap_mm == pytest.approx(gap_mm, rel=1e-3)


def test_thick_and_thin_ranges_keep_the_detail_of_the_thin_one(dicom, tmp_path):
    volume = read(dicom.series(tmp_path, [*range(10), 14, 19, 24]))
    assert volume.spacing_mm[2] == pytest.approx(1.0)
    dicom.assert_field(volume, tolerance=1.01)


def test_overlapping_slices_are_regular(dicom, tmp_path):
    volume = read(dicom.series(tmp_path, np.arange(8) * 0.6, SliceThickness=1.25))
    assert volume.shape[0] == 8
    assert volume.facts.warnings == ()
    dicom.assert_field(volume, tolerance=0.51)


def test_thin_slices_far_apart_are_said(dicom, tmp_path):
    volume = read(dicom.series(tmp_path, [0, 10, 20], SliceThickness=1))
    assert "1 mm thick but 10.0 mm apart" in volume.facts.warnings[0]


@pytest.mark.parametrize(("jitter", "regular"), [(0.05, True), (0.4, False)])
def test_rounding_of_positions_is_no_gap(jitter, regular):
    even = np.arange(50) * 1.25
    assert is_regular(even + jitter * np.sin(np.arange(50))) is regular


def test_a_drift_of_the_spacing_is_no_rounding():
    assert not is_regular(np.cumsum(np.linspace(1.0, 1.04, 200)))


@pytest.mark.parametrize("degrees", [3.0, -17.5, 25.0])
def test_gantry_tilt_is_sheared_right(dicom, tmp_path, degrees):
    turn = Rotation.from_euler("x", degrees, degrees=True).as_matrix()
    orientation = tuple(np.concatenate([turn[:, 0], turn[:, 1]]))
    positions = [
        (1.0, 2.0, 3.0 + 1.5 * k) for k in range(14)
    ]  # the table moves along z, the planes are tilted
    volume = read(dicom.series(tmp_path, positions, orientation=orientation, GantryDetectorTilt=degrees))
    assert any(f"sheared by {abs(degrees):.1f} degrees" in w for w in volume.facts.warnings)
    np.testing.assert_allclose(volume.grid.direction, np.eye(3), atol=1e-12)
    assert volume.spacing_mm[0::2] == pytest.approx((0.7, 1.5))
    assert 0.7 < volume.spacing_mm[1] <= 0.8
    k, j, i = np.nonzero(volume.hu > -1024)
    assert len(k) > 1000
    lps = volume.grid.to_lps(np.stack([i, j, k], -1))
    stack = volume.native.stack.to_ijk(lps)
    inside = ((stack >= 0) & (stack <= np.array(volume.native.stack.shape[::-1]) - 1)).all(-1)
    assert inside.sum() > 800
    np.testing.assert_allclose(volume.hu[k, j, i][inside], dicom.field(lps)[inside], atol=1.01)
    assert volume.output_grid.same_as(volume.grid)
    back = volume.to_source(volume.hu, linear=True, fill=-1024)
    inner = np.s_[2:-2, 2:-2, 2:-2]
    np.testing.assert_allclose(back[inner], source_hu(volume)[inner], atol=2.1)


def test_tilt_and_a_missing_slice_together(dicom, tmp_path):
    turn = Rotation.from_euler("x", 15, degrees=True).as_matrix()
    orientation = tuple(np.concatenate([turn[:, 0], turn[:, 1]]))
    positions = [(0.0, 0.0, 1.5 * k) for k in range(12) if k != 5]
    volume = read(dicom.series(tmp_path, positions, orientation=orientation))
    k, j, i = np.nonzero(volume.hu > -1024)
    lps = volume.grid.to_lps(np.stack([i, j, k], -1))
    stack = volume.native.stack.to_ijk(lps)
    inside = ((stack >= 0) & (stack <= np.array(volume.native.stack.shape[::-1]) - 1)).all(-1)
    np.testing.assert_allclose(volume.hu[k, j, i][inside], dicom.field(lps)[inside], atol=1.51)
    assert volume.to_source(volume.hu > 60).shape[0] == 11
    assert len([w for w in volume.facts.warnings if "tilted" in w or "missing" in w]) == 2


def test_a_tilt_that_only_the_header_states_is_said(dicom, tmp_path):
    volume = read(dicom.series(tmp_path, range(5), GantryDetectorTilt=12.0))
    assert "states a gantry tilt of 12 degrees" in volume.facts.warnings[0]
    dicom.assert_field(volume, tolerance=0.51)


def test_slices_off_a_straight_line_are_refused(dicom, tmp_path):
    positions = [(0, 0, z) for z in range(5)] + [(30.0, 0, z) for z in range(5, 9)]
    with pytest.raises(InputError, match="straight line"):
        read(dicom.series(tmp_path, positions))


def test_one_slice_has_a_thickness(dicom, tmp_path):
    volume = read(dicom.series(tmp_path, [7.0], SliceThickness=3))
    assert volume.spacing_mm[2] == 3
    assert "one slice only" in volume.facts.warnings[0]


PHASES = {
    "AcquisitionNumber": (3, 4),
    "TemporalPositionIdentifier": (1, 2),
    "NominalPercentageOfCardiacPhase": (40, 75),
    "TriggerTime": (300, 700),
    "ContentTime": ("101010", "101055.5"),
    "KVP": (80, 140),
    "ImageType": (["ORIGINAL", "PRIMARY", "AXIAL", "A"], ["ORIGINAL", "PRIMARY", "AXIAL", "B"]),
}


@pytest.mark.parametrize("keyword", PHASES)
def test_phases_are_told_apart(dicom, tmp_path, keyword):
    for phase, value in enumerate(PHASES[keyword]):
        shift = 100 * phase
        for k in range(6 if phase == 0 else 5):
            hu = np.full((8, 9), shift + k)
            dicom.save(
                dicom.plane((0, 0, 2 * k), hu=hu, number=2 * k + phase, **{keyword: value}),
                tmp_path / f"{phase}-{k}.dcm",
            )
    volume = read(tmp_path)
    assert volume.hu[:, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert "phase 1 of 2" in volume.facts.series
    assert len(volume.facts.other_series) == 1
    assert read(tmp_path, "index:2").hu[:, 0, 0].tolist() == [100, 101, 102, 103, 104]


def phase_times(dicom, folder, times):
    for k, pair in enumerate(times):
        for phase, seconds in enumerate(pair):
            ds = dicom.plane(
                (0, 0, k), hu=np.full((8, 9), 100 * phase + k), number=1, AcquisitionTime=seconds
            )
            dicom.save(ds, folder / f"{k}-{phase}.dcm")
    return folder


def test_phases_in_blocks_of_time_are_told_apart(dicom, tmp_path):
    folder = phase_times(dicom, tmp_path, [(f"1000{k:02d}.5", f"1001{k:02d}.5") for k in range(4)])
    with pytest.raises(InputError, match="2 CT series have 4 slices each"):
        read(folder)
    for index in (1, 2):
        assert read(folder, f"index:{index}").hu[:, 0, 0].tolist() == [
            100 * (index - 1) + k for k in range(4)
        ]


def test_phases_whose_times_mix_are_refused(dicom, tmp_path):
    folder = phase_times(dicom, tmp_path, [(f"1000{2 * k:02d}", f"1000{2 * k + 1:02d}") for k in range(4)])
    with pytest.raises(InputError, match="nothing in the header tells apart"):
        read(folder)


def test_two_fields_of_view_at_the_same_heights_are_told_apart(dicom, tmp_path):
    dicom.series(tmp_path, range(6), prefix="a")
    dicom.series(tmp_path, [(30.0, 5.0, z) for z in range(4)], prefix="b")
    for series, slices in ((None, 6), ("index:2", 4)):
        volume = read(tmp_path, series)
        assert volume.shape[0] == slices
        dicom.assert_field(volume, tolerance=0.51)


def test_acquisitions_that_interleave_are_parted(dicom, tmp_path):
    dicom.series(tmp_path, [0, 2, 4, 6, 8, 10], prefix="a", AcquisitionNumber=1)
    dicom.series(tmp_path, [4.5, 6.5, 8.5], prefix="b", AcquisitionNumber=2)
    volume = read(tmp_path)
    assert volume.shape[0] == 6
    dicom.assert_field(volume, tolerance=0.51)


def test_acquisitions_that_continue_each_other_stay_one_volume(dicom, tmp_path):
    dicom.series(tmp_path, [0, 1, 2, 3], prefix="a", AcquisitionNumber=1)
    dicom.series(tmp_path, [4, 5, 6], prefix="b", AcquisitionNumber=2)
    assert read(tmp_path).shape[0] == 7


def test_separate_scan_ranges_are_parted(dicom, tmp_path):
    volume = read(dicom.series(tmp_path, [*range(8), *range(100, 105)]))
    assert volume.shape[0] == 8
    assert "scan range 1 of 2" in volume.facts.series
    dicom.assert_field(volume, tolerance=0.51)
