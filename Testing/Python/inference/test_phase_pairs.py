"""Pairs on one grid: registered once and found again, taken as they are where they came registered."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from PESemiSegLib.cohorts.manifest import Case, read_manifest, write_manifest
from PESemiSegLib.cohorts.pair_list import read_pairs
from PESemiSegLib.cohorts.phases import REGISTERED, pair_manifest
from PESemiSegLib.cohorts.phases import phase_pairs as pairs_of
from PESemiSegLib.errors import InputError
from PESemiSegLib.inference import phase_pairs
from PESemiSegLib.inference.pair_registration import register_pairs
from PESemiSegLib.inference.phase_pairs import lungs_of, on_one_grid
from PESemiSegLib.volumes.grid import Grid, make_affine
from PESemiSegLib.volumes.reader import read
from PESemiSegLib.volumes.write import write_nifti


def scan(path: Path, values: np.ndarray, spacing=(2.0, 2.0, 3.0)) -> Path:
    write_nifti(path, values, Grid(values.shape, make_affine(spacing, (-20.0, -16.0, 5.0))))
    return path


@pytest.fixture
def pair(tmp_path):
    shape = (10, 16, 20)
    image = np.random.default_rng(0).integers(-900, 300, shape).astype(np.int16)
    mask = np.zeros(shape, np.uint8)
    mask[4:6, 5:9, 7:10] = 1
    contrast = Case(
        "p", "A", scan(tmp_path / "c.nii.gz", image), scan(tmp_path / "m.nii.gz", mask), split="val", pe="yes"
    )
    plain = Case("p", "A", scan(tmp_path / "n.nii.gz", image[:, 1:]), role="excluded")
    return contrast, plain


class Shift:
    """A registration that moves everything by one slice, and counts how often it was asked for."""

    def __init__(self, monkeypatch):
        import SimpleITK as sitk

        self.asked, self.good = 0, True
        self.transform = sitk.TranslationTransform(3, (0.0, 0.0, 3.0))
        monkeypatch.setattr(phase_pairs, "register", self.register)

    def register(self, contrast, plain, find_lungs, *, check):
        self.asked += 1
        return self

    def require(self):
        if not self.good:
            raise InputError("the scans could not be registered")

    def figures(self):
        return {"ncc": 0.99} | dict.fromkeys(("lungs_overlap_before", "lungs_overlap", "ncc_before"), 0.9)


def test_a_pair_is_registered_once(pair, tmp_path, monkeypatch):
    shift, (contrast, plain) = Shift(monkeypatch), pair
    found = on_one_grid(contrast, plain, tmp_path / "pairs")
    again = on_one_grid(contrast, plain, tmp_path / "pairs")
    assert shift.asked == 1
    assert found == again
    assert found.figures["ncc"] == 0.99
    assert (found.plain.image, found.plain.split, found.plain.pe) == (plain.image, "val", "yes")
    assert found.plain.role == "labelled"
    fixed, moved, mask = (read(path) for path in (plain.image, found.contrast.image, found.plain.mask))
    assert moved.grid.same_as(fixed.grid)
    assert mask.grid.same_as(fixed.grid)
    np.testing.assert_array_equal(moved.hu[:-1], read(contrast.image).hu[1:, :15])
    assert np.argwhere(mask.hu).min(0).tolist() == [3, 5, 7]
    assert "p" not in {path.name for path in (tmp_path / "pairs").iterdir()}
    known = replace(plain, problems=(REGISTERED,))  # as the manifest of what was written has it
    taken = on_one_grid(found.contrast, known, tmp_path / "elsewhere")
    assert shift.asked == 1
    assert taken.contrast == found.contrast
    assert not (tmp_path / "elsewhere").exists()


def test_a_failed_registration_leaves_nothing(pair, tmp_path, monkeypatch):
    shift = Shift(monkeypatch)
    shift.good = False
    with pytest.raises(InputError, match="could not be registered"):
        on_one_grid(*pair, tmp_path / "pairs")
    assert not (tmp_path / "pairs").exists()


def test_pairs_said_to_be_registered_must_share_a_grid(pair, tmp_path):
    contrast, plain = pair
    with pytest.raises(InputError, match="different grids"):
        on_one_grid(contrast, plain, tmp_path / "pairs", registered=True)
    found = on_one_grid(contrast, Case("p", "A", contrast.image), tmp_path / "pairs", registered=True)
    assert found.plain.mask == contrast.mask
    assert json.dumps(found.figures) == "{}"


def test_pairs_that_came_registered_stay_so_in_their_manifest(pair, tmp_path, monkeypatch):
    shift, (contrast, _) = Shift(monkeypatch), pair
    reads = []
    monkeypatch.setattr(phase_pairs, "compare", lambda moving, fixed, lungs: shift)
    monkeypatch.setattr(phase_pairs, "read", lambda path: reads.append(path.name) or read(path))
    plain = Case("p", "A", scan(tmp_path / "same.nii.gz", read(contrast.image).hu), role="excluded")
    used, refused = register_pairs([(contrast, plain)], tmp_path / "scans", registered=True)
    assert (len(used), refused, reads) == (1, [], ["same.nii.gz", "c.nii.gz"])
    write_manifest(pair_manifest(used), tmp_path / "pairs.csv")
    ((first, second),) = pairs_of(read_manifest(tmp_path / "pairs.csv"))
    taken = on_one_grid(first, second, tmp_path / "elsewhere")
    ((again, _),), _ = register_pairs([(first, second)], tmp_path / "elsewhere")
    assert again == first
    assert shift.asked == 0
    assert (taken.plain.mask, taken.contrast.image) == (contrast.mask, contrast.image)
    _, refused = register_pairs([pair], tmp_path / "scans", registered=True)
    assert "different grids" in refused[0]


@pytest.mark.parametrize("registered", [False, True])
def test_patients_without_pe_are_labelled_by_an_empty_mask(pair, tmp_path, monkeypatch, registered):
    shift, table = Shift(monkeypatch), tmp_path / "list.csv"
    monkeypatch.setattr(phase_pairs, "compare", lambda moving, fixed, lungs: shift)
    for name in ("n1", "n2"):
        scan(tmp_path / f"{name}.nii.gz", read(tmp_path / "c.nii.gz").hu)
    scan(tmp_path / "c2.nii.gz", read(tmp_path / "c.nii.gz").hu)
    table.write_text(
        "patient,contrast,plain,mask,pe\n1,c.nii.gz,n1.nii.gz,m.nii.gz,\n2,c2.nii.gz,n2.nii.gz,,no\n"
    )
    used, refused = register_pairs(read_pairs(table), tmp_path / "scans", registered=registered)
    again, _ = register_pairs(read_pairs(table), tmp_path / "scans", registered=registered)
    assert (refused, used) == ([], again)
    assert shift.asked == (0 if registered else 2)
    assert [(case.role, case.pe) for case, _ in used] == [("labelled", "yes"), ("labelled", "no")]
    write_manifest(pair_manifest(used), tmp_path / "pairs.csv")
    labelled = read_manifest(tmp_path / "pairs.csv").select(role="labelled")
    assert [bool(read(case.mask).hu.any()) for case in labelled] == [True, False]
    assert all(read(case.mask).grid.same_as(read(case.image).grid) for case in labelled)


def test_the_lungs_lie_where_they_are(tmp_path):
    hu = np.full((24, 64, 64), -1000, np.int16)
    hu[:, 6:58, 6:58] = 40
    hu[3:21, 20:44, 12:28] = -850
    hu[3:21, 20:44, 36:52] = -850
    volume = read(scan(tmp_path / "lungs.nii.gz", hu, (5.0, 5.0, 8.0)))
    mask, grid = lungs_of(volume)
    places = grid.to_lps(np.argwhere(mask)[:, ::-1])
    truth = volume.grid.to_lps(np.argwhere(hu == -850)[:, ::-1])
    np.testing.assert_allclose(places.mean(0), truth.mean(0), atol=6.0)
