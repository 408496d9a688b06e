"""Masks lie on their scan's grid to the last corner, whoever reads them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from PESemiSegLib.cohorts import labelmap
from PESemiSegLib.cohorts.build import inspect
from PESemiSegLib.cohorts.cache import SliceCache
from PESemiSegLib.cohorts.labelmap import file_mask, known_pe, on_same_grid, stored_on_same_grid
from PESemiSegLib.cohorts.manifest import Case
from PESemiSegLib.errors import InputError
from PESemiSegLib.evaluation.truth import read_case, read_labels
from PESemiSegLib.volumes.grid import Grid
from PESemiSegLib.volumes.reader import read
from PESemiSegLib.volumes.write import write_nifti

SHAPE = (4, 512, 512)


@pytest.fixture
def case(tmp_path, sets) -> Case:
    """A mask whose steps differ by 0.04 mm, so that its last corner lies 20 mm from the scan's."""
    image = sets.image(tmp_path / "ct.nii.gz", np.full(SHAPE, 40, np.int16), (0.70, 0.70, 1.00))
    mask = sets.image(tmp_path / "wide.nii.gz", np.ones(SHAPE, np.uint8), (0.74, 0.74, 1.04))
    return Case("p", "A", image, mask)


def test_a_mask_of_nearly_the_scans_spacing_is_refused_by_every_reader(case, tmp_path):
    scan, mask = read(case.image), read(case.mask)
    assert not on_same_grid(mask, scan)
    words = r"wide.nii.gz does not lie on the scan's grid"
    for reader in (SliceCache(tmp_path / "cache", 0.7).open, read_case):
        with pytest.raises(InputError, match=words):
            reader(case)
    with pytest.raises(InputError, match=words):
        file_mask(case.mask)(scan)
    assert any("does not lie on the scan's grid" in text for text in inspect(case)[1])


def test_every_reader_keeps_the_labels_of_a_turned_mask_whole(tmp_path, sets):
    """Turned by 8 degrees both are brought to a straight grid: 5 and 0 must not become 1 to 4, nor air."""
    turn = np.diag([0.8, 0.8, 2.0, 1.0])
    turn[:3, :3] = Rotation.from_euler("x", 8, degrees=True).as_matrix() @ turn[:3, :3]
    grid = Grid(sets.hu.shape, turn)
    for name, array in (("ct", sets.hu), ("mask", sets.mask * 2), ("lesions", sets.mask * 5)):
        write_nifti(tmp_path / f"{name}.nii.gz", array, grid)
    case = Case("p", "A", *(tmp_path / f"{name}.nii.gz" for name in ("ct", "mask")), marks="arteries")
    case = replace(case, lesions=tmp_path / "lesions.nii.gz")
    scan, truth = read_case(case)
    assert np.unique(truth.instances).tolist() == [0, 5]
    assert np.unique(read_labels(case)[1]).tolist() == [0, 2]
    assert np.unique(file_mask(case.lesions)(scan).labels).tolist() == [0, 5]
    assert np.unique(SliceCache(tmp_path / "cache", 0.8, classes=3).open(case).mask).tolist() == [0, 2]
    assert inspect(case)[1] == []
    assert known_pe(replace(case, pe="")) == "yes"
    assert abs((truth.instances > 0).sum() - (sets.mask > 0).sum()) < 0.1 * (sets.mask > 0).sum()
    assert scan.hu.min() == -1024  # air about the scan itself, as ever


def test_what_a_header_rounds_off_is_let_pass(case, tmp_path, sets):
    scan = read(case.image)
    for shift, same in ((0.049, True), (0.051, False)):
        moved = sets.image(
            tmp_path / f"{same}.nii.gz", np.ones(SHAPE, np.uint8), (0.7, 0.7, 1.0), (shift, 0, -100)
        )
        assert on_same_grid(read(moved), scan) is same


def test_headers_settle_where_two_files_lie_and_voxels_only_what_they_leave_open(
    case, tmp_path, sets, monkeypatch
):
    """One scan stored in two orders lies on one grid once it is read; its headers cannot say so."""
    seen = []
    monkeypatch.setattr(labelmap, "read", lambda path: seen.append(path.name) or read(path))
    steps = np.diag([0.7, 0.7, 1.0, 1.0])
    last = np.eye(4)
    last[0, 3] = SHAPE[2] - 1
    hu = np.full(SHAPE, 40, np.int16)
    for name, affine in (("one", steps), ("two", steps), ("turned", steps @ last @ np.diag([-1, 1, 1, 1]))):
        write_nifti(tmp_path / f"{name}.nii.gz", hu, Grid(SHAPE, affine))
    one, two, turned = (tmp_path / f"{name}.nii.gz" for name in ("one", "two", "turned"))
    assert stored_on_same_grid(one, two)
    assert seen == []
    assert stored_on_same_grid(one, turned)
    assert seen == ["one.nii.gz", "turned.nii.gz"]
    assert not stored_on_same_grid(one, case.mask)
    (tmp_path / "torn.nii.gz").write_bytes(one.read_bytes()[:40])
    with pytest.raises(InputError, match=r"torn.nii.gz: it is truncated or damaged"):
        stored_on_same_grid(one, tmp_path / "torn.nii.gz")
