"""The manifest: what it refuses, and that it says everything at once."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from PESemiSegLib.cohorts.build import with_fingerprints
from PESemiSegLib.cohorts.fingerprint import fingerprint_of, voxel_fingerprint
from PESemiSegLib.cohorts.manifest import (
    Case,
    Manifest,
    ManifestError,
    read_manifest,
    write_manifest,
)
from PESemiSegLib.errors import InputError, OutputError
from PESemiSegLib.volumes.grid import Grid
from PESemiSegLib.volumes.write import write_nifti, write_nrrd


def _scan(folder: Path, name: str, content: bytes = b"scan") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_round_trip_keeps_every_field_and_relative_paths(tmp_path: Path) -> None:
    cases = (
        Case("p1", "A", _scan(tmp_path, "a.nii"), _scan(tmp_path, "m.nii"), "labelled", "train", "strict"),
        Case("p2", "B", _scan(tmp_path, "b.nii"), None, "unlabelled", "val", problems=("thick", "noisy")),
        Case("p3", "B", _scan(tmp_path, "c.nii"), _scan(tmp_path, "n.nii"), marks="arteries"),
    )
    write_manifest(Manifest(cases), tmp_path / "m.csv")
    assert str(tmp_path) not in (tmp_path / "m.csv").read_text()
    assert read_manifest(tmp_path / "m.csv").cases == cases


def test_paths_hold_where_the_folder_is_reached_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "ct.nii.gz").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "far" / "away", target_is_directory=True)
    write_manifest([Case("P1", "A", tmp_path / "ct.nii.gz", role="unlabelled")], tmp_path / "link" / "m.csv")
    assert read_manifest(tmp_path / "link" / "m.csv").cases[0].image.exists()


def test_every_problem_of_every_row_is_listed_at_once(tmp_path: Path) -> None:
    _scan(tmp_path, "there.nii")
    (tmp_path / "m.csv").write_text(
        "patient,site,image,mask,role,split,marks\n"
        ",A,there.nii,,unlabelled,train,bones\n"
        "p2,A,gone.nii,,labelled,train,Opacities\n"
        "p3,A,there.nii,,pending,holdout,\n"
    )
    with pytest.raises(InputError) as caught:
        read_manifest(tmp_path / "m.csv")
    message = str(caught.value)
    for part in (
        "row 2: patient is empty",
        "row 2: marks 'bones' is not one of emboli, arteries, opacities",
        "row 3: labelled, but no mask",
        "row 3: image gone.nii is not there",
        "row 4: role 'pending'",
        "row 4: split 'holdout'",
        "rows 2, 4: the same image",
    ):
        assert part in message, part
    assert "\n" not in message
    assert message.count("marks '") == 1


def test_a_patient_in_two_splits_is_a_leak(tmp_path: Path) -> None:
    one, two = (
        Case("p1", "A", _scan(tmp_path, f"{s}.nii"), role="unlabelled", split=s) for s in ("train", "val")
    )
    with pytest.raises(InputError, match="rows 2, 3: one patient is in the splits train, val"):
        Manifest((one, two))


def test_the_same_number_at_two_sites_is_two_patients(tmp_path: Path) -> None:
    cases = tuple(
        Case("p1", site, _scan(tmp_path, f"{site}.nii"), role="unlabelled", split=split)
        for site, split in (("A", "train"), ("B", "val"))
    )
    assert len(Manifest(cases)) == 2


def test_one_scan_under_two_patients_is_found_by_its_voxels(tmp_path: Path) -> None:
    """Whatever format and compression it is kept in; and by the fingerprint that `cohort make` takes."""
    hu = np.random.default_rng(0).integers(-900, 300, (4, 16, 16)).astype(np.int16)
    grid = Grid(hu.shape, np.diag([1.0, 1.0, 2.0, 1.0]))
    write_nifti(tmp_path / "0.nii.gz", hu, grid)
    write_nrrd(tmp_path / "1.nrrd", hu, grid)
    write_nifti(tmp_path / "other.nii.gz", hu + np.int16(1), grid)
    first, copy, other = (
        Case(f"p{n}", "A", tmp_path / name, role="unlabelled", split=split)
        for n, (name, split) in enumerate(
            {"0.nii.gz": "train", "1.nrrd": "test", "other.nii.gz": "test"}.items()
        )
    )
    with pytest.raises(InputError, match="rows 2, 3: copies of the same scan"):
        with_fingerprints(Manifest((first, copy)))
    seen: list[tuple[int, int]] = []
    known = with_fingerprints(Manifest((first, other)), lambda *step: seen.append(step))
    assert seen == [(1, 2), (2, 2)]
    assert known.cases[0].fingerprint == voxel_fingerprint(hu)
    again = with_fingerprints(Manifest((first, replace(copy, split="train"))))  # an unlabelled one twice
    assert [case.role for case in again] == ["unlabelled", "excluded"]
    assert again.cases[1].problems == ("a copy of the scan of row 2",)
    broken = Case("p8", "A", _scan(tmp_path, "broken.nii"), role="unlabelled")
    assert with_fingerprints(Manifest((broken,))).cases[0].role == "excluded"
    with pytest.raises(InputError, match=r"broken\.nii"):
        with_fingerprints(Manifest((replace(broken, role="labelled", mask=broken.image),)))
    gone = Case("p9", "A", tmp_path / "gone.nii", role="excluded")
    assert with_fingerprints(Manifest((gone,))).cases == (gone,)


def test_fingerprint_of_a_folder_ignores_names_but_not_bytes(tmp_path: Path) -> None:
    for name, files in {"x": ("1", "2"), "y": ("b", "a")}.items():
        (tmp_path / name).mkdir()
        for file, content in zip(files, (b"one", b"two"), strict=True):
            _scan(tmp_path / name, file, content)
    assert fingerprint_of(tmp_path / "x") == fingerprint_of(tmp_path / "y")
    _scan(tmp_path / "y", "a", b"twO")
    assert fingerprint_of(tmp_path / "x") != fingerprint_of(tmp_path / "y")


def test_excluded_cases_may_lack_files_and_are_not_selected(tmp_path: Path) -> None:
    kept = Case("p1", "A", _scan(tmp_path, "a.nii"), role="unlabelled")
    gone = Case("p2", "A", tmp_path / "gone.nii", role="excluded", problems=("no contrast",))
    write_manifest(Manifest((kept, gone)), tmp_path / "m.csv")
    manifest = read_manifest(tmp_path / "m.csv")
    assert [c.patient for c in manifest.select()] == ["p1"]
    assert [c.patient for c in manifest.select(role="excluded")] == ["p2"]


@pytest.mark.parametrize("content", ["", "patient,site\nx,y\n", "patient,site,image,role,split\n"])
def test_unusable_tables_are_refused_in_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "m.csv").write_text(content)
    with pytest.raises(InputError, match=r"m\.csv"):
        read_manifest(tmp_path / "m.csv")


def test_the_fingerprint_of_a_cohort_notices_a_moved_split(tmp_path: Path) -> None:
    scan = _scan(tmp_path, "a.nii")
    train, val = (Manifest((Case("p", "A", scan, role="unlabelled", split=s),)) for s in ("train", "val"))
    assert train.fingerprint != val.fingerprint


_ROWS = (
    ("patient", "site", "image", "mask", "role", "split", "label_style", "pe"),
    ("p1", "Köln", "sub/a.nii", "sub/m.nii", "labelled", "train", "strict", "yes"),
    ("p2", "Köln", "sub/b.nii", "", "unlabelled", "val", "", ""),
)


def _as_text(separator: str, end: str) -> str:
    return end.join(separator.join(row) for row in _ROWS) + end


@pytest.mark.parametrize(
    "data",
    [
        _as_text(",", "\n").encode("utf-8"),
        _as_text(";", "\r\n").encode("utf-8-sig"),
        _as_text(";", "\r\n").encode("cp1252"),
        _as_text("\t", "\r\n").encode("utf-16"),
        b"sep=;\r\n" + _as_text(";", "\r\n").encode("cp1252"),
        _as_text(";", "\r\n").replace("sub/", "sub\\").encode("utf-8"),
        _as_text(";", "\r\n").replace("patient;", "Patient ;").replace("label_style", "Label Style").encode(),
        (_as_text(",", "\r").replace("labelled", "Labeled").replace("yes", "TRUE") + ",,,,,,,\r").encode(),
    ],
    ids=["plain", "bom", "cp1252", "utf16", "sep", "backslash", "header", "mac"],
)
def test_what_spreadsheets_make_of_it_is_read_alike(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "sub").mkdir()
    for name in "abm":
        _scan(tmp_path / "sub", f"{name}.nii")
    (tmp_path / "m.csv").write_bytes(data)
    first, second = read_manifest(tmp_path / "m.csv")
    assert (first.image, first.mask) == (tmp_path / "sub/a.nii", tmp_path / "sub/m.nii")
    assert (first.site, first.role, first.label_style, first.pe) == ("Köln", "labelled", "strict", "yes")
    assert (second.mask, second.role, second.split) == (None, "unlabelled", "val")


def test_rows_are_numbered_as_the_spreadsheet_numbers_them(tmp_path: Path) -> None:
    _scan(tmp_path, "a.nii")
    (tmp_path / "m.csv").write_text(
        "patient;site;image;role;split\r\n;;;;\r\np1;A;a.nii;unlabelled;train\r\n;;;;\r\n"
        "p1;A;gone.nii;unlabelled;test;too much\r\n"
    )
    with pytest.raises(ManifestError) as caught:
        read_manifest(tmp_path / "m.csv")
    assert caught.value.problems == (
        "row 5: 1 cell(s) beyond the last column; quote cells that hold the separator",
        "row 5: image gone.nii is not there",
        "rows 3, 5: one patient is in the splits test, train",
    )


def test_a_message_stays_readable_while_all_problems_are_kept(tmp_path: Path) -> None:
    rows = "".join(f"p{n},A,gone{n}.nii,unlabelled,train\n" for n in range(200))
    (tmp_path / "m.csv").write_text("patient,site,image,role,split\n" + rows)
    with pytest.raises(ManifestError, match=r"has 200 problem\(s\).*and 175 more") as caught:
        read_manifest(tmp_path / "m.csv")
    assert len(caught.value.problems) == 200
    assert "gone199.nii" in caught.value.problems[-1]


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"PK\x03\x04rest", "is a workbook"), (b"\xff\xfea", "not text"), (b"a,b\n\0", "not text")],
)
def test_files_that_are_no_text_say_what_to_do(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "m.csv").write_bytes(data)
    with pytest.raises(InputError, match=words):
        read_manifest(tmp_path / "m.csv")


def test_masks_given_twice_or_in_place_of_the_image_are_problems(tmp_path: Path) -> None:
    for name in "abm":
        _scan(tmp_path, f"{name}.nii")
    (tmp_path / "m.csv").write_text(
        "patient,site,image,mask,role,split\n"
        "p1,A,a.nii,m.nii,labelled,train\np2,A,b.nii,./m.nii,labelled,train\np3,A,m.nii,m.nii,labelled,train\n"
    )
    with pytest.raises(InputError) as caught:
        read_manifest(tmp_path / "m.csv")
    assert "row 4: the mask is the image itself" in str(caught.value)
    assert "rows 2, 3, 4: the same mask" in str(caught.value)


def test_a_failed_write_leaves_the_old_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Case("p1", "A", _scan(tmp_path, "a.nii"), role="unlabelled")
    write_manifest(Manifest((one,)), tmp_path / "m.csv")
    before = (tmp_path / "m.csv").read_bytes()

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OutputError, match=r"m\.csv cannot be written: No space left"):
        write_manifest(Manifest(()), tmp_path / "m.csv")
    assert (tmp_path / "m.csv").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"a.nii", "m.csv"}


def test_masks_that_mark_something_else_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(
        "patient,site,image,mask,role,split,marks\n"
        "p1,A,1.nii,1m.nii,labelled,train,\n"
        "p2,A,2.nii,2m.nii,labelled,train,OPACITIES\n"
        "p3,A,3.nii,3m.nii,excluded,train,arteries\n"
        "p4,A,4.nii,4m.nii,unlabelled,train,arteries\n"
    )
    for name in ("1.nii", "1m.nii", "2.nii", "2m.nii", "4.nii", "4m.nii"):
        _scan(tmp_path, name)
    manifest = read_manifest(tmp_path / "m.csv")
    assert [case.marks for case in manifest] == ["emboli", "opacities", "arteries", "arteries"]
    with pytest.raises(InputError, match=r"m\.csv has 1 labelled case\(s\) whose masks mark opacities, and"):
        manifest.require_marks("emboli")
    with pytest.raises(InputError, match=r"2 labelled .* mark emboli and opacities, and masks of"):
        manifest.require_marks("arteries")
    first = Manifest(manifest.cases[:1])
    first.require_marks("emboli")
    assert first.fingerprint != Manifest((replace(first.cases[0], marks="arteries"),)).fingerprint
