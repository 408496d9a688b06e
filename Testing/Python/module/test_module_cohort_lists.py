"""The lists of the Fine-tune page: what a run gets of them, what joins them, and edits made meanwhile."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Until = Callable[..., bool]


@pytest.fixture
def cases(tmp_path: Path) -> Callable[..., tuple[Any, ...]]:
    """Makes cases of rows such as "a labelled test", each with files of its own."""
    from PESemiSegLib.cohorts.manifest import Case

    def make(*rows: str, folder: str = "scans") -> tuple[Case, ...]:
        found = []
        for number, row in enumerate(rows):
            patient, role, split = row.split()
            image, mask = (tmp_path / folder / f"{number}{name}.nrrd" for name in ("", "_mask"))
            image.parent.mkdir(exist_ok=True)
            image.touch()
            mask.touch()
            found.append(Case(patient, "ours", image, mask, role, split))
        return tuple(found)

    return make


def test_other_scans_of_a_held_out_patient_are_left_out(shell: Any, cases: Any) -> None:
    """The verdict would be on patients that were learnt from; and the job refuses such lists."""
    from PESemiSegUI import cohort_lists

    from PESemiSegLib.cohorts.manifest import read_manifest

    rows = ("a labelled test", "a unlabelled test", "b labelled val", "b unlabelled val")
    more = ("c labelled train", "c unlabelled train", "d unlabelled test", "e unlabelled val")
    labelled, unlabelled = map(read_manifest, cohort_lists.write(found := cases(*rows, *more)))
    merged = labelled.merged(unlabelled)  # as the job does; raises where a patient is in two splits
    assert [(case.patient, case.split) for case in unlabelled] == [(name, "train") for name in "cde"]
    assert all(case.mask is None for case in unlabelled)
    assert len(merged) == 6
    assert cohort_lists.counts(found) == {"labelled": 2, "unlabelled": 3, "held_out": 1}


def test_later_scans_of_a_patient_take_the_patients_split(shell: Any, cases: Any) -> None:
    from PESemiSegUI import cohort_lists

    before = cases("a labelled test", "b labelled train")
    rows = (
        "a unlabelled train",
        "b unlabelled val",
        "c labelled val",
        "a excluded train",
        "c excluded train",
    )
    joined = cohort_lists.joined(before, cases(*rows, folder="later"), replacing=False)
    assert [case.split for case in joined] == ["test", "train", "test", "train", "val", "test", "val"]


def write_list(path: Path, cases: tuple[Any, ...]) -> Path:
    from PESemiSegLib.cohorts.manifest import write_manifest

    write_manifest(cases, path)
    return path


def test_what_is_changed_while_lists_are_read_stays(
    shell: Any, until: Until, cases: Any, tmp_path: Path
) -> None:
    panel = shell.cohort
    panel.cases = cases("a labelled train", "b labelled train")
    panel._show()
    for name in "cd":
        panel.open(write_list(tmp_path / f"{name}.csv", cases(f"{name} labelled train", folder=name)))
    assert not panel.ui.openManifestButton.enabled
    assert not panel.ui.clearCohortButton.enabled
    panel.setRole(0, "excluded")
    assert until(lambda: len(panel.cases) == 4, 30), panel.ui.cohortStatus.text
    assert {case.patient: case.role for case in panel.cases} == {
        "a": "excluded",
        **dict.fromkeys("bcd", "labelled"),
    }
    assert panel.ui.openManifestButton.enabled


def test_a_list_that_does_not_fit_is_explained(shell: Any, until: Until, cases: Any, tmp_path: Path) -> None:
    panel = shell.cohort
    panel.cases = before = cases("a labelled train")
    same = tuple(replace(case, patient="b") for case in before)
    panel.open(write_list(tmp_path / "same.csv", same))
    assert until(lambda: "The list cannot be used" in panel.ui.cohortStatus.text, 30)
    assert "the same image" in panel.ui.cohortStatus.text
    assert panel.cases == before
    assert panel.ui.openManifestButton.enabled


def test_no_folders_name_becomes_a_site(shell: Any, until: Until, chest: np.ndarray, tmp_path: Path) -> None:
    """The folder of one patient is called as the patient is; models and reports name sites."""
    import SimpleITK as sitk

    panel = shell.cohort
    assert panel.ui.siteEdit.text == "ours"
    for name, site, patient in (("MILLER_Anna_1961-03-02", "ours", "p1"), ("DOE_Jane", " Köln ", "p1")):
        (tmp_path / name).mkdir()
        image = sitk.GetImageFromArray(chest + np.int16(len(name)))
        sitk.WriteImage(image, str(tmp_path / name / f"{patient}.nii.gz"))
        panel.ui.siteEdit.text = site
        count = len(panel.cases)
        panel.addFolder(str(tmp_path / name))
        assert until(lambda count=count: len(panel.cases) > count, 60), panel.ui.cohortStatus.text
    assert [case.key for case in panel.cases] == ["ours/p1", "Köln/p1"]
