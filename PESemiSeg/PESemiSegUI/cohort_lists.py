"""Owns where the lists of the Fine-tune page lie, how two of them become one, and what a run is given of them."""

import secrets
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from PESemiSegLib.cohorts.manifest import Case, Manifest, write_manifest
from PESemiSegLib.user_data import data_folder

Cases = tuple[Case, ...]


def root() -> Path:
    """Where all cohorts lie."""
    return data_folder() / "cohorts"


def newFolder() -> Path:
    """A new place for a list and what belongs to it, which must outlive the list of old runs.

    For this user's eyes alone: it will hold scans. Where the disk refuses, what writes into it says so.
    """
    folder = root() / secrets.token_hex(6)
    with suppress(OSError):
        root().mkdir(parents=True, exist_ok=True)
        root().chmod(0o700)  # also where an earlier version made it
        folder.mkdir(mode=0o700)
    return folder


def joined(before: Cases, new: Cases, replacing: bool) -> Manifest:
    """Both in one; all scans of a patient take the split that was there first, excluded ones too.

    replacing: a scan of `new` that is there already, by its voxels, keeps its row and gets the new mask.
    Raises PESemiSegError where a scan is there twice.
    """
    splits = {case.key: case.split for case in (*new, *before) if case.role != "excluded"}
    rows = {case.fingerprint: index for index, case in enumerate(before) if case.fingerprint}
    cases, rest = list(before), []
    for case in new:
        index = rows.get(case.fingerprint) if replacing else None
        if index is None:
            rest.append(replace(case, split=splits.get(case.key, case.split)))
        else:
            old = before[index]
            cases[index] = replace(
                case, patient=old.patient, site=old.site, image=old.image, split=old.split, lesions=None
            )
    return Manifest((*cases, *rest))


def counts(cases: Cases) -> dict[str, int]:
    """Patients to train with labels, without labels, and held out with labels."""
    labelled = [case for case in cases if case.role == "labelled"]
    groups = {
        "labelled": {case.key for case in labelled if case.split != "test"},
        "unlabelled": {case.key for case in _bare(cases)},
        "held_out": {case.key for case in labelled if case.split == "test"},
    }
    return {name: len(patients) for name, patients in groups.items()}


def write(cases: Cases) -> tuple[Path, Path]:
    """Two manifests for a fine-tuning: all labelled cases, and the scans to learn from without labels.

    Raises PESemiSegError.
    """
    folder = newFolder()
    labelled = [case for case in cases if case.role == "labelled"]
    write_manifest(Manifest(tuple(labelled)), folder / "labelled.csv")
    write_manifest(Manifest(_bare(cases)), folder / "unlabelled.csv")
    return folder / "labelled.csv", folder / "unlabelled.csv"


def _bare(cases: Cases) -> Cases:
    """The scans to learn from without labels: not those of patients who judge the result with a mask."""
    judges = {case.key for case in cases if case.role == "labelled" and case.split != "train"}
    return tuple(
        replace(case, mask=None, lesions=None, split="train")
        for case in cases
        if case.role == "unlabelled" and case.key not in judges
    )
