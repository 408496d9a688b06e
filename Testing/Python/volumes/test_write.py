"""The image writers against independent readers: SimpleITK for NRRD, nibabel and SimpleITK for NIfTI."""

import resource
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from PESemiSegLib.errors import OutputError
from PESemiSegLib.volumes.grid import Grid, make_affine
from PESemiSegLib.volumes.write import write_nifti, write_nrrd


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Any orientation, right- or left-handed."""
    numbers = st.floats(-180, 180, allow_nan=False)
    turn = Rotation.from_euler("xyz", [draw(numbers) for _ in range(3)], degrees=True).as_matrix()
    flip = [draw(st.sampled_from([-1, 1])) for _ in range(3)]
    spacing = [draw(st.floats(0.3, 5)) for _ in range(3)]
    origin = [draw(st.floats(-600, 600)) for _ in range(3)]
    shape = tuple(draw(st.integers(1, 6)) for _ in range(3))
    return Grid(shape, make_affine(spacing, origin, turn * flip))


def numbered(grid: Grid, dtype: str) -> np.ndarray:
    """A value per voxel that tells the voxels apart."""
    return (np.arange(np.prod(grid.shape)) % 251).reshape(grid.shape).astype(dtype)


def lps_of(grid: Grid, k: int, j: int, i: int) -> np.ndarray:
    return (np.asarray(grid.affine) @ [i, j, k, 1])[:3]


def qform_error_mm(grid: Grid) -> float:
    """NIfTI keeps three float32 of a unit quaternion, which loses up to 7e-4 rad close to a half turn."""
    return 1e-3 + 7e-4 * float(np.linalg.norm(np.multiply(grid.shape[::-1], grid.spacing_mm)))


few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@few
@given(grid=grids(), dtype=st.sampled_from(["uint8", "int16", "uint16", "float32"]))
def test_nrrd_comes_back_equal_through_simpleitk(grid: Grid, dtype: str, tmp_path: Path) -> None:
    array = numbered(grid, dtype)
    write_nrrd(tmp_path / "a.nrrd", array, grid)
    image = sitk.ReadImage(str(tmp_path / "a.nrrd"))
    back = sitk.GetArrayFromImage(image)
    assert back.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(back, array)
    k, j, i = (n - 1 for n in grid.shape)
    for corner in ((0, 0, 0), (k, j, i), (0, j, 0), (k, 0, 0)):
        point = image.TransformIndexToPhysicalPoint(tuple(int(n) for n in corner[::-1]))
        np.testing.assert_allclose(point, lps_of(grid, *corner), atol=1e-9)


@few
@given(grid=grids(), dtype=st.sampled_from(["uint8", "int16", "float32"]))
def test_nifti_states_one_grid_in_both_forms(grid: Grid, dtype: str, tmp_path: Path) -> None:
    array = numbered(grid, dtype)
    write_nifti(tmp_path / "a.nii.gz", array, grid, description="Research use only")
    image = nibabel.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, array)
    assert int(image.header["sform_code"]) == int(image.header["qform_code"]) == 1
    assert image.header.get_xyzt_units()[0] == "mm"
    k, j, i = (n - 1 for n in grid.shape)
    for corner in ((0, 0, 0), (k, j, i), (0, j, 0), (k, 0, 0)):
        ras = lps_of(grid, *corner) * [-1, -1, 1]
        for form, tolerance in ((image.get_sform(), 1e-3), (image.get_qform(), qform_error_mm(grid))):
            np.testing.assert_allclose((form @ [*corner[::-1], 1])[:3], ras, atol=tolerance)
    itk = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    where = itk.TransformIndexToPhysicalPoint((i, j, k))
    np.testing.assert_allclose(where, lps_of(grid, k, j, i), atol=qform_error_mm(grid))


def test_a_marked_voxel_lies_where_the_patient_has_it(tmp_path: Path) -> None:
    """By hand: voxel (i 2, j 1, k 3) of a scan that runs to the right, to the front and upwards."""
    affine = np.array([[-0.7, 0, 0, 100], [0, -0.7, 0, 80], [0, 0, 1.25, -300], [0, 0, 0, 1.0]])
    grid = Grid((5, 4, 3), affine)
    mask = np.zeros(grid.shape, np.uint8)
    mask[3, 1, 2] = 1
    write_nifti(tmp_path / "m.nii.gz", mask, grid)
    image = nibabel.load(tmp_path / "m.nii.gz")
    where = np.argwhere(np.asarray(image.dataobj))[0]
    left, posterior, superior = 100 - 1.4, 80 - 0.7, -300 + 3.75
    np.testing.assert_allclose(
        nibabel.affines.apply_affine(image.affine, where), [-left, -posterior, superior], atol=1e-4
    )


def test_planes_from_a_generator_give_the_same_file(tmp_path: Path) -> None:
    grid = Grid((4, 3, 2), make_affine((1, 1, 2)))
    array = numbered(grid, "float32")
    for write, name in ((write_nrrd, "a.nrrd"), (write_nifti, "a.nii.gz")):
        write(tmp_path / name, array, grid)
        whole = (tmp_path / name).read_bytes()
        write(tmp_path / name, (plane for plane in array), grid, dtype="float32")
        assert (tmp_path / name).read_bytes() == whole


def test_wrong_planes_are_refused_and_leave_no_file(tmp_path: Path) -> None:
    grid = Grid((4, 3, 2), make_affine((1, 1, 2)))
    for planes in (
        np.zeros((3, 3, 2), np.uint8),
        np.zeros((5, 3, 2), np.uint8),
        np.zeros((4, 2, 3), np.uint8),
    ):
        for write in (write_nrrd, write_nifti):
            with pytest.raises(ValueError, match=r"planes|plane 0"):
                write(tmp_path / "a.nrrd", planes, grid)
            assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="float64"):
        write_nrrd(tmp_path / "a.nrrd", np.zeros(grid.shape), grid)
    with pytest.raises(ValueError, match="dtype"):
        write_nrrd(tmp_path / "a.nrrd", iter([]), grid)


@pytest.fixture
def small_files_only() -> Iterator[None]:
    """The system refuses files above 20 kB, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("small_files_only")
