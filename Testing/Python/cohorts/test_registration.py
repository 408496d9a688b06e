"""Registration of phantom twins that were moved by known amounts; what must be refused; masks and files."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from PESemiSegLib.cohorts import registration, registration_fit
from PESemiSegLib.cohorts.manifest import Case, Manifest, read_manifest
from PESemiSegLib.cohorts.pair_list import read_pairs
from PESemiSegLib.cohorts.phases import NO_CONTRAST, pair_manifest, phase_pairs
from PESemiSegLib.cohorts.registration import Agreement, Registration, compare, register
from PESemiSegLib.cohorts.warp import warped
from PESemiSegLib.errors import InputError
from PESemiSegLib.volumes.grid import Grid
from PESemiSegLib.volumes.volume import Volume, from_array
from PESemiSegLib.volumes.write import write_nifti

SHAPE, MM = (40, 52, 60), 5.0
AFFINE = np.diag([MM, MM, MM, 1.0])
AFFINE[:3, 3] = (-150, -130, -400)


def chest(contrast: bool) -> tuple[np.ndarray, np.ndarray]:
    """HU and clot: two lungs full of vessels, a trunk with a clot; the vessels are bright with contrast."""
    z, y, x = ((np.arange(n) - (n - 1) / 2) * MM for n in SHAPE)
    z, y, x = z[:, None, None], y[:, None], x
    hu = np.where((x / 135) ** 2 + (y / 115) ** 2 < 1, 30.0, -1000.0) + 0 * z
    lungs = sum(((x - side) / 48) ** 2 + (y / 75) ** 2 + (z / 88) ** 2 < 1 for side in (-62, 62)) > 0
    texture = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=SHAPE), 1.5)
    vessels = lungs & (texture > 0.09)
    hu[lungs] = -850
    blood = 350.0 if contrast else 42.0
    hu[vessels] = blood
    trunk = ((x - 5) / 14) ** 2 + ((y + 20) / 14) ** 2 + (z / 30) ** 2 < 1
    hu[trunk] = blood
    clot = ((x - 5) / 13) ** 2 + ((y + 20) / 13) ** 2 + ((z - 10) / 12) ** 2 < 1
    hu[clot] = 50
    return hu, clot


def moved(values: np.ndarray, shift_mm: np.ndarray) -> np.ndarray:
    """The array read at p + shift(p): a point p of the result shows what lay at p + shift."""
    index = np.indices(SHAPE) + shift_mm / MM
    return ndimage.map_coordinates(values, index, order=1, mode="nearest")


def motion() -> np.ndarray:
    """(z, y, x) mm: a stretch towards the diaphragm, a shift, and a bend that no affine map makes."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    return np.stack([6.0 + 5.0 * (1 - z) ** 2 / 2, -3.0 + 8.0 * np.cos(2.5 * x), 2.0 + 0 * y])


def volume(hu: np.ndarray, seed: int) -> Volume:
    noisy = hu + np.random.default_rng(seed).normal(0, 8, hu.shape)
    return from_array(noisy.astype(np.int16), AFFINE)


def lungs(scan: Volume) -> tuple[np.ndarray, Grid]:
    inside = ndimage.binary_closing(scan.hu < -500, iterations=2) & (scan.hu > -950)
    return ndimage.binary_opening(inside), scan.grid


@pytest.fixture(scope="module")
def contrast() -> Volume:
    return volume(chest(True)[0], 1)


@pytest.fixture(scope="module")
def plain() -> Volume:
    return volume(moved(chest(False)[0], motion()), 2)


@pytest.fixture(scope="module")
def found(contrast: Volume, plain: Volume) -> Registration:
    return register(contrast, plain, lungs)


def test_a_known_motion_is_found(found: Registration, plain: Volume) -> None:
    found.require()
    assert found.after.overlap > max(0.92, found.before.overlap)
    assert found.after.ncc > max(0.975, found.before.ncc)  # 0.967 by the affine map alone
    assert found.folded == 0.0
    truth = motion()
    inside = np.argwhere(lungs(plain)[0])[::40]
    points = plain.grid.to_lps(inside[:, ::-1])
    there = np.array([found.transform.TransformPoint(point) for point in points])
    true = np.stack([truth[axis][tuple(inside.T)] for axis in (2, 1, 0)], axis=1)
    missed = np.linalg.norm(there - points - true, axis=1)
    still = np.linalg.norm(true, axis=1)
    assert still.mean() > 8.0
    assert missed.mean() < 2.0  # mm, of voxels of 5 mm


