"""From a folder of made-up patients to a manifest: roles, splits, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest

from PESemiSegLib.cohorts.build import BuildOptions, build_manifest
from PESemiSegLib.cohorts.folders import from_phantom
from PESemiSegLib.cohorts.manifest import read_manifest, write_manifest
from PESemiSegLib.cohorts.phases import phase_pairs
from PESemiSegLib.errors import ConfigError, InputError


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Twelve patients as `pesemiseg phantom` lays them out, every third without emboli."""
    for number in range(12):
        folder = tmp_path / "A" / f"A-s1-p{number:04d}"
        folder.mkdir(parents=True)
        for name in ("ct", "clot", "clot_exact", "artery", "lesions"):
            (folder / f"{name}.nii.gz").write_bytes(f"{number}{name}".encode())
        lesions = [] if number % 3 == 0 else [{"id": 1, "level": "central"}]
        (folder / "recipe.json").write_text(json.dumps({"site": "A", "seed": 1, "patient": number}))
        (folder / "facts.json").write_text(json.dumps({"lesions": lesions, "label_style": "strict"}))
    return tmp_path / "A"


def test_patients_with_and_without_emboli_are_split_alike_and_by_the_seed(cohort: Path) -> None:
    manifest = from_phantom(cohort, validation=0.25, test=0.25, seed=3)
    for split, expected in {"train": (4, 2), "val": (2, 1), "test": (2, 1)}.items():
        cases = manifest.select(split)
        free = sum(json.loads(c.image.with_name("facts.json").read_text())["lesions"] == [] for c in cases)
        assert (len(cases) - free, free) == expected
    assert from_phantom(cohort, validation=0.25, test=0.25, seed=3) == manifest
    assert from_phantom(cohort, validation=0.25, test=0.25, seed=4) != manifest


def test_a_patient_that_was_never_finished_is_left_out(cohort: Path, tmp_path: Path) -> None:
    whole = shutil.copytree(cohort, tmp_path / "cohort")
    (whole / ".half-written").mkdir()
    (whole / ".half-written" / "recipe.json").write_text("{}", encoding="utf-8")
    assert len(from_phantom(whole)) == len(from_phantom(cohort))


def test_the_manifest_survives_the_disk_with_its_lesions(cohort: Path, tmp_path: Path) -> None:
    manifest = from_phantom(cohort)
    write_manifest(manifest, tmp_path / "m.csv")
    again = read_manifest(tmp_path / "m.csv")
    assert [c.lesions and c.lesions.resolve() for c in again] == [
        c.lesions and c.lesions.resolve() for c in manifest
    ]
    assert again.counts() == manifest.counts()


def test_unlabelled_cohorts_carry_no_mask_and_exact_labels_say_so(cohort: Path) -> None:
    assert all(case.mask is None for case in from_phantom(cohort, role="unlabelled"))
    exact = from_phantom(cohort, exact_labels=True).cases[0]
    assert exact.mask is not None
    assert (exact.mask.name, exact.label_style) == ("clot_exact.nii.gz", "exact")


def _twin(folder: Path) -> Path:
    """The scan of the same patient without contrast, as `pesemiseg phantom --noncontrast` adds it."""
    twin = shutil.copytree(folder, folder.with_name(f"{folder.name}-noncontrast"))
    recipe = json.loads((twin / "recipe.json").read_text())
    (twin / "recipe.json").write_text(json.dumps(recipe | {"contrast": False}))
    (twin / "ct.nii.gz").write_bytes(f"{twin.name}, without".encode())
    return twin


def test_a_scan_without_contrast_is_no_patient_of_its_own_and_no_ctpa(cohort: Path, tmp_path: Path) -> None:
    alone = from_phantom(cohort, validation=0.25, seed=3)
    twins = [_twin(folder) for folder in sorted(cohort.iterdir())[:5]]
    for role in ("labelled", "unlabelled"):
        both = from_phantom(cohort, validation=0.25, seed=3, role=role)
        assert [(c.patient, c.split) for c in both.select()] == [(c.patient, c.split) for c in alone]
        left_out = both.select(role="excluded")
        assert [c.image.parent for c in left_out] == twins
        assert all(case.mask is None and "without contrast" in case.problems[0] for case in left_out)
    write_manifest(both, tmp_path / "m.csv")
    pairs = phase_pairs(read_manifest(tmp_path / "m.csv"))
    assert [(a.image.parent.name, b.image.parent.name) for a, b in pairs] == [
        (f"A-s1-p000{n}", f"A-s1-p000{n}-noncontrast") for n in range(5)
    ]
    made = build_manifest(cohort, BuildOptions(tmp_path / "masks", role="unlabelled", open_scans=False))
    assert [(c.patient, c.role) for c in made] == [(c.patient, c.role) for c in both]


def test_the_patient_is_the_recipes_whatever_the_folder_is_called(cohort: Path) -> None:
    """Two scans of one anatomy, on two scanners, go into one split."""
    for number in range(12):
        again = shutil.copytree(cohort / f"A-s1-p{number:04d}", cohort / f"scanner-B-{number}")
        (again / "ct.nii.gz").write_bytes(b"the other scanner %d" % number)
    manifest = from_phantom(cohort, validation=0.25, test=0.25)
    assert len(manifest) == 24
    assert len({case.patient for case in manifest}) == 12
    assert len(manifest.select("val")) == len(manifest.select("test")) == 6


def test_bad_folders_and_shares_are_refused(cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no made-up patients"):
        from_phantom(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="add to at most 1"):
        from_phantom(cohort, validation=0.6, test=0.6)
    (cohort / "A-s1-p0004" / "facts.json").write_text("{")
    with pytest.raises(InputError, match="A-s1-p0004 is not a complete"):
        from_phantom(cohort)
