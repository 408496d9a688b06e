"""`pesemiseg cohort`: a folder becomes a manifest, is checked, split and merged."""

import numpy as np
import pytest
from typer.testing import CliRunner

from PESemiSegLib.cli.main import build_app
from PESemiSegLib.cohorts.manifest import ManifestError, read_manifest, write_manifest


def _run(*words, fails=None):
    result = CliRunner().invoke(build_app(), ["cohort", *map(str, words)])
    if fails is None:
        assert result.exception is None, result.exception
    else:
        assert fails in str(result.exception)
    return result


@pytest.fixture
def folder(tmp_path, sets):
    for n in range(4):
        hu, mask = sets.chest(n)
        sets.image(tmp_path / f"ours/p{n}/ct.nii.gz", hu)
        sets.image(tmp_path / f"ours/p{n}/mask.nii.gz", mask)
    return tmp_path / "ours"


def test_make_check_split_and_merge(folder, tmp_path, sets):
    result = _run("make", folder, "-o", tmp_path / "a.csv", "--site", "A", "--test", "0.25")
    assert "A/test/labelled: 1 patient" in result.output
    assert "no problem found" in _run("check", tmp_path / "a.csv", "--deep").output
    _run("split", tmp_path / "a.csv", "-o", tmp_path / "folds", "--folds", "2")
    one, two = (read_manifest(tmp_path / f"folds/fold{n}.csv") for n in (1, 2))
    (tmp_path / "folds/fold1.csv").unlink()
    _run("split", tmp_path / "a.csv", "-o", tmp_path / "folds", "--folds", "2", fails="fold2.csv exists")
    assert not (tmp_path / "folds/fold1.csv").exists()
    assert {c.patient for c in one.select("test")} == {c.patient for c in two.select("train")}
    for n in range(2):
        sets.image(tmp_path / f"pool/q{n}.nii.gz", sets.chest(9 + n)[0])
    _run("make", tmp_path / "pool", "-o", tmp_path / "b.csv", "--site", "B")
    _run("merge", tmp_path / "a.csv", tmp_path / "b.csv", "-o", tmp_path / "both.csv")
    assert read_manifest(tmp_path / "both.csv").counts() == {
        "A/test/labelled": 1,
        "A/train/labelled": 3,
        "B/train/unlabelled": 2,
    }
    _run("make", folder, "-o", tmp_path / "a.csv", fails="exists already")


def test_a_scan_in_both_hospitals_is_a_leak_at_merging(folder, tmp_path, sets):
    _run("make", folder, "-o", tmp_path / "a.csv", "--site", "A")
    sets.dicom(tmp_path / "pool/x", sets.chest(2)[0])  # p2 again, as DICOM
    _run("make", tmp_path / "pool", "-o", tmp_path / "b.csv", "--site", "B")
    _run(
        "merge",
        tmp_path / "a.csv",
        tmp_path / "b.csv",
        "-o",
        tmp_path / "c.csv",
        fails="copies of the same scan",
    )
    assert not (tmp_path / "c.csv").exists()


def test_a_deep_check_sees_what_changed_since(folder, tmp_path, sets):
    _run("make", folder, "-o", tmp_path / "a.csv")
    sets.image(folder / "p0/ct.nii.gz", sets.chest(77)[0])
    sets.image(folder / "p1/mask.nii.gz", np.zeros_like(sets.mask))
    sets.image(folder / "p2/mask.nii.gz", sets.mask[:, ::-1])
    sets.image(folder / "p3/mask.nii.gz", sets.mask, origin=(1, 1, 1))
    result = _run("check", tmp_path / "a.csv", "--deep", fails="4 problem(s)")
    for part in (
        "another scan than when",
        "marks nothing",
        "front to back",
        "does not lie on the scan's grid",
    ):
        assert part in result.output


def test_a_deep_check_finds_copies_that_no_fingerprint_tells(tmp_path, sets):
    """The same scan as DICOM and as NIfTI; an excluded row does not count."""
    sets.dicom(tmp_path / "d", sets.hu)
    sets.image(tmp_path / "n.nii.gz", sets.hu)
    rows = "patient,site,image,role,split\nP1,A,d,unlabelled,train\nP2,A,n.nii.gz,{},test\n"
    (tmp_path / "m.csv").write_text(rows.format("unlabelled"))
    assert "no problem found" in _run("check", tmp_path / "m.csv").output
    result = _run("check", tmp_path / "m.csv", "--deep", fails="1 problem(s): rows 2, 3: copies of the same")
    assert "rows 2, 3: copies of the same scan" in result.output.splitlines()
    (tmp_path / "m.csv").write_text(rows.format("excluded"))
    assert "no problem found" in _run("check", tmp_path / "m.csv", "--deep").output


def test_check_prints_each_problem_on_its_own_line(folder, tmp_path):
    _run("make", folder, "-o", tmp_path / "a.csv")
    (folder / "p0/ct.nii.gz").unlink()
    (folder / "p1/mask.nii.gz").unlink()
    result = _run("check", tmp_path / "a.csv", fails="2 problem(s)")
    assert isinstance(result.exception, ManifestError)
    assert [line for line in result.output.splitlines() if line.startswith("row")] == [
        "row 2: image ct.nii.gz is not there",
        "row 3: mask mask.nii.gz is not there",
    ]


def test_made_up_patients_make_a_manifest_like_any_others(tmp_path, sets):
    for n in range(2):
        patient = tmp_path / f"A/A-s0-p{n:04d}"
        hu, mask = sets.chest(n)
        for name, array in (("ct", hu), ("clot", mask * (n == 0)), ("clot_exact", mask), ("lesions", mask)):
            sets.image(patient / f"{name}.nii.gz", array)
        (patient / "recipe.json").write_text(f'{{"site": "A", "seed": 0, "patient": {n}}}')
        (patient / "facts.json").write_text('{"lesions": [{"id": 1}], "label_style": "strict"}')
    _run("make", tmp_path / "A", "-o", tmp_path / "m.csv")
    for case, pe in zip(read_manifest(tmp_path / "m.csv"), ("yes", "no"), strict=True):  # p1's is missed
        assert (case.site, case.label_style, case.role, case.pe) == ("A", "strict", "labelled", pe)
        assert case.lesions.name == "lesions.nii.gz"
    write_manifest(read_manifest(tmp_path / "m.csv"), tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text() == (tmp_path / "m.csv").read_text()


def test_a_list_says_what_its_masks_mark_and_they_are_checked_as_that(tmp_path, sets):
    """Ground glass is no clot by its density, and labels that the set lacks are found."""
    for n, highest in enumerate((3, 4)):
        hu, mask = sets.chest(n)
        sets.image(tmp_path / f"{n}.nii.gz", hu)
        lung = (hu < -700).astype(np.uint8)
        sets.image(tmp_path / f"{n}m.nii.gz", np.where(mask > 0, highest, lung).astype(np.uint8))
    rows = ["image,mask,marks", "0.nii.gz,0m.nii.gz,Opacities", "1.nii.gz,1m.nii.gz,opacities"]
    (tmp_path / "list.csv").write_text("\n".join(rows))
    _run("make", tmp_path / "list.csv", "-o", tmp_path / "m.csv")
    good, bad = read_manifest(tmp_path / "m.csv")
    assert (good.role, good.marks, good.pe, good.problems) == ("labelled", "opacities", "", ())
    assert (bad.role, bad.problems) == (
        "excluded",
        ("the mask holds labels from 0 to 4, and there are 3 of opacities, the mask is refused",),
    )
    assert "no problem found" in _run("check", tmp_path / "m.csv", "--deep").output