def test_scan_and_mask_land_on_the_plain_grid(found: Registration, contrast: Volume, plain: Volume) -> None:
    clot = chest(True)[1].astype(np.uint8)
    onto = Grid((20, 30, 30), AFFINE @ np.diag([2.0, 1.7, 2.0, 1.0]))
    mask = warped(clot, contrast.grid, plain.grid, found, fill=0)
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 1}
    true = moved(clot.astype(float), motion()) >= 0.5
    assert 2 * (mask & true).sum() / (mask.sum() + true.sum()) > 0.8
    hu = warped(contrast.hu, contrast.grid, onto, found, fill=-1024)
    assert hu.shape == onto.shape
    assert hu.dtype == np.int16
    assert warped(contrast.hu, contrast.grid, onto, found, fill=-1024).tobytes() == hu.tobytes()


def test_what_lies_between_thick_slices_is_not_lost() -> None:
    """1 mm onto slices of 5 mm (z 0 to 4, 5 to 9, ...): HU is their mean, and an embolus of 3 mm is kept."""
    import SimpleITK as sitk

    fine = Grid((20, 8, 8), np.diag([1.0, 1.0, 1.0, 1.0]))
    steps = np.diag([1.0, 1.0, 5.0, 1.0])
    steps[2, 3] = 2.0
    thick = Grid((4, 8, 8), steps)
    still = Registration(sitk.Transform(), Agreement(1, 1, 1), Agreement(1, 1, 1), 0.0, 1.0)
    hu = np.random.default_rng(2).integers(-900, 300, fine.shape).astype(np.int16)
    means = np.rint(hu.reshape(4, 5, 8, 8).mean(1))
    moved_hu = warped(hu, fine, thick, still, fill=-1024)
    assert moved_hu.dtype == np.int16
    np.testing.assert_allclose(moved_hu, means, atol=1)
    mask = np.zeros(fine.shape, np.uint8)
    mask[3:6, 1:3, 1:3] = 1  # fills 40 % of one slice and 20 % of the next
    mask[11:14, 5:7, 5:7] = 1  # fills 60 % of one slice
    onto = warped(mask, fine, thick, still, fill=0)
    assert np.argwhere(onto[:, 1, 1]).ravel().tolist() == [0, 1]
    assert np.argwhere(onto[:, 5, 5]).ravel().tolist() == [2]
    assert onto.sum() == 12


def test_two_patients_are_refused_in_one_line(contrast: Volume) -> None:
    hu, _ = chest(False)
    other = volume(np.where(np.indices(SHAPE)[2] < 30, hu, 30.0), 3)  # one lung only, the other opaque
    with pytest.raises(InputError, match=r"could not be registered: .*Are they of one patient") as raised:
        compare(contrast, other, lungs).require()
    assert "\n" not in str(raised.value)
    empty = volume(np.full(SHAPE, 30.0), 4)
    with pytest.raises(InputError, match="no lungs were found"):
        register(contrast, empty, lungs)


def test_registered_pairs_are_checked_and_taken(contrast: Volume) -> None:
    still = compare(contrast, volume(chest(False)[0], 5), lungs)
    assert still.problems == []
    assert still.after.overlap > 0.97


@pytest.mark.parametrize(
    ("overlap", "ncc", "covered", "folded", "word"),
    [
        (0.7, 0.95, 1.0, 0.0, "overlap"),
        (0.95, 0.5, 1.0, 0.0, "alike"),
        (0.95, 0.95, 0.4, 0.0, "40% of the plain"),
        (0.95, 0.95, 1.0, 0.02, "folded at 2.00%"),
    ],
)
def test_each_fault_is_named(overlap: float, ncc: float, covered: float, folded: float, word: str) -> None:
    before, after = Agreement(0.9, 0.9, 1.0), Agreement(overlap, ncc, covered)
    result = Registration(None, before, after, folded, smallest=-0.1)  # type: ignore[arg-type]
    assert len(result.problems) == 1
    assert word in result.problems[0]


