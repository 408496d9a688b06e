"""Owns where the lists of the Fine-tune page lie, and how two of them become one."""

import secrets
from dataclasses import replace
from pathlib import Path

from PESemiSegLib.cohorts.manifest import Case, Manifest
from PESemiSegLib.user_data import data_folder

Cases = tuple[Case, ...]


def newFolder() -> Path:
    """A place for a list and what belongs to it, which must outlive the list of old runs."""
    return data_folder() / "cohorts" / secrets.token_hex(6)


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
