"""`pesemiseg phantom`: what it writes, what it refuses, and that it never deletes what it did not make."""

from pathlib import Path

import numpy as np
import pytest

from PESemiSegLib.cli.main import main
from PESemiSegLib.phantom import patient as patient_module
from PESemiSegLib.phantom.patient import PhantomCase
from PESemiSegLib.phantom.recipe import Recipe


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patients of a few voxels: the command is under test here, not the anatomy."""

    def tiny(recipe: Recipe) -> PhantomCase:
        hu = np.zeros((6, 16, 16), np.int16)
        mask = np.zeros(hu.shape, np.uint8)
        affine = np.diag([20.0, 20.0, 40.0, 1.0])
        affine[:3, 3] = (-150, -150, -150)
        scanner = {
            "scanner": recipe.site,
            "thickness_mm": 40.0,
            "increment_mm": 40.0,
            "kvp": 120,
            "fov_mm": 320,
            "kernel": {"name": "K"},
        }
        return PhantomCase(hu, affine, mask, mask, mask, hu, recipe, {"scanner": scanner, "lesions": []})

    monkeypatch.setattr(patient_module, "make_case", tiny)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_it_writes_the_cohort_and_the_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "cohort"
    arguments = ["phantom", "--site", "B", "--patients", "3", "--seed", "7", "-o", str(out)]
    assert main([*arguments, "--format", "nifti", "--preset", "ci", "--contact-sheet", "--noncontrast"]) == 0
    patients = [f"B-s7-p000{n}" for n in range(3)]
    assert names(out) == sorted([*patients, *(f"{p}-noncontrast" for p in patients), "contact_sheet.png"])
    assert "ct.nii.gz" in names(out / patients[0])
    recipe = Recipe.from_json((out / patients[1] / "recipe.json").read_text())
    assert (recipe.site, recipe.seed, recipe.patient, recipe.preset) == ("B", 7, 1, "ci")
    assert not Recipe.from_json((out / f"{patients[1]}-noncontrast" / "recipe.json").read_text()).contrast
    assert "research use only" in capsys.readouterr().out


def test_clean_lungs_are_everybodys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "clean"
    assert main(["phantom", "--patients", "3", "--clean-lungs", "--format", "nifti", "-o", str(out)]) == 0
    made = [Recipe.from_json((folder / "recipe.json").read_text()) for folder in out.iterdir()]
    assert [recipe.opacities for recipe in made] == ["none"] * 3
    assert main(["phantom", "--clean-lungs", "--opacities", "-o", str(tmp_path / "both")]) == 2
    assert "exclude each other" in capsys.readouterr().err
    assert not (tmp_path / "both").exists()


def test_dicom_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / ".DS_Store").write_text("Finder's: the folder is empty all the same")
    assert main(["phantom", "--patients", "1", "-o", str(tmp_path / "x")]) == 0
    assert len(names(tmp_path / "x" / "A-s0-p0000" / "ct")) == 6


def test_a_folder_in_use_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    assert main(["phantom", "--patients", "1", "-o", str(tmp_path)]) == 2
    assert names(tmp_path) == ["mine.txt"]
    assert "--overwrite" in capsys.readouterr().err


def test_overwrite_replaces_patients_and_keeps_what_is_not_one(tmp_path: Path) -> None:
    base = ["phantom", "-o", str(tmp_path), "--format", "nifti"]
    assert main([*base, "--patients", "2"]) == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    assert main([*base, "--patients", "1", "--seed", "9", "--overwrite"]) == 0
    assert names(tmp_path) == ["A-s9-p0000", "mine"]
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"


def test_older_patients_stay_until_the_new_ones_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = ["phantom", "-o", str(tmp_path), "--format", "nifti", "--patients"]
    assert main([*base, "3", "--contact-sheet"]) == 0
    older, made = names(tmp_path), []
    true = patient_module.make_case

    def interrupted(recipe: Recipe) -> PhantomCase:
        made.append(recipe.name)
        if len(made) == 2:
            raise KeyboardInterrupt
        return true(recipe)

    monkeypatch.setattr(patient_module, "make_case", interrupted)
    assert main([*base, "2", "--overwrite"]) == 130
    assert names(tmp_path) == older
    assert all("ct.nii.gz" in names(tmp_path / name) for name in older if name != "contact_sheet.png")
    assert main([*base, "1", "--overwrite"]) == 0
    assert names(tmp_path) == ["A-s0-p0000"]


def test_a_foreign_folder_of_a_patients_name_is_kept(tmp_path: Path) -> None:
    (tmp_path / "A-s0-p0000").mkdir()
    (tmp_path / "A-s0-p0000" / "notes.txt").write_text("keep")
    assert main(["phantom", "-o", str(tmp_path), "--patients", "1", "--overwrite"]) == 2
    assert names(tmp_path / "A-s0-p0000") == ["notes.txt"]


@pytest.mark.parametrize(
    "wrong",
    [
        ["--site", "D"],
        ["--patients", "0"],
        ["--seed", "-1"],
        ["--format", "mha"],
        ["--preset", "huge"],
        ["--jobs", "0"],
    ],
    ids=" ".join,
)
def test_impossible_requests_are_refused(wrong: list[str], tmp_path: Path) -> None:
    assert main(["phantom", "-o", str(tmp_path / "x"), *wrong]) == 2
    assert not (tmp_path / "x").exists()


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    for name in ("x", "x" * 300):  # which no system takes
        assert main(["phantom", "-o", str(tmp_path / name)]) == 2