@pytest.mark.parametrize(("write", "name"), [(write_nrrd, "a.nrrd"), (write_nifti, "a.nii.gz")])
def test_a_refusing_disk_is_one_line_and_no_file(write: object, name: str, tmp_path: Path) -> None:
    grid = Grid((20, 64, 64), make_affine((1, 1, 1)))
    noise = np.random.default_rng(0).integers(0, 255, grid.shape, dtype=np.uint8)
    with pytest.raises(OutputError, match=rf"cannot write {name}: .*; ") as caught:
        write(tmp_path / name, noise, grid)  # type: ignore[operator]
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_an_output_error(tmp_path: Path) -> None:
    grid = Grid((1, 1, 1), make_affine((1, 1, 1)))
    with pytest.raises(OutputError, match=r"cannot write a\.nrrd"):
        write_nrrd(tmp_path / "not" / "there" / "a.nrrd", np.zeros((1, 1, 1), np.uint8), grid)


def test_a_turned_volume_is_written_without_a_second_copy(tmp_path: Path) -> None:
    """Planes of a view (flipped, axes swapped) are copied one at a time."""
    stored = np.zeros((60, 128, 128), np.float32)
    view = np.flip(stored.transpose(1, 0, 2), (0, 2))
    grid = Grid(view.shape, make_affine((1, 1, 1)))
    write_nrrd(tmp_path / "a.nrrd", view, grid)  # first, so that imports do not count
    tracemalloc.start()
    write_nrrd(tmp_path / "a.nrrd", view, grid)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < stored.nbytes / 5


def test_key_values_survive_special_characters(tmp_path: Path) -> None:
    grid = Grid((1, 2, 2), make_affine((1, 1, 1)))
    write_nrrd(tmp_path / "a.nrrd", numbered(grid, "uint8"), grid, key_values={"note": "a\\b\nc"})
    header = (tmp_path / "a.nrrd").read_bytes().split(b"\n\n")[0].decode()
    assert header.splitlines()[-1] == "note:=a\\\\b\\nc"
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.nrrd"))).sum() == 6
