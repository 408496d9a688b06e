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
    """Both in one. Raises PESemiSegError where a patient is in two splits, or a scan there twice.

    replacing: a scan of `new` that is there already, by its voxels, keeps its row and gets the new mask.
    """
    rows = {case.fingerprint: index for index, case in enumerate(before) if case.fingerprint}
    cases, rest = list(before), []
    for case in new:
        index = rows.get(case.fingerprint) if replacing else None
        if index is None:
            rest.append(case)
        else:
            old = before[index]
            cases[index] = replace(
                case, patient=old.patient, site=old.site, image=old.image, split=old.split, lesions=None
            )
    return Manifest((*cases, *rest))


def counts(cases: Cases) -> dict[str, int]:
    """Patients to train with labels, without labels, and held out with labels."""
    groups: dict[str, set[str]] = {"labelled": set(), "unlabelled": set(), "held_out": set()}
    for case in cases:
        if case.role == "excluded":
            continue
        held = case.split == "test" and case.role == "labelled"
        groups["held_out" if held else case.role].add(case.key)
    return {name: len(patients) for name, patients in groups.items()}


def write(cases: Cases) -> tuple[Path, Path]:
    """Two manifests for a fine-tuning: all labelled cases, and the scans to learn from without labels.

    Raises PESemiSegError.
    """
    folder = newFolder()
    labelled = [case for case in cases if case.role == "labelled"]
    bare = [
        replace(case, mask=None, lesions=None, split="train") for case in cases if case.role == "unlabelled"
    ]
    write_manifest(Manifest(tuple(labelled)), folder / "labelled.csv")
    write_manifest(Manifest(tuple(bare)), folder / "unlabelled.csv")
    return folder / "labelled.csv", folder / "unlabelled.csv"