def test_folding_is_seen(plain: Volume) -> None:
    import SimpleITK as sitk

    near = registration_fit.near_lungs(registration_fit.image_of(*lungs(plain)))
    field = sitk.Image(near.GetSize(), sitk.sitkVectorFloat64)
    field.CopyInformation(near)
    values = np.zeros((*SHAPE, 3))
    values[..., 2] = -1.5 * (np.indices(SHAPE)[0] - 20) * MM  # z -> -z / 2: turned over
    field = sitk.GetImageFromArray(values, isVector=True)
    field.CopyInformation(near)
    folded, smallest = registration._folding(sitk.DisplacementFieldTransform(field), near)
    assert folded > 0.5
    assert smallest == pytest.approx(-0.5, abs=0.05)


def test_stopping_is_heeded(contrast: Volume, plain: Volume) -> None:
    asked = []

    def check() -> None:
        asked.append(1)
        if len(asked) > 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        register(contrast, plain, lungs, check=check)


def test_a_list_of_pairs_becomes_a_manifest_that_training_reads(tmp_path: Path) -> None:
    for name in ("a", "b", "m"):
        write_nifti(tmp_path / f"{name}.nii.gz", np.zeros((2, 3, 4), np.uint8), Grid((2, 3, 4), np.eye(4)))
    table = tmp_path / "list.csv"
    table.write_text("patient;contrast;plain;mask;pe\n7;a.nii.gz;b.nii.gz;m.nii.gz;yes\n")
    ((contrast, plain),) = read_pairs(table)
    assert (contrast.image.name, plain.image.name, contrast.role) == ("a.nii.gz", "b.nii.gz", "labelled")
    from PESemiSegLib.cohorts.manifest import write_manifest

    write_manifest(pair_manifest([(contrast, plain)]), tmp_path / "pairs.csv")
    ((first, second),) = phase_pairs(read_manifest(tmp_path / "pairs.csv"))
    assert (first.image.name, first.mask.name, second.image.name) == ("a.nii.gz", "m.nii.gz", "b.nii.gz")
    assert read_pairs(tmp_path / "pairs.csv")[0][0].pe == "yes"
    table.write_text("patient,plain\n7,a.nii.gz\n")
    with pytest.raises(InputError, match=r"lacks the column\(s\) contrast"):
        read_pairs(table)


def test_every_fault_of_a_list_is_told_before_anything_is_registered(tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / f"{name}.nii.gz").touch()
    table = tmp_path / "list.csv"
    table.write_text(
        "patient,contrast,plain,mask,pe,split\n"
        "7,a.nii.gz,nowhere.nii.gz,,,\n"
        "8,b.nii.gz,b.nii.gz,,maybe,tset\n"
        "9,c.nii.gz,,,0,validation\n"
    )
    with pytest.raises(InputError, match=r"list.csv has 5 problem") as raised:
        read_pairs(table)
    for part in (
        "row 2: plain nowhere.nii.gz is not there",
        "row 3: contrast and plain are one scan",
        "row 3: pe 'maybe'",
        "row 3: split 'tset'",
        "row 4: plain is empty",
    ):
        assert part in str(raised.value)
    assert "\n" not in str(raised.value)
    table.write_text(
        "patient,contrast,plain\n7,a.nii.gz,b.nii.gz\n7,c.nii.gz,d.nii.gz\n8,c.nii.gz,d.nii.gz\n"
    )
    with pytest.raises(InputError, match=r"rows 2, 3: one patient; .*rows 3, 4: the same file"):
        read_pairs(table)
    table.write_text("patient,site,contrast,plain\n7,A,a.nii.gz,b.nii.gz\n7,B,c.nii.gz,d.nii.gz\n")
    assert len(read_pairs(table)) == 2


def test_several_scans_of_a_phase_make_no_pair(tmp_path: Path) -> None:
    first = Case("7", "A", tmp_path / "a", role="unlabelled")
    twins = [Case("7", "A", tmp_path / n, role="excluded", problems=(NO_CONTRAST,)) for n in "bc"]
    other = Case("7", "A", tmp_path / "d", role="unlabelled")
    assert len(phase_pairs(Manifest((first, twins[0])))) == 1
    for cases in ((first, *twins), (first, other, twins[0])):
        with pytest.raises(InputError, match=r"of 1 patient\(s\) there are several scans"):
            phase_pairs(Manifest(cases))
